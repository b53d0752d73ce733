//! Whom keyless signatures rest on: the certificate authorities, certificate logs, transparency logs and timestamp
//! authorities of the trusted root. One is built in; a newer one, signed by a pinned key, takes its place.

use super::{Bundle, Opened, Problem, crypto, open};
use crate::key::{PublicKey, SigningKey};
use crate::signed::{self, Content, Signed, SignedError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot as Material};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// When the built-in root was taken from Sigstore's own repository: 2026-10-23, ms since the epoch. It is the public
/// instance's `trusted_root.json`, as `sigstore-trust-root` 0.15.1 brings it along; a test holds the two together.
pub const BUILT_IN_MS: u64 = 1_792_713_600_000;
/// After how long a root should be renewed: 180 days. Its keys are added and retired about once a year; an old root
/// refuses what newer keys signed, and does not know which of its own were retired since.
pub const MAX_AGE_MS: u64 = 180 * 86_400_000;
/// A root's largest size, bytes.
pub const MAX_BYTES: usize = 1 << 20;
const DAY_MS: u64 = 86_400_000;

/// A root that takes the built-in one's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootContent {
    /// Only grows.
    pub version: u64,
    /// When it was fetched from where it is kept, ms since the epoch.
    pub fetched_ms: u64,
    /// A `trusted_root.json`
    /// (<https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto>).
    pub root: Value,
}

impl Content for RootContent {
    const WHAT: &'static str = "trusted root";
    const FILE: &'static str = "trusted-root.json";
    const PAYLOAD_TYPE: &'static str = "application/vnd.carapace.trusted-root.v1+json";
    const MAX_BYTES: usize = MAX_BYTES;

    fn version(&self) -> u64 {
        self.version
    }

    fn check(&self) -> Result<(), String> {
        Verified::new(&self.root.to_string()).map(|_| ()).map_err(|e| e.to_string())
    }
}

/// A root's keys, parsed.
struct Verified {
    verifier: Verifier,
    /// The transparency logs it knows.
    logs: BTreeSet<Vec<u8>>,
}

impl Verified {
    fn new(json: &str) -> Result<Self, Problem> {
        crypto::install();
        let unusable = |e: &dyn fmt::Display| Problem::Root(e.to_string());
        let material = Material::from_json(json).map_err(|e| unusable(&e))?;
        let verifier = Verifier::new(&material).map_err(|e| unusable(&e))?;
        for (what, count) in [
            ("certificate authority", material.certificate_authorities.len()),
            ("certificate log", material.ctlogs.len()),
            ("transparency log", material.tlogs.len()),
        ] {
            if count == 0 {
                return Err(unusable(&format!("it names no {what}")));
            }
        }
        let logs = material.tlogs.iter().map(|log| log.log_id.key_id.as_bytes().to_vec()).collect();
        Ok(Self { verifier, logs })
    }
}

/// The trusted root in force (`trusted-root.json`, or the built-in one).
#[derive(Clone, Default)]
pub struct TrustedRoot {
    signed: Signed<RootContent>,
    // Parsed when the first keyless signature is met: most starts meet none.
    parsed: Arc<OnceLock<Result<Verified, Problem>>>,
}

impl TrustedRoot {
    /// The public Sigstore instance's, as it was when this kernel was made.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// Pins who may sign a newer one.
    ///
    /// # Errors
    /// Another key is pinned.
    pub fn pin(&mut self, key: PublicKey) -> Result<(), SignedError> {
        self.signed.pin(key)
    }

    /// Reads the file and verifies its signature again; without a file, the built-in root.
    ///
    /// # Errors
    /// The file cannot be read or does not verify. A damaged root is never taken for none.
    pub fn load(path: &Path) -> Result<Self, SignedError> {
        Signed::load(path).map(|signed| Self { signed, parsed: Arc::default() })
    }

    /// Writes the file whole, mode 0600.
    ///
    /// # Errors
    /// No key is pinned, or the file cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), SignedError> {
        self.signed.save(path)
    }

    /// Takes a newer root; says whether anything changed.
    ///
    /// # Errors
    /// It is not signed by the pinned key, not newer, or no root.
    pub fn update(&mut self, envelope_json: &[u8]) -> Result<bool, SignedError> {
        let changed = self.signed.update(envelope_json)?;
        self.parsed = Arc::default();
        Ok(changed)
    }

    /// What took the built-in root's place, if anything did.
    pub fn content(&self) -> Option<&RootContent> {
        self.signed.content()
    }

    /// The one that counts, if it is not the built-in one: a root of the same instance that is older than what this kernel
    /// brings along does not, for the newer one knows which keys were retired. Another instance's always does.
    fn in_force(&self) -> Option<&RootContent> {
        self.content().filter(|content| content.fetched_ms >= BUILT_IN_MS || !is_public(&content.root))
    }

    /// A warning if it should be renewed, or is not the one that counts. An old root is still applied.
    pub fn warning(&self, now_ms: u64) -> Option<String> {
        let (what, since) = match (self.in_force(), self.content()) {
            (Some(content), _) => (format!("trusted root (version {})", content.version), content.fetched_ms),
            (None, Some(older)) => {
                return Some(format!(
                    "the trusted root here (version {}) is older than the one that this carapace brings along, which counts in its place; get a newer one for `carapace publisher trusted-root`, or delete {}",
                    older.version,
                    RootContent::FILE
                ));
            }
            (None, None) => ("built-in trusted root".to_owned(), BUILT_IN_MS),
        };
        let age = now_ms.saturating_sub(since);
        (age > MAX_AGE_MS).then(|| {
            format!(
                "the {what} for keyless signatures is {} days old; it is still applied, but keys that were retired since still count and newer ones are unknown; install a newer carapace, or a newer root with `carapace publisher trusted-root`",
                age / DAY_MS
            )
        })
    }

    /// Verifies a bundle: everything but whose signature it should be and what it should be about.
    ///
    /// # Errors
    /// The first part that is missing or wrong.
    pub fn open(&self, bundle: &Bundle) -> Result<Opened, Problem> {
        let parsed = self.parsed.get_or_init(|| match self.in_force() {
            Some(content) => Verified::new(&content.root.to_string()),
            None => Verified::new(SIGSTORE_PRODUCTION_TRUSTED_ROOT),
        });
        let Verified { verifier, logs } = parsed.as_ref().map_err(Clone::clone)?;
        open::open(bundle, verifier, logs)
    }
}

/// Whether a root is one of the public instance's: it knows one of the transparency logs of the built-in one.
fn is_public(root: &Value) -> bool {
    let logs = |root: &Value| -> BTreeSet<String> {
        let all = root.get("tlogs").and_then(Value::as_array);
        let id = |log: &Value| Some(log.pointer("/logId/keyId")?.as_str()?.to_owned());
        all.into_iter().flatten().filter_map(id).collect()
    };
    let built_in = serde_json::from_str::<Value>(SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    built_in.is_ok_and(|built_in| !logs(&built_in).is_disjoint(&logs(root)))
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content() {
            Some(content) => write!(f, "TrustedRoot(version {})", content.version),
            None => f.write_str("TrustedRoot(built in)"),
        }
    }
}

/// Signs a root that takes the built-in one's place.
///
/// # Errors
/// It cannot be written as JSON, or is no root.
pub fn sign(content: &RootContent, key: &SigningKey) -> Result<Vec<u8>, SignedError> {
    content.check().map_err(|why| SignedError::Content { what: RootContent::WHAT, why })?;
    signed::sign(content, key)
}
