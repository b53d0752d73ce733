//! What a component did, as its test sees it.

use crate::http::Target;
use crate::log::Level;
use serde::{Deserialize, Serialize};

/// A request that was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// `GET`, `POST` …
    pub method: String,
    /// Where to.
    pub target: Target,
    /// Headers besides those the kernel adds.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there was none.
    pub body: Vec<u8>,
    /// The longest wait, if one was given.
    pub timeout_ms: Option<u32>,
}

impl Sent {
    /// The path with its query, or the URL.
    pub fn path(&self) -> &str {
        match &self.target {
            Target::Endpoint { path, .. } => path,
            Target::Handle(text) | Target::Public(text) => text,
        }
    }

    /// The first header of a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A line in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}
