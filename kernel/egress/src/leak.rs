//! The leak scan: secrets in what comes back are replaced by `[redacted]`.
//!
//! Scanned forms of each secret: plain, JSON-escaped, HTML-escaped, percent-encoded (component, form, path and
//! everything-encoded), hexadecimal, and base64 in both alphabets at all three alignments; ASCII case is ignored
//! throughout. Works on streams across chunk borders and holds back no more than what may be the beginning of a match.
//!
//! Defence in depth, not a proof: a server can transform a secret in ways that are not on this list.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";
/// Shorter secrets are not scanned for (they are refused when stored): they would match by accident.
pub const MIN_SECRET: usize = 8;
/// Of a longer secret, this many first bytes are scanned for.
pub const MAX_SECRET: usize = 16 << 10;

const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const SCRIPT: &AsciiSet = &COMPONENT.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
const PATH: &AsciiSet =
    &SCRIPT.remove(b':').remove(b'@').remove(b'$').remove(b'&').remove(b'+').remove(b',').remove(b';').remove(b'=');
const PATHS: &AsciiSet = &PATH.remove(b'/');

/// Finds the secrets it was made of.
pub struct Scanner {
    automaton: Option<AhoCorasick>,
    /// Lower case, sorted, without duplicates.
    patterns: Vec<Vec<u8>>,
    first: [bool; 256],
    longest: usize,
    secrets: Vec<SecretString>,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner for these secrets; those under [`MIN_SECRET`] bytes are skipped.
    ///
    /// # Errors
    /// They are too many or too long to build an automaton of.
    pub fn new(secrets: Vec<SecretString>) -> Result<Self, crate::EgressError> {
        let mut patterns = Vec::new();
        for secret in &secrets {
            let mut cut = secret.expose_secret();
            if cut.len() > MAX_SECRET {
                let end = (0..=MAX_SECRET).rev().find(|i| cut.is_char_boundary(*i)).unwrap_or_default();
                cut = cut.get(..end).unwrap_or_default();
            }
            forms(cut, &mut patterns);
            // `user:password` used as a Basic credential: the password alone is as good.
            if let Some((_, password)) = cut.split_once(':') {
                forms(password, &mut patterns);
            }
        }
        for pattern in &mut patterns {
            pattern.make_ascii_lowercase();
        }
        patterns.sort();
        patterns.dedup();
        let automaton = if patterns.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                // A DFA over long secrets would take megabytes.
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(&patterns);
            Some(built.map_err(|e| crate::EgressError::Limit(format!("the secrets are too long to scan for: {e}")))?)
        };
        let mut first = [false; 256];
        for byte in patterns.iter().filter_map(|p| p.first()) {
            if let Some(slot) = first.get_mut(usize::from(*byte)) {
                *slot = true;
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        Ok(Self { automaton, patterns, first, longest, secrets })
    }

    /// Whether it was made of exactly these.
    pub(crate) fn is_for(&self, secrets: &[SecretString]) -> bool {
        self.secrets.len() == secrets.len()
            && self.secrets.iter().zip(secrets).all(|(a, b)| a.expose_secret() == b.expose_secret())
    }

    /// What it was made of.
    pub(crate) fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }

    /// Whether a form of a secret is in there.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.automaton.as_ref().is_some_and(|a| a.is_match(bytes))
    }

    /// The text with every form of a secret replaced.
    pub fn redact(&self, text: &str) -> String {
        if !self.finds(text.as_bytes()) {
            return text.to_owned();
        }
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in self.spans(text.as_bytes()) {
            out.extend_from_slice(text.as_bytes().get(at..start).unwrap_or_default());
            out.extend_from_slice(REDACTED.as_bytes());
            at = end;
        }
        out.extend_from_slice(text.as_bytes().get(at..).unwrap_or_default());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A scan over a stream.
    pub fn stream(self: &Arc<Self>) -> Scrubber {
        Scrubber { scanner: Arc::clone(self), held: Vec::new(), covered: 0, found: false }
    }

    /// Matches, overlapping ones merged, in order.
    fn spans(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let mut all: Vec<(usize, usize)> =
            automaton.find_overlapping_iter(bytes).map(|m| (m.start(), m.end())).collect();
        all.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match merged.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }

    /// Where the longest suffix begins that may be the beginning of a match.
    fn open_tail(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let tail = bytes.get(from..).unwrap_or_default().to_ascii_lowercase();
        (0..tail.len())
            .find(|at| {
                let rest = tail.get(*at..).unwrap_or_default();
                rest.first().and_then(|b| self.first.get(usize::from(*b))).copied().unwrap_or(false)
                    && self.patterns.iter().any(|p| p.len() > rest.len() && p.starts_with(rest))
            })
            .map_or(bytes.len(), |at| from + at)
    }
}

/// Every form of one secret.
fn forms(secret: &str, into: &mut Vec<Vec<u8>>) {
    if secret.len() < MIN_SECRET {
        return;
    }
    let bytes = secret.as_bytes();
    into.push(bytes.to_vec());
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.strip_prefix('"').and_then(|j| j.strip_suffix('"')).unwrap_or_default();
    into.push(json.as_bytes().to_vec());
    into.push(json.replace('/', "\\/").into_bytes());
    into.push(escaped(json, |c| !c.is_ascii()).into_bytes());
    into.push(escaped(json, |c| !c.is_ascii() || matches!(c, '<' | '>' | '&' | '\'')).into_bytes());
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    into.push(html.as_bytes().to_vec());
    into.push(html.replace('"', "&quot;").replace('\'', "&#39;").into_bytes());
    into.push(html.replace('"', "&#34;").replace('\'', "&#x27;").into_bytes());
    for set in [COMPONENT, SCRIPT, PATH, PATHS] {
        into.push(percent_encode(bytes, set).to_string().into_bytes());
    }
    into.push(percent_encode(bytes, FORM).to_string().replace(' ', "+").into_bytes());
    into.push(bytes.iter().map(|b| format!("%{b:02x}")).collect::<String>().into_bytes());
    into.push(hex::encode(bytes).into_bytes());
    for skipped in 0..3usize {
        // `skipped` unknown bytes stand before the secret in its group of three; characters they, or what follows,
        // take part in are not known.
        let mut padded = vec![0; skipped];
        padded.extend_from_slice(bytes);
        let start = (skipped * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            into.push(text.as_bytes().get(start..end).unwrap_or_default().to_vec());
        }
    }
    into.retain(|p| p.len() >= MIN_SECRET);
}

/// JSON text with some characters written as `\uXXXX`.
fn escaped(json: &str, which: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if which(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A scan over a stream: push what came, pass on what it returns.
#[derive(Debug)]
pub struct Scrubber {
    scanner: Arc<Scanner>,
    held: Vec<u8>,
    /// So many first bytes of `held` belong to a match whose replacement has been passed on.
    covered: usize,
    found: bool,
}

impl Scrubber {
    /// What may be passed on now. Held back is only a tail that may be the beginning of a secret.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let until = self.scanner.open_tail(&self.held);
        self.release(until)
    }

    /// The rest, at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        self.release(self.held.len())
    }

    /// Whether a secret was found so far.
    pub fn found(&self) -> bool {
        self.found
    }

    /// An error text, cleaned.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.scanner.redact(text)
    }

    fn release(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until);
        let mut at = self.covered;
        for (start, end) in self.scanner.spans(&self.held) {
            if start >= until {
                break;
            }
            self.found = true;
            // A match that begins inside what was replaced already only makes that longer.
            if start >= at {
                out.extend_from_slice(self.held.get(at..start).unwrap_or_default());
                out.extend_from_slice(REDACTED.as_bytes());
            }
            at = at.max(end);
        }
        if at < until {
            out.extend_from_slice(self.held.get(at..until).unwrap_or_default());
            at = until;
        }
        self.held.drain(..until);
        self.covered = at - until;
        out
    }
}

#[cfg(test)]
mod tests;
