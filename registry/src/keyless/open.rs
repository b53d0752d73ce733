//! From a bundle to its statement.

use super::{Identity, Problem};
use crate::bundle::{IN_TOTO, MAX_BYTES};
use crate::error::shown;
use carapace_contract::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};
use sigstore_verify::types::{self, Artifact, ArtifactDigest, SignatureContent, Statement};
use sigstore_verify::{VerificationPolicy, VerificationResult, Verifier};
use std::collections::BTreeSet;

/// A keyless bundle, parsed and not yet verified.
#[derive(Debug, Clone)]
pub struct Bundle(types::Bundle);

/// What a verified bundle holds.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Who signed.
    pub identity: Identity,
    /// The in-toto statement, as it was signed.
    pub statement: Vec<u8>,
    /// When it was signed, ms since the epoch; of several trusted times, the first.
    pub signed_ms: u64,
}

impl Bundle {
    /// Parses JSON.
    ///
    /// # Errors
    /// Not a Sigstore bundle with a DSSE envelope around an in-toto statement.
    pub fn parse(json: &[u8]) -> Result<Self, Problem> {
        if json.len() > MAX_BYTES {
            return Err(Problem::Bundle(format!("it is {} bytes long; at most {MAX_BYTES} are allowed", json.len())));
        }
        let text = std::str::from_utf8(json).map_err(|_| Problem::Bundle("it is not UTF-8".to_owned()))?;
        let bundle = types::Bundle::from_json(text).map_err(|e| Problem::Bundle(e.to_string()))?;
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) if envelope.payload_type == IN_TOTO => Ok(Self(bundle)),
            SignatureContent::DsseEnvelope(envelope) => {
                let found = shown(&envelope.payload_type);
                Err(Problem::Bundle(format!("its payload type is `{found}`, not `{IN_TOTO}`")))
            }
            _ => Err(Problem::Bundle("it signs a bare file, not a statement about one".to_owned())),
        }
    }
}

/// Verifies all that does not depend on whose it should be and what it should be about.
pub(super) fn open(bundle: &Bundle, verifier: &Verifier, logs: &BTreeSet<Vec<u8>>) -> Result<Opened, Problem> {
    let Bundle(bundle) = bundle;
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err(Problem::Bundle("it signs a bare file, not a statement about one".to_owned()));
    };
    let entries = &bundle.verification_material.tlog_entries;
    if entries.is_empty() {
        return Err(Problem::Proof("the bundle holds no entry of a transparency log".to_owned()));
    }
    for entry in entries {
        if !logs.contains(entry.log_id.key_id.as_bytes()) {
            return Err(Problem::UnknownLog(entry.log_id.key_id.to_string()));
        }
        if entry.inclusion_proof.is_none() {
            return Err(Problem::Proof("the bundle holds no inclusion proof".to_owned()));
        }
    }
    // The verifier wants the artifact too. It gets the digest that the statement names, so that its answer is about the
    // signature alone; whoever opened the bundle compares what was signed with what there is.
    let subject = subject(envelope.payload.as_bytes())?;
    let artifact = Artifact::from_digest(subject);
    let policy = VerificationPolicy::any_identity();
    let result = verifier.verify(artifact.clone(), bundle, &policy).map_err(|e| match e.into() {
        Problem::Chain(why) => {
            // A path with an expired certificate is no path to the verifier. It is refused either way; which of the two
            // it was, the times say, which signatures of their own vouch for.
            let times = verifier.verify(artifact, bundle, &policy.skip_certificate_chain().skip_tlog_unsafe());
            times.ok().and_then(|t| expired(&t)).map_or(Problem::Chain(why), Problem::Expired)
        }
        problem => problem,
    })?;
    let identity = result.certificate().and_then(Identity::of).ok_or(Problem::Anonymous)?;
    let first = result.verified_timestamps().iter().min().map(|t| t.as_millisecond());
    let signed_ms = first.and_then(|ms| u64::try_from(ms).ok());
    let signed_ms = signed_ms.ok_or_else(|| Problem::Timestamp("no time since 1970".to_owned()))?;
    if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
        return Err(Problem::Bundle("a part of it was not verified".to_owned()));
    }
    Ok(Opened { identity, statement: envelope.payload.as_bytes().to_vec(), signed_ms })
}

/// Which of the times at which it was signed lies outside the certificate's, if one does.
fn expired(times: &VerificationResult) -> Option<String> {
    let certificate = times.certificate()?;
    let (from, to) = (certificate.not_before, certificate.not_after);
    let outside = times.verified_timestamps().iter().find(|&&time| time < from || time > to)?;
    Some(format!("it was made at {outside}, and the certificate is valid from {from} to {to}"))
}

fn subject(statement: &[u8]) -> Result<ArtifactDigest, Problem> {
    let wrong = |why: String| Problem::Bundle(format!("its statement is not one: {why}"));
    let statement: Statement = serde_json::from_slice(statement).map_err(|e| wrong(e.to_string()))?;
    let mut digests = statement.subject.iter().map(|s| &s.digest);
    let found = digests.find_map(|d| {
        let sha512 = || d.sha512.as_ref().map(|h| (types::HashAlgorithm::Sha2512, h.as_bytes().to_vec()));
        d.sha256.as_ref().map(|h| (types::HashAlgorithm::Sha2256, h.as_bytes().to_vec())).or_else(sha512)
    });
    let (algorithm, bytes) = found.ok_or_else(|| wrong("it names no SHA-256 or SHA-512 digest".to_owned()))?;
    ArtifactDigest::new(algorithm, bytes).map_err(|e| wrong(e.to_string()))
}

/// What any statement says about its subjects, predicates aside.
#[derive(Deserialize)]
struct Subjects {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
    sha512: Option<String>,
}

impl Opened {
    /// Whether the statement is of that type and names these bytes: by SHA-256, or by SHA-512 if that is all it names.
    ///
    /// # Errors
    /// It is not an in-toto statement of that type. What would be the text of `E-TRUST-006`.
    pub fn names(&self, bytes: &[u8], predicate_type: &str) -> Result<bool, String> {
        let statement: Subjects = serde_json::from_slice(&self.statement).map_err(|e| e.to_string())?;
        if !["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"].contains(&statement.kind.as_str())
        {
            return Err("its `_type` is not in-toto's".to_owned());
        }
        if statement.predicate_type != predicate_type {
            return Err(format!("its `predicateType` is not `{predicate_type}`"));
        }
        let sha256 = Digest::of(bytes).hex();
        Ok(statement.subject.iter().any(|s| match (&s.digest.sha256, &s.digest.sha512) {
            (Some(named), _) => *named == sha256,
            (None, Some(named)) => *named == hex::encode(Sha512::digest(bytes)),
            (None, None) => false,
        }))
    }
}
