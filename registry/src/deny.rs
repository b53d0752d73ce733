//! A signed list of what must not run: digests, publishers, keys. It has a key of its own and only moves forward.

use crate::dsse::{Envelope, EnvelopeError};
use crate::files;
use crate::key::{PublicKey, SigningKey};
use carapace_contract::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The payload type of a deny-list's envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.carapace.deny-list.v1+json";
/// A deny-list's largest size, bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// Why a deny-list was refused. The one before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum DenyError {
    /// Nobody may sign one.
    #[error("no deny-list key is pinned here, so nobody may sign a deny-list")]
    NoKey,
    /// Another key is pinned.
    #[error("the deny-list key {0} is pinned already; delete deny-list.json to start over")]
    Pinned(PublicKey),
    /// Too big.
    #[error("the deny-list is {0} bytes long; at most {MAX_BYTES} are allowed")]
    TooBig(usize),
    /// Not signed by the pinned key.
    #[error("the deny-list is refused: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Not a list.
    #[error("the deny-list is signed, but is not one: {0}")]
    Content(String),
    /// Older than, or another one of the same version as, what is in force.
    #[error("the deny-list has version {offered}, and version {current} is in force; it only moves forward")]
    Rollback {
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

/// What a list says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DenyContent {
    /// Only grows.
    pub version: u64,
    /// When a newer one should be here, ms since the epoch.
    pub expires_ms: u64,
    /// Packages.
    #[serde(default)]
    pub digests: BTreeSet<Digest>,
    /// Publishers, by the name they are pinned under here.
    #[serde(default)]
    pub publishers: BTreeSet<Name>,
    /// Keys.
    #[serde(default)]
    pub keys: BTreeSet<PublicKey>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    key: PublicKey,
    envelope: Option<Envelope>,
}

/// The deny-list in force (`deny-list.json`).
#[derive(Debug, Clone, Default)]
pub struct DenyList {
    key: Option<PublicKey>,
    envelope: Option<Envelope>,
    content: Option<DenyContent>,
}

impl DenyList {
    /// No key pinned, nothing denied.
    pub fn none() -> Self {
        Self::default()
    }

    /// Pins who may sign it.
    ///
    /// # Errors
    /// Another key is pinned.
    pub fn pin(&mut self, key: PublicKey) -> Result<(), DenyError> {
        match self.key {
            Some(pinned) if pinned != key => Err(DenyError::Pinned(pinned)),
            _ => {
                self.key = Some(key);
                Ok(())
            }
        }
    }

    /// Reads the file and verifies its signature again; a missing file denies nothing.
    ///
    /// # Errors
    /// The file cannot be read or does not verify. A damaged list is never taken for none.
    pub fn load(path: &Path) -> Result<Self, DenyError> {
        let failed = |source| DenyError::File { what: "read", path: path.to_owned(), source };
        let Some(bytes) = files::read(path, 2 * MAX_BYTES as u64).map_err(failed)? else { return Ok(Self::none()) };
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|e| DenyError::Content(format!("{}: {e}", path.display())))?;
        let mut list = Self::none();
        list.pin(document.key)?;
        if let Some(envelope) = document.envelope {
            list.accept(envelope)?;
        }
        Ok(list)
    }

    /// Writes the file whole, mode 0600.
    ///
    /// # Errors
    /// No key is pinned, or the file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), DenyError> {
        let failed = |source| DenyError::File { what: "write", path: path.to_owned(), source };
        let document = Document { key: self.key.ok_or(DenyError::NoKey)?, envelope: self.envelope.clone() };
        let json = serde_json::to_vec(&document).map_err(|e| failed(std::io::Error::other(e)))?;
        files::replace(path, &json).map_err(failed)
    }

    /// Takes a newer list; says whether anything changed.
    ///
    /// # Errors
    /// It is not signed by the pinned key, or not newer.
    pub fn update(&mut self, envelope_json: &[u8]) -> Result<bool, DenyError> {
        if envelope_json.len() > MAX_BYTES {
            return Err(DenyError::TooBig(envelope_json.len()));
        }
        self.accept(Envelope::parse(envelope_json)?)
    }

    fn accept(&mut self, envelope: Envelope) -> Result<bool, DenyError> {
        let key = self.key.ok_or(DenyError::NoKey)?;
        let payload = envelope.open(PAYLOAD_TYPE, &key)?;
        let content: DenyContent = serde_json::from_slice(&payload).map_err(|e| DenyError::Content(e.to_string()))?;
        if let Some(current) = &self.content {
            if *current == content {
                return Ok(false);
            }
            if content.version <= current.version {
                return Err(DenyError::Rollback { current: current.version, offered: content.version });
            }
        }
        self.envelope = Some(envelope);
        self.content = Some(content);
        Ok(true)
    }

    /// What it says; `None` before the first list.
    pub fn content(&self) -> Option<&DenyContent> {
        self.content.as_ref()
    }

    /// A warning if it should have been renewed. An expired list is still applied.
    pub fn warning(&self, now_ms: u64) -> Option<String> {
        let content = self.content.as_ref().filter(|c| c.expires_ms < now_ms)?;
        Some(format!(
            "the deny-list (version {}) expired; it is still applied, but newer entries are missing; get the current one from its signer",
            content.version
        ))
    }

    /// Which entry denies a package, if one does.
    pub fn denies(&self, digest: &Digest, publisher: &Name, key: &PublicKey) -> Option<String> {
        let content = self.content.as_ref()?;
        if content.digests.contains(digest) {
            Some(format!("the package {digest}"))
        } else if content.keys.contains(key) {
            Some(format!("the key {key}"))
        } else if content.publishers.contains(publisher) {
            Some(format!("the publisher `{publisher}`"))
        } else {
            None
        }
    }
}

/// Signs a deny-list.
///
/// # Errors
/// It cannot be written as JSON.
pub fn sign(content: &DenyContent, key: &SigningKey) -> Result<Vec<u8>, DenyError> {
    let payload = serde_json::to_vec(content).map_err(|e| DenyError::Content(e.to_string()))?;
    let envelope = Envelope::sign(PAYLOAD_TYPE, &payload, key);
    serde_json::to_vec(&envelope).map_err(|e| DenyError::Content(e.to_string()))
}

#[cfg(test)]
mod tests;
