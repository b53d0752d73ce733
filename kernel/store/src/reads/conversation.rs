//! Sessions, their logs, runs and calls.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::{CallEntry, CallRow, LogRow, RunPhase, RunRow, SessionSummary};
use crate::sql::{Columns, int, size};
use rusqlite::{Row, params};
use serde_json::Value;
use ulid::Ulid;

const SESSION: &str = "SELECT key, title, created_ms, updated_ms, rows, messages, tainted, meta FROM session";
const RUN: &str = "SELECT run, session, idempotency_key, state, last, started_ms, ended_ms, request FROM run";
const CALL: &str =
    "SELECT call_id, run, tool, instance, digest, arguments, at_ms, outcome, attempts, interrupted FROM call";
const LOG: &str =
    "SELECT l.id, l.session, l.run, l.kind, c.body, l.tainted, l.at_ms FROM log l LEFT JOIN content c ON c.id = l.id";

fn session(r: &Row<'_>) -> rusqlite::Result<SessionSummary> {
    Ok(SessionSummary {
        key: r.get(0)?,
        title: r.get(1)?,
        created_ms: r.u64(2)?,
        updated_ms: r.u64(3)?,
        rows: r.u64(4)?,
        messages: r.u64(5)?,
        tainted: r.get(6)?,
        meta: r.json(7)?,
    })
}

fn log_row(r: &Row<'_>) -> rusqlite::Result<LogRow> {
    let content = match r.get_ref(4)?.as_blob_or_null()? {
        None => Value::Null,
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Blob, Box::new(e)))?,
    };
    Ok(LogRow {
        id: r.ulid(0)?,
        session: r.get(1)?,
        run: r.opt_ulid(2)?,
        kind: r.get(3)?,
        content,
        tainted: r.get(5)?,
        at_ms: r.u64(6)?,
    })
}

pub(crate) fn run(r: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        run: r.ulid(0)?,
        session: r.get(1)?,
        idempotency_key: r.get(2)?,
        state: r.word(3, RunPhase::parse)?,
        last: r.opt_json(4)?,
        started_ms: r.u64(5)?,
        ended_ms: r.opt_u64(6)?,
        request: r.json(7)?,
    })
}

fn call(r: &Row<'_>) -> rusqlite::Result<CallEntry> {
    Ok(CallEntry {
        row: CallRow {
            call_id: r.get(0)?,
            run: r.ulid(1)?,
            tool: r.get(2)?,
            instance: r.parsed(3)?,
            digest: r.parsed(4)?,
            arguments: r.json(5)?,
            at_ms: r.u64(6)?,
        },
        outcome: r.opt_json(7)?,
        attempts: r.get(8)?,
        interrupted: r.get(9)?,
    })
}

impl Reader {
    /// Sessions, last updated first.
    pub async fn sessions(&self, limit: usize) -> Result<Vec<SessionSummary>, StoreError> {
        self.read(move |c| {
            let sql = format!("{SESSION} ORDER BY updated_ms DESC, key LIMIT ?1");
            all(c, "list the sessions", &sql, [size(limit)], session)
        })
        .await
    }

    /// Keys of sessions, last updated first.
    pub async fn session_keys(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |c| {
            let sql = "SELECT key FROM session ORDER BY updated_ms DESC, key LIMIT ?1";
            all(c, "list the sessions", sql, [size(limit)], |r| r.get(0))
        })
        .await
    }

    /// One session.
    pub async fn session(&self, key: &str) -> Result<Option<SessionSummary>, StoreError> {
        let key = key.to_owned();
        self.read(move |c| one(c, "read a session", &format!("{SESSION} WHERE key = ?1"), [key], session)).await
    }

    /// The last `limit` rows of a session's log, oldest first.
    pub async fn session_rows(&self, session: &str, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        let session = session.to_owned();
        self.read(move |c| {
            let sql = format!("{LOG} WHERE l.session = ?1 ORDER BY l.seq DESC LIMIT ?2");
            let mut rows = all(c, "read a session's log", &sql, params![session, size(limit)], log_row)?;
            rows.reverse();
            Ok(rows)
        })
        .await
    }

    /// At most `limit` rows of a session's log after the row `after` (none = from the first), oldest first.
    pub async fn session_rows_after(
        &self,
        session: &str,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<LogRow>, StoreError> {
        let session = session.to_owned();
        self.read(move |c| {
            let from: i64 = match after {
                None => 0,
                Some(id) => {
                    let sql = "SELECT seq FROM log WHERE id = ?1 AND session = ?2";
                    one(c, "find a log row", sql, params![id.to_bytes(), session], |r| r.get(0))?
                        .ok_or_else(|| StoreError::missing(format!("log row {id} in session `{session}`")))?
                }
            };
            let sql = format!("{LOG} WHERE l.session = ?1 AND l.seq > ?2 ORDER BY l.seq LIMIT ?3");
            all(c, "read a session's log", &sql, params![session, from, size(limit)], log_row)
        })
        .await
    }

    /// The log rows of a run, oldest first.
    pub async fn run_rows(&self, run: Ulid) -> Result<Vec<LogRow>, StoreError> {
        self.read(move |c| {
            all(
                c,
                "read a run's log",
                &format!("{LOG} WHERE l.run = ?1 ORDER BY l.session, l.seq"),
                [run.to_bytes()],
                log_row,
            )
        })
        .await
    }

    /// One run.
    pub async fn run(&self, id: Ulid) -> Result<Option<RunRow>, StoreError> {
        self.read(move |c| one(c, "read a run", &format!("{RUN} WHERE run = ?1"), [id.to_bytes()], run)).await
    }

    /// The run of an idempotency key.
    pub async fn run_by_key(&self, idempotency_key: &str) -> Result<Option<RunRow>, StoreError> {
        let key = idempotency_key.to_owned();
        self.read(move |c| one(c, "read a run", &format!("{RUN} WHERE idempotency_key = ?1"), [key], run)).await
    }

    /// Runs in a phase, oldest first.
    pub async fn runs_by_phase(&self, phase: RunPhase, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        self.read(move |c| {
            let sql = format!("{RUN} WHERE state = ?1 ORDER BY started_ms, run LIMIT ?2");
            all(c, "list the runs", &sql, params![phase.as_str(), size(limit)], run)
        })
        .await
    }

    /// Runs of a session that have not ended, oldest first.
    pub async fn open_runs_of(&self, session: &str) -> Result<Vec<RunRow>, StoreError> {
        let session = session.to_owned();
        self.read(move |c| {
            let sql = format!("{RUN} WHERE session = ?1 AND state <> 'ended' ORDER BY started_ms, run");
            all(c, "list the runs", &sql, [session], run)
        })
        .await
    }

    /// Calls that had begun when the process died, and whose outcome nobody knows.
    pub async fn interrupted_calls(&self) -> Result<Vec<CallEntry>, StoreError> {
        self.read(|c| {
            let sql = format!("{CALL} WHERE ended_ms IS NULL AND interrupted = 1 ORDER BY at_ms, call_id");
            all(c, "list the interrupted calls", &sql, [], call)
        })
        .await
    }

    /// One call.
    pub async fn call(&self, call_id: &str) -> Result<Option<CallEntry>, StoreError> {
        let id = call_id.to_owned();
        self.read(move |c| one(c, "read a call", &format!("{CALL} WHERE call_id = ?1"), [id], call)).await
    }

    /// The calls of a run, oldest first.
    pub async fn calls_of_run(&self, run: Ulid) -> Result<Vec<CallEntry>, StoreError> {
        self.read(move |c| {
            all(
                c,
                "list the calls of a run",
                &format!("{CALL} WHERE run = ?1 ORDER BY at_ms, call_id"),
                [run.to_bytes()],
                call,
            )
        })
        .await
    }

    /// Runs that ended before a time, oldest first: what a retention policy looks at.
    pub async fn runs_ended_before(&self, ms: u64, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        self.read(move |c| {
            let sql = format!("{RUN} WHERE state = 'ended' AND ended_ms < ?1 ORDER BY ended_ms, run LIMIT ?2");
            all(c, "list the runs", &sql, params![int(ms), size(limit)], run)
        })
        .await
    }
}
