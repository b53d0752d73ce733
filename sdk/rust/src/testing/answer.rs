//! Scripted answers to HTTP requests.

use crate::Error;
use serde::{Deserialize, Serialize};

/// What a server answers in a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// None: where the request went.
    pub(crate) url: Option<String>,
    pub(crate) chunks: Vec<Vec<u8>>,
    /// After the chunks.
    pub(crate) breaks: Option<Error>,
    /// Instead of an answer: the error, and whether the request had been sent.
    pub(crate) fails: Option<(Error, bool)>,
}

impl Answer {
    /// A status, without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), url: None, chunks: Vec::new(), breaks: None, fails: None }
    }

    /// No answer: the server cannot be reached, and nothing was sent.
    pub fn unreachable() -> Self {
        Self::failing(Error::Unavailable("connection refused".to_owned()), false)
    }

    /// No answer, for any reason. `sent`: whether a byte of the request may have reached the server.
    pub fn failing(error: Error, sent: bool) -> Self {
        Self { fails: Some((error, sent)), ..Self::new(0) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// It comes from there, after redirects.
    #[must_use]
    pub fn redirected(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Adds a piece of the body: what one read gives, if it asks for enough.
    #[must_use]
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        // An empty piece would be the end.
        if !bytes.as_ref().is_empty() {
            self.chunks.push(bytes.as_ref().to_vec());
        }
        self
    }

    /// Adds several pieces of the body.
    #[must_use]
    pub fn chunks<B: AsRef<[u8]>>(self, pieces: impl IntoIterator<Item = B>) -> Self {
        pieces.into_iter().fold(self, Self::chunk)
    }

    /// Adds a body of JSON, with its content type.
    #[must_use]
    pub fn json(self, value: serde_json::Value) -> Self {
        self.header("content-type", "application/json").chunk(value.to_string())
    }

    /// Adds server-sent events, each a piece of the body, with their content type.
    #[must_use]
    pub fn events<T: AsRef<str>>(self, data: impl IntoIterator<Item = T>) -> Self {
        let answer = self.header("content-type", "text/event-stream");
        data.into_iter().fold(answer, |a, d| a.chunk(format!("data: {}\n\n", d.as_ref())))
    }

    /// After what was added so far, the body breaks off.
    #[must_use]
    pub fn breaks(mut self, error: Error) -> Self {
        self.breaks = Some(error);
        self
    }
}

/// An answer, and what it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    /// None: any request.
    pub(crate) method: Option<String>,
    /// `endpoint:/path` or a URL; none: any. Without a query it fits any query.
    pub(crate) target: Option<String>,
    pub(crate) answer: Answer,
}

impl Exchange {
    pub(crate) fn fits(&self, method: &str, target: &str) -> bool {
        let same = |wanted: &String| {
            let path = target.split_once('?').map_or(target, |(path, _)| path);
            wanted == target || wanted == path
        };
        self.method.as_ref().is_none_or(|m| m == method) && self.target.as_ref().is_none_or(same)
    }
}
