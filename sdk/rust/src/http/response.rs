//! A response: its head, and its body piece by piece.

use super::{Error, Stage};
use crate::host;
use serde::de::DeserializeOwned;

/// Bytes asked for at once: a token's event is far smaller, a whole answer not much larger.
const PIECE: u32 = 64 << 10;
/// The most that [`Response::json`] and [`Response::text`] read, bytes.
const WHOLE: usize = 8 << 20;
/// How much of an error's body is quoted, characters.
const EXCERPT: usize = 300;

/// A response. The body is read as it arrives; what is not read is thrown away.
#[derive(Debug)]
pub struct Response {
    incoming: host::Incoming,
    what: String,
}

impl Response {
    pub(crate) fn new(incoming: host::Incoming, what: String) -> Self {
        Self { incoming, what }
    }

    /// The status, e.g. 200.
    pub fn status(&self) -> u16 {
        host::status(&self.incoming)
    }

    /// The status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    /// All headers, in order.
    pub fn headers(&self) -> Vec<(String, String)> {
        host::headers(&self.incoming)
    }

    /// The first header of a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// Where it came from, after redirects; without query or credentials.
    pub fn url(&self) -> String {
        host::url(&self.incoming)
    }

    /// Itself, if the status is 200 to 299.
    ///
    /// # Errors
    /// The status, with the beginning of the body: `NotFound` for 404 and 410, `Unavailable` for 408, 429 and 500 and above, else `Invalid`.
    pub fn success(self) -> Result<Self, Error> {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let body = self.read(PIECE).unwrap_or_default();
        let mut excerpt: String = String::from_utf8_lossy(&body).trim().chars().take(EXCERPT).collect();
        if excerpt.is_empty() {
            excerpt.push_str("(no text)");
        }
        let text = format!("{} answered {status}: {excerpt}", self.what);
        let error = match status {
            404 | 410 => crate::Error::NotFound(text),
            408 | 429 | 500.. => crate::Error::Unavailable(text),
            _ => crate::Error::Invalid(text),
        };
        // The answer is whole: it is the server that failed, not what it sent.
        Err(Error::new(error, Stage::Sent))
    }

    /// The next bytes, at most `max` (1 MiB); an empty list is the end.
    ///
    /// # Errors
    /// The connection broke, the answer is too large, or the run was cancelled.
    pub fn read(&self, max: u32) -> Result<Vec<u8>, Error> {
        host::read(&self.incoming, max).map_err(|e| Error::new(e, Stage::Reading))
    }

    /// Keeps what was not read yet as a [blob](crate::blob), without ever having it here; its id. Needs `[blob]`.
    ///
    /// # Errors
    /// As [`read`](Self::read); it is longer than `max` bytes; denied.
    pub fn to_blob(&self, max: u64) -> Result<String, Error> {
        host::to_blob(&self.incoming, max).map_err(|e| Error::new(e, Stage::Reading))
    }

    /// The body as it arrives.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { response: self, done: false }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`read`](Self::read); it is longer than `max` bytes.
    pub fn bytes(&self, max: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        for chunk in self.chunks() {
            all.extend(chunk?);
            if all.len() > max {
                let text = format!("{} answered with more than {max} bytes", self.what);
                return Err(Error::new(crate::Error::Limit(text), Stage::Answered));
            }
        }
        Ok(all)
    }

    /// The beginning of the body: at most `max` bytes of it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn beginning(&self, max: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        for chunk in self.chunks() {
            all.extend(chunk?);
            if all.len() >= max {
                break;
            }
        }
        all.truncate(max);
        Ok(all)
    }

    /// The whole body as text, at most 8 MiB; what is not UTF-8 becomes `�`.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn text(&self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.bytes(WHOLE)?).into_owned())
    }

    /// The whole body read as JSON, at most 8 MiB.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); `Unavailable` if it does not fit the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let body = self.bytes(WHOLE)?;
        serde_json::from_slice(&body).map_err(|e| {
            let excerpt: String = String::from_utf8_lossy(&body).trim().chars().take(EXCERPT).collect();
            let text = format!("{} answered what cannot be read ({e}): {excerpt}", self.what);
            Error::new(crate::Error::Unavailable(text), Stage::Answered)
        })
    }
}

/// See [`Response::chunks`].
#[derive(Debug)]
pub struct Chunks<'a> {
    response: &'a Response,
    done: bool,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.response.read(PIECE);
        self.done = !matches!(&next, Ok(bytes) if !bytes.is_empty());
        match next {
            Ok(bytes) if bytes.is_empty() => None,
            other => Some(other),
        }
    }
}
