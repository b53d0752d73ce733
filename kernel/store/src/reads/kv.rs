//! Components' own values. What has expired is never returned.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::{KvEntry, KvKey};
use crate::sql::{Columns, int, size};
use rusqlite::params;

impl Reader {
    /// A value.
    pub async fn kv_get(&self, instance: &str, key: &str) -> Result<Option<KvEntry>, StoreError> {
        let (instance, key, now) = (instance.to_owned(), key.to_owned(), self.inner.clock.now_ms());
        self.read(move |c| {
            let sql = "SELECT value, version, expires_ms, tainted FROM kv WHERE instance = ?1 AND key = ?2 AND (expires_ms IS NULL OR expires_ms > ?3)";
            one(c, "read a value", sql, params![instance, key, int(now)], |r| {
                Ok(KvEntry { value: r.get(0)?, version: r.u64(1)?, expires_ms: r.opt_u64(2)?, tainted: r.get(3)? })
            })
        })
        .await
    }

    /// At most `limit` keys that start with `prefix` and come after `after`, in byte order.
    pub async fn kv_keys(
        &self,
        instance: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<KvKey>, StoreError> {
        let (instance, prefix, now) = (instance.to_owned(), prefix.to_owned(), self.inner.clock.now_ms());
        let after = after.map(str::to_owned);
        self.read(move |c| {
            // `substr` counts characters, and so does the length it is given: the comparison is exact for any text.
            let sql = "SELECT key, tainted FROM kv WHERE instance = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2 \
                       AND (?3 IS NULL OR key > ?3) AND (expires_ms IS NULL OR expires_ms > ?4) ORDER BY key LIMIT ?5";
            all(c, "list the keys", sql, params![instance, prefix, after, int(now), size(limit)], |r| {
                Ok(KvKey { key: r.get(0)?, tainted: r.get(1)? })
            })
        })
        .await
    }

    /// The form in which a namespace is kept; none if nothing is kept there.
    pub async fn kv_schema(&self, instance: &str) -> Result<Option<u32>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |c| {
            let sql = "SELECT schema FROM kv_space WHERE instance = ?1 AND bytes > 0";
            one(c, "read the form of a namespace", sql, [instance], |r| r.get(0))
        })
        .await
    }

    /// Bytes (keys and values) the namespace holds, values that expired but were not yet removed included.
    pub async fn kv_bytes(&self, instance: &str) -> Result<u64, StoreError> {
        let instance = instance.to_owned();
        self.read(move |c| {
            let sql = "SELECT bytes FROM kv_space WHERE instance = ?1";
            Ok(one(c, "measure a namespace", sql, [instance], |r| r.u64(0))?.unwrap_or(0))
        })
        .await
    }
}
