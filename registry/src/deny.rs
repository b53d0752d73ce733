//! A signed list of what must not run: digests, publishers, keys, identities of those who sign without one. It has a key of
//! its own and only moves forward.

use crate::key::{Fingerprint, PublicKey, SigningKey};
use crate::keyless::{Identity, Rule};
use crate::signed::{self, Content, Signed};
use carapace_contract::{Digest, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

pub use crate::signed::SignedError as DenyError;

/// The payload type of a deny-list's envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.carapace.deny-list.v1+json";
/// A deny-list's largest size, bytes.
pub const MAX_BYTES: usize = 4 << 20;

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
    /// Whom these rules name: issuer, repository and workflow, at whatever ref; or issuer and address.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keyless: BTreeSet<Rule>,
}

/// Whose signature is looked for.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// The key with this fingerprint.
    Key(&'a Fingerprint),
    /// Who signed without one.
    Identity(&'a Identity),
    /// Whom an index says that this rule names.
    Rule(&'a Rule),
}

impl Content for DenyContent {
    const WHAT: &'static str = "deny-list";
    const FILE: &'static str = "deny-list.json";
    const PAYLOAD_TYPE: &'static str = PAYLOAD_TYPE;
    const MAX_BYTES: usize = MAX_BYTES;

    fn version(&self) -> u64 {
        self.version
    }
}

/// The deny-list in force (`deny-list.json`).
#[derive(Debug, Clone, Default)]
pub struct DenyList(Signed<DenyContent>);

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
        self.0.pin(key)
    }

    /// Reads the file and verifies its signature again; a missing file denies nothing.
    ///
    /// # Errors
    /// The file cannot be read or does not verify. A damaged list is never taken for none.
    pub fn load(path: &Path) -> Result<Self, DenyError> {
        Signed::load(path).map(Self)
    }

    /// Writes the file whole, mode 0600.
    ///
    /// # Errors
    /// No key is pinned, or the file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), DenyError> {
        self.0.save(path)
    }

    /// Takes a newer list; says whether anything changed.
    ///
    /// # Errors
    /// It is not signed by the pinned key, or not newer.
    pub fn update(&mut self, envelope_json: &[u8]) -> Result<bool, DenyError> {
        self.0.update(envelope_json)
    }

    /// What it says; `None` before the first list.
    pub fn content(&self) -> Option<&DenyContent> {
        self.0.content()
    }

    /// A warning if it should have been renewed. An expired list is still applied.
    pub fn warning(&self, now_ms: u64) -> Option<String> {
        let content = self.content().filter(|c| c.expires_ms < now_ms)?;
        Some(format!(
            "the deny-list (version {}) expired; it is still applied, but newer entries are missing; get the current one from its signer",
            content.version
        ))
    }

    /// Which entry denies a package, if one does.
    pub fn denies(&self, digest: &Digest, publisher: &Name, by: By<'_>) -> Option<String> {
        let content = self.content()?;
        if content.digests.contains(digest) {
            return Some(format!("the package {digest}"));
        }
        let signer = match by {
            By::Key(fingerprint) => {
                let key = content.keys.iter().find(|key| key.fingerprint() == *fingerprint);
                key.map(|key| format!("the key {key}"))
            }
            By::Identity(identity) => content.keyless.iter().find(|rule| rule.matches(identity)).map(named),
            By::Rule(rule) => content.keyless.get(rule).map(named),
        };
        signer.or_else(|| content.publishers.contains(publisher).then(|| format!("the publisher `{publisher}`")))
    }
}

fn named(rule: &Rule) -> String {
    format!("the keyless signer {rule}")
}

/// Signs a deny-list.
///
/// # Errors
/// It cannot be written as JSON.
pub fn sign(content: &DenyContent, key: &SigningKey) -> Result<Vec<u8>, DenyError> {
    signed::sign(content, key)
}

#[cfg(test)]
mod tests;
