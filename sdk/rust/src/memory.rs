//! Short texts that last, under keys, with full-text search. What a note says may come from outside; the kernel keeps track of that.

use crate::{Error, host};
use serde::{Deserialize, Serialize};

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// 1 to 512 bytes.
    pub key: String,
    /// At most 64 KiB.
    pub text: String,
    /// Milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// Text from outside had a hand in it.
    pub tainted: bool,
    /// What a later kernel adds.
    pub extra: Vec<(String, String)>,
}

/// The note under a key.
///
/// # Errors
/// Denied, or the key is malformed.
pub fn read(key: &str) -> Result<Option<Note>, Error> {
    host::memory_read(key)
}

/// Writes a note, in place of the one under that key.
///
/// # Errors
/// Denied, malformed, too long, or the quota is full.
pub fn write(key: &str, text: &str) -> Result<(), Error> {
    host::memory_write(key, text)
}

/// Removes a note; says whether it was there.
///
/// # Errors
/// As [`read`].
pub fn delete(key: &str) -> Result<bool, Error> {
    host::memory_delete(key)
}

/// Newest first, at most 1,000.
///
/// # Errors
/// Denied.
pub fn list(limit: u32) -> Result<Vec<Note>, Error> {
    host::memory_list(limit)
}

/// Notes that hold any of the words, best match first, at most 100. Nothing in the query is syntax.
///
/// # Errors
/// Denied.
pub fn search(query: &str, limit: u32) -> Result<Vec<Note>, Error> {
    host::memory_search(query, limit)
}
