//! `kv`: durable pairs in the instance's own namespace.

use crate::state::HostState;
use carapace_runtime::bindings::{kv, types};
use carapace_runtime::engine_types::Result;
use carapace_store::{Batch, KvWrite, StoreError};

const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;
const MAX_KEYS: u32 = 1_000;

impl HostState {
    /// The namespace, if `kv` is granted at this moment.
    fn namespace(&mut self) -> Result<Result<String, types::Error>> {
        self.core.host_call()?;
        let grant = self.instance.grant.load();
        Ok(match grant.kv(&self.instance.id, self.uses.as_ref()) {
            Ok(()) => Ok(self.instance.id.to_string()),
            Err(denial) => Err(self.core.deny(&denial)),
        })
    }

    fn write_of(&self, namespace: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> KvWrite {
        KvWrite { instance: namespace, key, value, ttl_ms, quota_bytes: self.core.limits().kv_bytes }
    }
}

fn check_key(key: &str) -> Result<(), types::Error> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(types::Error::Invalid(format!("kv: a key has 1 to {MAX_KEY} bytes, this one {}", key.len())));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), types::Error> {
    if value.len() > MAX_VALUE {
        return Err(types::Error::Limit(format!(
            "kv: a value has at most {MAX_VALUE} bytes, this one {}",
            value.len()
        )));
    }
    Ok(())
}

fn failed(e: &StoreError) -> types::Error {
    if e.is_quota() {
        return types::Error::Limit(format!("kv: {e}"));
    }
    tracing::error!(error = %e, "kv failed");
    types::Error::Unavailable("kv: the store failed; the kernel's log says why".to_owned())
}

/// Unpacks a `Result` whose error is the contract's, inside a function whose outer error ends the guest.
macro_rules! ok {
    ($e:expr) => {
        match $e {
            Ok(v) => v,
            Err(e) => return Ok(Err(e)),
        }
    };
}

impl kv::Host for HostState {
    async fn get(&mut self, key: String) -> Result<Result<Option<kv::Entry>, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key));
        Ok(match self.services.store.kv_get(&namespace, &key).await {
            Ok(entry) => Ok(entry.map(|e| kv::Entry { value: e.value, version: e.version })),
            Err(e) => Err(failed(&e)),
        })
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Result<u64, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key).and_then(|()| check_value(&value)));
        let write = self.write_of(namespace, key, value, ttl_ms);
        Ok(match self.services.store.commit(Batch::new().kv_set(write)).await {
            Ok(receipt) => Ok(receipt.kv_versions.first().copied().unwrap_or_default()),
            Err(e) => Err(failed(&e)),
        })
    }

    async fn delete(&mut self, key: String) -> Result<Result<bool, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key));
        Ok(match self.services.store.commit(Batch::new().kv_delete(namespace, key)).await {
            Ok(receipt) => Ok(receipt.deleted.first().copied().unwrap_or_default()),
            Err(e) => Err(failed(&e)),
        })
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Result<Vec<String>, types::Error>> {
        let namespace = ok!(self.namespace()?);
        let limit = usize::try_from(limit.min(MAX_KEYS))?;
        let keys = self.services.store.kv_keys(&namespace, &prefix, after.as_deref(), limit).await;
        Ok(keys.map_err(|e| failed(&e)))
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Result<bool, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key).and_then(|()| check_value(&value)));
        let write = self.write_of(namespace, key, value, ttl_ms);
        Ok(match self.services.store.commit(Batch::new().kv_swap(write, expected)).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_conflict() => Ok(false),
            Err(e) => Err(failed(&e)),
        })
    }
}
