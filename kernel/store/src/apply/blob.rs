//! Media: kept in pieces, forgotten whole.

use super::Context;
use crate::error::StoreError;
use crate::rows::BlobRow;
use crate::sql::{Columns, int, size};
use carapace_contract::InstanceId;
use carapace_contract::media::{MAX_BLOB, MAX_BLOBS};
use rusqlite::params;

/// Bytes of a piece: what a reader asks for is rarely more.
pub(crate) const PIECE: usize = 256 << 10;

pub(super) fn put(c: &Context<'_>, row: &BlobRow) -> Result<(), StoreError> {
    let media = &row.media;
    if media.size > MAX_BLOB || media.size != row.data.len() as u64 {
        let rule = format!("it has at most {MAX_BLOB}");
        return Err(StoreError::Invalid { what: format!("a blob of {} bytes", media.size), rule });
    }
    let sql = "UPDATE blob SET at_ms = max(at_ms, ?2) WHERE id = ?1";
    if c.run("keep a blob for longer", sql, params![media.id, int(row.at_ms)])? == 0 {
        make_room(c, media.size)?;
        let (width, height) = media.pixels.unzip();
        let sql = "INSERT INTO blob (id, size, mime, width, height, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        c.run("keep a blob", sql, params![media.id, int(media.size), media.mime, width, height, int(row.at_ms)])?;
        for (n, piece) in row.data.chunks(PIECE).enumerate() {
            let sql = "INSERT INTO blob_piece (id, n, data) VALUES (?1, ?2, ?3)";
            c.run("keep a piece of a blob", sql, params![media.id, size(n), piece])?;
        }
    }
    held(c, &media.id, &row.holder)
}

pub(super) fn give(c: &Context<'_>, id: &str, to: &InstanceId, at_ms: u64) -> Result<(), StoreError> {
    let sql = "UPDATE blob SET at_ms = max(at_ms, ?2) WHERE id = ?1";
    if c.run("keep a blob for longer", sql, params![id, int(at_ms)])? == 0 { Ok(()) } else { held(c, id, to) }
}

fn held(c: &Context<'_>, id: &str, by: &InstanceId) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO blob_holder (id, instance) VALUES (?1, ?2)";
    c.run("note who has a blob", sql, params![id, by.to_string()]).map(|_| ())
}

/// The oldest go until so many bytes more may be kept.
fn make_room(c: &Context<'_>, more: u64) -> Result<(), StoreError> {
    loop {
        let held = c.one("measure the blobs", "SELECT coalesce(sum(size), 0) FROM blob", [], |r| r.u64(0))?;
        if held.unwrap_or(0).saturating_add(more) <= MAX_BLOBS {
            return Ok(());
        }
        let sql = "SELECT id FROM blob ORDER BY at_ms, id LIMIT 1";
        let Some(oldest) = c.one::<String>("find the oldest blob", sql, [], |r| r.get(0))? else { return Ok(()) };
        delete(c, &oldest)?;
    }
}

pub(super) fn delete(c: &Context<'_>, id: &str) -> Result<(), StoreError> {
    for table in ["blob_piece", "blob_holder", "blob"] {
        c.run("forget a blob", &format!("DELETE FROM {table} WHERE id = ?1"), [id])?;
    }
    Ok(())
}

pub(super) fn prune(c: &Context<'_>, before_ms: u64) -> Result<(), StoreError> {
    let sql = "SELECT id FROM blob WHERE at_ms < ?1 ORDER BY at_ms LIMIT 1";
    while let Some(id) = c.one::<String>("find an old blob", sql, [int(before_ms)], |r| r.get(0))? {
        delete(c, &id)?;
    }
    Ok(())
}

/// What nobody has any more.
pub(super) fn sweep(c: &Context<'_>) -> Result<(), StoreError> {
    let sql = "SELECT id FROM blob WHERE NOT EXISTS (SELECT 1 FROM blob_holder h WHERE h.id = blob.id) LIMIT 1";
    while let Some(id) = c.one::<String>("find a blob that nobody has", sql, [], |r| r.get(0))? {
        delete(c, &id)?;
    }
    Ok(())
}
