//! Who is trusted: publishers that the owner pinned, each with its keys and the rules by which it is recognised when it
//! signs without one. An empty book trusts nobody.

use crate::bundle::{BundleError, IN_TOTO, Statement};
use crate::dsse::{Envelope, EnvelopeError};
use crate::files;
use crate::key::{Fingerprint, PublicKey, SigningKey};
use crate::keyless::{Identity, Rule};
use crate::verify::Signer;
use carapace_contract::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a rotation statement says.
pub const ROTATION_PREDICATE: &str = "https://carapace.dev/attestation/rotation/v1";
const MAX_BYTES: u64 = 1 << 20;
const FORMAT: u32 = 1;

/// Why the book was not changed, or not read.
#[derive(Debug, thiserror::Error)]
pub enum PublisherError {
    /// The key belongs to somebody else already.
    #[error(
        "the key {key} is pinned for `{owner}`; two publishers cannot share a key (`carapace publisher remove {owner}` first)"
    )]
    Shared {
        /// The key.
        key: PublicKey,
        /// Whose it is.
        owner: Name,
    },
    /// The key is there already.
    #[error("the key {key} of `{publisher}` is already {state} here")]
    Known {
        /// The key.
        key: PublicKey,
        /// Whose it is.
        publisher: Name,
        /// `pinned` or `retired`.
        state: &'static str,
    },
    /// The rule is there already.
    #[error("the rule `{rule}` is pinned for `{owner}` already; two publishers cannot share one")]
    KnownRule {
        /// The rule.
        rule: Box<Rule>,
        /// Whose it is.
        owner: Name,
    },
    /// No such publisher.
    #[error("there is no publisher `{0}`; `carapace publisher list` shows those there are")]
    Unknown(Name),
    /// A rotation that no active key signed.
    #[error("the rotation is not signed by an active key of a pinned publisher")]
    NotOurs,
    /// A rotation that makes no sense.
    #[error("the rotation statement is not valid: {0}")]
    Rotation(String),
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
    /// The file's content: nobody is trusted rather than somebody wrong.
    #[error("{path} is not a list of publishers: {why}; restore it, or delete it and pin again")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Whether a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Packages and rotations signed by it are accepted.
    Active,
    /// Nothing signed by it is accepted any more.
    Retired,
}

/// A key of a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedKey {
    /// The key.
    pub key: PublicKey,
    /// Whether it counts.
    pub state: KeyState,
    /// When it was pinned or rotated in, ms since the epoch.
    pub added_ms: u64,
}

/// A rule of a publisher who signs without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedRule {
    /// The rule.
    pub rule: Rule,
    /// When it was pinned, ms since the epoch.
    pub added_ms: u64,
}

/// A publisher: a local record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// What the owner calls it; the first half of its components' ids.
    pub id: Name,
    /// Its keys.
    pub keys: Vec<PinnedKey>,
    /// By what it is recognised without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyless: Vec<PinnedRule>,
    /// When it was pinned, ms since the epoch.
    pub added_ms: u64,
}

impl Publisher {
    /// By what it is or was recognised here: the fingerprint of each of its keys, retired ones included, and each rule.
    pub fn marks(&self) -> BTreeSet<String> {
        let keys = self.keys.iter().map(|k| k.key.fingerprint().to_string());
        keys.chain(self.keyless.iter().map(|r| r.rule.to_string())).collect()
    }

    /// By which of them a signer is.
    pub(crate) fn mark_of(&self, signer: &Signer) -> String {
        match signer {
            Signer::Key(key) => key.fingerprint().to_string(),
            Signer::Keyless(identity) => {
                let rule = self.keyless.iter().find(|r| r.rule.matches(identity));
                rule.map(|r| r.rule.to_string()).unwrap_or_default()
            }
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    publishers: Vec<Publisher>,
}

/// What a rotation statement says: who signs from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rotation {
    old_key: PublicKey,
    new_key: PublicKey,
    retire_old: bool,
}

/// What a rotation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Whose keys.
    pub publisher: Name,
    /// The key that signed the statement.
    pub old: PublicKey,
    /// The key that joined.
    pub new: PublicKey,
    /// Whether the old one left.
    pub retired: bool,
}

/// The pinned publishers (`publishers.json`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublisherBook {
    publishers: Vec<Publisher>,
}

impl PublisherBook {
    /// Trusts nobody.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the book; a missing file is an empty book.
    ///
    /// # Errors
    /// The file cannot be read or is not a book. A damaged book is never taken for an empty one.
    pub fn load(path: &Path) -> Result<Self, PublisherError> {
        let failed = |source| PublisherError::File { what: "read", path: path.to_owned(), source };
        let Some(bytes) = files::read(path, MAX_BYTES).map_err(failed)? else { return Ok(Self::empty()) };
        let wrong = |why: String| PublisherError::Content { path: path.to_owned(), why };
        let document: Document = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if document.format != FORMAT {
            return Err(wrong(format!("format {}, and this kernel knows {FORMAT}", document.format)));
        }
        let mut book = Self::empty();
        for publisher in document.publishers {
            if book.get(&publisher.id).is_some() {
                return Err(wrong(format!("`{}` stands there twice", publisher.id)));
            }
            book.publishers.push(Publisher { keys: Vec::new(), keyless: Vec::new(), ..publisher.clone() });
            for key in publisher.keys {
                book.add(&publisher.id, key).map_err(|e| wrong(e.to_string()))?;
            }
            for pinned in publisher.keyless {
                book.add_rule(&publisher.id, pinned).map_err(|e| wrong(e.to_string()))?;
            }
        }
        Ok(book)
    }

    /// Writes the book whole, mode 0600.
    ///
    /// # Errors
    /// The file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), PublisherError> {
        let failed = |source| PublisherError::File { what: "write", path: path.to_owned(), source };
        let document = Document { format: FORMAT, publishers: self.publishers.clone() };
        let json = serde_json::to_vec_pretty(&document).map_err(|e| failed(std::io::Error::other(e)))?;
        files::replace(path, &json).map_err(failed)
    }

    /// Pins a key for a publisher, who is added if new. Only an owner's own command may lead here.
    ///
    /// # Errors
    /// The key is pinned already, here or for somebody else.
    pub fn pin(&mut self, id: Name, key: PublicKey, now_ms: u64) -> Result<(), PublisherError> {
        self.vacant(&key, &id)?;
        self.join(&id, now_ms);
        self.add(&id, PinnedKey { key, state: KeyState::Active, added_ms: now_ms })
    }

    /// Pins a rule for a publisher, who is added if new. Only an owner's own command may lead here.
    ///
    /// # Errors
    /// The rule is pinned already, here or for somebody else.
    pub fn pin_rule(&mut self, id: Name, rule: Rule, now_ms: u64) -> Result<(), PublisherError> {
        self.vacant_rule(&rule)?;
        self.join(&id, now_ms);
        self.add_rule(&id, PinnedRule { rule, added_ms: now_ms })
    }

    /// Forgets a publisher: nothing of it loads any more.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&mut self, id: &Name) -> Result<Publisher, PublisherError> {
        let at = self.publishers.iter().position(|p| &p.id == id);
        at.map(|at| self.publishers.remove(at)).ok_or_else(|| PublisherError::Unknown(id.clone()))
    }

    /// Follows a rotation: a statement signed by an active key that adds a new one and may retire itself.
    ///
    /// # Errors
    /// No active key signed it, or the new key is known already (a replay cannot revive a retired key).
    pub fn rotate(&mut self, envelope_json: &[u8], now_ms: u64) -> Result<Rotated, PublisherError> {
        let invalid = |e: &dyn std::fmt::Display| PublisherError::Rotation(e.to_string());
        if envelope_json.len() > crate::bundle::MAX_BYTES {
            return Err(invalid(&BundleError::TooBig(envelope_json.len())));
        }
        let envelope = Envelope::parse(envelope_json).map_err(|e| invalid(&e))?;
        let mut opened = None;
        for (publisher, pinned) in self.keys().filter(|(_, k)| k.state == KeyState::Active) {
            match envelope.open(IN_TOTO, &pinned.key) {
                Ok(payload) => opened = Some((publisher.id.clone(), pinned.key, payload)),
                Err(EnvelopeError::Signature(_)) => {}
                Err(e) => return Err(invalid(&e)),
            }
        }
        let (publisher, old, payload) = opened.ok_or(PublisherError::NotOurs)?;
        let (_, digest, rotation) =
            Statement::<Rotation>::parse(&payload, ROTATION_PREDICATE).map_err(|e| invalid(&e))?;
        if rotation.old_key != old {
            return Err(invalid(&"it speaks for another key than the one that signed it"));
        }
        if digest != Digest::from_bytes(rotation.new_key.der_digest()) {
            return Err(invalid(&"its subject is not the new key"));
        }
        self.vacant(&rotation.new_key, &publisher)?;
        self.add(&publisher, PinnedKey { key: rotation.new_key, state: KeyState::Active, added_ms: now_ms })?;
        if rotation.retire_old {
            for key in self.publishers.iter_mut().flat_map(|p| &mut p.keys).filter(|k| k.key == old) {
                key.state = KeyState::Retired;
            }
        }
        Ok(Rotated { publisher, old, new: rotation.new_key, retired: rotation.retire_old })
    }

    /// The publisher of that name.
    pub fn get(&self, id: &Name) -> Option<&Publisher> {
        self.publishers.iter().find(|p| &p.id == id)
    }

    /// Whose key that is, and whether it counts.
    pub fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<(&Publisher, &PinnedKey)> {
        self.keys().find(|(_, k)| &k.key.fingerprint() == fingerprint)
    }

    /// Who that is, signing without a key.
    pub fn by_identity(&self, identity: &Identity) -> Option<&Publisher> {
        self.rules().find(|(_, pinned)| pinned.rule.matches(identity)).map(|(publisher, _)| publisher)
    }

    /// Whether any rule names that issuer.
    pub fn knows_issuer(&self, issuer: &str) -> bool {
        self.rules().any(|(_, pinned)| pinned.rule.issuer() == issuer)
    }

    /// All, in the order they were pinned.
    pub fn iter(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.iter()
    }

    /// Nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    fn keys(&self) -> impl Iterator<Item = (&Publisher, &PinnedKey)> {
        self.publishers.iter().flat_map(|p| p.keys.iter().map(move |k| (p, k)))
    }

    fn rules(&self) -> impl Iterator<Item = (&Publisher, &PinnedRule)> {
        self.publishers.iter().flat_map(|p| p.keyless.iter().map(move |r| (p, r)))
    }

    fn join(&mut self, id: &Name, now_ms: u64) {
        if self.get(id).is_none() {
            let (keys, keyless) = (Vec::new(), Vec::new());
            self.publishers.push(Publisher { id: id.clone(), keys, keyless, added_ms: now_ms });
        }
    }

    fn vacant_rule(&self, rule: &Rule) -> Result<(), PublisherError> {
        match self.rules().find(|(_, pinned)| pinned.rule == *rule) {
            None => Ok(()),
            Some((p, _)) => Err(PublisherError::KnownRule { rule: Box::new(rule.clone()), owner: p.id.clone() }),
        }
    }

    fn add_rule(&mut self, id: &Name, pinned: PinnedRule) -> Result<(), PublisherError> {
        self.vacant_rule(&pinned.rule)?;
        let publisher = self.publishers.iter_mut().find(|p| &p.id == id);
        publisher.ok_or_else(|| PublisherError::Unknown(id.clone()))?.keyless.push(pinned);
        Ok(())
    }

    fn vacant(&self, key: &PublicKey, id: &Name) -> Result<(), PublisherError> {
        match self.keys().find(|(_, k)| &k.key == key) {
            None => Ok(()),
            Some((p, k)) if &p.id == id => Err(PublisherError::Known {
                key: *key,
                publisher: id.clone(),
                state: if k.state == KeyState::Active { "pinned" } else { "retired" },
            }),
            Some((p, _)) => Err(PublisherError::Shared { key: *key, owner: p.id.clone() }),
        }
    }

    fn add(&mut self, id: &Name, key: PinnedKey) -> Result<(), PublisherError> {
        self.vacant(&key.key, id)?;
        let publisher = self.publishers.iter_mut().find(|p| &p.id == id);
        publisher.ok_or_else(|| PublisherError::Unknown(id.clone()))?.keys.push(key);
        Ok(())
    }
}

/// A rotation statement: from `old` on, `new` signs too, or instead.
///
/// # Errors
/// The statement cannot be written as JSON.
pub fn rotation(old: &SigningKey, new: &PublicKey, retire_old: bool) -> Result<Vec<u8>, BundleError> {
    let predicate = Rotation { old_key: old.public(), new_key: *new, retire_old };
    let subject = Digest::from_bytes(new.der_digest());
    let statement = Statement::new(ROTATION_PREDICATE, "publisher key", subject, predicate);
    let envelope = Envelope::sign(IN_TOTO, &statement.to_json()?, old);
    serde_json::to_vec(&envelope).map_err(|e| BundleError::Json(e.to_string()))
}

#[cfg(test)]
mod tests;
