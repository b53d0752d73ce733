//! Secrets at rest.
//!
//! Each value is sealed with AES-256-GCM under one random *data key*, with a random 96-bit nonce and the secret's full name
//! (`publisher/name/instance/secret`) as associated data, so that a ciphertext moved to another name does not open. The data key is
//! stored only wrapped, in one *slot* per way to open it: under a random key that the operating system's keyring holds, or under a
//! key derived from a password with Argon2id (64 MiB, 3 passes, 1 lane; the parameters are stored beside it).
//!
//! Nothing is derived or asked for until a secret is first stored or read. Values are `secrecy::SecretString` on the way in and out;
//! keys and plaintexts are zeroized.

mod keyring;
mod seal;
mod vault;

pub use keyring::{KeyStore, OsKeyring};
pub(crate) use seal::{argon2id, random, unseal};
pub(crate) use vault::{Slot, Vault};

use crate::error::StoreError;
use crate::reader::{Reader, one};
use crate::rows::{SealedSecret, SecretId};
use carapace_contract::Denial;
use secrecy::{ExposeSecret, SecretString};

/// A shorter value could not be looked for in what leaves without finding it everywhere.
pub const MIN_SECRET_BYTES: usize = 8;

/// How the key of the secrets is found.
#[derive(Debug, Clone, Default)]
pub enum Unlocker {
    /// In the operating system's keyring (Secret Service, Keychain, Credential Manager).
    #[default]
    Keyring,
    /// Derived from a password (the value of `CARAPACE_PASSWORD`). A directory whose secrets only the keyring opens is
    /// still opened with the keyring.
    Password(SecretString),
    /// Not at all: storing or reading a secret is refused.
    None,
}

pub(crate) fn check(id: &SecretId, value: &SecretString) -> Result<(), StoreError> {
    let len = value.expose_secret().len();
    if len < MIN_SECRET_BYTES {
        return Err(StoreError::Denied(Denial::new(
            "E-STORE-003",
            format!("the value for the secret {id} has {len} bytes; the leak scan needs at least {MIN_SECRET_BYTES}"),
            "store a longer value; short codes and numbers belong in the instance's config",
        )));
    }
    Ok(())
}

pub(crate) async fn load(reader: &Reader, id: &SecretId) -> Result<Option<SealedSecret>, StoreError> {
    let name = id.to_string();
    reader
        .read(move |c| {
            one(c, "read a secret", "SELECT name, nonce, sealed FROM secret WHERE name = ?1", [name], |r| {
                Ok(SealedSecret { name: r.get(0)?, nonce: r.get(1)?, sealed: r.get(2)? })
            })
        })
        .await
}
