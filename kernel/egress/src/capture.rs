//! Values in JSON responses that are credentials themselves: the guest gets an opaque handle instead.

use crate::error::{EgressError, shown};
use crate::leak::REDACTED;
use carapace_contract::manifest::{Capture, CaptureKind};
use carapace_contract::{EndpointName, InstanceId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a handle lives.
pub(crate) const LIFE: Duration = Duration::from_secs(600);
/// Live handles of one instance; the oldest gives way.
const MAX_PER_INSTANCE: usize = 256;
/// The largest response body that is buffered to apply capture rules.
pub(crate) const MAX_BODY: usize = 4 << 20;

struct Held {
    instance: InstanceId,
    endpoint: EndpointName,
    value: SecretString,
    made: Instant,
}

/// Live handles, in memory only: after a restart a component asks its server again.
#[derive(Default)]
pub(crate) struct Handles {
    held: Mutex<HashMap<String, Held>>,
}

impl Handles {
    /// Puts a value away.
    pub(crate) fn put(
        &self,
        instance: &InstanceId,
        endpoint: &EndpointName,
        value: &str,
        now: Instant,
    ) -> Result<String, EgressError> {
        let mut random = [0u8; 16];
        getrandom::fill(&mut random)
            .map_err(|e| EgressError::Unavailable(format!("the operating system gave no random bytes: {e}")))?;
        let handle = format!("handle:{}", hex::encode(random));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, h| now.saturating_duration_since(h.made) < LIFE);
        if held.values().filter(|h| h.instance == *instance).count() >= MAX_PER_INSTANCE
            && let Some(oldest) =
                held.iter().filter(|(_, h)| h.instance == *instance).min_by_key(|(_, h)| h.made).map(|(k, _)| k.clone())
        {
            held.remove(&oldest);
        }
        let value = SecretString::from(value);
        held.insert(handle.clone(), Held { instance: instance.clone(), endpoint: endpoint.clone(), value, made: now });
        Ok(handle)
    }

    /// The endpoint and value behind a handle of this instance.
    pub(crate) fn open(
        &self,
        instance: &InstanceId,
        handle: &str,
    ) -> Result<(EndpointName, Zeroizing<String>), EgressError> {
        self.open_at(instance, handle, Instant::now())
    }

    fn open_at(
        &self,
        instance: &InstanceId,
        handle: &str,
        now: Instant,
    ) -> Result<(EndpointName, Zeroizing<String>), EgressError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(handle)
            .filter(|h| h.instance == *instance && now.saturating_duration_since(h.made) < LIFE)
            .map(|h| (h.endpoint.clone(), Zeroizing::new(h.value.expose_secret().to_owned())))
            .ok_or_else(|| {
                EgressError::Invalid(format!(
                    "`{}` is not a live handle of {instance}: handles live {} minutes; fetch the resource that gave it again",
                    shown(handle),
                    LIFE.as_secs() / 60
                ))
            })
    }

    /// What answers to this instance are scanned for besides its secrets.
    pub(crate) fn live(&self, instance: &InstanceId) -> Vec<SecretString> {
        let now = Instant::now();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live: Vec<(Instant, SecretString)> = held
            .values()
            .filter(|h| h.instance == *instance && now.saturating_duration_since(h.made) < LIFE)
            .map(|h| (h.made, h.value.clone()))
            .collect();
        live.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.expose_secret().cmp(b.1.expose_secret())));
        live.into_iter().map(|(_, v)| v).collect()
    }
}

/// Applies the rules to a body; `None` if it isn't JSON or holds none of the values.
pub(crate) fn capture(
    handles: &Handles,
    instance: &InstanceId,
    endpoint: &EndpointName,
    rules: &[Capture],
    body: &[u8],
) -> Result<Option<Vec<u8>>, EgressError> {
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
    let mut changed = false;
    for rule in rules {
        let CaptureKind::Link = rule.kind;
        let Some(place) = json.pointer_mut(&rule.at) else { continue };
        let replaced = match &*place {
            Value::Null => continue,
            Value::String(text) if url::Url::parse(text).is_ok() => {
                handles.put(instance, endpoint, text, Instant::now())?
            }
            // Not the link the rule promises, but in a credential's place: hidden all the same.
            _ => REDACTED.to_owned(),
        };
        *place = Value::String(replaced);
        changed = true;
    }
    if !changed {
        return Ok(None);
    }
    serde_json::to_vec(&json).map(Some).map_err(|e| EgressError::Unavailable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (InstanceId, EndpointName) {
        ("a/b/main".parse().unwrap(), "api".parse().unwrap())
    }

    #[test]
    fn a_handle_belongs_to_one_instance_and_dies_after_ten_minutes() {
        let (instance, endpoint) = ids();
        let handles = Handles::default();
        let start = Instant::now();
        let handle = handles.put(&instance, &endpoint, "https://files.example.com/x?sig=1", start).unwrap();
        assert!(handle.starts_with("handle:") && handle.len() == 39);
        let (name, link) = handles.open_at(&instance, &handle, start).unwrap();
        assert_eq!((name, link.as_str()), (endpoint, "https://files.example.com/x?sig=1"));
        assert!(handles.open_at(&"a/b/other".parse().unwrap(), &handle, start).is_err());
        assert!(handles.open_at(&instance, &handle, start + LIFE).is_err());
    }

    #[test]
    fn an_instance_cannot_hoard_handles() {
        let (instance, endpoint) = ids();
        let handles = Handles::default();
        let start = Instant::now();
        let first = handles.put(&instance, &endpoint, "https://e.example/0", start).unwrap();
        for n in 0..MAX_PER_INSTANCE {
            handles
                .put(&instance, &endpoint, "https://e.example/n", start + Duration::from_millis(n as u64 + 1))
                .unwrap();
        }
        assert!(handles.open_at(&instance, &first, start).is_err());
        assert_eq!(handles.live(&instance).len(), MAX_PER_INSTANCE);
    }

    #[test]
    fn what_stands_in_a_credentials_place_is_hidden_even_if_it_is_no_link() {
        let (instance, endpoint) = ids();
        let rules = [Capture { at: "/url".to_owned(), kind: CaptureKind::Link }];
        let handles = Handles::default();
        let out = capture(&handles, &instance, &endpoint, &rules, br#"{"url":{"deep":"https://x.example"}}"#).unwrap();
        assert_eq!(out.unwrap(), br#"{"url":"[redacted]"}"#);
        assert!(capture(&handles, &instance, &endpoint, &rules, br#"{"other":1}"#).unwrap().is_none());
        assert!(capture(&handles, &instance, &endpoint, &rules, b"not json").unwrap().is_none());
    }
}
