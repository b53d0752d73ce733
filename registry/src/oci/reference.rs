//! `oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`

use crate::error::RegistryError;
use crate::location::is_loopback;
use carapace_contract::Digest;
use std::fmt;
use std::str::FromStr;
use url::Url;

/// What such references begin with.
pub const SCHEME: &str = "oci://";

/// A place in an OCI registry. Plain http is spoken to this machine, https to everybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `https://HOST:PORT/`
    pub(super) base: Url,
    /// `HOST[:PORT]`, as given.
    host: String,
    /// `team/weather`
    pub(super) repository: String,
    /// A tag; none if only a digest was given.
    pub(super) tag: Option<String>,
    /// The manifest's digest, if it was given.
    pub(super) digest: Option<Digest>,
}

impl Reference {
    /// `HOST[:PORT]`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The registry's own address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// What a manifest is asked for by: the digest if there is one, else the tag.
    pub(super) fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }

    /// The same with another tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The same at exactly that manifest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Whether a tag was named.
    pub fn has_tag(&self) -> bool {
        self.tag.is_some()
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the distribution specification has it.
fn is_component(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut runs = Vec::new();
    let mut run = String::new();
    for byte in text.bytes() {
        if inner(byte) {
            runs.extend((!run.is_empty()).then(|| std::mem::take(&mut run)));
        } else {
            run.push(char::from(byte));
        }
    }
    let ends = |b: Option<u8>| b.is_some_and(inner);
    let separator = |run: &String| matches!(run.as_str(), "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    ends(text.bytes().next()) && ends(text.bytes().next_back()) && runs.iter().all(separator)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = RegistryError;
    fn from_str(s: &str) -> Result<Self, RegistryError> {
        let bad = |why: &str| RegistryError::OciReference(s.chars().take(300).collect(), why.to_owned());
        let rest = s.strip_prefix(SCHEME).ok_or_else(|| bad("it does not begin with oci://"))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| bad("it names no repository"))?;
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => {
                let digest = Some(digest).filter(|d| d.starts_with("sha256:")).and_then(|d| d.parse().ok());
                (path, Some(digest.ok_or_else(|| bad("after the @ stands no sha256 digest"))?))
            }
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(bad("a repository is lower-case words of letters, digits, `.`, `_` and `-`, between slashes"));
        }
        if tag.is_some_and(|t| !is_tag(t)) {
            return Err(bad(
                "the tag is longer than 128 or holds something else than letters, digits, `.`, `_` and `-`",
            ));
        }
        let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
        let base =
            Some(host).filter(|h| named && !h.is_empty()).and_then(|h| Url::parse(&format!("https://{h}/")).ok());
        let mut base = base.ok_or_else(|| bad("the host is none"))?;
        if is_loopback(&base) {
            base = Url::parse(&format!("http://{host}/")).map_err(|e| bad(&e.to_string()))?;
        }
        Ok(Self { base, host: host.to_owned(), repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}
