//! Where in a request the parts of a message stand.

use carapace_sdk::channel::WebhookRequest;
use serde::Deserialize;
use serde_json::Value;

/// The instance's section of the configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) fields: Fields,
    /// For so long the receiver of answers drops a second one with the same `webhook-id`; 0 = it does not.
    pub(crate) dedupe_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = u32::try_from(crate::DEDUPE.as_secs()).unwrap_or(0);
        Self { fields: Fields::default(), dedupe_seconds: seconds }
    }
}

/// Each is a JSON pointer into the body (`/user/id`), `header:NAME`, `query:NAME`, or `=TEXT` for the same text always.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Fields {
    pub(crate) text: String,
    pub(crate) sender: String,
    /// What the sender is called; else its id.
    pub(crate) name: String,
    /// Where answers belong; else the sender.
    pub(crate) conversation: String,
    pub(crate) thread: String,
    /// The same key is the same message; else the header `webhook-id`.
    pub(crate) key: String,
}

impl Default for Fields {
    fn default() -> Self {
        let at = |s: &str| s.to_owned();
        Self {
            text: at("/text"),
            sender: at("/from"),
            name: at("/name"),
            conversation: at("/conversation"),
            thread: at("/thread"),
            key: at("/id"),
        }
    }
}

impl Config {
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let f = &self.fields;
        for (name, source) in [
            ("text", &f.text),
            ("sender", &f.sender),
            ("name", &f.name),
            ("conversation", &f.conversation),
            ("thread", &f.thread),
            ("key", &f.key),
        ] {
            if !["/", "=", "header:", "query:"].iter().any(|p| source.starts_with(p)) {
                return Err(format!(
                    "config.fields.{name}: `{source}` is no place in a request; write a JSON pointer such as \"/{source}\", \
                     \"header:NAME\", \"query:NAME\", or \"=TEXT\""
                ));
            }
        }
        Ok(())
    }
}

/// What stands there, as text; none if nothing does, or it is empty.
pub(crate) fn find(source: &str, request: &WebhookRequest, body: &Value) -> Option<String> {
    let found = if let Some(text) = source.strip_prefix('=') {
        Some(text.to_owned())
    } else if let Some(name) = source.strip_prefix("header:") {
        request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
    } else if let Some(name) = source.strip_prefix("query:") {
        let pairs = request.query.split('&').filter_map(|p| p.split_once('='));
        pairs.into_iter().find(|(n, _)| *n == name).map(|(_, v)| decoded(v))
    } else {
        match body.pointer(source)? {
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            _ => None,
        }
    };
    found.filter(|f| !f.trim().is_empty())
}

/// A value of a query, decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = match (first, after) {
            (b'%', [a, b, ..]) => char::from(*a).to_digit(16).zip(char::from(*b).to_digit(16)),
            _ => None,
        };
        match hex {
            Some((a, b)) => {
                bytes.push(u8::try_from(a * 16 + b).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
