//! Where secrets come from.

use async_trait::async_trait;
use carapace_contract::{Denial, SecretName};
use secrecy::SecretString;

/// The secrets of one instance. The door asks for a value only after a request passed every rule.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The value.
    ///
    /// # Errors
    /// There is none (`E-SECRET-001`), or it cannot be read or was not granted; the denial says what to do.
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial>;
}
