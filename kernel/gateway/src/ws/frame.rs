//! Frames of the OpenClaw gateway protocol v4 (npm `@openclaw/gateway-protocol`, `protocol.schema.json`).

use crate::problem::{Problem, classify};
use crate::ws::queue::Outgoing;
use carapace_contract::turn::TurnError;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// A request frame.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) params: Value,
}

#[derive(Deserialize)]
struct RawRequest {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    method: String,
    #[serde(default)]
    params: Value,
}

impl Request {
    /// Parses a text frame; the error says what is wrong with it.
    pub(crate) fn parse(text: &str, depth: usize) -> Result<Self, String> {
        crate::http::body::depth(text.as_bytes(), depth)
            .map_err(|at| format!("the frame nests deeper than {depth} at byte {at}"))?;
        let raw: RawRequest = serde_json::from_str(text).map_err(|e| format!("not a request frame: {e}"))?;
        if raw.kind != "req" || raw.id.is_empty() || raw.id.len() > 256 || raw.method.is_empty() {
            return Err("a request frame needs type \"req\", an id of 1 to 256 bytes and a method".into());
        }
        let params = if raw.params.is_null() { json!({}) } else { raw.params };
        Ok(Self { id: raw.id, method: raw.method, params })
    }
}

/// A typed failure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Value>>,
    pub(crate) retryable: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, retryable: false, retry_after: None }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new("INVALID_REQUEST", message)
    }

    /// It cannot be done, now or here.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new("UNAVAILABLE", message)
    }

    /// The connection may not.
    pub(crate) fn missing_scope(scope: &str) -> Self {
        Self::new("FORBIDDEN", format!("missing scope: {scope}"))
            .details(json!({"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]}))
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    pub(crate) fn retryable(mut self, after: Option<Duration>) -> Self {
        self.retryable = true;
        self.retry_after = after;
        self
    }

    pub(crate) fn json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "retryable": self.retryable});
        if let Some(error) = error.as_object_mut() {
            if let Some(details) = &self.details {
                error.insert("details".into(), (**details).clone());
            }
            if let Some(after) = self.retry_after {
                error.insert("retryAfterMs".into(), json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
            }
        }
        error
    }
}

impl From<TurnError> for Failure {
    fn from(e: TurnError) -> Self {
        let failure = match classify(&e.code) {
            Problem::Invalid | Problem::UnknownModel | Problem::ContextLength => Self::invalid(e.message),
            _ if e.retryable => Self::unavailable(e.message).retryable(None),
            _ => Self::unavailable(e.message),
        };
        failure.details(json!({"code": e.code}))
    }
}

/// A response frame.
pub(crate) fn response(id: &str, outcome: &Result<Value, Failure>) -> String {
    match outcome {
        Ok(payload) => json!({"type": "res", "id": id, "ok": true, "payload": payload}),
        Err(failure) => json!({"type": "res", "id": id, "ok": false, "error": failure.json()}),
    }
    .to_string()
}

/// The text of a frame; none for a close.
pub(crate) fn text(frame: Outgoing) -> Result<String, (u16, String)> {
    match frame {
        Outgoing::Text(text) => Ok(text),
        Outgoing::Event { name, payload, seq: Some(seq) } => {
            Ok(format!(r#"{{"type":"event","event":"{name}","payload":{payload},"seq":{seq}}}"#))
        }
        Outgoing::Event { name, payload, seq: None } => {
            Ok(format!(r#"{{"type":"event","event":"{name}","payload":{payload}}}"#))
        }
        Outgoing::Close { code, reason } => Err((code, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_no_request_is_named() {
        for bad in ["", "[]", "{}", r#"{"type":"res","id":"1","method":"x"}"#, r#"{"type":"req","id":"","method":"x"}"#]
        {
            assert!(Request::parse(bad, 32).is_err(), "{bad}");
        }
        let deep = format!(r#"{{"type":"req","id":"1","method":"x","params":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
        assert!(Request::parse(&deep, 32).unwrap_err().contains("deeper than 32"));
    }

    #[test]
    fn absent_params_are_an_empty_object() {
        assert_eq!(Request::parse(r#"{"type":"req","id":"1","method":"x"}"#, 32).unwrap().params, json!({}));
    }

    #[test]
    fn an_event_frame_is_json() {
        let frame = Outgoing::Event { name: "tick", payload: r#"{"ts":1}"#.into(), seq: Some(3) };
        let parsed: Value = serde_json::from_str(&text(frame).unwrap()).unwrap();
        assert_eq!(parsed, json!({"type": "event", "event": "tick", "payload": {"ts": 1}, "seq": 3}));
    }
}
