//! The instance's own section of the owner's configuration, `instances.<id>.config`. It holds no secret.

use crate::{Error, host};
use serde::de::DeserializeOwned;

/// The section, read as a type. Without a section it is `{}`, so a type whose fields all have defaults can always be had.
/// Put `#[serde(deny_unknown_fields)]` on it: the owner is then told about a misspelt key.
///
/// # Errors
/// [`Invalid`](Error::Invalid): it does not fit the type; the text says where.
pub fn get<T: DeserializeOwned>() -> Result<T, Error> {
    serde_json::from_str(&text()).map_err(|e| Error::Invalid(format!("the configuration of this component: {e}")))
}

/// The section as JSON text.
pub fn text() -> String {
    host::config()
}
