//! AES-256-GCM and Argon2id, with nothing of their libraries showing.

use crate::error::StoreError;
use crate::rows::{SealedSecret, SecretId};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Bytes from the operating system.
pub(crate) fn random(out: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(out).map_err(|e| StoreError::Crypto {
        what: "anything without randomness from the operating system".into(),
        problem: e.to_string(),
    })
}

pub(crate) fn random_key() -> Result<Key, StoreError> {
    let mut key = Zeroizing::new([0; 32]);
    random(key.as_mut_slice())?;
    Ok(key)
}

fn cipher(key: &[u8; 32]) -> Result<Aes256Gcm, StoreError> {
    Aes256Gcm::new_from_slice(key).map_err(|_| bad("a value", "the key has the wrong length"))
}

fn bad(what: &str, problem: &str) -> StoreError {
    StoreError::Crypto { what: what.to_owned(), problem: problem.to_owned() }
}

/// Seals under a fresh random nonce.
pub(crate) fn seal(key: &[u8; 32], aad: &[u8], plain: &[u8]) -> Result<([u8; 12], Vec<u8>), StoreError> {
    let mut nonce = [0; 12];
    random(&mut nonce)?;
    let sealed = cipher(key)?
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| bad("a value", "it is too long to be encrypted"))?;
    Ok((nonce, sealed))
}

/// Opens what [`seal`] made; `None` if key, associated data or bytes are not the ones it was sealed with.
pub(crate) fn unseal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    Ok(cipher(key)?.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad }).ok().map(Zeroizing::new))
}

/// Parameters of a password's key, stored beside what it wraps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kdf {
    pub(crate) algorithm: String,
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
    pub(crate) salt: String,
}

impl Kdf {
    /// Argon2id, 64 MiB, 3 passes, 1 lane, a fresh salt.
    pub(crate) fn fresh() -> Result<Self, StoreError> {
        let mut salt = [0; 16];
        random(&mut salt)?;
        Ok(Self { algorithm: "argon2id".into(), memory_kib: 64 * 1024, passes: 3, lanes: 1, salt: hex::encode(salt) })
    }

    pub(crate) fn derive(&self, password: &SecretString) -> Result<Key, StoreError> {
        if self.algorithm != "argon2id" {
            return Err(bad("the data key", &format!("`{}` is not a key derivation known here", self.algorithm)));
        }
        let salt = hex::decode(&self.salt).map_err(|_| bad("the data key", "its salt is damaged"))?;
        argon2id(password, &salt, self.memory_kib, self.passes, self.lanes)
    }
}

/// RFC 9106. Takes a good part of a second: never on an async thread.
pub(crate) fn argon2id(
    password: &SecretString,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
) -> Result<Key, StoreError> {
    let fail = |e: argon2::Error| bad("a value", &format!("its key cannot be derived: {e}"));
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(fail)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose_secret().as_bytes(), salt, key.as_mut_slice())
        .map_err(fail)?;
    Ok(key)
}

/// The key that every secret is sealed with.
pub(crate) struct DataKey(pub(crate) Key);

impl DataKey {
    pub(crate) fn seal_secret(&self, id: &SecretId, value: &SecretString) -> Result<SealedSecret, StoreError> {
        let name = id.to_string();
        let (nonce, sealed) = seal(&self.0, name.as_bytes(), value.expose_secret().as_bytes())?;
        Ok(SealedSecret { name, nonce, sealed })
    }

    pub(crate) fn open_secret(&self, id: &SecretId, sealed: &SealedSecret) -> Result<SecretString, StoreError> {
        let name = id.to_string();
        let what = format!("the secret {name}");
        let plain = unseal(&self.0, &sealed.nonce, name.as_bytes(), &sealed.sealed)?
            .ok_or_else(|| bad(&what, "it was changed, or stored under another name; store it again"))?;
        let text = std::str::from_utf8(&plain).map_err(|_| bad(&what, "it is not text"))?;
        Ok(SecretString::from(text))
    }
}
