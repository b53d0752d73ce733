//! Why a keyless signature was refused: each part of the proof that can be missing or wrong has its name and code.

use super::Identity;
use sigstore_verify::bundle::Error as Shape;
use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError};

/// What was wrong with a keyless signature. Each has a stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeylessProblem {
    /// `E-TRUST-002`
    #[error("the bundle is not acceptable: {0}")]
    Bundle(String),
    /// `E-TRUST-020`
    #[error("the package is signed by {0}, whom no publisher's rule names")]
    Identity(Box<Identity>),
    /// `E-TRUST-021`
    #[error("the signer is {0}; no publisher's rule names that issuer")]
    Issuer(Box<Identity>),
    /// `E-TRUST-022`
    #[error("the signing certificate does not lead to an authority of the trusted root: {0}")]
    Chain(String),
    /// `E-TRUST-023`
    #[error("the signing certificate was not valid when the signature was made: {0}")]
    Expired(String),
    /// `E-TRUST-024`
    #[error("no known certificate log vouches for the signing certificate: {0}")]
    CertificateLog(String),
    /// `E-TRUST-025`
    #[error("the signature stands in a transparency log that the trusted root does not know ({0})")]
    UnknownLog(String),
    /// `E-TRUST-026`
    #[error("nothing proves that the signature stands in the transparency log: {0}")]
    Proof(String),
    /// `E-TRUST-027`
    #[error("the transparency log did not sign the state that the proof leads to: {0}")]
    Checkpoint(String),
    /// `E-TRUST-028`
    #[error("the transparency log did not sign the entry and its time: {0}")]
    Promise(String),
    /// `E-TRUST-029`
    #[error("the transparency log's entry is about another signature: {0}")]
    Entry(String),
    /// `E-TRUST-030`
    #[error("nothing trustworthy says when the signature was made: {0}")]
    Timestamp(String),
    /// `E-TRUST-031`
    #[error("the signature is not by the certificate's key: the bundle was forged or changed")]
    Signature,
    /// `E-TRUST-032`
    #[error("the trusted root cannot be used: {0}")]
    Root(String),
    /// `E-TRUST-033`
    #[error("the signing certificate does not say whose it is")]
    Anonymous,
}

impl KeylessProblem {
    /// Stable: `E-TRUST-<NNN>`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle(_) => "E-TRUST-002",
            Self::Identity(_) => "E-TRUST-020",
            Self::Issuer(_) => "E-TRUST-021",
            Self::Chain(_) => "E-TRUST-022",
            Self::Expired(_) => "E-TRUST-023",
            Self::CertificateLog(_) => "E-TRUST-024",
            Self::UnknownLog(_) => "E-TRUST-025",
            Self::Proof(_) => "E-TRUST-026",
            Self::Checkpoint(_) => "E-TRUST-027",
            Self::Promise(_) => "E-TRUST-028",
            Self::Entry(_) => "E-TRUST-029",
            Self::Timestamp(_) => "E-TRUST-030",
            Self::Signature => "E-TRUST-031",
            Self::Root(_) => "E-TRUST-032",
            Self::Anonymous => "E-TRUST-033",
        }
    }

    /// What to do about it; empty if nothing but asking the publisher helps.
    pub fn fix(&self) -> String {
        match self {
            Self::Identity(identity) | Self::Issuer(identity) => match identity.rule() {
                Some(rule) => format!(
                    "if you know from a place you trust that this is the publisher: `carapace publisher add ID --keyless {rule}`"
                ),
                None => "no rule can name it; its author must sign in a job of the repository's own workflow".to_owned(),
            },
            Self::Root(_) => {
                "get a signed trusted root for `carapace publisher trusted-root`, or delete trusted-root.json to use the built-in one"
                    .to_owned()
            }
            Self::Chain(_) | Self::CertificateLog(_) | Self::UnknownLog(_) => {
                "if the trusted root is old (`carapace doctor` says so), renew it: `carapace publisher trusted-root`; otherwise somebody else's authority signed this".to_owned()
            }
            Self::Bundle(_) | Self::Anonymous | Self::Expired(_) | Self::Timestamp(_) => {
                "its author must sign it again, as docs/src/authors/signing.md shows".to_owned()
            }
            Self::Proof(_) | Self::Checkpoint(_) | Self::Promise(_) | Self::Entry(_) | Self::Signature => {
                "get the .wasm and the .sigstore.json again, both from the publisher".to_owned()
            }
        }
    }
}

impl From<Error> for KeylessProblem {
    fn from(error: Error) -> Self {
        match error {
            Error::SignatureInvalid(_) => Self::Signature,
            // The statement's own digest was handed in, so it is the log's entry that disagrees.
            Error::ArtifactMismatch(why) => Self::Entry(why),
            Error::Certificate(e) => e.into(),
            Error::TransparencyLog(e) => e.into(),
            Error::Timestamp(e) => e.into(),
            Error::Bundle(shape) => match shape {
                Shape::MissingInclusionProof(_) | Shape::LogIndexOutOfRange { .. } => Self::Proof(shape.to_string()),
                Shape::MissingCheckpoint | Shape::CheckpointRootMismatch => Self::Checkpoint(shape.to_string()),
                Shape::MissingInclusionPromise(_) => Self::Promise(shape.to_string()),
                Shape::MissingSigningTimeEvidence | Shape::MissingTimestamp => Self::Timestamp(shape.to_string()),
                _ => Self::Bundle(shape.to_string()),
            },
            Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
                Self::Root(error.to_string())
            }
            _ => Self::Bundle(error.to_string()),
        }
    }
}

impl From<CertificateError> for KeylessProblem {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::NotYetValid { .. } | CertificateError::Expired { .. } => Self::Expired(error.to_string()),
            CertificateError::Sct(why) => Self::CertificateLog(why),
            _ => Self::Chain(error.to_string()),
        }
    }
}

impl From<TransparencyLogError> for KeylessProblem {
    fn from(error: TransparencyLogError) -> Self {
        match error {
            TransparencyLogError::UnknownLog { log_id } => Self::UnknownLog(log_id),
            TransparencyLogError::InclusionProof(why) => Self::Proof(why),
            TransparencyLogError::Checkpoint(why) => Self::Checkpoint(why),
            TransparencyLogError::InclusionPromise(why) => Self::Promise(why),
            TransparencyLogError::IntegratedTime(why) => Self::Expired(why),
            _ => Self::Entry(error.to_string()),
        }
    }
}

impl From<TimestampError> for KeylessProblem {
    fn from(error: TimestampError) -> Self {
        Self::Timestamp(error.to_string())
    }
}
