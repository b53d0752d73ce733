//! Reading the predecessor's encrypted values, for import. Nothing here writes them.
//!
//! `enc:v1:` and `enc:v2:` are followed by base64(nonce, 12 bytes) `:` base64(ciphertext and tag) `:` base64(salt, 16 bytes): AES-256-GCM
//! without associated data. The key of v1 is PBKDF2-HMAC-SHA256 with 600,000 iterations, that of v2 Argon2id with 64 MiB, 3 passes, 1 lane.
//! Both take a good part of a second: not on an async thread.

use crate::secrets::{argon2id, unseal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const V1_ITERATIONS: u32 = 600_000;

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// It does not begin with `enc:v1:` or `enc:v2:`.
    #[error("this is not an encrypted value of the predecessor: it should begin with `enc:v1:` or `enc:v2:`")]
    NotAnEnvelope,
    /// Its parts are not what they should be.
    #[error("the encrypted value is damaged: {0}")]
    Malformed(&'static str),
    /// It did not open.
    #[error("the encrypted value does not open: the password is not the one it was encrypted with, or it was changed")]
    WrongPassword,
}

struct Envelope {
    nonce: [u8; 12],
    sealed: Vec<u8>,
    salt: Vec<u8>,
}

/// It looks like an encrypted value.
pub fn is_envelope(text: &str) -> bool {
    text.starts_with("enc:v1:") || text.starts_with("enc:v2:")
}

/// Decrypts a value of either version.
pub fn decrypt(envelope: &str, password: &SecretString) -> Result<SecretString, LegacyError> {
    if envelope.starts_with("enc:v1:") { decrypt_v1(envelope, password) } else { decrypt_v2(envelope, password) }
}

/// Decrypts an `enc:v1:` value.
pub fn decrypt_v1(envelope: &str, password: &SecretString) -> Result<SecretString, LegacyError> {
    let parts = parse(envelope, "enc:v1:")?;
    let mut key = Zeroizing::new([0; 32]);
    let bytes = password.expose_secret().as_bytes();
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(bytes, &parts.salt, V1_ITERATIONS, key.as_mut_slice());
    open(&parts, &key)
}

/// Decrypts an `enc:v2:` value.
pub fn decrypt_v2(envelope: &str, password: &SecretString) -> Result<SecretString, LegacyError> {
    let parts = parse(envelope, "enc:v2:")?;
    let key = argon2id(password, &parts.salt, 64 * 1024, 3, 1).map_err(|_| LegacyError::Malformed("its salt"))?;
    open(&parts, &key)
}

fn parse(envelope: &str, prefix: &str) -> Result<Envelope, LegacyError> {
    let rest = envelope.strip_prefix(prefix).ok_or(LegacyError::NotAnEnvelope)?;
    let parts: Vec<&str> = rest.split(':').collect();
    let [nonce, sealed, salt] = parts.as_slice() else {
        return Err(LegacyError::Malformed("it should have three parts"));
    };
    let decode = |part: &str, which| STANDARD.decode(part).map_err(|_| LegacyError::Malformed(which));
    let nonce = decode(nonce, "its nonce")?;
    let salt = decode(salt, "its salt")?;
    if salt.len() != 16 {
        return Err(LegacyError::Malformed("its salt should have 16 bytes"));
    }
    Ok(Envelope {
        nonce: nonce.try_into().map_err(|_| LegacyError::Malformed("its nonce should have 12 bytes"))?,
        sealed: decode(sealed, "its ciphertext")?,
        salt,
    })
}

fn open(parts: &Envelope, key: &[u8; 32]) -> Result<SecretString, LegacyError> {
    let plain = unseal(key, &parts.nonce, b"", &parts.sealed)
        .map_err(|_| LegacyError::WrongPassword)?
        .ok_or(LegacyError::WrongPassword)?;
    std::str::from_utf8(&plain).map(SecretString::from).map_err(|_| LegacyError::Malformed("it is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with Python: hashlib.pbkdf2_hmac and argon2-cffi for the keys, the `cryptography` package for AES-GCM.
    const PASSWORD: &str = "correct horse battery staple";
    const V1: &str =
        "enc:v1:ZGVmZ2hpamtsbW5v:+Yui7tlsmQb49HKLFj6M6falgbA7CwxzJN/vj6XmuV+tRIIFBKwnGg==:AAECAwQFBgcICQoLDA0ODw==";
    const V2: &str =
        "enc:v2:MjM0NTY3ODk6Ozw9:89nEWqotFdqEPzIW3c9MV8NSmgWW5rzRgf6GzRA2CuW+Hv6r+o2ub9k=:yMnKy8zNzs/Q0dLT1NXW1w==";

    fn read(envelope: &str, password: &str) -> Result<String, LegacyError> {
        decrypt(envelope, &SecretString::from(password)).map(|s| s.expose_secret().to_owned())
    }

    #[test]
    fn values_of_both_versions_are_read() {
        assert_eq!(read(V1, PASSWORD).unwrap(), "sk-legacy-one-0123456789");
        assert_eq!(read(V2, PASSWORD).unwrap(), "sk-légacy-two-9876543210");
        assert!(is_envelope(V1) && is_envelope(V2) && !is_envelope("enc:v3:x"));
    }

    #[test]
    fn another_password_or_a_changed_value_does_not_open() {
        assert_eq!(read(V2, "wrong"), Err(LegacyError::WrongPassword));
        assert_eq!(read(&V2.replace("89nE", "89nF"), PASSWORD), Err(LegacyError::WrongPassword));
        assert_eq!(read(&V1.replace("v1", "v2"), PASSWORD), Err(LegacyError::WrongPassword));
    }

    #[test]
    fn a_malformed_value_says_what_is_wrong_with_it() {
        let problem = |text: &str| read(text, PASSWORD).unwrap_err().to_string();
        assert!(problem("plain").contains("enc:v1:"));
        assert!(problem("enc:v3:a:b:c").contains("enc:v1:"));
        assert!(problem("enc:v2:a:b").contains("three parts"));
        assert!(problem("enc:v2:!:YQ==:YQ==").contains("nonce"));
        assert!(problem("enc:v2:ZGVmZ2hpamtsbW5v:YQ==:YQ==").contains("16 bytes"));
    }
}
