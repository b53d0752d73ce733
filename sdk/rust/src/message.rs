//! Something said elsewhere than in the conversation of the call.

use crate::{Error, host};

/// Sends a text (Markdown, at most 64 KiB) to a target: `owner`, wherever they last wrote directly; or, when the owner is behind the call, a name
/// that their configuration lists. It is durable when this returns, and leaves like any answer. Gives where it goes, for a person. A call that the
/// kernel repeats sends nothing twice.
///
/// # Errors
/// Denied; [`NotFound`](Error::NotFound), which names the targets there are; [`Unavailable`](Error::Unavailable) if the channel is not there;
/// [`Limit`](Error::Limit) after 8 messages of one call.
pub fn send(target: &str, text: &str) -> Result<String, Error> {
    host::message_send(target, text)
}
