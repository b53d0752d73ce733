//! HTTP through the kernel's one door. Credentials are added there, never here.
//!
//! ```no_run
//! # use carapace_sdk::prelude::*;
//! # #[derive(Deserialize)] struct Day { summary: String }
//! # fn forecast() -> Result<String, ToolError> {
//! let day: Day = http::get("api", "/daily/today").query("units", "metric").send()?.success()?.json()?;
//! # Ok(day.summary) }
//! ```
//!
//! The manifest asks with `[[http]]`, and a tool's `uses` name `"http:<endpoint>"`; [`public`] needs `http = "public"`.

mod body;
mod error;
mod response;

pub use body::{Body, Form};
pub use error::{Error, Stage};
pub use response::{Chunks, Response};

use crate::bindings::imports::carapace::plugin::http as wit;
use crate::host::{self, Outgoing};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A path, with its query, under an endpoint of the manifest.
    Endpoint {
        /// The endpoint's name.
        endpoint: String,
        /// Begins with `/`.
        path: String,
    },
    /// An opaque handle that a `capture` rule put in place of a link.
    Handle(String),
    /// Any public address, by GET or HEAD.
    Public(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Endpoint { endpoint, path } => write!(f, "{endpoint}:{path}"),
            Self::Handle(_) => f.write_str("a captured link"),
            Self::Public(url) => f.write_str(url),
        }
    }
}

/// A request being built; [`send`](Self::send) sends it.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    out: Outgoing,
    wrong: Option<String>,
}

/// GET under an endpoint.
pub fn get(endpoint: &str, path: impl Into<String>) -> Request {
    request("GET", endpoint, path)
}

/// POST under an endpoint.
pub fn post(endpoint: &str, path: impl Into<String>) -> Request {
    request("POST", endpoint, path)
}

/// PUT under an endpoint.
pub fn put(endpoint: &str, path: impl Into<String>) -> Request {
    request("PUT", endpoint, path)
}

/// PATCH under an endpoint.
pub fn patch(endpoint: &str, path: impl Into<String>) -> Request {
    request("PATCH", endpoint, path)
}

/// DELETE under an endpoint.
pub fn delete(endpoint: &str, path: impl Into<String>) -> Request {
    request("DELETE", endpoint, path)
}

/// Any method under an endpoint.
pub fn request(method: &str, endpoint: &str, path: impl Into<String>) -> Request {
    to(method, Target::Endpoint { endpoint: endpoint.to_owned(), path: path.into() })
}

/// GET of any public address, without credentials. Needs the permission `http = "public"`.
pub fn public(url: impl Into<String>) -> Request {
    to("GET", Target::Public(url.into()))
}

/// GET of a link that a `capture` rule replaced.
pub fn captured(handle: impl Into<String>) -> Request {
    to("GET", Target::Handle(handle.into()))
}

/// Any method, any target.
pub fn to(method: &str, target: Target) -> Request {
    Request {
        out: Outgoing {
            method: method.to_owned(),
            target,
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
            extra: Vec::new(),
        },
        wrong: None,
    }
}

impl Request {
    /// Adds a header. Those that carry credentials or frame the request are the kernel's.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.out.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter to the query, encoded. A captured link has no query of ours.
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let (Target::Endpoint { path: address, .. } | Target::Public(address)) = &mut self.out.target else {
            self.wrong = Some("a captured link takes no query".to_owned());
            return self;
        };
        address.push(if address.contains('?') { '&' } else { '?' });
        encode(name, address);
        address.push('=');
        encode(value.as_ref(), address);
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.out.body = Some(body.into());
        self
    }

    /// A body with [blobs](crate::blob) in it. Not for requests that leave with an [outcome](crate::channel::Outcome).
    pub fn pieces(mut self, body: Body) -> Self {
        self.out.extra.extend(body.blobs);
        self.body(body.bytes)
    }

    /// A form with text and files, with its content type.
    pub fn form(self, form: Form) -> Self {
        let (kind, body) = form.into_body();
        self.header("content-type", kind).pieces(body)
    }

    /// A body of JSON, with its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(e) => {
                self.wrong = Some(format!("the body cannot be written as JSON: {e}"));
                self
            }
        }
    }

    /// The longest wait for the response's head. Without it: the call's remaining time.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.out.timeout_ms = Some(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// As what the kernel sends later.
    pub(crate) fn for_later(self) -> Result<wit::Request, String> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if !self.out.extra.is_empty() => {
                Err("a request that leaves after the commit holds no blob; send it yourself".to_owned())
            }
            None => Ok(self.out.into()),
        }
    }

    /// Sends it, and waits for the response's head. Any status is a response; see [`Response::success`].
    ///
    /// # Errors
    /// Not allowed, not reachable, or not answered in time. [`Error::was_sent`] says whether trying again is safe.
    pub fn send(self) -> Result<Response, Error> {
        if let Some(wrong) = self.wrong {
            return Err(Error::new(crate::Error::Invalid(wrong), Stage::Before));
        }
        let what = format!("{} {}", self.out.method, self.out.target);
        match host::send(self.out) {
            Ok(incoming) => Ok(Response::new(incoming, what)),
            Err((error, sent)) => Err(Error::new(error, if sent { Stage::Sent } else { Stage::Before })),
        }
    }
}

/// A text as one segment of a path, encoded.
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    encode(text, &mut out);
    out
}

/// `application/x-www-form-urlencoded` (WHATWG URL), with `%20` for a space: that is right in a query of any kind.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0').to_ascii_uppercase();
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_encoded_and_joined() {
        let r = get("api", "/find").query("q", "a b&c=ü").query("n", "1");
        assert_eq!(r.out.target.to_string(), "api:/find?q=a%20b%26c%3D%C3%BC&n=1");
        let r = public("https://example.com/?x=1").query("y", "~");
        assert_eq!(r.out.target.to_string(), "https://example.com/?x=1&y=~");
    }

    #[test]
    fn a_segment_holds_no_slash_of_its_own() {
        assert_eq!(segment("👍 a/b:1.png"), "%F0%9F%91%8D%20a%2Fb%3A1.png");
    }

    #[test]
    fn json_brings_its_content_type() {
        let r = post("api", "/").json(&[1, 2]);
        assert_eq!(r.out.body.as_deref(), Some(b"[1,2]".as_slice()));
        assert_eq!(r.out.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    }

    #[test]
    fn what_cannot_be_sent_is_said_when_it_is_sent() {
        let e = captured("h").query("a", "b").send().unwrap_err();
        assert!(!e.was_sent() && e.to_string().contains("query"), "{e}");
    }
}
