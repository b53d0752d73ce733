//! Values the kernel sets in JSON request bodies where the guest left `null` (RFC 6901 pointers).
//!
//! A pure function over the body: nothing the guest wrote is ever expanded, and a rule's condition is read from the
//! guest's own body, never from what another rule has set.

use bytes::Bytes;
use carapace_contract::SecretName;
use carapace_contract::manifest::Inject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The rules that apply to this body: its place holds `null` and every condition holds.
fn applying<'a>(body: &Value, rules: &'a [Inject]) -> Vec<&'a Inject> {
    rules
        .iter()
        .filter(|rule| {
            body.pointer(&rule.at).is_some_and(Value::is_null)
                && rule.when.iter().all(|(at, values)| body.pointer(at).is_some_and(|v| values.contains(v)))
        })
        .collect()
}

/// The secrets that [`inject`] would set in this body; none if it isn't JSON.
pub fn wanted(body: &[u8], rules: &[Inject]) -> BTreeSet<SecretName> {
    if rules.is_empty() {
        return BTreeSet::new();
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return BTreeSet::new() };
    applying(&body, rules).into_iter().map(|r| r.secret.clone()).collect()
}

/// The body with secrets set; `None` if nothing was, and then the guest's bytes go out as they are.
/// Rules whose secret is not in `secrets` set nothing.
pub fn inject(body: &[u8], rules: &[Inject], secrets: &BTreeMap<SecretName, SecretString>) -> Option<Bytes> {
    if rules.is_empty() {
        return None;
    }
    let guest: Value = serde_json::from_slice(body).ok()?;
    let mut out = guest.clone();
    let mut set = false;
    for rule in applying(&guest, rules) {
        if let Some(secret) = secrets.get(&rule.secret)
            && let Some(place) = out.pointer_mut(&rule.at)
            && place.is_null()
        {
            *place = Value::String(secret.expose_secret().to_owned());
            set = true;
        }
    }
    if set { serde_json::to_vec(&out).ok().map(Bytes::from) } else { None }
}

#[cfg(test)]
mod tests;
