//! Media: bytes that the kernel keeps under the name of what they are. It says what they are, whatever anybody else says.

use crate::{Error, host};

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Info {
    /// Bytes.
    pub size: u64,
    /// What the bytes are, as the kernel sees it.
    pub mime: String,
}

/// Keeps up to 8 MiB; the id is the SHA-256 of the bytes, lower-case hex. What a server answers is better kept by
/// [`Response::to_blob`](crate::http::Response::to_blob).
///
/// # Errors
/// Denied; [`Limit`](Error::Limit) if it is too long, or empty.
pub fn put(data: &[u8]) -> Result<String, Error> {
    host::blob_put(data)
}

/// What a blob is that this instance brought or was given.
///
/// # Errors
/// Denied; [`NotFound`](Error::NotFound) if there is none, or no longer.
pub fn describe(id: &str) -> Result<Info, Error> {
    host::blob_describe(id)
}

/// At most `max` bytes (1 MiB) from `offset`; an empty list is the end.
///
/// # Errors
/// As [`describe`].
pub fn read(id: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
    host::blob_read(id, offset, max)
}
