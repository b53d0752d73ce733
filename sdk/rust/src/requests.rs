//! What only the owner can give: asked for here, and decided by a person.

use crate::{Error, host};

/// Proposes that a component be installed: its name as in a registry (`name` or `publisher/name`, perhaps with `@requirement`), and why, in at
/// most 500 characters. Nothing is installed by that; the owner decides at the command line. Gives the request's id.
///
/// # Errors
/// Denied; [`Invalid`](Error::Invalid) if it is no such name; [`Limit`](Error::Limit) if it, or too many others, wait already.
pub fn install(name: &str, reason: &str) -> Result<String, Error> {
    host::request_install(name, reason)
}
