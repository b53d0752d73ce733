//! The Sigstore bundle (v0.3) beside a package: a DSSE envelope around an in-toto statement over the package's digest.
//!
//! Formats: <https://docs.sigstore.dev/about/bundle/>, <https://github.com/in-toto/attestation> (Statement v1).

use crate::dsse::{Envelope, EnvelopeError};
use crate::error::shown;
use crate::key::{Fingerprint, PublicKey, SigningKey};
use crate::keyless;
use carapace_contract::Digest;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// A bundle's media type.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// `_type` of a statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What a package's statement says.
pub const PACKAGE_PREDICATE: &str = "https://carapace.dev/attestation/package/v1";
/// A bundle's largest size, bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// Why a bundle was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Too big to be one.
    #[error("it is {0} bytes long; at most 65536 are allowed")]
    TooBig(usize),
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(String),
    /// Another kind or version.
    #[error("its media type is `{0}`, not `application/vnd.dev.sigstore.bundle.v0.3+json`")]
    MediaType(String),
    /// Transparency-log entries cannot be checked here, and what is not checked must not look as if it were.
    #[error("it holds transparency-log entries, which are not verified for key-signed bundles; sign without a log")]
    LogEntries,
    /// Both, or neither.
    #[error("it must hold either a `publicKey` or a `certificate`")]
    Material,
    /// Signed without a key, and malformed.
    #[error(transparent)]
    Keyless(#[from] keyless::Problem),
    /// The envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement inside, which a good signature covers.
    #[error("its statement is not one about a package: {0}")]
    Statement(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Envelope,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    public_key: Hint,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    hint: Fingerprint,
}

/// An in-toto statement with one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: P,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
}

impl<P: Serialize + for<'a> Deserialize<'a>> Statement<P> {
    /// A statement of that type about the thing `name` with that digest.
    pub fn new(predicate_type: &str, name: &str, digest: Digest, predicate: P) -> Self {
        Self {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject { name: name.to_owned(), digest: SubjectDigest { sha256: digest.hex() } }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// As JSON.
    ///
    /// # Errors
    /// The predicate cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, BundleError> {
        serde_json::to_vec(self).map_err(|e| BundleError::Json(e.to_string()))
    }

    /// Parses and checks everything around the predicate: `(subject's name, digest, predicate)`.
    ///
    /// # Errors
    /// Another type, not exactly one subject, a digest that is none.
    pub fn parse(json: &[u8], predicate_type: &str) -> Result<(String, Digest, P), BundleError> {
        let bad = |why: String| BundleError::Statement(why);
        let s: Self = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        if s.kind != STATEMENT {
            return Err(bad(format!("`_type` is not `{STATEMENT}`")));
        }
        if s.predicate_type != predicate_type {
            return Err(bad(format!("`predicateType` is not `{predicate_type}`")));
        }
        let count = s.subject.len();
        let Ok([subject]) = <[Subject; 1]>::try_from(s.subject) else {
            return Err(bad(format!("it has {count} subjects; exactly one is allowed")));
        };
        let hex = &subject.digest.sha256;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(bad("the subject's `sha256` is not 64 lower-case hex digits".to_owned()));
        }
        let digest = hex.parse().map_err(|e: carapace_contract::digest::DigestError| bad(e.to_string()))?;
        Ok((subject.name, digest, s.predicate))
    }
}

/// What a package's statement says about it; all of it must equal the manifest's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePredicate {
    /// `[component] name`
    pub name: String,
    /// `[component] version`
    pub version: String,
    /// `[component] contract`
    pub contract: String,
}

impl PackagePredicate {
    /// Parses a package's statement: `(digest of the package, what is said about it)`.
    ///
    /// # Errors
    /// Not a statement about one package.
    pub fn parse(statement: &[u8]) -> Result<(Digest, Self), BundleError> {
        let (name, digest, predicate) = Statement::<Self>::parse(statement, PACKAGE_PREDICATE)?;
        if name != format!("{}.wasm", predicate.name) {
            return Err(BundleError::Statement(format!("its subject is `{name}`, not `{}.wasm`", predicate.name)));
        }
        Ok((digest, predicate))
    }
}

/// A package's bundle of either kind, parsed and not yet verified.
#[derive(Debug, Clone)]
pub enum AnyBundle {
    /// Signed with a key.
    Key(Bundle),
    /// Signed without one.
    Keyless(Box<keyless::Bundle>),
}

/// As much of a bundle as tells its kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    media_type: String,
    verification_material: OutlineMaterial,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutlineMaterial {
    public_key: Option<IgnoredAny>,
    certificate: Option<IgnoredAny>,
}

impl AnyBundle {
    /// Parses JSON, strictly.
    ///
    /// # Errors
    /// Anything that is not a v0.3 bundle with one DSSE envelope, signed with a key or by a certificate's.
    pub fn parse(json: &[u8]) -> Result<Self, BundleError> {
        if json.len() > MAX_BYTES {
            return Err(BundleError::TooBig(json.len()));
        }
        let outline: Outline = serde_json::from_slice(json).map_err(|e| BundleError::Json(e.to_string()))?;
        if outline.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType(shown(&outline.media_type)));
        }
        let material = outline.verification_material;
        match (material.public_key, material.certificate) {
            (Some(_), None) => Bundle::parse(json).map(Self::Key),
            (None, Some(_)) => Ok(Self::Keyless(Box::new(keyless::Bundle::parse(json)?))),
            _ => Err(BundleError::Material),
        }
    }
}

/// A package's bundle that was signed with a key, parsed and not yet verified.
#[derive(Debug, Clone)]
pub struct Bundle(Raw);

impl Bundle {
    /// Parses JSON, strictly.
    ///
    /// # Errors
    /// Anything that is not a key-signed v0.3 bundle with one DSSE envelope.
    pub fn parse(json: &[u8]) -> Result<Self, BundleError> {
        if json.len() > MAX_BYTES {
            return Err(BundleError::TooBig(json.len()));
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|e| BundleError::Json(e.to_string()))?;
        if raw.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType(shown(&raw.media_type)));
        }
        if !raw.verification_material.tlog_entries.is_empty() {
            return Err(BundleError::LogEntries);
        }
        Ok(Self(raw))
    }

    /// The key it says it was signed with. Only a hint, until [`Self::open`] agrees.
    pub fn hint(&self) -> &Fingerprint {
        &self.0.verification_material.public_key.hint
    }

    /// The statement, if `key` signed it: `(digest of the package, what is said about it)`.
    ///
    /// # Errors
    /// Not signed by `key`, or not a statement about one package.
    pub fn open(&self, key: &PublicKey) -> Result<(Digest, PackagePredicate), BundleError> {
        let payload = self.0.dsse_envelope.open(IN_TOTO, key)?;
        PackagePredicate::parse(&payload)
    }
}

/// Signs a statement about `package` and returns the bundle's JSON.
///
/// # Errors
/// The statement cannot be written as JSON.
pub fn sign(package: &[u8], predicate: &PackagePredicate, key: &SigningKey) -> Result<Vec<u8>, BundleError> {
    let subject = format!("{}.wasm", predicate.name);
    let statement = Statement::new(PACKAGE_PREDICATE, &subject, Digest::of(package), predicate.clone());
    wrap(Envelope::sign(IN_TOTO, &statement.to_json()?, key), key.public().fingerprint())
}

/// A bundle's JSON around an envelope.
pub(crate) fn wrap(envelope: Envelope, hint: Fingerprint) -> Result<Vec<u8>, BundleError> {
    let raw = Raw {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: Material { public_key: Hint { hint }, tlog_entries: Vec::new() },
        dsse_envelope: envelope,
    };
    serde_json::to_vec(&raw).map_err(|e| BundleError::Json(e.to_string()))
}
