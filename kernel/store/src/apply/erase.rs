//! Erasing contents: the row stays in the chain, an authenticated tombstone takes the place of its body and salt.

use super::Context;
use crate::chain::tombstone_mac;
use crate::error::{Attempt, StoreError};
use crate::sql::Columns;
use rusqlite::params;
use ulid::Ulid;

pub(super) fn rows(c: &Context<'_>, ids: &[Ulid]) -> Result<(), StoreError> {
    for id in ids {
        let bytes = id.to_bytes();
        let sql = "SELECT session, run, seq, kind FROM log WHERE id = ?1";
        let found: Option<(String, Option<Ulid>, i64, String)> =
            c.one("find a log row", sql, [bytes], |r| Ok((r.get(0)?, r.opt_ulid(1)?, r.get(2)?, r.get(3)?)))?;
        // Only contents of the log can be erased: those of the audit log are facts about the kernel.
        let Some((session, run, seq, kind)) = found else { continue };
        let sql = "SELECT body FROM content WHERE id = ?1 AND body IS NOT NULL";
        if let Some(body) = c.one::<Vec<u8>>("read a content", sql, [bytes], |r| r.get(0))? {
            for media in media_in(&body) {
                super::blob::delete(c, &media)?;
            }
        }
        let mac = tombstone_mac(c.key, &bytes, c.now())?;
        let sql = "UPDATE content SET salt = NULL, body = NULL, erased_ms = ?2, erased_mac = ?3 WHERE id = ?1 AND erased_ms IS NULL";
        c.run("erase a content", sql, params![bytes, c.now(), mac])?;
        if let Some(run) = run {
            erase_run(c, run)?;
        }
        if kind == "user" {
            // A title is made of the first words of the first message.
            let sql = "UPDATE session SET title = '' WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM log WHERE session = ?1 AND kind = 'user' AND seq < ?2)";
            c.run("erase a title", sql, params![session, seq])?;
        }
    }
    Ok(())
}

/// The blobs that a content refers to. Where another conversation has the same, it is gone there, too.
fn media_in(body: &[u8]) -> Vec<String> {
    fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                let is_media = fields.get("type").is_some_and(|t| t == "media");
                found.extend(fields.get("id").and_then(|id| id.as_str()).filter(|_| is_media).map(str::to_owned));
                fields.values().for_each(|inner| walk(inner, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|inner| walk(inner, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(content) = serde_json::from_slice(body) {
        walk(&content, &mut found);
    }
    found
}

/// What else repeats the words of a run that is over.
fn erase_run(c: &Context<'_>, run: Ulid) -> Result<(), StoreError> {
    let id = run.to_bytes();
    let sql = "UPDATE run SET request = NULL, last = NULL WHERE run = ?1 AND state = 'ended'";
    if c.run("erase a run", sql, [id])? == 0 {
        return Ok(());
    }
    let sql = "UPDATE call SET arguments = NULL, outcome = NULL WHERE run = ?1 AND ended_ms IS NOT NULL";
    c.run("erase the calls of a run", sql, [id])?;
    let sql = "UPDATE outbox SET part = NULL, detail = NULL WHERE run = ?1 AND state IN ('sent', 'dead')";
    c.run("erase the parts of a run", sql, [id])?;
    let sql =
        "UPDATE approval SET arguments = 'null', reason = '' WHERE run = ?1 AND state NOT IN ('pending', 'approved')";
    c.run("erase the approvals of a run", sql, [id]).map(|_| ())
}

pub(super) fn session(c: &Context<'_>, session: &str) -> Result<(), StoreError> {
    let ids: Vec<Ulid> = c
        .conn
        .prepare_cached("SELECT id FROM log WHERE session = ?1")
        .and_then(|mut s| s.query_map([session], |r| r.ulid(0))?.collect())
        .attempt("list a session's log")?;
    rows(c, &ids)?;
    c.run("erase a session", "UPDATE session SET title = '', meta = NULL WHERE key = ?1", [session]).map(|_| ())
}
