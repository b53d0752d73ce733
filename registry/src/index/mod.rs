//! A registry's index: what it offers, signed as a whole.
//!
//! `index.json` is a DSSE envelope (Ed25519) around JSON. It says what the *registry* says: that these packages belong
//! together at this time. It expires (a frozen mirror is noticed), its version only grows (an old one is refused), and it
//! pins every package by digest (no mixing). Whether a package may run is decided by the package's own signature alone.
//! The threats and the words for them are those of TUF (<https://theupdateframework.github.io/specification/>).

mod describe;
mod make;
mod search;

pub use describe::{asks, kinds};
pub use make::{INDEX_FILE, Made, Making, PACKAGES, digests_of, make, package_files, place, previous, ready};
pub use search::{Hit, search};

use crate::dsse::{Envelope, EnvelopeError};
use crate::error::RegistryError;
use crate::key::{Fingerprint, PublicKey, SigningKey};
use crate::keyless::Rule;
use crate::publisher::{KeyState, Publisher, PublisherBook};
use carapace_contract::manifest::deceives;
use carapace_contract::{ComponentId, Digest, Name};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The payload type of an index's envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.carapace.registry-index.v1+json";
/// An index's largest size with its envelope, bytes: some 50,000 packages.
pub const MAX_BYTES: usize = 32 << 20;
/// The format that this kernel reads and writes.
pub const FORMAT: u32 = 1;
/// The longest text of an entry, characters.
const MAX_TEXT: usize = 600;
/// The most words in `kinds` or `asks`.
const MAX_WORDS: usize = 200;

/// One version of one component. All but `yanked` is computed from the package; see [`Entry::describe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// `publisher/name`, the publisher as the registry's keeper calls whoever signed it.
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// The contract it is built for.
    pub contract: String,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// One line.
    pub description: String,
    /// What it is: `tool`, `provider`.
    pub kinds: BTreeSet<String>,
    /// What it asks for: `http:api.example.com`, `secret:token`, `kv`, …
    pub asks: BTreeSet<String>,
    /// Who signed it.
    pub signer: SignedBy,
    /// Why the registry withdrew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// Who signed a package, in the form in which publishers are pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedBy {
    /// The key with this fingerprint.
    Key(Fingerprint),
    /// Whom this rule names.
    Keyless(Box<Rule>),
}

impl SignedBy {
    /// The publisher here whose signature that is, and whether it still counts.
    pub fn known<'p>(&self, book: &'p PublisherBook) -> Option<(&'p Publisher, bool)> {
        match self {
            Self::Key(fingerprint) => book.by_fingerprint(fingerprint).map(|(p, k)| (p, k.state == KeyState::Active)),
            Self::Keyless(rule) => {
                book.iter().find(|p| p.keyless.iter().any(|k| k.rule == **rule)).map(|publisher| (publisher, true))
            }
        }
    }
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "the key {fingerprint}"),
            Self::Keyless(rule) => rule.fmt(f),
        }
    }
}

/// What an index says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`]
    pub format: u32,
    /// The registry's own id.
    pub registry: Name,
    /// Only grows.
    pub version: u64,
    /// When it was made, ms since the epoch.
    pub issued_ms: u64,
    /// When a newer one must be there, ms since the epoch.
    pub expires_ms: u64,
    /// Keys of the publishers, as the keeper pinned them: to show to an owner who decides whom to trust. They prove nothing.
    #[serde(default)]
    pub keys: BTreeMap<Name, BTreeSet<PublicKey>>,
    /// By id and version, ascending, each once.
    pub packages: Vec<Entry>,
}

/// Only what tells whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Index {
    /// The index in an envelope that one of `keys` signed, and the digest of what was signed. Nothing about time or earlier versions is checked yet.
    ///
    /// # Errors
    /// Too large, not signed by any of the keys, another format, entries twice or out of order, texts that hide something.
    pub fn open<'k>(
        registry: &Name,
        envelope_json: &[u8],
        keys: impl Iterator<Item = &'k PublicKey>,
    ) -> Result<(Self, Digest), RegistryError> {
        if envelope_json.len() > MAX_BYTES {
            return Err(RegistryError::TooLarge { what: format!("the index of `{registry}`"), max: MAX_BYTES });
        }
        let unsigned = |why: String| RegistryError::NotSigned { registry: registry.clone(), why };
        let envelope = Envelope::parse(envelope_json).map_err(|e| unsigned(e.to_string()))?;
        let mut refused = "no key is pinned for it".to_owned();
        for key in keys {
            match envelope.open(PAYLOAD_TYPE, key) {
                Ok(payload) => return Ok((Self::parse(registry, &payload)?, Digest::of(&payload))),
                Err(e @ EnvelopeError::Signature(_)) => refused = e.to_string(),
                Err(e) => return Err(unsigned(e.to_string())),
            }
        }
        Err(unsigned(refused))
    }

    fn parse(registry: &Name, payload: &[u8]) -> Result<Self, RegistryError> {
        let wrong = |why: String| RegistryError::NotAnIndex { registry: registry.clone(), why };
        let head: Head = serde_json::from_slice(payload).map_err(|e| wrong(e.to_string()))?;
        if head.format != FORMAT {
            return Err(wrong(format!("its format is {}, and this kernel reads {FORMAT}", head.format)));
        }
        let index: Self = serde_json::from_slice(payload).map_err(|e| wrong(e.to_string()))?;
        if index.registry != *registry {
            return Err(RegistryError::OtherRegistry { wanted: registry.clone(), found: index.registry.to_string() });
        }
        for (one, next) in index.packages.iter().zip(index.packages.iter().skip(1)) {
            if one.key() >= next.key() {
                return Err(wrong(format!("{} {} stands there twice or out of order", next.id, next.version)));
            }
        }
        for entry in &index.packages {
            entry.check().map_err(|why| wrong(format!("{} {}: {why}", entry.id, entry.version)))?;
        }
        Ok(index)
    }

    /// Signs it: the bytes of `index.json`.
    ///
    /// # Errors
    /// It is larger than [`MAX_BYTES`].
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, RegistryError> {
        let wrong =
            |e: serde_json::Error| RegistryError::NotAnIndex { registry: self.registry.clone(), why: e.to_string() };
        let payload = serde_json::to_vec(self).map_err(wrong)?;
        let bytes = serde_json::to_vec(&Envelope::sign(PAYLOAD_TYPE, &payload, key)).map_err(wrong)?;
        if bytes.len() > MAX_BYTES {
            return Err(RegistryError::TooLarge { what: format!("the index of `{}`", self.registry), max: MAX_BYTES });
        }
        Ok(bytes)
    }

    /// Whether a newer one should be there by now.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms < now_ms
    }
}

impl Entry {
    fn key(&self) -> (&ComponentId, &Version) {
        (&self.id, &self.version)
    }

    /// Texts of an index are shown before anything is verified: none may reach into the terminal.
    fn check(&self) -> Result<(), String> {
        let words = self.kinds.iter().chain(&self.asks).map(String::as_str);
        if self.kinds.len() > MAX_WORDS || self.asks.len() > MAX_WORDS {
            return Err(format!("more than {MAX_WORDS} words in `kinds` or `asks`"));
        }
        let signer = self.signer.to_string();
        let texts = [self.contract.as_str(), &self.description, &signer];
        let mut texts = texts.into_iter().chain(words).chain(self.yanked.as_deref());
        match texts.find(|t| t.chars().count() > MAX_TEXT || t.chars().any(deceives)) {
            Some(text) => Err(format!("`{}` is too long or holds characters that deceive", text.escape_debug())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
