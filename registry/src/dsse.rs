//! DSSE envelopes (<https://github.com/secure-systems-lab/dsse>, v1): a payload, its type, and exactly one signature
//! over both.

use crate::error::shown;
use crate::key::{PublicKey, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(String),
    /// Not strict base64.
    #[error("its {0} is not strict base64")]
    Base64(&'static str),
    /// Not exactly one signature.
    #[error("it has {0} signatures; exactly one is allowed")]
    Signatures(usize),
    /// Another payload type.
    #[error("its payload type is `{found}`, not `{wanted}`")]
    PayloadType {
        /// As found.
        found: String,
        /// As expected.
        wanted: &'static str,
    },
    /// Not 64 bytes.
    #[error("its signature is {0} bytes long; Ed25519 has 64")]
    SignatureLength(usize),
    /// Signed by another key, or changed afterwards.
    #[error("its signature is not by {0}")]
    Signature(PublicKey),
}

/// An envelope as it stands in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// Base64.
    pub payload: String,
    /// Media type of the payload.
    pub payload_type: String,
    /// Exactly one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an [`Envelope`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// Base64.
    pub sig: String,
    /// Which key; a hint that nothing relies on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keyid: String,
}

/// What is signed: the pre-authentication encoding of type and payload.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

impl Envelope {
    /// Signs `payload`.
    pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature {
                sig: BASE64.encode(key.sign(&pae(payload_type, payload))),
                keyid: String::new(),
            }],
        }
    }

    /// Parses JSON; nothing is verified yet.
    ///
    /// # Errors
    /// Unknown, missing or doubled fields.
    pub fn parse(json: &[u8]) -> Result<Self, EnvelopeError> {
        serde_json::from_slice(json).map_err(|e| EnvelopeError::Json(e.to_string()))
    }

    /// The payload, if `key` signed it as `payload_type`.
    ///
    /// # Errors
    /// Anything else. Nothing of an unverified payload gets out.
    pub fn open(&self, payload_type: &'static str, key: &PublicKey) -> Result<Vec<u8>, EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::PayloadType { found: shown(&self.payload_type), wanted: payload_type });
        }
        let [signature] = self.signatures.as_slice() else {
            return Err(EnvelopeError::Signatures(self.signatures.len()));
        };
        let signature = BASE64.decode(&signature.sig).map_err(|_| EnvelopeError::Base64("signature"))?;
        let payload = BASE64.decode(&self.payload).map_err(|_| EnvelopeError::Base64("payload"))?;
        let signature: [u8; 64] = signature.try_into().map_err(|s: Vec<u8>| EnvelopeError::SignatureLength(s.len()))?;
        if key.verify(&pae(payload_type, &payload), &signature) {
            Ok(payload)
        } else {
            Err(EnvelopeError::Signature(*key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    #[test]
    fn the_encoding_is_the_one_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn type_and_payload_are_signed_together() {
        let envelope = Envelope::sign("a", b"bc", &key(1));
        assert_eq!(envelope.open("a", &key(1).public()).unwrap(), b"bc");
        let moved = Envelope { payload_type: "b".into(), ..envelope.clone() };
        assert!(matches!(moved.open("b", &key(1).public()), Err(EnvelopeError::Signature(_))));
        assert!(matches!(envelope.open("a", &key(2).public()), Err(EnvelopeError::Signature(_))));
    }

    #[test]
    fn base64_has_one_spelling() {
        let good = Envelope::sign("a", b"x", &key(1));
        assert_eq!(good.payload, "eA==");
        for bad in ["eA", "eA=", "eB==", " eA==", "eA==\n", "e-=="] {
            let envelope = Envelope { payload: bad.into(), ..good.clone() };
            assert_eq!(envelope.open("a", &key(1).public()), Err(EnvelopeError::Base64("payload")), "{bad:?}");
        }
    }

    #[test]
    fn a_short_signature_is_named() {
        let mut envelope = Envelope::sign("a", b"x", &key(1));
        envelope.signatures[0].sig = "AAAA".into();
        assert_eq!(envelope.open("a", &key(1).public()), Err(EnvelopeError::SignatureLength(3)));
    }
}
