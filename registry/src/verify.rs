//! The only maker of a [`VerifiedPackage`].

use crate::bundle::{AnyBundle, BundleError, PackagePredicate};
use crate::deny::{By, DenyList};
use crate::dsse::EnvelopeError;
use crate::imports;
use crate::key::PublicKey;
use crate::keyless::{Identity, Problem as KeylessProblem, TrustedRoot};
use crate::package::{self, PackageError};
use crate::publisher::{KeyState, Publisher, PublisherBook};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::manifest::{Manifest, deceives};
use carapace_contract::{ComponentId, Contract, Contracts, Denial, Digest, Name};
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
    /// What signatures without a key rest on.
    pub root: TrustedRoot,
    /// The highest version ever seen of a component; survives its removal.
    pub highest_seen: BTreeMap<ComponentId, Version>,
    /// Packages that the owner explicitly let in although they are older.
    pub allowed_downgrades: BTreeSet<Digest>,
    /// Now, ms since the epoch: for the deny-list's expiry.
    pub now_ms: u64,
    /// The versions of the contract that packages may be built for.
    pub contracts: Contracts,
}

impl Trust {
    /// Whether a package that was verified before would still be let in: its signature is good by what trust rests on now, a
    /// replaced root included; its signer is pinned for the same publisher and not retired; and the deny-list doesn't name it.
    ///
    /// # Errors
    /// What has changed since.
    pub fn still(&self, package: &VerifiedPackage) -> Result<(), TrustError> {
        let bundle = AnyBundle::parse(&package.bundle).map_err(|e| TrustError::anonymous(TrustProblem::Bundle(e)))?;
        let (publisher, signer, _, _) = self.open(&bundle)?;
        if publisher.id != package.id.publisher {
            return Err(TrustError::anonymous(match signer {
                Signer::Key(key) => TrustProblem::UnknownPublisher(key.fingerprint().to_string()),
                Signer::Keyless(identity) => KeylessProblem::Identity(identity).into(),
            }));
        }
        self.not_denied(&package.digest, publisher, &signer)
    }

    /// Whose rule names that identity.
    fn recognise(&self, identity: &Identity) -> Result<&Publisher, TrustError> {
        self.publishers.by_identity(identity).ok_or_else(|| {
            let stranger = Box::new(identity.clone());
            TrustError::anonymous(match self.publishers.knows_issuer(&identity.issuer) {
                true => KeylessProblem::Identity(stranger).into(),
                false => KeylessProblem::Issuer(stranger).into(),
            })
        })
    }

    fn not_denied(&self, digest: &Digest, publisher: &Publisher, signer: &Signer) -> Result<(), TrustError> {
        let denied = match signer {
            Signer::Key(key) => self.deny.denies(digest, &publisher.id, By::Key(&key.fingerprint())),
            Signer::Keyless(identity) => self.deny.denies(digest, &publisher.id, By::Identity(identity)),
        };
        match denied {
            Some(what) => Err(TrustError::by(publisher, TrustProblem::Denied(what))),
            None => Ok(()),
        }
    }

    /// Opens a bundle: who signed, and what about which digest.
    fn open(&self, bundle: &AnyBundle) -> Result<(&Publisher, Signer, Digest, PackagePredicate), TrustError> {
        match bundle {
            AnyBundle::Key(bundle) => {
                let Some((publisher, pinned)) = self.publishers.by_fingerprint(bundle.hint()) else {
                    let hint = bundle.hint().as_str().chars().filter(|c| !deceives(*c)).take(64).collect();
                    return Err(TrustError::anonymous(TrustProblem::UnknownPublisher(hint)));
                };
                let (digest, predicate) = bundle.open(&pinned.key).map_err(|e| match e {
                    BundleError::Envelope(EnvelopeError::Signature(key)) => {
                        TrustError::anonymous(TrustProblem::Signature(key))
                    }
                    BundleError::Statement(why) => TrustError::by(publisher, TrustProblem::Statement(why)),
                    e => TrustError::anonymous(TrustProblem::Bundle(e)),
                })?;
                if pinned.state == KeyState::Retired {
                    return Err(TrustError::by(publisher, TrustProblem::RetiredKey));
                }
                Ok((publisher, Signer::Key(pinned.key), digest, predicate))
            }
            AnyBundle::Keyless(bundle) => {
                let opened = self.root.open(bundle).map_err(|e| TrustError::anonymous(e.into()))?;
                let publisher = self.recognise(&opened.identity)?;
                let (digest, predicate) = PackagePredicate::parse(&opened.statement).map_err(|e| {
                    TrustError::by(
                        publisher,
                        match e {
                            BundleError::Statement(why) => TrustProblem::Statement(why),
                            e => TrustProblem::Bundle(e),
                        },
                    )
                })?;
                Ok((publisher, Signer::Keyless(Box::new(opened.identity)), digest, predicate))
            }
        }
    }
}

/// Who signed a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A pinned key.
    Key(PublicKey),
    /// Whom a publisher's rule names.
    Keyless(Box<Identity>),
}

impl Signer {
    /// The key, if it was one.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Keyless(_) => None,
        }
    }

    /// For a line: the key's fingerprint, or the identity in words.
    pub fn brief(&self) -> String {
        match self {
            Self::Key(key) => key.fingerprint().to_string(),
            Self::Keyless(identity) => identity.to_string(),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Keyless(identity) => identity.fmt(f),
        }
    }
}

/// A package whose signature, statement, manifest and imports were all checked. Only [`verify`] makes one.
#[derive(Clone)]
pub struct VerifiedPackage {
    id: ComponentId,
    digest: Digest,
    contract: Contract,
    manifest: Manifest,
    manifest_text: String,
    capabilities: CapabilitySet,
    bytes: Arc<[u8]>,
    signer: Signer,
    /// What it was verified with.
    bundle: Arc<[u8]>,
    mark: String,
    marks: Arc<BTreeSet<String>>,
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
    /// The contract it is built for.
    pub fn contract(&self) -> Contract {
        self.contract
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
    /// Who signed it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
    /// The key or rule by which its publisher was recognised, in a form to be kept: see [`Self::is_of`].
    pub fn mark(&self) -> &str {
        &self.mark
    }
    /// Whether its publisher is the one that was recognised by `mark` once: the same, or one who has followed from there by rotation
    /// or by the owner's word. The name alone proves nothing, because a publisher can be forgotten and another pinned under its name.
    pub fn is_of(&self, mark: &str) -> bool {
        self.marks.contains(mark)
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
        expected: String,
        /// Found.
        actual: ComponentId,
    },
    /// `E-TRUST-014`
    #[error("{}", .speaks.unspoken(.needs))]
    Contract {
        /// What it is built for.
        needs: String,
        /// What this kernel speaks.
        speaks: Contracts,
    },
    /// `E-TRUST-015`
    #[error("{} signed these bytes, and which component is meant nothing says", names(.0))]
    SeveralPublishers(Vec<Name>),
    /// `E-TRUST-020` and on
    #[error(transparent)]
    Keyless(KeylessProblem),
}

fn names(all: &[Name]) -> String {
    all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
}

impl From<KeylessProblem> for TrustProblem {
    fn from(problem: KeylessProblem) -> Self {
        Self::Keyless(problem)
    }
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

    fn by(publisher: &Publisher, problem: TrustProblem) -> Self {
        Self { problem: Box::new(problem), publisher: Some(publisher.id.clone()) }
    }

    pub(crate) fn unexpected(expected: String, actual: ComponentId) -> Self {
        let publisher = Some(actual.publisher.clone());
        Self { problem: Box::new(TrustProblem::Unexpected { expected, actual }), publisher }
    }

    pub(crate) fn several(publishers: Vec<Name>) -> Self {
        Self::anonymous(TrustProblem::SeveralPublishers(publishers))
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
            TrustProblem::Contract { .. } => "E-TRUST-014",
            TrustProblem::SeveralPublishers(_) => "E-TRUST-015",
            TrustProblem::Keyless(ref problem) => problem.code(),
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
            TrustProblem::SeveralPublishers(names) => {
                let first = names.first().map_or("ID", Name::as_str);
                format!("name the publisher: --publisher {first}")
            }
            TrustProblem::Keyless(problem) => problem.fix(),
            // The message has both ways.
            TrustProblem::Contract { .. } | TrustProblem::TooBig(_) | TrustProblem::Denied(_) => String::new(),
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
    let bundle = AnyBundle::parse(bundle_json).map_err(|e| TrustError::anonymous(TrustProblem::Bundle(e)))?;
    let (publisher, signer, signed, predicate) = trust.open(&bundle)?;
    let refuse = |problem| TrustError::by(publisher, problem);
    let actual = Digest::of(&bytes);
    if actual != signed {
        return Err(refuse(TrustProblem::Digest { signed, actual }));
    }
    trust.not_denied(&actual, publisher, &signer)?;
    // Before the manifest: one for another contract may say what this kernel cannot read.
    let speaks = trust.contracts;
    let Some(contract) = speaks.find(&predicate.contract) else {
        return Err(refuse(TrustProblem::Contract { needs: predicate.contract, speaks }));
    };
    let (manifest, manifest_text) =
        package::read_manifest_for(&bytes, speaks).map_err(|e| refuse(TrustProblem::Package(e)))?;
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
    let report = imports::check_for(&bytes, &manifest, speaks).map_err(|e| refuse(TrustProblem::Package(e)))?;
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
    if signer.key().is_none() {
        warnings.extend(trust.root.warning(trust.now_ms));
    }
    Ok(VerifiedPackage {
        id,
        digest: actual,
        contract,
        capabilities: CapabilitySet::from(&manifest),
        manifest,
        manifest_text,
        bytes: bytes.into(),
        mark: publisher.mark_of(&signer),
        marks: Arc::new(publisher.marks()),
        signer,
        bundle: bundle_json.into(),
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
    Err(TrustError::unexpected(expected.to_string(), package.id))
}

#[cfg(test)]
mod tests;
