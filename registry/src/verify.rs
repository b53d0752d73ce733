//! The only maker of a [`VerifiedPackage`].

use crate::bundle::{Bundle, BundleError};
use crate::deny::DenyList;
use crate::dsse::EnvelopeError;
use crate::imports;
use crate::key::{Fingerprint, PublicKey};
use crate::package::{self, PackageError};
use crate::publisher::{KeyState, PublisherBook};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::manifest::Manifest;
use carapace_contract::{ComponentId, Denial, Digest, Name};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Everything that trust rests on, as it stands now.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Who is pinned.
    pub publishers: PublisherBook,
    /// What must not run.
    pub deny: DenyList,
    /// The highest version ever seen of a component; survives its removal.
    pub highest_seen: BTreeMap<ComponentId, Version>,
    /// Packages that the owner explicitly let in although they are older.
    pub allowed_downgrades: BTreeSet<Digest>,
    /// Now, ms since the epoch: for the deny-list's expiry.
    pub now_ms: u64,
}

impl Trust {
    /// Whether a package that was verified before would still be let in: its key is pinned for the same publisher and
    /// not retired, and the deny-list doesn't name it.
    ///
    /// # Errors
    /// What has changed since.
    pub fn still(&self, package: &VerifiedPackage) -> Result<(), TrustError> {
        let fingerprint = package.key.fingerprint();
        let Some((publisher, pinned)) =
            self.publishers.by_fingerprint(&fingerprint).filter(|(p, _)| p.id == package.id.publisher)
        else {
            return Err(TrustError::anonymous(TrustProblem::UnknownPublisher(fingerprint.to_string())));
        };
        let refuse = |problem| TrustError { problem: Box::new(problem), publisher: Some(publisher.id.clone()) };
        if pinned.state == KeyState::Retired {
            return Err(refuse(TrustProblem::RetiredKey));
        }
        match self.deny.denies(&package.digest, &publisher.id, &pinned.key) {
            Some(what) => Err(refuse(TrustProblem::Denied(what))),
            None => Ok(()),
        }
    }
}

/// A package whose signature, statement, manifest and imports were all checked. Only [`verify`] makes one.
#[derive(Clone)]
pub struct VerifiedPackage {
    id: ComponentId,
    digest: Digest,
    manifest: Manifest,
    manifest_text: String,
    capabilities: CapabilitySet,
    bytes: Arc<[u8]>,
    key: PublicKey,
    warnings: Vec<String>,
}

impl VerifiedPackage {
    /// `publisher/name`: the publisher from the signature, the name from the signed manifest.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }
    /// Its version.
    pub fn version(&self) -> &Version {
        &self.manifest.component.version
    }
    /// SHA-256 of [`Self::bytes`].
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// The manifest's own text.
    pub fn manifest_text(&self) -> &str {
        &self.manifest_text
    }
    /// Everything it asks for.
    pub fn capabilities(&self) -> &CapabilitySet {
        &self.capabilities
    }
    /// The file, as it was verified.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
    /// The key that signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
    /// The fingerprint of that key.
    pub fn key_fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }
    /// What is odd about it and no reason to refuse it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Debug for VerifiedPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedPackage({} {} {})", self.id, self.version(), self.digest)
    }
}

/// What was wrong. Each has a stable code.
#[derive(Debug, thiserror::Error)]
pub enum TrustProblem {
    /// `E-TRUST-001`
    #[error("the package is {0} bytes long; at most 67108864 are allowed")]
    TooBig(usize),
    /// `E-TRUST-002`
    #[error("the bundle is not acceptable: {0}")]
    Bundle(BundleError),
    /// `E-TRUST-003`
    #[error("the package is signed by a key that nobody here trusts (fingerprint {0})")]
    UnknownPublisher(String),
    /// `E-TRUST-004`
    #[error("the key that signed the package was retired by its publisher")]
    RetiredKey,
    /// `E-TRUST-005`
    #[error("the signature is not by the key the bundle names ({0}): the bundle was forged or changed")]
    Signature(PublicKey),
    /// `E-TRUST-006`
    #[error("the signature is good, but what was signed is not a statement about this kind of package: {0}")]
    Statement(String),
    /// `E-TRUST-007`
    #[error(
        "the signed digest is {signed}, and the file's is {actual}: the file was changed, or the bundle is another package's"
    )]
    Digest {
        /// In the statement.
        signed: Digest,
        /// Of the bytes.
        actual: Digest,
    },
    /// `E-TRUST-008`
    #[error(transparent)]
    Package(PackageError),
    /// `E-TRUST-009`
    #[error("the statement says {what} `{signed}`, and the manifest `{manifest}`")]
    Mismatch {
        /// `name`, `version` or `contract`.
        what: &'static str,
        /// In the statement.
        signed: String,
        /// In the manifest.
        manifest: String,
    },
    /// `E-TRUST-010`
    #[error("the component and its manifest disagree:\n{}", .0.join("\n"))]
    Imports(Vec<String>),
    /// `E-TRUST-011`
    #[error("the deny-list names {0}")]
    Denied(String),
    /// `E-TRUST-012`
    #[error("version {offered} is older than {seen}, which was here before")]
    Downgrade {
        /// The highest version seen.
        seen: Version,
        /// This one's.
        offered: Version,
        /// This one's digest.
        digest: Digest,
    },
    /// `E-TRUST-013`
    #[error(
        "this is `{actual}`, and `{expected}` was expected: the same name by another publisher is another component"
    )]
    Unexpected {
        /// Asked for.
        expected: ComponentId,
        /// Found.
        actual: ComponentId,
    },
}

/// Why a package was refused, and by whom it is if that much is sure.
#[derive(Debug)]
pub struct TrustError {
    problem: Box<TrustProblem>,
    publisher: Option<Name>,
}

impl TrustError {
    fn anonymous(problem: TrustProblem) -> Self {
        Self { problem: Box::new(problem), publisher: None }
    }

    /// What was wrong.
    pub fn problem(&self) -> &TrustProblem {
        &self.problem
    }

    /// The publisher, if the signature is good and something else is not.
    pub fn publisher(&self) -> Option<&Name> {
        self.publisher.as_ref()
    }

    /// Stable: `E-TRUST-<NNN>`.
    pub fn code(&self) -> &'static str {
        match *self.problem {
            TrustProblem::TooBig(_) => "E-TRUST-001",
            TrustProblem::Bundle(_) => "E-TRUST-002",
            TrustProblem::UnknownPublisher(_) => "E-TRUST-003",
            TrustProblem::RetiredKey => "E-TRUST-004",
            TrustProblem::Signature(_) => "E-TRUST-005",
            TrustProblem::Statement(_) => "E-TRUST-006",
            TrustProblem::Digest { .. } => "E-TRUST-007",
            TrustProblem::Package(_) => "E-TRUST-008",
            TrustProblem::Mismatch { .. } => "E-TRUST-009",
            TrustProblem::Imports(_) => "E-TRUST-010",
            TrustProblem::Denied(_) => "E-TRUST-011",
            TrustProblem::Downgrade { .. } => "E-TRUST-012",
            TrustProblem::Unexpected { .. } => "E-TRUST-013",
        }
    }

    /// The command that would let it in, or what to ask for; empty if nothing should.
    pub fn fix(&self) -> String {
        match &*self.problem {
            TrustProblem::UnknownPublisher(fingerprint) => format!(
                "get the publisher's key (fingerprint {fingerprint}) from a place you trust, then `carapace publisher add ID KEY`"
            ),
            TrustProblem::RetiredKey => "install a version signed with the publisher's current key".to_owned(),
            TrustProblem::Digest { .. } | TrustProblem::Signature(_) => {
                "get the .wasm and the .sigstore.json again, both from the publisher".to_owned()
            }
            TrustProblem::Downgrade { seen, digest, .. } => {
                format!(
                    "install {seen} or a newer version; `carapace plugin update --allow-downgrade` lets this one in all the same (digest {digest})"
                )
            }
            TrustProblem::Package(_) | TrustProblem::Mismatch { .. } | TrustProblem::Imports(_) => {
                "its author must build and sign it again with `carapace plugin build`".to_owned()
            }
            TrustProblem::Bundle(_) | TrustProblem::Statement(_) => {
                "its author must sign it again with `carapace plugin sign`".to_owned()
            }
            TrustProblem::Unexpected { actual, .. } => format!("to use the other one, name it: `{actual}`"),
            TrustProblem::TooBig(_) | TrustProblem::Denied(_) => String::new(),
        }
    }

    /// As a denial.
    pub fn denial(&self) -> Denial {
        let message = match &self.publisher {
            Some(publisher) => format!("a package signed by `{publisher}` was refused: {}", self.problem),
            None => format!("a package was refused: {}", self.problem),
        };
        Denial::new(self.code(), message, self.fix())
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.denial().fmt(f)
    }
}

impl std::error::Error for TrustError {}

impl From<TrustError> for Denial {
    fn from(e: TrustError) -> Self {
        e.denial()
    }
}

/// Verifies a package: the signature first, and nothing of the bytes is looked at before it is good.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(bytes: Vec<u8>, bundle_json: &[u8], trust: &Trust) -> Result<VerifiedPackage, TrustError> {
    if bytes.len() > package::MAX_BYTES {
        return Err(TrustError::anonymous(TrustProblem::TooBig(bytes.len())));
    }
    let bundle = Bundle::parse(bundle_json).map_err(|e| TrustError::anonymous(TrustProblem::Bundle(e)))?;
    let Some((publisher, pinned)) = trust.publishers.by_fingerprint(bundle.hint()) else {
        let hint = bundle.hint().as_str().chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(TrustError::anonymous(TrustProblem::UnknownPublisher(hint)));
    };
    let (signed, predicate) = bundle.open(&pinned.key).map_err(|e| match e {
        BundleError::Envelope(EnvelopeError::Signature(key)) => TrustError::anonymous(TrustProblem::Signature(key)),
        BundleError::Statement(why) => {
            TrustError { problem: Box::new(TrustProblem::Statement(why)), publisher: Some(publisher.id.clone()) }
        }
        e => TrustError::anonymous(TrustProblem::Bundle(e)),
    })?;
    let refuse = |problem| TrustError { problem: Box::new(problem), publisher: Some(publisher.id.clone()) };
    if pinned.state == KeyState::Retired {
        return Err(refuse(TrustProblem::RetiredKey));
    }
    let actual = Digest::of(&bytes);
    if actual != signed {
        return Err(refuse(TrustProblem::Digest { signed, actual }));
    }
    if let Some(what) = trust.deny.denies(&actual, &publisher.id, &pinned.key) {
        return Err(refuse(TrustProblem::Denied(what)));
    }
    let (manifest, manifest_text) = package::read_manifest(&bytes).map_err(|e| refuse(TrustProblem::Package(e)))?;
    let component = &manifest.component;
    for (what, signed, manifest) in [
        ("name", &predicate.name, component.name.to_string()),
        ("version", &predicate.version, component.version.to_string()),
        ("contract", &predicate.contract, component.contract.clone()),
    ] {
        if *signed != manifest {
            return Err(refuse(TrustProblem::Mismatch { what, signed: signed.clone(), manifest }));
        }
    }
    let report = imports::check(&bytes, &manifest).map_err(|e| refuse(TrustProblem::Package(e)))?;
    if !report.problems.is_empty() {
        return Err(refuse(TrustProblem::Imports(report.problems)));
    }
    let id = ComponentId { publisher: publisher.id.clone(), name: component.name.clone() };
    if let Some(seen) = trust.highest_seen.get(&id).filter(|seen| component.version < **seen)
        && !trust.allowed_downgrades.contains(&actual)
    {
        let offered = component.version.clone();
        return Err(refuse(TrustProblem::Downgrade { seen: seen.clone(), offered, digest: actual }));
    }
    let mut warnings = report.warnings;
    warnings.extend(trust.deny.warning(trust.now_ms));
    Ok(VerifiedPackage {
        id,
        digest: actual,
        capabilities: CapabilitySet::from(&manifest),
        manifest,
        manifest_text,
        bytes: bytes.into(),
        key: pinned.key,
        warnings,
    })
}

/// [`verify`], and it must be that component: the right name by another publisher is refused.
///
/// # Errors
/// See [`verify`].
pub fn verify_as(
    expected: &ComponentId,
    bytes: Vec<u8>,
    bundle_json: &[u8],
    trust: &Trust,
) -> Result<VerifiedPackage, TrustError> {
    let package = verify(bytes, bundle_json, trust)?;
    if package.id() == expected {
        return Ok(package);
    }
    let publisher = Some(package.id.publisher.clone());
    let problem = TrustProblem::Unexpected { expected: expected.clone(), actual: package.id };
    Err(TrustError { problem: Box::new(problem), publisher })
}

#[cfg(test)]
mod tests;
