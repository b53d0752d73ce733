//! What components have asked the owner for.

use super::Context;
use crate::error::StoreError;
use crate::rows::RequestRow;
use crate::sql::int;
use rusqlite::params;
use ulid::Ulid;

pub(super) fn put(c: &Context<'_>, row: &RequestRow) -> Result<(), StoreError> {
    c.run("drop expired requests", "DELETE FROM request WHERE expires_ms <= ?1", [c.now()])?;
    let waiting: Option<i64> = c.one("count the requests", "SELECT count(*) FROM request", [], |r| r.get(0))?;
    if waiting.unwrap_or_default() >= int(RequestRow::MOST) {
        return Err(StoreError::conflict(format!("{} requests wait for the owner already", RequestRow::MOST)));
    }
    let sql = "INSERT INTO request (id, name, reason, instance, session, tainted, at_ms, expires_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO NOTHING";
    let (id, instance) = (row.id.to_bytes(), row.instance.to_string());
    let params =
        params![id, row.name, row.reason, instance, row.session, row.tainted, int(row.at_ms), int(row.expires_ms)];
    if c.run("record a request", sql, params)? == 0 {
        return Err(StoreError::conflict(format!(
            "`{}` has been asked for already, and waits for the owner",
            row.name
        )));
    }
    Ok(())
}

pub(super) fn delete(c: &mut Context<'_>, id: Ulid) -> Result<(), StoreError> {
    let deleted = c.run("end a request", "DELETE FROM request WHERE id = ?1", params![id.to_bytes()])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}
