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
    /// There is none, or it was not granted; the denial says how to store or grant it.
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial>;
}
