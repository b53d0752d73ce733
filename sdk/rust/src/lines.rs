//! Programs on this computer that talk line by line, for channels with `[lines]`. What they write comes as
//! [`Event::Line`](crate::channel::Event::Line).

use crate::{Error, host};

/// Writes to whoever is attached under this name, and returns when one of them has said that it has it. `key` is the same each time this is
/// written ([`Outgoing::key`](crate::channel::Outgoing)): a program shows it once. At most 256 KiB.
///
/// # Errors
/// Denied; [`Unavailable`](Error::Unavailable) if nobody is attached, or went before they had it; [`Invalid`](Error::Invalid) if it is too long.
pub fn write(client: &str, key: &str, text: &str) -> Result<(), Error> {
    host::line_write(client, key, text)
}
