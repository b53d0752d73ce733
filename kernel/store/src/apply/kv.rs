//! Components' own values, with a quota that is checked where it is spent.

use super::{Context, length, run};
use crate::error::{Space, StoreError};
use crate::rows::KvWrite;
use crate::sql::{Columns, int, size, uint};
use rusqlite::{Connection, params};

const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;

struct Found {
    bytes: u64,
    version: u64,
    expired: bool,
}

fn find(c: &Context<'_>, instance: &str, key: &str) -> Result<Option<Found>, StoreError> {
    let sql = "SELECT length(CAST(key AS BLOB)) + length(value), version, coalesce(expires_ms <= ?3, 0) FROM kv WHERE instance = ?1 AND key = ?2";
    c.one("read a value", sql, params![instance, key, c.now()], |r| {
        Ok(Found { bytes: r.u64(0)?, version: r.u64(1)?, expired: r.get(2)? })
    })
}

/// Bytes in the namespace, and its last version.
fn space(c: &Context<'_>, instance: &str) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT bytes, version FROM kv_space WHERE instance = ?1";
    Ok(c.one("measure a namespace", sql, [instance], |r| Ok((r.u64(0)?, r.u64(1)?)))?.unwrap_or((0, 0)))
}

fn set_space(c: &Context<'_>, instance: &str, bytes: u64, version: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO kv_space (instance, bytes, version) VALUES (?1, ?2, ?3) \
               ON CONFLICT (instance) DO UPDATE SET bytes = ?2, version = ?3";
    c.run("measure a namespace", sql, params![instance, int(bytes), int(version)]).map(|_| ())
}

/// `empty`: only if nothing is kept there.
pub(super) fn schema(c: &Context<'_>, instance: &str, schema: u32, empty: bool) -> Result<(), StoreError> {
    let sql = "INSERT INTO kv_space (instance, bytes, version, schema) VALUES (?1, 0, 0, ?2) \
               ON CONFLICT (instance) DO UPDATE SET schema = ?2 WHERE NOT ?3 OR bytes = 0";
    c.run("note the form of a namespace", sql, params![instance, schema, empty]).map(|_| ())
}

/// Removes what has expired, in one namespace or in all.
pub(crate) fn purge(conn: &Connection, instance: Option<&str>, now: i64) -> Result<(), StoreError> {
    let sum = "UPDATE kv_space SET bytes = bytes - (SELECT coalesce(sum(length(CAST(k.key AS BLOB)) + length(k.value)), 0) FROM kv k \
               WHERE k.instance = kv_space.instance AND k.expires_ms <= ?1) WHERE ?2 IS NULL OR instance = ?2";
    run(conn, "measure the namespaces", sum, params![now, instance])?;
    let delete = "DELETE FROM kv WHERE expires_ms <= ?1 AND (?2 IS NULL OR instance = ?2)";
    run(conn, "remove expired values", delete, params![now, instance]).map(|_| ())
}

pub(super) fn set(c: &mut Context<'_>, w: &KvWrite) -> Result<(), StoreError> {
    length("a key", &w.key, MAX_KEY)?;
    if w.value.len() > MAX_VALUE {
        return Err(StoreError::Invalid {
            what: format!("a value of {} bytes", w.value.len()),
            rule: format!("a value has at most {MAX_VALUE} bytes"),
        });
    }
    let added = uint(size(w.key.len() + w.value.len()));
    let after = |c: &Context<'_>| -> Result<(u64, u64), StoreError> {
        let old = find(c, &w.instance, &w.key)?.map_or(0, |f| f.bytes);
        let (bytes, version) = space(c, &w.instance)?;
        Ok((bytes.saturating_sub(old) + added, version + 1))
    };
    let (mut bytes, version) = after(c)?;
    if bytes > w.quota_bytes {
        purge(c.conn, Some(&w.instance), c.now())?;
        bytes = after(c)?.0;
    }
    if bytes > w.quota_bytes {
        let (instance, quota) = (w.instance.clone(), w.quota_bytes);
        return Err(StoreError::QuotaExceeded { space: Space::Kv, instance, quota, needed: bytes });
    }
    let expires = w.ttl_ms.map(|ttl| int(c.now_ms.saturating_add(ttl)));
    let sql = "INSERT OR REPLACE INTO kv (instance, key, value, version, expires_ms, tainted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    c.run("write a value", sql, params![w.instance, w.key, w.value, int(version), expires, w.tainted])?;
    set_space(c, &w.instance, bytes, version)?;
    c.receipt.kv_versions.push(version);
    Ok(())
}

pub(super) fn swap(c: &mut Context<'_>, w: &KvWrite, expected: Option<u64>) -> Result<(), StoreError> {
    let found = find(c, &w.instance, &w.key)?.filter(|f| !f.expired).map(|f| f.version);
    if found != expected {
        let say = |v: Option<u64>| v.map_or_else(|| "absent".to_owned(), |v| format!("version {v}"));
        let (key, instance) = (&w.key, &w.instance);
        let what = format!("`{key}` of {instance} is {}, not {}", say(found), say(expected));
        return Err(StoreError::conflict(what));
    }
    set(c, w)
}

pub(super) fn delete(c: &mut Context<'_>, instance: &str, key: &str) -> Result<(), StoreError> {
    let found = find(c, instance, key)?;
    if let Some(f) = &found {
        c.run("delete a value", "DELETE FROM kv WHERE instance = ?1 AND key = ?2", [instance, key])?;
        let (bytes, version) = space(c, instance)?;
        set_space(c, instance, bytes.saturating_sub(f.bytes), version)?;
    }
    c.receipt.deleted.push(found.is_some_and(|f| !f.expired));
    Ok(())
}
