//! `kv`: durable pairs in the instance's own namespace.

use super::{failed, ok};
use crate::state::HostState;
use carapace_runtime::bindings::{kv, types};
use carapace_runtime::engine_types::Result;
use carapace_store::{Batch, KvWrite};

const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;
const MAX_KEYS: u32 = 1_000;

impl HostState {
    /// The namespace, if `kv` is granted at this moment.
    fn namespace(&mut self) -> Result<Result<String, types::Error>> {
        self.core.host_call()?;
        let grant = self.granted();
        Ok(match grant.kv(&self.instance.id, self.uses.as_ref()) {
            Ok(()) => Ok(self.instance.id.to_string()),
            Err(denial) => Err(self.core.deny(&denial)),
        })
    }

    /// The form in which the running version keeps its pairs.
    fn own_schema(&self) -> u32 {
        self.instance.package.manifest().kv.unwrap_or_default().schema
    }

    fn write_of(&self, namespace: String, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> KvWrite {
        let (quota_bytes, tainted) = (self.core.limits().kv_bytes, self.is_tainted());
        KvWrite { instance: namespace, key, value, ttl_ms, quota_bytes, tainted }
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

impl kv::Host for HostState {
    async fn get(&mut self, key: String) -> Result<Result<Option<kv::Entry>, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key));
        Ok(match self.services.store.kv_get(&namespace, &key).await {
            Ok(entry) => {
                self.hand(entry.as_ref().is_some_and(|e| e.tainted));
                Ok(entry.map(|e| kv::Entry { value: e.value, version: e.version }))
            }
            Err(e) => Err(failed("kv", &e)),
        })
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<Result<u64, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key).and_then(|()| check_value(&value)));
        let batch = Batch::new().kv_first_schema(namespace.clone(), self.own_schema());
        let write = self.write_of(namespace, key, value, ttl_ms);
        Ok(match self.services.store.commit(batch.kv_set(write)).await {
            Ok(receipt) => Ok(receipt.kv_versions.first().copied().unwrap_or_default()),
            Err(e) => Err(failed("kv", &e)),
        })
    }

    async fn delete(&mut self, key: String) -> Result<Result<bool, types::Error>> {
        let namespace = ok!(self.namespace()?);
        ok!(check_key(&key));
        Ok(match self.services.store.commit(Batch::new().kv_delete(namespace, key)).await {
            Ok(receipt) => Ok(receipt.deleted.first().copied().unwrap_or_default()),
            Err(e) => Err(failed("kv", &e)),
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
        let keys = ok!(keys.map_err(|e| failed("kv", &e)));
        self.hand(keys.iter().any(|k| k.tainted));
        Ok(Ok(keys.into_iter().map(|k| k.key).collect()))
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
        let batch = Batch::new().kv_first_schema(namespace.clone(), self.own_schema());
        let write = self.write_of(namespace, key, value, ttl_ms);
        Ok(match self.services.store.commit(batch.kv_swap(write, expected)).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_conflict() => Ok(false),
            Err(e) => Err(failed("kv", &e)),
        })
    }

    async fn schema(&mut self) -> Result<Result<u32, types::Error>> {
        let namespace = ok!(self.namespace()?);
        let kept = ok!(self.services.store.kv_schema(&namespace).await.map_err(|e| failed("kv", &e)));
        Ok(Ok(kept.unwrap_or_else(|| self.own_schema())))
    }

    async fn migrated(&mut self) -> Result<Result<(), types::Error>> {
        let namespace = ok!(self.namespace()?);
        let batch = Batch::new().kv_schema(namespace, self.own_schema());
        Ok(self.services.store.commit(batch).await.map(drop).map_err(|e| failed("kv", &e)))
    }
}
