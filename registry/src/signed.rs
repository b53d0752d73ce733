//! State files with a signer of their own: a pinned key, and the newest content that it signed. They only move forward.

use crate::dsse::{Envelope, EnvelopeError};
use crate::files;
use crate::key::{PublicKey, SigningKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Why such a file was refused. What was in force before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// Nobody may sign one.
    #[error("no key is pinned here for the {0}, so nobody may sign one")]
    NoKey(&'static str),
    /// Another key is pinned.
    #[error("the {what} key {key} is pinned already; delete {file} to start over")]
    Pinned {
        /// `deny-list`, say.
        what: &'static str,
        /// The key that is.
        key: PublicKey,
        /// The file's name in the state directory.
        file: &'static str,
    },
    /// Too big.
    #[error("the {what} is {bytes} bytes long; at most {max} are allowed")]
    TooBig {
        /// `deny-list`, say.
        what: &'static str,
        /// As found.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
    /// Not signed by the pinned key.
    #[error("the {what} is refused: {source}")]
    Envelope {
        /// `deny-list`, say.
        what: &'static str,
        /// What is wrong with the envelope.
        source: EnvelopeError,
    },
    /// Signed, and not what it should be.
    #[error("the {what} is signed, but is not one: {why}")]
    Content {
        /// `deny-list`, say.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Older than, or another one of the same version as, what is in force.
    #[error("the {what} has version {offered}, and version {current} is in force; it only moves forward")]
    Rollback {
        /// `deny-list`, say.
        what: &'static str,
        /// In force.
        current: u64,
        /// Offered.
        offered: u64,
    },
    /// The file.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What is signed.
pub trait Content: Clone + PartialEq + Serialize + DeserializeOwned {
    /// What people call it.
    const WHAT: &'static str;
    /// Its file's name in the state directory.
    const FILE: &'static str;
    /// Its envelope's payload type.
    const PAYLOAD_TYPE: &'static str;
    /// Its largest size, bytes.
    const MAX_BYTES: usize;

    /// Only grows.
    fn version(&self) -> u64;

    /// Whether it makes sense; asked before it takes force.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    key: PublicKey,
    envelope: Option<Envelope>,
}

/// The pinned key, and what it signed last.
#[derive(Debug, Clone)]
pub struct Signed<C> {
    key: Option<PublicKey>,
    envelope: Option<Envelope>,
    content: Option<C>,
}

impl<C> Default for Signed<C> {
    fn default() -> Self {
        Self { key: None, envelope: None, content: None }
    }
}

impl<C: Content> Signed<C> {
    /// Pins who may sign it.
    ///
    /// # Errors
    /// Another key is pinned.
    pub fn pin(&mut self, key: PublicKey) -> Result<(), SignedError> {
        match self.key {
            Some(pinned) if pinned != key => Err(SignedError::Pinned { what: C::WHAT, key: pinned, file: C::FILE }),
            _ => {
                self.key = Some(key);
                Ok(())
            }
        }
    }

    /// Reads the file and verifies its signature again; a missing file is an empty one.
    ///
    /// # Errors
    /// The file cannot be read or does not verify. A damaged file is never taken for none.
    pub fn load(path: &Path) -> Result<Self, SignedError> {
        let failed = |source| SignedError::File { what: "read", path: path.to_owned(), source };
        let Some(bytes) = files::read(path, 2 * C::MAX_BYTES as u64).map_err(failed)? else {
            return Ok(Self::default());
        };
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|e| SignedError::Content { what: C::WHAT, why: format!("{}: {e}", path.display()) })?;
        let mut signed = Self::default();
        signed.pin(document.key)?;
        if let Some(envelope) = document.envelope {
            signed.accept(envelope)?;
        }
        Ok(signed)
    }

    /// Writes the file whole, mode 0600.
    ///
    /// # Errors
    /// No key is pinned, or the file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), SignedError> {
        let failed = |source| SignedError::File { what: "write", path: path.to_owned(), source };
        let document = Document { key: self.key.ok_or(SignedError::NoKey(C::WHAT))?, envelope: self.envelope.clone() };
        let json = serde_json::to_vec(&document).map_err(|e| failed(std::io::Error::other(e)))?;
        files::replace(path, &json).map_err(failed)
    }

    /// Takes a newer content; says whether anything changed.
    ///
    /// # Errors
    /// It is not signed by the pinned key, or not newer.
    pub fn update(&mut self, envelope_json: &[u8]) -> Result<bool, SignedError> {
        if envelope_json.len() > C::MAX_BYTES {
            return Err(SignedError::TooBig { what: C::WHAT, bytes: envelope_json.len(), max: C::MAX_BYTES });
        }
        self.accept(Envelope::parse(envelope_json).map_err(|source| SignedError::Envelope { what: C::WHAT, source })?)
    }

    fn accept(&mut self, envelope: Envelope) -> Result<bool, SignedError> {
        let key = self.key.ok_or(SignedError::NoKey(C::WHAT))?;
        let payload =
            envelope.open(C::PAYLOAD_TYPE, &key).map_err(|source| SignedError::Envelope { what: C::WHAT, source })?;
        let wrong = |why| SignedError::Content { what: C::WHAT, why };
        let content: C = serde_json::from_slice(&payload).map_err(|e| wrong(e.to_string()))?;
        if let Some(current) = &self.content {
            if *current == content {
                return Ok(false);
            }
            let (current, offered) = (current.version(), content.version());
            if offered <= current {
                return Err(SignedError::Rollback { what: C::WHAT, current, offered });
            }
        }
        content.check().map_err(wrong)?;
        self.envelope = Some(envelope);
        self.content = Some(content);
        Ok(true)
    }

    /// What it says; `None` before the first.
    pub fn content(&self) -> Option<&C> {
        self.content.as_ref()
    }
}

/// Signs a content: the JSON of its envelope.
///
/// # Errors
/// It cannot be written as JSON.
pub fn sign<C: Content>(content: &C, key: &SigningKey) -> Result<Vec<u8>, SignedError> {
    let wrong = |why: String| SignedError::Content { what: C::WHAT, why };
    let payload = serde_json::to_vec(content).map_err(|e| wrong(e.to_string()))?;
    let envelope = Envelope::sign(C::PAYLOAD_TYPE, &payload, key);
    serde_json::to_vec(&envelope).map_err(|e| wrong(e.to_string()))
}
