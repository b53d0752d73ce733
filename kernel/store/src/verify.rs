//! Walking every chain from its first row to its head.

use crate::chain::{
    AUDIT, AuditLink, ChainKey, LogLink, START, content_hash, head_mac, log_stream, root_mac, same, tombstone_mac,
};
use crate::error::{Attempt, StoreError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;
use ulid::Ulid;

/// What a check of the chains found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// Streams looked at: the audit log, and one per session.
    pub streams: u64,
    /// Rows looked at.
    pub rows: u64,
    /// Of these, rows whose content was erased.
    pub erased: u64,
    /// The first thing that is wrong; none = all is as it was written.
    pub first_broken: Option<Broken>,
}

/// A broken link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// `audit`, `log:<session>`, or empty for the whole.
    pub stream: String,
    /// The place in the stream where it shows, from 1.
    pub seq: u64,
    /// The row, if there is one.
    pub id: Option<Ulid>,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stream = if self.stream.is_empty() { "the whole" } else { &self.stream };
        write!(f, "{stream}, row {}", self.seq)?;
        if let Some(id) = self.id {
            write!(f, " ({id})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

#[derive(Default)]
struct Walk {
    report: VerifyReport,
    ends: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Walk {
    fn broken(&mut self, stream: &str, seq: u64, id: Option<&[u8]>, problem: &str) {
        if self.report.first_broken.is_none() {
            let id = id.and_then(|id| <[u8; 16]>::try_from(id).ok()).map(Ulid::from_bytes);
            let (stream, problem) = (stream.to_owned(), problem.to_owned());
            self.report.first_broken = Some(Broken { stream, seq, id, problem });
        }
    }
}

/// Columns as they are: damage is a finding, not an error.
fn bytes<'a>(r: &'a Row<'_>, i: usize) -> Option<&'a [u8]> {
    match r.get_ref(i) {
        Ok(ValueRef::Blob(b)) => Some(b),
        _ => None,
    }
}
fn words<'a>(r: &'a Row<'_>, i: usize) -> Option<&'a str> {
    match r.get_ref(i) {
        Ok(ValueRef::Text(t)) => std::str::from_utf8(t).ok(),
        _ => None,
    }
}
fn number(r: &Row<'_>, i: usize) -> Option<i64> {
    match r.get_ref(i) {
        Ok(ValueRef::Integer(n)) => Some(n),
        _ => None,
    }
}
fn is_null(r: &Row<'_>, i: usize) -> bool {
    matches!(r.get_ref(i), Ok(ValueRef::Null))
}

// The last five columns of both queries.
const CONTENT: &str = "c.id IS NULL, c.salt, c.body, c.erased_ms, c.erased_mac";

/// The content of a row, whose five columns begin at `at`: as written, or erased with a tombstone.
fn content(
    r: &Row<'_>,
    at: usize,
    key: &ChainKey,
    id: &[u8],
    hash: &[u8],
) -> Result<Result<bool, &'static str>, StoreError> {
    if number(r, at) != Some(0) {
        return Ok(Err("its content was removed without a tombstone"));
    }
    if is_null(r, at + 3) && is_null(r, at + 4) {
        return Ok(match (bytes(r, at + 1), bytes(r, at + 2)) {
            (Some(salt), Some(body)) if same(&content_hash(salt, body), hash) => Ok(false),
            _ => Err("its content was changed"),
        });
    }
    let (Some(erased_ms), Some(mac)) = (number(r, at + 3), bytes(r, at + 4)) else {
        return Ok(Err("its tombstone is damaged"));
    };
    if !is_null(r, at + 1) || !is_null(r, at + 2) || !same(mac, &tombstone_mac(key, id, erased_ms)?) {
        return Ok(Err("its tombstone is not authentic"));
    }
    Ok(Ok(true))
}

fn step(
    walk: &mut Walk,
    stream: &str,
    found: Option<(u64, &[u8], &[u8])>,
    expected: Option<[u8; 32]>,
    content: Result<bool, &'static str>,
) {
    walk.report.rows += 1;
    let next = walk.ends.get(stream).map_or(0, |(seq, _)| *seq) + 1;
    let Some((seq, id, hash)) = found else {
        walk.broken(stream, next, None, "a column does not hold what it should");
        return;
    };
    if seq != next {
        walk.broken(stream, next, Some(id), "a row before it was removed, or rows were reordered");
    } else if !expected.is_some_and(|e| same(&e, hash)) {
        walk.broken(stream, seq, Some(id), "it, or the row before it, was changed");
    }
    match content {
        Ok(erased) => walk.report.erased += u64::from(erased),
        Err(problem) => walk.broken(stream, seq, Some(id), problem),
    }
    walk.ends.insert(stream.to_owned(), (seq, hash.to_vec()));
}

fn walk_audit(c: &Connection, key: &ChainKey, walk: &mut Walk) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT a.id, a.seq, a.kind, a.subject, a.at_ms, a.content_hash, a.hash, {CONTENT} FROM audit a LEFT JOIN content c ON c.id = a.id ORDER BY a.seq"
    );
    let mut statement = c.prepare(&sql).attempt("walk the audit log")?;
    let mut rows = statement.query([]).attempt("walk the audit log")?;
    while let Some(r) = rows.next().attempt("walk the audit log")? {
        let link = (|| {
            let seq = u64::try_from(number(r, 1)?).ok()?;
            let (id, kind, subject) = (bytes(r, 0)?, words(r, 2)?, words(r, 3)?);
            Some(AuditLink { id, seq, kind, subject, at_ms: number(r, 4)?, content_hash: bytes(r, 5)? })
        })();
        let previous = walk.ends.get(AUDIT).map_or(START.to_vec(), |(_, h)| h.clone());
        let expected = link.as_ref().map(|l| l.hash(key, &previous)).transpose()?;
        let found = link.as_ref().and_then(|l| Some((l.seq, l.id, bytes(r, 6)?)));
        let state = match &link {
            Some(l) => content(r, 7, key, l.id, l.content_hash)?,
            None => Ok(false),
        };
        step(walk, AUDIT, found, expected, state);
    }
    Ok(())
}

fn walk_log(c: &Connection, key: &ChainKey, walk: &mut Walk) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT l.id, l.session, l.seq, l.run, l.kind, l.tainted, l.at_ms, l.content_hash, l.hash, {CONTENT} FROM log l \
         LEFT JOIN content c ON c.id = l.id ORDER BY l.session, l.seq"
    );
    let mut statement = c.prepare(&sql).attempt("walk the log")?;
    let mut rows = statement.query([]).attempt("walk the log")?;
    while let Some(r) = rows.next().attempt("walk the log")? {
        let Some(session) = words(r, 1) else {
            walk.report.rows += 1;
            walk.broken("log:", 0, bytes(r, 0), "its session is not text");
            continue;
        };
        let stream = log_stream(session);
        let link = (|| {
            let run = if is_null(r, 3) { None } else { Some(bytes(r, 3)?) };
            Some(LogLink {
                id: bytes(r, 0)?,
                session,
                seq: u64::try_from(number(r, 2)?).ok()?,
                run,
                kind: words(r, 4)?,
                tainted: number(r, 5)?,
                at_ms: number(r, 6)?,
                content_hash: bytes(r, 7)?,
            })
        })();
        let previous = walk.ends.get(&stream).map_or(START.to_vec(), |(_, h)| h.clone());
        let expected = link.as_ref().map(|l| l.hash(key, &previous)).transpose()?;
        let found = link.as_ref().and_then(|l| Some((l.seq, l.id, bytes(r, 8)?)));
        let state = match &link {
            Some(l) => content(r, 9, key, l.id, l.content_hash)?,
            None => Ok(false),
        };
        step(walk, &stream, found, expected, state);
    }
    Ok(())
}

/// Every stream ends where its head says, and there are as many streams and rows as the root says.
fn compare_heads(c: &Connection, key: &ChainKey, walk: &mut Walk) -> Result<(), StoreError> {
    let mut unseen = std::mem::take(&mut walk.ends);
    walk.report.streams = unseen.len() as u64;
    let what = "read the chain heads";
    let mut statement = c.prepare("SELECT stream, seq, hash, mac FROM chain_head ORDER BY stream").attempt(what)?;
    let mut heads = statement.query([]).attempt(what)?;
    while let Some(r) = heads.next().attempt(what)? {
        let head = (|| Some((words(r, 0)?, u64::try_from(number(r, 1)?).ok()?, bytes(r, 2)?, bytes(r, 3)?)))();
        let Some((stream, seq, hash, mac)) = head else {
            walk.broken("", 0, None, "the head of a chain is damaged");
            continue;
        };
        if !same(mac, &head_mac(key, stream, seq, hash)?) {
            walk.broken(stream, seq, None, "the head of the chain is not authentic");
        }
        match unseen.remove(stream) {
            Some((end, last)) if end == seq && last == hash => {}
            Some((end, _)) => walk.broken(stream, end + 1, None, "rows at the end were removed, or rows were added"),
            None => walk.broken(stream, 1, None, "all its rows were removed"),
        }
    }
    if let Some((stream, (end, _))) = unseen.pop_first() {
        walk.broken(&stream, end, None, "its head was removed, or its rows were added");
    }
    let root = c.query_row("SELECT streams, rows, mac FROM chain_root", [], |r| {
        let read =
            || Some((u64::try_from(number(r, 0)?).ok()?, u64::try_from(number(r, 1)?).ok()?, bytes(r, 2)?.to_vec()));
        Ok(read())
    });
    let (streams, rows) = (walk.report.streams, walk.report.rows);
    match root {
        Ok(Some((s, n, mac))) if same(&mac, &root_mac(key, s, n)?) => {
            if (s, n) != (streams, rows) {
                let problem = format!("there should be {s} streams with {n} rows, there are {streams} with {rows}");
                walk.broken("", 0, None, &problem);
            }
        }
        _ => walk.broken("", 0, None, "the root of the chains is missing or not authentic"),
    }
    Ok(())
}

pub(crate) fn verify(c: &Connection, key: &ChainKey) -> Result<VerifyReport, StoreError> {
    let mut walk = Walk::default();
    walk_audit(c, key, &mut walk)?;
    walk_log(c, key, &mut walk)?;
    compare_heads(c, key, &mut walk)?;
    Ok(walk.report)
}
