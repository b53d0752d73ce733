//! What is remembered, with a quota that is checked where it is spent.

use super::{Context, length};
use crate::error::{Space, StoreError};
use crate::rows::MemoryRow;
use crate::sql::{Columns, int, size, uint};
use rusqlite::params;

const MAX_KEY: usize = 512;
const MAX_TEXT: usize = 64 << 10;

/// Bytes that a key holds; none if it holds nothing.
fn held(c: &Context<'_>, namespace: &str, key: &str) -> Result<Option<u64>, StoreError> {
    let sql =
        "SELECT length(CAST(key AS BLOB)) + length(CAST(text AS BLOB)) FROM memory WHERE namespace = ?1 AND key = ?2";
    c.one("read the memory", sql, [namespace, key], |r| r.u64(0))
}

fn space(c: &Context<'_>, namespace: &str) -> Result<u64, StoreError> {
    let sql = "SELECT bytes FROM memory_space WHERE namespace = ?1";
    Ok(c.one("measure a memory", sql, [namespace], |r| r.u64(0))?.unwrap_or(0))
}

fn set_space(c: &Context<'_>, namespace: &str, bytes: u64) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO memory_space (namespace, bytes) VALUES (?1, ?2)";
    c.run("measure a memory", sql, params![namespace, int(bytes)]).map(|_| ())
}

pub(super) fn put(c: &Context<'_>, row: &MemoryRow, quota: u64) -> Result<(), StoreError> {
    length("a memory key", &row.key, MAX_KEY)?;
    if row.text.len() > MAX_TEXT {
        return Err(StoreError::Invalid {
            what: format!("a note of {} bytes", row.text.len()),
            rule: format!("a note has at most {MAX_TEXT} bytes"),
        });
    }
    let added = uint(size(row.key.len() + row.text.len()));
    let old = held(c, &row.namespace, &row.key)?.unwrap_or(0);
    let needed = space(c, &row.namespace)?.saturating_sub(old) + added;
    if needed > quota {
        return Err(StoreError::QuotaExceeded { space: Space::Memory, instance: row.namespace.clone(), quota, needed });
    }
    // Update, not replace: the place of a row is what the text index knows it by.
    let sql = "INSERT INTO memory (namespace, key, text, tainted, at_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (namespace, key) DO UPDATE SET text = excluded.text, tainted = excluded.tainted, at_ms = excluded.at_ms";
    c.run("remember", sql, params![row.namespace, row.key, row.text, row.tainted, int(row.at_ms)])?;
    set_space(c, &row.namespace, needed)
}

pub(super) fn delete(c: &mut Context<'_>, namespace: &str, key: &str) -> Result<(), StoreError> {
    let found = held(c, namespace, key)?;
    if let Some(bytes) = found {
        c.run("forget", "DELETE FROM memory WHERE namespace = ?1 AND key = ?2", [namespace, key])?;
        let left = space(c, namespace)?.saturating_sub(bytes);
        set_space(c, namespace, left)?;
    }
    c.receipt.deleted.push(found.is_some());
    Ok(())
}
