//! Where a directory registry lies: a directory (a USB stick is one), or the same directory behind HTTPS.

use crate::error::RegistryError;
use crate::fetch::{Fetch, FetchError, FetchRequest};
use crate::files::{self, ReadError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::{Host, Url};

/// An absolute path, `https://…`, or plain `http://` to this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A base URL, ending in `/`.
    Web(Url),
}

/// Whether a URL certainly leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// An absolute URL that may be fetched: https, or plain http to this machine; no user, no fragment.
///
/// # Errors
/// Anything else.
pub fn web(text: &str) -> Result<Url, RegistryError> {
    let bad = |why: &str| RegistryError::Location { location: text.chars().take(200).collect(), why: why.to_owned() };
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(bad("it holds white space, a backslash or control characters"));
    }
    let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("user names and passwords do not belong into a URL"));
    }
    if url.fragment().is_some() {
        return Err(bad("it has a fragment"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(bad("plain http is for this machine only; use https")),
        _ => Err(bad("use https")),
    }
}

impl FromStr for Location {
    type Err = RegistryError;
    fn from_str(s: &str) -> Result<Self, RegistryError> {
        let bad = |why: &str| RegistryError::Location { location: s.chars().take(200).collect(), why: why.to_owned() };
        if s.contains("://") {
            let mut url = web(s)?;
            if url.query().is_some() {
                return Err(bad("a registry's URL has no query"));
            }
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            return Ok(Self::Web(url));
        }
        let path = PathBuf::from(s);
        if path.is_absolute() { Ok(Self::Directory(path)) } else { Err(bad("neither an absolute path nor a URL")) }
    }
}

impl TryFrom<String> for Location {
    type Error = RegistryError;
    fn try_from(s: String) -> Result<Self, RegistryError> {
        s.parse()
    }
}

impl From<Location> for String {
    fn from(l: Location) -> Self {
        l.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Web(url) => write!(f, "{url}"),
        }
    }
}

impl Location {
    /// The file `name` (`index.json`, `packages/<hex>.wasm`: made here, never taken from an index), at most `max` bytes.
    ///
    /// # Errors
    /// It is not there, too large, not an ordinary file, or nobody answers.
    pub async fn read(&self, name: &str, max: usize, fetch: &dyn Fetch) -> Result<Bytes, RegistryError> {
        match self {
            Self::Directory(dir) => read_file(dir, name, max).map(Bytes::from),
            Self::Web(base) => {
                let url = base
                    .join(name)
                    .map_err(|e| RegistryError::Location { location: base.to_string(), why: e.to_string() })?;
                read_url(url, max, fetch).await
            }
        }
    }
}

/// `GET`, and it must be there.
///
/// # Errors
/// Nobody answers, another status than 200, too large.
pub(crate) async fn read_url(url: Url, max: usize, fetch: &dyn Fetch) -> Result<Bytes, RegistryError> {
    let what = url.to_string();
    let response = fetch.send(FetchRequest::get(url, max as u64)).await.map_err(|e| match e {
        FetchError::TooLarge(_) => RegistryError::TooLarge { what: what.clone(), max },
        FetchError::Failed(why) => RegistryError::Unreachable { what: what.clone(), why },
    })?;
    match response.status {
        200 if response.body.len() <= max => Ok(response.body),
        200 => Err(RegistryError::TooLarge { what, max }),
        404 | 410 => Err(RegistryError::Missing(what)),
        status => Err(RegistryError::Unreachable { what, why: format!("HTTP {status}") }),
    }
}

/// An ordinary file below `dir`. A link on a stranger's medium could lead anywhere, and a device never ends.
pub(crate) fn read_file(dir: &Path, name: &str, max: usize) -> Result<Vec<u8>, RegistryError> {
    let path = dir.join(name);
    files::read_below(dir, name, max as u64).map_err(|e| match e {
        ReadError::Missing => RegistryError::Missing(path.display().to_string()),
        ReadError::NotAFile => RegistryError::NotAFile(path),
        ReadError::TooLarge(_) => RegistryError::TooLarge { what: path.display().to_string(), max },
        ReadError::Io(e) => RegistryError::Unreachable { what: path.display().to_string(), why: e.to_string() },
    })
}
