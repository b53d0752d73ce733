//! The kernel, as a provider sees it.

use crate::bindings::carapace::plugin::{clock, completion, config, http, log, random};
use crate::{Error, Event};

/// An answer's head and body.
pub trait Reply {
    /// HTTP status.
    fn status(&self) -> u16;
    /// Response headers.
    fn headers(&self) -> Vec<(String, String)>;
    /// The next bytes; empty = the end.
    fn read(&mut self) -> Result<Vec<u8>, Error>;

    /// A header's value, whatever the case of its name.
    fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The whole body, at most `limit` bytes of it.
    fn body(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        while out.len() < limit {
            let bytes = self.read()?;
            if bytes.is_empty() {
                break;
            }
            out.extend_from_slice(&bytes);
        }
        out.truncate(limit);
        Ok(out)
    }
}

/// A request to an endpoint of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// The endpoint's name in the manifest.
    pub endpoint: &'static str,
    /// Path under the endpoint's base.
    pub path: String,
    /// Headers besides those the kernel adds.
    pub headers: Vec<(String, String)>,
    /// Body, if any.
    pub body: Option<Vec<u8>>,
}

/// What a provider asks of the kernel. [`Kernel`] in a component; a fake in tests.
pub trait Door {
    /// An answer.
    type Reply: Reply;
    /// Sends a request.
    fn send(&self, request: Outgoing) -> Result<Self::Reply, http::Failure>;
    /// Pushes an event to the reader.
    fn emit(&self, event: Event) -> Result<(), Error>;
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;
    /// Twelve random bytes in hexadecimal, for ids a server left out.
    fn unique(&self) -> String;
    /// The instance's own section, JSON.
    fn section(&self) -> String;
    /// A line in the log.
    fn note(&self, message: &str);
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

/// Bytes asked for at once: a token's event is far smaller, a whole answer not much larger.
const READ: u32 = 64 << 10;

impl Reply for http::Response {
    fn status(&self) -> u16 {
        Self::status(self)
    }
    fn headers(&self) -> Vec<(String, String)> {
        Self::headers(self)
    }
    fn read(&mut self) -> Result<Vec<u8>, Error> {
        Self::read(self, READ)
    }
}

impl Door for Kernel {
    type Reply = http::Response;
    fn send(&self, r: Outgoing) -> Result<http::Response, http::Failure> {
        http::send(&http::Request {
            method: r.method.to_owned(),
            target: http::Target::Endpoint((r.endpoint.to_owned(), r.path)),
            headers: r.headers,
            body: r.body.map_or(http::Body::None, http::Body::Bytes),
            timeout_ms: None,
            extra: Vec::new(),
        })
    }
    fn emit(&self, event: Event) -> Result<(), Error> {
        completion::emit(&event)
    }
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }
    fn unique(&self) -> String {
        // Without randomness the clock still tells two calls of one session apart.
        let bytes = random::bytes(12).unwrap_or_else(|_| clock::monotonic_ms().to_be_bytes().to_vec());
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
    fn section(&self) -> String {
        config::get()
    }
    fn note(&self, message: &str) {
        log::write(log::Level::Info, message, &[]);
    }
}
