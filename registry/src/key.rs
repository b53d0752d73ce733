//! Ed25519 keys (RFC 8032), checked strictly: canonical, not of small order, `verify_strict` only.

use crate::files;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes, spki::der::pem::LineEnding};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// What a DER `SubjectPublicKeyInfo` of an Ed25519 key starts with (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const MAX_PEM: u64 = 4 << 10;

/// Why a key was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not the text form of a public key.
    #[error("`{0}` is not a public key: expected `ed25519:` and 44 characters of base64")]
    Text(String),
    /// A point that is not canonical or of small order: signatures by it prove nothing.
    #[error("`{0}` is a weak Ed25519 key (not canonical, or of small order); no honest tool makes one")]
    Weak(String),
    /// The operating system gave no randomness.
    #[error("cannot make a key: no randomness from the operating system: {0}")]
    Randomness(String),
    /// Reading or writing failed.
    #[error("cannot {what} the key file {path}: {source}")]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("the key file {0} can be read by others; run `chmod 600 {0}`, and if it was copied, rotate the key")]
    Exposed(PathBuf),
    /// Not an Ed25519 key in PKCS#8 PEM.
    #[error("the key file {0} does not hold an Ed25519 private key in PEM (PKCS#8)")]
    Pem(PathBuf),
}

/// SHA-256 of a public key's DER form, in base64: how a bundle names the key that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key, written `ed25519:<base64>`. Never weak.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// From the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// The bytes are no point, not the canonical encoding of one, or of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let weak = || KeyError::Weak(format!("ed25519:{}", BASE64.encode(bytes)));
        if !is_canonical(bytes) {
            return Err(weak());
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| weak())?;
        if key.is_weak() { Err(weak()) } else { Ok(Self(*bytes)) }
    }

    /// The 32 bytes of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its fingerprint, the hint that Sigstore tools write for a key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(BASE64.encode(self.der_digest()))
    }

    /// SHA-256 of its DER form.
    pub fn der_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(SPKI);
        hash.update(self.as_bytes());
        hash.finalize().into()
    }

    /// Whether `signature` over `message` is by this key, strictly: no malleable scalar, no small-order point.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// The low 255 bits, little-endian, are below 2^255 − 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    !(*first >= 0xed && last & 0x7f == 0x7f && middle.iter().all(|b| *b == 0xff))
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let bad = || KeyError::Text(s.chars().take(100).collect());
        let text = s.strip_prefix("ed25519:").ok_or_else(bad)?;
        let bytes: [u8; 32] = BASE64.decode(text).ok().and_then(|b| b.try_into().ok()).ok_or_else(bad)?;
        Self::from_bytes(&bytes)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(s: String) -> Result<Self, KeyError> {
        s.parse()
    }
}

impl From<PublicKey> for String {
    fn from(k: PublicKey) -> Self {
        k.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key. Wiped when dropped, shown to nobody.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new one, from the operating system's randomness.
    ///
    /// # Errors
    /// There is none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|e| KeyError::Randomness(e.to_string()))?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Its public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Writes it to a new file, PKCS#8 PEM, mode 0600.
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        // Without the public key (version 1): every tool reads that.
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem(path.to_owned()))?;
        files::create(path, pem.as_bytes()).map_err(|source| KeyError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The file is missing, readable by others, or holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { what: "read", path: path.to_owned(), source };
        let bytes = files::read(path, MAX_PEM).map_err(failed)?;
        let bytes = Zeroizing::new(bytes.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?);
        if files::is_exposed(path).map_err(failed)? {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Pem(path.to_owned()))?;
        ed25519_dalek::SigningKey::from_pkcs8_pem(text).map(Self).map_err(|_| KeyError::Pem(path.to_owned()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

#[cfg(test)]
mod tests;
