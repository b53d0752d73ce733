//! Whether a request to a webhook comes from where it says: the recipes of the manifest, checked before the component sees a byte.

use crate::services::Vault;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_contract::channel::WebhookRequest;
use carapace_contract::manifest::{Encoding, KeyForm, Piece, SignatureAt, TimestampAt, Verify};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Signatures in one header that are tried.
const MOST_SIGNATURES: usize = 8;

/// Checks a request; the error is for the owner's log, and never for whoever sent it.
pub(crate) async fn check(
    verify: &Verify,
    request: &WebhookRequest,
    config: &serde_json::Value,
    vault: &Vault,
    now_ms: u64,
) -> Result<(), String> {
    let key = match verify.secret() {
        Some(name) => Some(
            vault
                .find(name)
                .await
                .map_err(|d| d.to_string())?
                .ok_or_else(|| format!("the secret `{name}` is not set, so nothing can be checked"))?,
        ),
        None => None,
    };
    authentic(verify, request, config, key.as_ref(), now_ms)
}

fn authentic(
    verify: &Verify,
    request: &WebhookRequest,
    config: &serde_json::Value,
    key: Option<&SecretString>,
    now_ms: u64,
) -> Result<(), String> {
    let key = || key.map(ExposeSecret::expose_secret).ok_or("no secret");
    match verify {
        Verify::Header { name, prefix, .. } => {
            let found = header(request, name)?;
            let found = found
                .strip_prefix(prefix.as_str())
                .ok_or_else(|| format!("`{name}` does not begin with `{prefix}`"))?;
            if same(found.as_bytes(), key()?.as_bytes()) {
                Ok(())
            } else {
                Err(format!("`{name}` holds another value"))
            }
        }
        Verify::HmacSha256 { key: form, signed, signature, timestamp, .. } => {
            fresh(timestamp.as_ref(), request, now_ms)?;
            let key = hmac_key(form, key()?)?;
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|e| e.to_string())?;
            mac.update(&message(signed, request)?);
            let expected = mac.finalize().into_bytes();
            one_of(signature, request, |candidate| same(candidate, &expected))
        }
        Verify::Ed25519 { config: pointer, signed, signature, timestamp, .. } => {
            fresh(timestamp.as_ref(), request, now_ms)?;
            let text = config.pointer(pointer).and_then(serde_json::Value::as_str);
            let text = text.ok_or_else(|| format!("the instance's configuration has no public key at `{pointer}`"))?;
            let key = hex::decode(text).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
            let key = key.and_then(|b| VerifyingKey::from_bytes(&b).ok());
            let key = key.ok_or_else(|| {
                format!("`{pointer}` in the instance's configuration is no Ed25519 public key in hex")
            })?;
            let message = message(signed, request)?;
            one_of(signature, request, |candidate| {
                Signature::from_slice(candidate).is_ok_and(|s| key.verify_strict(&message, &s).is_ok())
            })
        }
    }
}

/// The key that a secret holds.
pub(crate) fn hmac_key(form: &KeyForm, secret: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    Ok(Zeroizing::new(match form {
        KeyForm::Text => secret.as_bytes().to_vec(),
        KeyForm::Base64(prefix) => {
            let text = secret.strip_prefix(prefix.as_str()).unwrap_or(secret);
            STANDARD.decode(text).map_err(|_| "it is not base64".to_owned())?
        }
    }))
}

/// A header that stands there once: of two, nobody knows which the platform meant.
fn header<'a>(request: &'a WebhookRequest, name: &str) -> Result<&'a str, String> {
    let mut found = request.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(value),
        (None, _) => Err(format!("there is no header `{name}`")),
        (Some(_), Some(_)) => Err(format!("the header `{name}` stands there more than once")),
    }
}

fn message(signed: &[Piece], request: &WebhookRequest) -> Result<Vec<u8>, String> {
    let mut message = Vec::with_capacity(request.body.len() + 128);
    for piece in signed {
        match piece {
            Piece::Text(text) => message.extend_from_slice(text.as_bytes()),
            Piece::Header(name) => message.extend_from_slice(header(request, name)?.as_bytes()),
            Piece::Body => message.extend_from_slice(&request.body),
        }
    }
    Ok(message)
}

fn fresh(timestamp: Option<&TimestampAt>, request: &WebhookRequest, now_ms: u64) -> Result<(), String> {
    let Some(at) = timestamp else { return Ok(()) };
    let text = header(request, &at.header)?;
    let seconds: u64 = text.parse().map_err(|_| format!("`{}` is no time in seconds", at.header))?;
    let apart = seconds.saturating_mul(1_000).abs_diff(now_ms);
    if apart <= at.window_ms {
        return Ok(());
    }
    Err(format!("it was sent {} s from now; within {} s it is taken", apart / 1_000, at.window_ms / 1_000))
}

fn one_of(at: &SignatureAt, request: &WebhookRequest, fits: impl Fn(&[u8]) -> bool) -> Result<(), String> {
    let value = header(request, &at.header)?;
    let most = if at.several { MOST_SIGNATURES } else { 1 };
    let all = value.split(|c| at.several && c == ' ').take(most);
    let decoded = all.filter_map(|one| one.strip_prefix(at.prefix.as_str())).filter_map(|text| match at.encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    });
    for candidate in decoded {
        if fits(&candidate) {
            return Ok(());
        }
    }
    Err(format!("the signature in `{}` is not one of this request", at.header))
}

/// In time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests;
