//! The registries that the owner added: where each lies, who signs its index, and the last version seen of it.

use crate::bundle::{self, BundleError, IN_TOTO, Statement};
use crate::dsse::{Envelope, EnvelopeError};
use crate::error::RegistryError;
use crate::files;
use crate::index::Index;
use crate::key::{PublicKey, SigningKey};
use crate::location::Location;
use crate::publisher::{KeyState, PinnedKey};
use carapace_contract::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a rotation statement of a registry says. Another one than a publisher's, so that neither passes for the other.
pub const ROTATION_PREDICATE: &str = "https://carapace.dev/attestation/registry-rotation/v1";
const MAX_BYTES: u64 = 1 << 20;
const FORMAT: u32 = 1;

/// The newest index that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    /// Its version.
    pub version: u64,
    /// SHA-256 of what it says: two of one version must say the same.
    pub digest: Digest,
}

/// One registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Its own id, as its index has it.
    pub id: Name,
    /// Where it lies.
    pub location: Location,
    /// Who may sign its index.
    pub keys: Vec<PinnedKey>,
    /// The newest index that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// When it was added, ms since the epoch.
    pub added_ms: u64,
}

impl Registry {
    fn active(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().filter(|k| k.state == KeyState::Active).map(|k| &k.key)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    registries: Vec<Registry>,
}

/// What a rotation statement says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rotation {
    registry: Name,
    old_key: PublicKey,
    new_key: PublicKey,
    retire_old: bool,
}

/// What a rotation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Whose keys.
    pub registry: Name,
    /// The key that signed the statement.
    pub old: PublicKey,
    /// The key that joined.
    pub new: PublicKey,
    /// Whether the old one left.
    pub retired: bool,
}

/// The registries (`registries.json`), in the order they were added: the earlier one is asked first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryBook {
    registries: Vec<Registry>,
}

fn refused(why: impl Into<String>) -> RegistryError {
    RegistryError::Book(why.into())
}

impl RegistryBook {
    /// None.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the book; a missing file is an empty one.
    ///
    /// # Errors
    /// The file cannot be read or is no book. A damaged book is never taken for an empty one: it holds what was seen.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let failed = |e: std::io::Error| refused(format!("cannot read {}: {e}", path.display()));
        let Some(bytes) = files::read(path, MAX_BYTES).map_err(failed)? else { return Ok(Self::empty()) };
        let wrong = |why: String| {
            let path = path.display();
            refused(format!("{path} is not a list of registries: {why}; restore it, or delete it and add them again"))
        };
        let document: Document = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if document.format != FORMAT {
            return Err(wrong(format!("format {}, and this kernel knows {FORMAT}", document.format)));
        }
        let mut book = Self::empty();
        for registry in document.registries {
            if book.get(&registry.id).is_ok() {
                return Err(wrong(format!("`{}` stands there twice", registry.id)));
            }
            book.registries.push(registry);
        }
        Ok(book)
    }

    /// Writes the book whole, mode 0600.
    ///
    /// # Errors
    /// The file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), RegistryError> {
        let failed = |e: std::io::Error| refused(format!("cannot write {}: {e}", path.display()));
        let document = Document { format: FORMAT, registries: self.registries.clone() };
        let json = serde_json::to_vec_pretty(&document).map_err(|e| failed(e.into()))?;
        files::replace(path, &json).map_err(failed)
    }

    /// Reads the book, changes it and writes it back, while nobody else does. What takes long, the network above all, comes
    /// before: `work` judges by what stands in the book now.
    ///
    /// # Errors
    /// The book cannot be read or written, or `work` fails; then it is as it was.
    pub fn change<T>(
        path: &Path,
        work: impl FnOnce(&mut Self) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let failed = |e: std::io::Error| refused(format!("cannot hold {}: {e}", path.display()));
        let _alone = files::hold(path).map_err(failed)?;
        let before = Self::load(path)?;
        let mut book = before.clone();
        let done = work(&mut book)?;
        if book != before {
            book.save(path)?;
        }
        Ok(done)
    }

    /// Adds a registry with the key that its index must be signed with. Only an owner's own command may lead here.
    ///
    /// # Errors
    /// One of that id is there.
    pub fn add(&mut self, id: Name, location: Location, key: PublicKey, now_ms: u64) -> Result<(), RegistryError> {
        if let Ok(known) = self.get(&id) {
            return Err(refused(format!(
                "the registry `{id}` is here already, at {}; `carapace registry remove {id}` first",
                known.location
            )));
        }
        let keys = vec![PinnedKey { key, state: KeyState::Active, added_ms: now_ms }];
        self.registries.push(Registry { id, location, keys, seen: None, added_ms: now_ms });
        Ok(())
    }

    /// Forgets a registry, and with it which version was seen. What was installed from it stays.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn remove(&mut self, id: &Name) -> Result<Registry, RegistryError> {
        let at = self.registries.iter().position(|r| &r.id == id);
        at.map(|at| self.registries.remove(at)).ok_or_else(|| unknown(id))
    }

    /// The registry of that id.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, id: &Name) -> Result<&Registry, RegistryError> {
        self.registries.iter().find(|r| &r.id == id).ok_or_else(|| unknown(id))
    }

    /// All, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Registry> {
        self.registries.iter()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.registries.is_empty()
    }

    /// Judges an index that came for a registry, and remembers it: signed by a pinned key, for this registry, not
    /// expired (unless `accept_expired`), not older than what was seen, and not another one of the same version.
    ///
    /// # Errors
    /// Any of these; the book is then as it was.
    pub fn accept(
        &mut self,
        id: &Name,
        envelope_json: &[u8],
        now_ms: u64,
        accept_expired: bool,
    ) -> Result<Index, RegistryError> {
        let registry = self.registries.iter_mut().find(|r| &r.id == id).ok_or_else(|| unknown(id))?;
        let (index, digest) = Index::open(id, envelope_json, registry.active())?;
        if let Some(seen) = &registry.seen {
            if index.version < seen.version {
                return Err(RegistryError::Rollback {
                    registry: id.clone(),
                    seen: seen.version,
                    offered: index.version,
                });
            }
            if index.version == seen.version && digest != seen.digest {
                return Err(RegistryError::Forked { registry: id.clone(), version: seen.version });
            }
        }
        if index.is_expired(now_ms) && !accept_expired {
            return Err(RegistryError::Expired { registry: id.clone(), version: index.version });
        }
        registry.seen = Some(Seen { version: index.version, digest });
        Ok(index)
    }

    /// Follows a rotation: a statement signed by an active key of the registry that it names.
    ///
    /// # Errors
    /// No active key signed it, or the new key is known already (a replay cannot revive a retired one).
    pub fn rotate(&mut self, envelope_json: &[u8], now_ms: u64) -> Result<Rotated, RegistryError> {
        let invalid = |e: &dyn std::fmt::Display| refused(format!("the rotation statement is not valid: {e}"));
        if envelope_json.len() > bundle::MAX_BYTES {
            return Err(invalid(&BundleError::TooBig(envelope_json.len())));
        }
        let envelope = Envelope::parse(envelope_json).map_err(|e| invalid(&e))?;
        for registry in &mut self.registries {
            let active: Vec<PublicKey> = registry.active().copied().collect();
            for old in active {
                let payload = match envelope.open(IN_TOTO, &old) {
                    Ok(payload) => payload,
                    Err(EnvelopeError::Signature(_)) => continue,
                    Err(e) => return Err(invalid(&e)),
                };
                let (_, digest, rotation) =
                    Statement::<Rotation>::parse(&payload, ROTATION_PREDICATE).map_err(|e| invalid(&e))?;
                if rotation.registry != registry.id {
                    // One key may sign for several registries.
                    continue;
                }
                if rotation.old_key != old || digest != Digest::from_bytes(rotation.new_key.der_digest()) {
                    return Err(invalid(&"it speaks for other keys than those it is about"));
                }
                if registry.keys.iter().any(|k| k.key == rotation.new_key) {
                    return Err(invalid(&"the new key is known here already"));
                }
                let new = PinnedKey { key: rotation.new_key, state: KeyState::Active, added_ms: now_ms };
                registry.keys.push(new);
                for key in registry.keys.iter_mut().filter(|k| rotation.retire_old && k.key == old) {
                    key.state = KeyState::Retired;
                }
                let retired = rotation.retire_old;
                return Ok(Rotated { registry: registry.id.clone(), old, new: rotation.new_key, retired });
            }
        }
        Err(refused("the rotation is not signed by an active key of a registry here, or is about another registry"))
    }
}

fn unknown(id: &Name) -> RegistryError {
    refused(format!("there is no registry `{id}` here; `carapace registry list` shows those there are"))
}

/// A rotation statement: from `old` on, `new` signs the index of `registry` too, or instead.
///
/// # Errors
/// It cannot be written as JSON.
pub fn rotation(registry: &Name, old: &SigningKey, new: &PublicKey, retire_old: bool) -> Result<Vec<u8>, BundleError> {
    let predicate = Rotation { registry: registry.clone(), old_key: old.public(), new_key: *new, retire_old };
    let subject = Digest::from_bytes(new.der_digest());
    let statement = Statement::new(ROTATION_PREDICATE, "registry key", subject, predicate);
    let envelope = Envelope::sign(IN_TOTO, &statement.to_json()?, old);
    serde_json::to_vec(&envelope).map_err(|e| BundleError::Json(e.to_string()))
}

#[cfg(test)]
mod tests;
