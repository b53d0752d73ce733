//! Sessions, logs, runs, calls.

use super::{Context, Refused, length};
use crate::error::StoreError;
use crate::rows::{CallRow, LogRow, RunPhase, RunRow, SessionRow};
use crate::sql::{Columns, int, text};
use rusqlite::params;
use serde_json::Value;

const MAX_KEY: usize = 512;

pub(super) fn session(c: &Context<'_>, row: &SessionRow) -> Result<(), StoreError> {
    length("a session key", &row.key, MAX_KEY)?;
    let meta = (!row.meta.is_null()).then(|| text(&row.meta));
    let sql = "INSERT INTO session (key, title, created_ms, updated_ms, meta) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE SET \
               title = CASE title WHEN '' THEN excluded.title ELSE title END, \
               updated_ms = max(updated_ms, excluded.updated_ms), meta = coalesce(excluded.meta, meta)";
    c.run("write a session", sql, params![row.key, row.title, int(row.created_ms), int(row.updated_ms), meta])
        .map(|_| ())
}

pub(super) fn append(c: &mut Context<'_>, row: &LogRow) -> Result<(), StoreError> {
    length("a session key", &row.session, MAX_KEY)?;
    length("a log row's kind", &row.kind, 64)?;
    c.chain.log(row)?;
    let message = i64::from(matches!(row.kind.as_str(), "user" | "assistant"));
    let sql = "INSERT INTO session (key, created_ms, updated_ms, rows, messages, tainted) VALUES (?1, ?2, ?2, 1, ?3, ?4) \
               ON CONFLICT (key) DO UPDATE SET rows = rows + 1, messages = messages + ?3, tainted = max(tainted, ?4), \
               updated_ms = max(updated_ms, ?2)";
    c.run("count a log row", sql, params![row.session, int(row.at_ms), message, row.tainted]).map(|_| ())
}

pub(super) fn run(c: &Context<'_>, row: &RunRow) -> Result<(), Refused> {
    let id = row.run.to_bytes();
    let sql = "SELECT state FROM run WHERE run = ?1";
    let last = row.last.as_ref().map(text);
    if let Some(found) = c.one("read a run", sql, [id], |r| r.word(0, RunPhase::parse))? {
        if row.state < found {
            let (was, is) = (found.as_str(), row.state.as_str());
            return Err(StoreError::conflict(format!("run {} is {was}, it cannot become {is}", row.run)).into());
        }
        let sql =
            "UPDATE run SET state = ?2, last = coalesce(?3, last), ended_ms = coalesce(?4, ended_ms) WHERE run = ?1";
        c.run("update a run", sql, params![id, row.state.as_str(), last, row.ended_ms.map(int)])?;
        return Ok(());
    }
    if let Some(key) = &row.idempotency_key {
        let sql = "SELECT run FROM run WHERE idempotency_key = ?1";
        if let Some(earlier) = c.one("look for an idempotency key", sql, [key], |r| r.ulid(0))? {
            return Err(Refused::Duplicate(earlier));
        }
    }
    let sql = "INSERT INTO run (run, session, idempotency_key, state, last, started_ms, ended_ms, request) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    c.run(
        "write a run",
        sql,
        params![
            id,
            row.session,
            row.idempotency_key,
            row.state.as_str(),
            last,
            int(row.started_ms),
            row.ended_ms.map(int),
            text(&row.request)
        ],
    )?;
    Ok(())
}

pub(super) fn call_begin(c: &Context<'_>, row: &CallRow) -> Result<(), StoreError> {
    length("a call id", &row.call_id, MAX_KEY)?;
    let (arguments, instance, digest) = (text(&row.arguments), row.instance.to_string(), row.digest.to_string());
    let params = params![row.call_id, row.run.to_bytes(), row.tool, instance, digest, arguments, int(row.at_ms)];
    let sql = "INSERT INTO call (call_id, run, tool, instance, digest, arguments, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
               ON CONFLICT (call_id) DO UPDATE SET attempts = attempts + 1, interrupted = 0, at_ms = ?7 \
               WHERE interrupted = 1 AND ended_ms IS NULL AND run = ?2 AND tool = ?3 AND instance = ?4 AND digest = ?5 AND arguments = ?6";
    if c.run("begin a call", sql, params)? == 0 {
        return Err(StoreError::conflict(format!(
            "the call `{}` was begun already, or it is another call now",
            row.call_id
        )));
    }
    Ok(())
}

pub(super) fn call_end(c: &Context<'_>, id: &str, outcome: &Value) -> Result<(), StoreError> {
    let sql = "UPDATE call SET outcome = ?2, ended_ms = ?3, interrupted = 0 WHERE call_id = ?1 AND ended_ms IS NULL";
    if c.run("end a call", sql, params![id, text(outcome), c.now()])? == 1 {
        return Ok(());
    }
    match c.one("read a call", "SELECT 1 FROM call WHERE call_id = ?1", [id], |_| Ok(()))? {
        Some(()) => Err(StoreError::conflict(format!("the call `{id}` has ended"))),
        None => Err(StoreError::missing(format!("call `{id}`"))),
    }
}
