//! Paths under an endpoint's base: joined so that they cannot leave it, and matched against the granted patterns.

use crate::error::{EgressError, shown};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::str::FromStr;
use url::Url;

/// A path pattern: `/chat/completions`, `/files/*` (`*` = any characters within one segment, at least one),
/// `/v1/**` (`**` = any number of segments, also none).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Segment {
    Any,
    Glob(Vec<u8>),
}

impl PathPattern {
    /// Whether the decoded segments of a path match.
    fn matches(&self, path: &[Vec<u8>]) -> bool {
        walk(&self.segments, path)
    }
}

fn walk(pattern: &[Segment], path: &[Vec<u8>]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((Segment::Any, rest)) => (0..=path.len()).any(|n| walk(rest, path.get(n..).unwrap_or_default())),
        Some((Segment::Glob(glob), rest)) => match path.split_first() {
            Some((first, tail)) => glob_matches(glob, first) && walk(rest, tail),
            None => false,
        },
    }
}

/// `*` = one or more bytes. The usual two-pointer walk: linear in practice, no recursion.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t, mut star) = (0, 0, None);
    loop {
        match (glob.get(g), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), Some(_)) => {
                star = Some((g, t));
                g += 1;
                t += 1;
            }
            (Some(a), Some(b)) if a == b && *a != b'*' => {
                g += 1;
                t += 1;
            }
            (_, None) => return false,
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    g = at + 1;
                    t = from + 2;
                    if t > text.len() {
                        return false;
                    }
                }
                None => return false,
            },
        }
    }
}

impl FromStr for PathPattern {
    type Err = EgressError;
    fn from_str(text: &str) -> Result<Self, EgressError> {
        let bad = |why: &str| EgressError::Invalid(format!("`{}` is not a path pattern: {why}", shown(text)));
        if !text.starts_with('/') {
            return Err(bad("it must begin with `/`"));
        }
        let mut segments = Vec::new();
        for segment in split(text) {
            segments.push(match segment {
                "**" => Segment::Any,
                s if s.contains("**") => return Err(bad("`**` must be a whole segment")),
                s => Segment::Glob(decode(s).map_err(|e| bad(&e))?),
            });
        }
        if segments.iter().filter(|s| matches!(s, Segment::Any)).count() > 3 {
            return Err(bad("at most three `**`"));
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The segments after the leading `/`; a trailing `/` is an empty last segment.
fn split(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    inner.split('/').filter(move |s| !(s.is_empty() && inner.is_empty()))
}

/// A segment's bytes, decoded once.
fn decode(segment: &str) -> Result<Vec<u8>, String> {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let hex = rest.get(at + 1..at + 3).unwrap_or_default();
        if hex.len() != 2 || !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err("`%` is not followed by two hexadecimal digits".to_owned());
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    Ok(percent_decode_str(segment).collect())
}

/// Refuses what a server, or a proxy before it, might read as leaving the path, decoding as often as it takes.
fn check_segment(segment: &str) -> Result<Vec<u8>, String> {
    let once = decode(segment)?;
    let mut bytes = once.clone();
    for _ in 0..4 {
        if bytes.iter().any(|b| *b < 0x20 || *b == 0x7f) {
            return Err("control characters are not allowed".to_owned());
        }
        if bytes.contains(&b'/') || bytes.contains(&b'\\') {
            return Err("encoded slashes and backslashes are not allowed".to_owned());
        }
        // Some servers cut `;parameters` off a segment before they look for dots.
        let name = bytes.split(|b| *b == b';').next().unwrap_or_default();
        if name == b"." || name == b".." {
            return Err("`.` and `..` are not allowed".to_owned());
        }
        let next: Vec<u8> = percent_encoding::percent_decode(&bytes).collect();
        if next == bytes {
            return Ok(once);
        }
        bytes = next;
    }
    Err("it is percent-encoded too many times".to_owned())
}

/// A path (with query) that a guest wrote, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative<'a> {
    path: &'a str,
    query: Option<&'a str>,
    segments: Vec<Vec<u8>>,
}

impl<'a> Relative<'a> {
    /// Parses `/path?query`; the empty path is the base itself.
    ///
    /// # Errors
    /// Names the value and what is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, EgressError> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let bad = |why: &str| EgressError::Invalid(format!("the path `{}` cannot be used: {why}", shown(path)));
        if text.len() > crate::origin::MAX_URL {
            return Err(bad("it is longer than 8 KiB"));
        }
        if !path.is_empty() && !path.starts_with('/') {
            return Err(bad("it must begin with `/`"));
        }
        if text.chars().any(char::is_control) {
            return Err(bad("control characters are not allowed"));
        }
        if text.contains('#') {
            return Err(bad("a fragment is not sent to servers"));
        }
        if path.contains('\\') {
            return Err(bad("backslashes are not allowed"));
        }
        let raw: Vec<&str> = split(path).collect();
        let last = raw.len().saturating_sub(1);
        if raw.iter().enumerate().any(|(i, s)| s.is_empty() && i != last) || path.starts_with("//") {
            return Err(bad("empty segments (`//`) are not allowed"));
        }
        let segments = raw.iter().map(|s| check_segment(s)).collect::<Result<_, _>>().map_err(|e| bad(&e))?;
        Ok(Self { path, query, segments })
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.path
    }

    /// Whether the query already has this parameter.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.query.is_some_and(|q| url::form_urlencoded::parse(q.as_bytes()).any(|(k, _)| k == name))
    }

    /// Whether one of the patterns matches; no patterns allow everything.
    pub fn allowed_by<'p>(&self, patterns: impl IntoIterator<Item = &'p PathPattern>) -> bool {
        let mut any = false;
        for pattern in patterns {
            any = true;
            if pattern.matches(&self.segments) {
                return true;
            }
        }
        !any
    }

    /// `base` (with `insert` after its path) followed by this path and query. The result has the base's origin and begins with its path.
    ///
    /// # Errors
    /// The joined URL would not, which the checks above exclude; it is verified all the same.
    pub fn join(&self, base: &Url, insert: &str) -> Result<Url, EgressError> {
        let prefix = format!("{}{insert}", base.path().trim_end_matches('/'));
        let mut url = base.clone();
        url.set_path(&format!("{prefix}{}", self.path));
        url.set_query(self.query);
        url.set_fragment(None);
        let inside = url.path() == prefix
            || (prefix.is_empty() && url.path().starts_with('/'))
            || url.path().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if inside && url.host() == base.host() && url.port() == base.port() && url.scheme() == base.scheme() {
            Ok(url)
        } else {
            Err(EgressError::Invalid(format!("the path `{}` leaves its endpoint", shown(self.path))))
        }
    }
}

#[cfg(test)]
mod tests;
