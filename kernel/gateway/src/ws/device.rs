//! A device's proof of identity: an Ed25519 signature over the handshake's facts, in the protocol's v3 or v2 text.
//!
//! No device tokens are issued here, so a proof grants nothing; but a wrong one ends the handshake.

use crate::ws::connect::ConnectParams;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// How far a device's clock may be off.
const SKEW_MS: u64 = 600_000;

/// `connect.device`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    id: String,
    public_key: String,
    signature: String,
    signed_at: u64,
    nonce: String,
}

/// Why a proof does not hold: the protocol's detail code.
pub(crate) fn verify(device: &Device, params: &ConnectParams, nonce: &str, now_ms: u64) -> Result<(), &'static str> {
    let key: [u8; 32] =
        decode(&device.public_key).and_then(|k| k.try_into().ok()).ok_or("DEVICE_AUTH_PUBLIC_KEY_INVALID")?;
    let verifying = VerifyingKey::from_bytes(&key).map_err(|_| "DEVICE_AUTH_PUBLIC_KEY_INVALID")?;
    if hex::encode(Sha256::digest(key)) != device.id {
        return Err("DEVICE_AUTH_DEVICE_ID_MISMATCH");
    }
    if device.signed_at.abs_diff(now_ms) > SKEW_MS {
        return Err("DEVICE_AUTH_SIGNATURE_EXPIRED");
    }
    if device.nonce.is_empty() {
        return Err("DEVICE_AUTH_NONCE_REQUIRED");
    }
    if device.nonce != nonce {
        return Err("DEVICE_AUTH_NONCE_MISMATCH");
    }
    let signature = decode(&device.signature)
        .and_then(|s| Signature::from_slice(&s).ok())
        .ok_or("DEVICE_AUTH_SIGNATURE_INVALID")?;
    let holds = |text: String| verifying.verify_strict(text.as_bytes(), &signature).is_ok();
    if holds(text_v3(device, params)) || holds(text_v2("v2", device, params)) {
        Ok(())
    } else {
        Err("DEVICE_AUTH_SIGNATURE_INVALID")
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

fn text_v2(version: &str, device: &Device, params: &ConnectParams) -> String {
    let role = params.role.as_deref().unwrap_or("operator");
    let scopes = params.scopes.as_deref().unwrap_or_default().join(",");
    let signed_at = device.signed_at.to_string();
    let token = params.auth.as_ref().and_then(|a| a.token.as_deref()).unwrap_or_default();
    let (client, mode) = (params.client.id.as_str(), params.client.mode.as_str());
    [version, &device.id, client, mode, role, &scopes, &signed_at, token, &device.nonce].join("|")
}

fn text_v3(device: &Device, params: &ConnectParams) -> String {
    let plain = |text: Option<&str>| text.unwrap_or_default().trim().to_ascii_lowercase();
    let platform = plain(Some(&params.client.platform));
    let family = plain(params.client.device_family.as_deref());
    [text_v2("v3", device, params), platform, family].join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    const NOW: u64 = 1_800_000_000_000;

    fn signed(version: &str, nonce: &str, token: &str) -> ConnectParams {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let id = hex::encode(Sha256::digest(public));
        let mut text = format!("{version}|{id}|cli|cli|operator|operator.read|{NOW}|{token}|{nonce}");
        if version == "v3" {
            text.push_str("|linux|");
        }
        serde_json::from_value(json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {"id": "cli", "version": "1", "platform": "Linux", "mode": "cli"},
            "role": "operator", "scopes": ["operator.read"], "auth": {"token": "tok"},
            "device": {
                "id": id, "publicKey": URL_SAFE_NO_PAD.encode(public), "signedAt": NOW, "nonce": nonce,
                "signature": URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes()),
            },
        }))
        .unwrap()
    }

    fn check(params: &ConnectParams, nonce: &str, now: u64) -> Result<(), &'static str> {
        verify(params.device.as_ref().unwrap(), params, nonce, now)
    }

    #[test]
    fn both_texts_are_verified() {
        assert_eq!(check(&signed("v2", "n", "tok"), "n", NOW), Ok(()));
        assert_eq!(check(&signed("v3", "n", "tok"), "n", NOW), Ok(()));
    }

    #[test]
    fn a_proof_of_something_else_is_refused() {
        assert_eq!(check(&signed("v3", "n", "other"), "n", NOW), Err("DEVICE_AUTH_SIGNATURE_INVALID"));
        assert_eq!(check(&signed("v3", "old", "tok"), "n", NOW), Err("DEVICE_AUTH_NONCE_MISMATCH"));
        assert_eq!(check(&signed("v3", "n", "tok"), "n", NOW + SKEW_MS + 1), Err("DEVICE_AUTH_SIGNATURE_EXPIRED"));
        let mut another = signed("v3", "n", "tok");
        another.device.as_mut().unwrap().id = "00".repeat(32);
        assert_eq!(check(&another, "n", NOW), Err("DEVICE_AUTH_DEVICE_ID_MISMATCH"));
        let mut short = signed("v3", "n", "tok");
        short.device.as_mut().unwrap().public_key = "AAAA".into();
        assert_eq!(check(&short, "n", NOW), Err("DEVICE_AUTH_PUBLIC_KEY_INVALID"));
    }
}
