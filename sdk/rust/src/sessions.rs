//! Conversations, as far as whoever is behind this call may read them.

use crate::{Error, host};
use serde::{Deserialize, Serialize};

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Opaque; what [`read`] takes.
    pub id: String,
    /// What its first message begins with.
    pub title: String,
    /// How many messages it has.
    pub messages: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// What a later kernel adds.
    pub extra: Vec<(String, String)>,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub text: String,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Text from outside had a hand in it.
    pub tainted: bool,
    /// What a later kernel adds.
    pub extra: Vec<(String, String)>,
}

/// Newest first, at most 100.
///
/// # Errors
/// Denied.
pub fn list(limit: u32) -> Result<Vec<Session>, Error> {
    host::sessions_list(limit)
}

/// The last messages of a conversation, oldest first, at most 200.
///
/// # Errors
/// Denied, or there is no such conversation.
pub fn read(session: &str, limit: u32) -> Result<Vec<Entry>, Error> {
    host::sessions_read(session, limit)
}
