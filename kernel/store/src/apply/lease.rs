//! Leases. A token never repeats: the row stays when a lease is given back.

use super::{one, run};
use crate::error::StoreError;
use crate::rows::Lease;
use crate::sql::{Columns, int};
use rusqlite::{Connection, params};

fn find(conn: &Connection, name: &str) -> Result<Option<Lease>, StoreError> {
    let sql = "SELECT holder, token, expires_ms FROM lease WHERE name = ?1";
    one(conn, "read a lease", sql, [name], |r| {
        Ok(Lease { name: name.to_owned(), holder: r.get(0)?, token: r.u64(1)?, expires_ms: r.u64(2)? })
    })
}

fn write(conn: &Connection, lease: &Lease) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO lease (name, holder, token, expires_ms) VALUES (?1, ?2, ?3, ?4)";
    run(conn, "write a lease", sql, params![lease.name, lease.holder, int(lease.token), int(lease.expires_ms)])
        .map(|_| ())
}

/// Given back: nobody's.
fn is_held(lease: &Lease) -> bool {
    !lease.holder.is_empty()
}

pub(super) fn acquire(conn: &Connection, now_ms: u64, name: &str, holder: &str, ttl: u64) -> Result<Lease, StoreError> {
    let found = find(conn, name)?;
    if let Some(l) = found.as_ref().filter(|l| is_held(l) && l.holder != holder && l.expires_ms > now_ms) {
        return Err(StoreError::LeaseHeld { lease: name.to_owned(), holder: l.holder.clone(), until_ms: l.expires_ms });
    }
    let lease = Lease {
        name: name.to_owned(),
        holder: holder.to_owned(),
        token: found.map_or(1, |l| l.token + 1),
        expires_ms: now_ms.saturating_add(ttl),
    };
    write(conn, &lease)?;
    Ok(lease)
}

fn current(conn: &Connection, name: &str, token: u64) -> Result<Lease, StoreError> {
    find(conn, name)?
        .filter(|l| is_held(l) && l.token == token)
        .ok_or_else(|| StoreError::Fenced { lease: name.to_owned(), token })
}

pub(super) fn renew(conn: &Connection, now_ms: u64, name: &str, token: u64, ttl: u64) -> Result<Lease, StoreError> {
    let lease = Lease { expires_ms: now_ms.saturating_add(ttl), ..current(conn, name, token)? };
    write(conn, &lease)?;
    Ok(lease)
}

pub(super) fn release(conn: &Connection, name: &str, token: u64) -> Result<(), StoreError> {
    match current(conn, name, token) {
        Ok(lease) => write(conn, &Lease { holder: String::new(), expires_ms: 0, ..lease }),
        Err(e) if e.is_fenced() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Expiry alone does not fence: only a change of hands does, and nobody else can have written meanwhile.
pub(super) fn guard(conn: &Connection, name: &str, token: u64) -> Result<(), StoreError> {
    current(conn, name, token).map(|_| ())
}
