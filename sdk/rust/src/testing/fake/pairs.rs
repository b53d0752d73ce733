//! Key-value pairs.

use super::FakeHost;
use crate::{Error, kv};
use serde::{Deserialize, Serialize};

/// A stored pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) value: Vec<u8>,
    pub(crate) version: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) until_ms: Option<u64>,
}

const MAX_KEYS: usize = 1_000;
const MAX_VALUE: usize = 1 << 20;

/// 1 to 512 bytes.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if (1..=512).contains(&key.len()) {
        Ok(())
    } else {
        Err(Error::Invalid(format!("a key has 1 to 512 bytes, not {}", key.len())))
    }
}

#[doc(hidden)]
#[allow(missing_docs, reason = "for the test host: each is one import, as `wit/` describes it")]
impl FakeHost {
    fn check(&self, key: &str) -> Result<(), Error> {
        self.allow("kv", "kv")?;
        check_key(key)
    }

    fn pair(&self, key: &str) -> Option<&Pair> {
        self.kv.get(key).filter(|p| p.until_ms.is_none_or(|t| t > self.now_ms))
    }

    /// What stands under a key, for the test.
    pub(crate) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.pair(key).map(|p| p.value.clone())
    }

    pub(crate) fn store(&mut self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> u64 {
        self.version += 1;
        if self.kv.is_empty() && self.schema.is_none() {
            self.schema = Some(self.declared.schema);
        }
        let until_ms = ttl_ms.map(|t| self.now_ms.saturating_add(t));
        self.kv.insert(key.to_owned(), Pair { value: value.to_vec(), version: self.version, until_ms });
        self.version
    }

    pub fn kv_get(&self, key: &str) -> Result<Option<kv::Entry>, Error> {
        self.check(key)?;
        Ok(self.pair(key).map(|p| kv::Entry { value: p.value.clone(), version: p.version }))
    }

    pub fn kv_set(&mut self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<u64, Error> {
        self.check(key)?;
        if value.len() > MAX_VALUE {
            return Err(Error::Limit(format!("a value has at most {MAX_VALUE} bytes, not {}", value.len())));
        }
        Ok(self.store(key, value, ttl_ms))
    }

    pub fn kv_delete(&mut self, key: &str) -> Result<bool, Error> {
        self.check(key)?;
        let there = self.pair(key).is_some();
        self.kv.remove(key);
        Ok(there)
    }

    pub fn kv_keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Error> {
        self.allow("kv", "kv")?;
        let limit = usize::try_from(limit).unwrap_or(MAX_KEYS).min(MAX_KEYS);
        let keys = self.kv.keys().filter(|k| k.starts_with(prefix) && after.is_none_or(|a| k.as_str() > a));
        Ok(keys.filter(|k| self.pair(k).is_some()).take(limit).cloned().collect())
    }

    pub fn kv_schema(&self) -> Result<u32, Error> {
        self.allow("kv", "kv")?;
        let kept = self.kv.keys().any(|k| self.pair(k).is_some());
        Ok(self.schema.filter(|_| kept).unwrap_or(self.declared.schema))
    }

    pub fn kv_migrated(&mut self) -> Result<(), Error> {
        self.allow("kv", "kv")?;
        self.schema = Some(self.declared.schema);
        Ok(())
    }

    pub fn kv_swap(
        &mut self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<bool, Error> {
        self.check(key)?;
        if self.pair(key).map(|p| p.version) != expected {
            return Ok(false);
        }
        self.kv_set(key, value, ttl_ms).map(|_| true)
    }
}
