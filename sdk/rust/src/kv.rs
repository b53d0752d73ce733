//! Durable key-value pairs in the instance's own namespace. The manifest asks with `[kv]`; a tool's `uses` name `"kv"`.
//!
//! Keys are 1 to 512 bytes of UTF-8, values at most 1 MiB, all together at most `kv-size`.

use crate::{Error, host};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A value and its version, for [`swap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Grows with each write.
    pub version: u64,
}

/// The value of a key.
///
/// # Errors
/// Denied, or the key is malformed.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(host::kv_get(key)?.map(|e| e.value))
}

/// The value of a key with its version.
///
/// # Errors
/// As [`get`].
pub fn entry(key: &str) -> Result<Option<Entry>, Error> {
    host::kv_get(key)
}

/// The value of a key, read as JSON.
///
/// # Errors
/// As [`get`]; [`Invalid`](Error::Invalid) if what is stored does not fit the type.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(entry) = host::kv_get(key)? else { return Ok(None) };
    let read = serde_json::from_slice(&entry.value);
    read.map(Some).map_err(|e| Error::Invalid(format!("what is stored under `{key}` cannot be read: {e}")))
}

/// Stores a value, for ever. Gives its version.
///
/// # Errors
/// Denied, malformed, too large, or the quota is full.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
    host::kv_set(key, value.as_ref(), None)
}

/// Stores a value that vanishes after a time. Gives its version.
///
/// # Errors
/// As [`set`].
pub fn set_for(key: &str, value: impl AsRef<[u8]>, ttl: Duration) -> Result<u64, Error> {
    host::kv_set(key, value.as_ref(), Some(millis(ttl)))
}

/// Stores a value as JSON, for ever. Gives its version.
///
/// # Errors
/// As [`set`]; [`Invalid`](Error::Invalid) if the value cannot be written as JSON.
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<u64, Error> {
    let text = serde_json::to_vec(value).map_err(|e| Error::Invalid(format!("the value for `{key}`: {e}")))?;
    host::kv_set(key, &text, None)
}

/// Removes a key; says whether it was there.
///
/// # Errors
/// As [`get`].
pub fn delete(key: &str) -> Result<bool, Error> {
    host::kv_delete(key)
}

/// At most 1,000 keys with a prefix, after the key `after`, in byte order.
///
/// # Errors
/// Denied.
pub fn keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Error> {
    host::kv_keys(prefix, after, limit)
}

/// Writes only if the stored version is `expected` (`None`: the key does not exist); says whether it did.
///
/// # Errors
/// As [`set`].
pub fn swap(key: &str, expected: Option<u64>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<bool, Error> {
    host::kv_swap(key, expected, value.as_ref(), ttl.map(millis))
}

/// In which form the pairs are kept: the number (`[kv] schema`) of the version that wrote the first of them, or that last said [`migrated`].
/// The running version's own if there are none. Lower than that, and there is something to bring up to date.
///
/// # Errors
/// Denied.
pub fn schema() -> Result<u32, Error> {
    host::kv_schema()
}

/// Says that the pairs are in this version's form now. Two calls may bring them up to date at once: write with [`swap`].
///
/// # Errors
/// Denied.
pub fn migrated() -> Result<(), Error> {
    host::kv_migrated()
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
