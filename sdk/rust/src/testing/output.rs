//! What a tool gave.

use crate::tools::Content;
use serde_json::Value;

/// The content that a tool's call returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub(crate) content: Vec<Content>,
}

impl Output {
    /// All parts.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    /// The texts, and structured parts as JSON, joined by line feeds.
    pub fn text(&self) -> String {
        let text = |c: &Content| match c {
            Content::Text(t) | Content::Structured(t) | Content::Other(t) => Some(t.clone()),
            Content::Image(_) | Content::File(_) => None,
        };
        self.content.iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }

    /// The structured part; `null` if there is none.
    pub fn json(&self) -> Value {
        let json = |c: &Content| if let Content::Structured(t) = c { serde_json::from_str(t).ok() } else { None };
        self.content.iter().find_map(json).unwrap_or_default()
    }
}
