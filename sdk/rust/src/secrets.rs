//! What a component may know about its secrets: never a value. A tool's `uses` name `"secrets"`.
//!
//! A request to an endpoint needs nothing of this: the kernel adds the credential that the manifest names.

use crate::{Error, host};

/// Whether the owner has set the secret.
///
/// # Errors
/// Denied, or the manifest declares no such secret.
pub fn exists(name: &str) -> Result<bool, Error> {
    host::secret_exists(name)
}

/// HMAC-SHA256 (RFC 2104) with a secret that the manifest declares with `hmac = true`; 32 bytes.
///
/// # Errors
/// Denied, not declared for HMAC, or not set.
pub fn hmac_sha256(name: &str, data: &[u8]) -> Result<Vec<u8>, Error> {
    host::hmac_sha256(name, data)
}
