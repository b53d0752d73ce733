//! The owner's configuration as it is in force, without anything secret.

use crate::{Error, host};
use serde::de::DeserializeOwned;

/// The part at a dotted path (`agent.route`; empty = all), read as a type (`serde_json::Value` takes any); `None` if nothing stands there.
///
/// # Errors
/// Denied; [`Invalid`](Error::Invalid) if it does not fit the type.
pub fn read<T: DeserializeOwned>(path: &str) -> Result<Option<T>, Error> {
    let Some(text) = host::settings_read(path)? else { return Ok(None) };
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|e| Error::Invalid(format!("the setting `{path}`: {e}")))
}

/// The part at a dotted path, as JSON text.
///
/// # Errors
/// Denied.
pub fn text(path: &str) -> Result<Option<String>, Error> {
    host::settings_read(path)
}
