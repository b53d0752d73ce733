//! The network, as this room sees it: a port that somebody with a door implements. Nothing here opens a socket.

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

/// One request.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// `GET`, `HEAD`, `POST`, `PUT`.
    pub method: &'static str,
    /// `https`, or plain http to this machine.
    pub url: Url,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Sent as it is.
    pub body: Bytes,
    /// The largest answer that is read, bytes.
    pub max: u64,
}

impl FetchRequest {
    /// `GET url`, with an answer of at most `max` bytes.
    pub fn get(url: Url, max: u64) -> Self {
        Self { method: "GET", url, headers: Vec::new(), body: Bytes::new(), max }
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A whole answer. A status is not an error.
#[derive(Debug, Clone)]
pub struct FetchResponse {
    /// HTTP status, redirects followed.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl FetchResponse {
    /// The first header of that name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// More than [`FetchRequest::max`].
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// Refused by the door, unreachable, broken off.
    #[error("{0}")]
    Failed(String),
}

/// Sends requests to registries. Redirects are followed by the door's own rules, and take no `authorization` to another
/// origin.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// One exchange.
    ///
    /// # Errors
    /// Nobody answered, or with too much.
    async fn send(&self, request: FetchRequest) -> Result<FetchResponse, FetchError>;
}

/// No network at all: registries in directories work without one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

#[async_trait]
impl Fetch for Offline {
    async fn send(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        Err(FetchError::Failed(format!("{}: there is no network here", request.url)))
    }
}
