//! The HMAC chain: each row carries a MAC over the row before it, its own fields, and a salted hash of its content.
//!
//! The head of each stream, and the number of streams and rows, are authenticated too: so a cut tail shows, and so does a removed stream.
//! Contents live in a table of their own. Erasing one removes body *and* salt, and leaves an authenticated tombstone; the
//! salted hash stays in the chain, and without the salt it says nothing about the body.

use crate::error::{Attempt, StoreError};
use crate::rows::{AuditRow, LogRow};
use crate::sql::{int, uint};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use ulid::Ulid;
use zeroize::Zeroizing;

pub(crate) type Hash = [u8; 32];
pub(crate) const AUDIT: &str = "audit";
pub(crate) const START: Hash = [0; 32];

/// The stream of a session's log.
pub(crate) fn log_stream(session: &str) -> String {
    format!("log:{session}")
}

/// The key of the chain.
#[derive(Clone)]
pub(crate) struct ChainKey(Arc<Zeroizing<[u8; 32]>>);

impl ChainKey {
    pub(crate) fn generate() -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        crate::secrets::random(key.as_mut_slice())?;
        Ok(Self(Arc::new(key)))
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, key.as_mut_slice()).ok()?;
        Some(Self(Arc::new(key)))
    }

    pub(crate) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// HMAC-SHA256 over the domain and the fields, each with its length before it.
    pub(crate) fn mac(&self, domain: &str, fields: &[&[u8]]) -> Result<Hash, StoreError> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_slice())
            .map_err(|e| StoreError::Crypto { what: "the chain".into(), problem: e.to_string() })?;
        for field in std::iter::once(&domain.as_bytes()).chain(fields) {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        Ok(mac.finalize().into_bytes().into())
    }

    fn check(&self) -> Result<Hash, StoreError> {
        self.mac("key-check", &[])
    }

    pub(crate) fn matches(&self, check: &[u8]) -> bool {
        self.check().is_ok_and(|c| same(&c, check))
    }
}

pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The salted hash of a content.
pub(crate) fn content_hash(salt: &[u8], body: &[u8]) -> Hash {
    Sha256::new()
        .chain_update((salt.len() as u64).to_be_bytes())
        .chain_update(salt)
        .chain_update(body)
        .finalize()
        .into()
}

/// The fields of a log row that the chain covers, besides the row before it.
#[derive(Debug, Clone)]
pub(crate) struct LogLink<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) session: &'a str,
    pub(crate) seq: u64,
    pub(crate) run: Option<&'a [u8]>,
    pub(crate) kind: &'a str,
    pub(crate) tainted: i64,
    pub(crate) at_ms: i64,
    pub(crate) content_hash: &'a [u8],
}

impl LogLink<'_> {
    pub(crate) fn hash(&self, key: &ChainKey, previous: &[u8]) -> Result<Hash, StoreError> {
        let (seq, tainted, at) = (self.seq.to_be_bytes(), self.tainted.to_be_bytes(), self.at_ms.to_be_bytes());
        let (session, kind) = (self.session.as_bytes(), self.kind.as_bytes());
        let (in_run, run) = ([u8::from(self.run.is_some())], self.run.unwrap_or_default());
        key.mac("log", &[previous, self.id, session, &seq, &in_run, run, kind, &tainted, &at, self.content_hash])
    }
}

/// The fields of an audit row that the chain covers, besides the row before it.
#[derive(Debug, Clone)]
pub(crate) struct AuditLink<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) seq: u64,
    pub(crate) kind: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) at_ms: i64,
    pub(crate) content_hash: &'a [u8],
}

impl AuditLink<'_> {
    pub(crate) fn hash(&self, key: &ChainKey, previous: &[u8]) -> Result<Hash, StoreError> {
        let (seq, at) = (self.seq.to_be_bytes(), self.at_ms.to_be_bytes());
        let (kind, subject) = (self.kind.as_bytes(), self.subject.as_bytes());
        key.mac("audit", &[previous, self.id, &seq, kind, subject, &at, self.content_hash])
    }
}

/// MAC of a stream's head.
pub(crate) fn head_mac(key: &ChainKey, stream: &str, seq: u64, hash: &[u8]) -> Result<Hash, StoreError> {
    key.mac("head", &[stream.as_bytes(), &seq.to_be_bytes(), hash])
}

/// MAC of the number of streams and rows.
pub(crate) fn root_mac(key: &ChainKey, streams: u64, rows: u64) -> Result<Hash, StoreError> {
    key.mac("root", &[&streams.to_be_bytes(), &rows.to_be_bytes()])
}

/// MAC of a tombstone.
pub(crate) fn tombstone_mac(key: &ChainKey, id: &[u8], erased_ms: i64) -> Result<Hash, StoreError> {
    key.mac("tombstone", &[id, &erased_ms.to_be_bytes()])
}

#[derive(Debug, Clone, Copy)]
struct Head {
    seq: u64,
    hash: Hash,
}

/// The ends of the streams that a batch appends to. Heads are read (and checked) once and written once per batch.
pub(crate) struct Appender<'a> {
    conn: &'a Connection,
    key: &'a ChainKey,
    heads: BTreeMap<String, Head>,
    new_streams: u64,
    new_rows: u64,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(conn: &'a Connection, key: &'a ChainKey) -> Self {
        Self { conn, key, heads: BTreeMap::new(), new_streams: 0, new_rows: 0 }
    }

    /// Appending to a head that is not authentic would bless whatever was done to the stream: it is refused.
    fn head(&mut self, stream: &str) -> Result<Head, StoreError> {
        if let Some(head) = self.heads.get(stream) {
            return Ok(*head);
        }
        let mut statement = self
            .conn
            .prepare_cached("SELECT seq, hash, mac FROM chain_head WHERE stream = ?1")
            .attempt("read a chain head")?;
        let found: Option<(i64, Hash, Hash)> = statement
            .query_row([stream], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()
            .attempt("read a chain head")?;
        match found {
            None => {
                self.new_streams += 1;
                Ok(Head { seq: 0, hash: START })
            }
            Some((seq, hash, mac)) => {
                let seq = uint(seq);
                if !same(&mac, &head_mac(self.key, stream, seq, &hash)?) {
                    return Err(StoreError::corrupt(format!("the head of the chain `{stream}` is not authentic")));
                }
                Ok(Head { seq, hash })
            }
        }
    }

    fn content(&self, id: &[u8; 16], body: &[u8]) -> Result<Hash, StoreError> {
        let mut salt = [0; 16];
        crate::secrets::random(&mut salt)?;
        let mut statement = self
            .conn
            .prepare_cached("INSERT INTO content (id, salt, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING")
            .attempt("store a content")?;
        if statement.execute(params![id, salt, body]).attempt("store a content")? == 0 {
            return Err(StoreError::conflict(format!("a row {} exists", Ulid::from_bytes(*id))));
        }
        Ok(content_hash(&salt, body))
    }

    pub(crate) fn log(&mut self, row: &LogRow) -> Result<(), StoreError> {
        let stream = log_stream(&row.session);
        let head = self.head(&stream)?;
        let (id, run, seq) = (row.id.to_bytes(), row.run.map(|r| r.to_bytes()), head.seq + 1);
        let content_hash = self.content(&id, row.content.to_string().as_bytes())?;
        let link = LogLink {
            id: &id,
            session: &row.session,
            seq,
            run: run.as_ref().map(<[u8; 16]>::as_slice),
            kind: &row.kind,
            tainted: i64::from(row.tainted),
            at_ms: int(row.at_ms),
            content_hash: &content_hash,
        };
        let hash = link.hash(self.key, &head.hash)?;
        let sql = "INSERT INTO log (id, session, seq, run, kind, tainted, at_ms, content_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let mut statement = self.conn.prepare_cached(sql).attempt("append to the log")?;
        statement
            .execute(params![id, row.session, int(seq), run, row.kind, link.tainted, link.at_ms, content_hash, hash])
            .attempt("append to the log")?;
        self.advance(stream, seq, hash);
        Ok(())
    }

    pub(crate) fn audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let head = self.head(AUDIT)?;
        let (id, seq) = (Ulid::generate().to_bytes(), head.seq + 1);
        let content_hash = self.content(&id, row.detail.to_string().as_bytes())?;
        let (kind, subject, at_ms) = (&row.kind, &row.subject, int(row.at_ms));
        let link = AuditLink { id: &id, seq, kind, subject, at_ms, content_hash: &content_hash };
        let hash = link.hash(self.key, &head.hash)?;
        let sql =
            "INSERT INTO audit (id, seq, kind, subject, at_ms, content_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut statement = self.conn.prepare_cached(sql).attempt("append to the audit log")?;
        statement
            .execute(params![id, int(seq), kind, subject, at_ms, content_hash, hash])
            .attempt("append to the audit log")?;
        self.advance(AUDIT.to_owned(), seq, hash);
        Ok(())
    }

    fn advance(&mut self, stream: String, seq: u64, hash: Hash) {
        self.heads.insert(stream, Head { seq, hash });
        self.new_rows += 1;
    }

    /// Writes the heads and the root.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        if self.heads.is_empty() {
            return Ok(());
        }
        for (stream, head) in &self.heads {
            write_head(self.conn, self.key, stream, head.seq, &head.hash)?;
        }
        let (streams, rows, mac): (i64, i64, Hash) = self
            .conn
            .prepare_cached("SELECT streams, rows, mac FROM chain_root")
            .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))))
            .attempt("read the chain's root")?;
        let (streams, rows) = (uint(streams), uint(rows));
        if !same(&mac, &root_mac(self.key, streams, rows)?) {
            return Err(StoreError::corrupt("the root of the chains is not authentic"));
        }
        write_root(self.conn, self.key, streams + self.new_streams, rows + self.new_rows)
    }
}

fn write_head(conn: &Connection, key: &ChainKey, stream: &str, seq: u64, hash: &Hash) -> Result<(), StoreError> {
    let mac = head_mac(key, stream, seq, hash)?;
    conn.prepare_cached("INSERT OR REPLACE INTO chain_head (stream, seq, hash, mac) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut s| s.execute(params![stream, int(seq), hash, mac]))
        .attempt("write a chain head")
        .map(|_| ())
}

fn write_root(conn: &Connection, key: &ChainKey, streams: u64, rows: u64) -> Result<(), StoreError> {
    let mac = root_mac(key, streams, rows)?;
    conn.prepare_cached("INSERT OR REPLACE INTO chain_root (one, streams, rows, mac) VALUES (1, ?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![int(streams), int(rows), mac]))
        .attempt("write the chain's root")
        .map(|_| ())
}

/// Makes `key` the chain's key. With `rechain`, every row is chained anew as it stands, and the audit log says so.
pub(crate) fn adopt(conn: &Connection, key: &ChainKey, rechain: bool, now_ms: u64) -> Result<(), StoreError> {
    conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('chain-key-check', ?1)", [key.check()?])
        .attempt("record the chain key")?;
    let mut heads: BTreeMap<String, Head> = BTreeMap::new();
    let mut rows = 0;
    if rechain {
        rows += rechain_log(conn, key, &mut heads)?;
        rows += rechain_audit(conn, key, &mut heads)?;
        rechain_tombstones(conn, key)?;
    }
    conn.execute("DELETE FROM chain_head", []).attempt("renew the chain heads")?;
    for (stream, head) in &heads {
        write_head(conn, key, stream, head.seq, &head.hash)?;
    }
    write_root(conn, key, heads.len() as u64, rows)?;
    if rechain {
        let mut appender = Appender::new(conn, key);
        appender.audit(&AuditRow {
            kind: "chain-key-replaced".into(),
            subject: "chain.key".into(),
            detail: serde_json::json!({ "rows": rows, "note": "rows before this one were chained anew as they stood" }),
            at_ms: now_ms,
        })?;
        appender.finish()?;
    }
    Ok(())
}

/// Row places in chain order, collected first: the rows are changed while they are walked.
fn places(conn: &Connection, sql: &str) -> Result<Vec<i64>, StoreError> {
    conn.prepare(sql).and_then(|mut s| s.query_map([], |r| r.get(0))?.collect()).attempt("walk a chain")
}

fn rechain_log(conn: &Connection, key: &ChainKey, heads: &mut BTreeMap<String, Head>) -> Result<u64, StoreError> {
    let what = "chain the log anew";
    let order = places(conn, "SELECT rowid FROM log ORDER BY session, seq")?;
    // Negative numbers meanwhile, so that the new place of one row never meets the old one of another.
    conn.execute("UPDATE log SET seq = -seq", []).attempt(what)?;
    let mut read = conn
        .prepare("SELECT id, session, run, kind, tainted, at_ms, content_hash FROM log WHERE rowid = ?1")
        .attempt(what)?;
    let mut write = conn.prepare("UPDATE log SET seq = ?1, hash = ?2 WHERE rowid = ?3").attempt(what)?;
    for place in &order {
        let (stream, head) = read
            .query_row([place], |r| {
                let (id, session): (Vec<u8>, String) = (r.get(0)?, r.get(1)?);
                let (run, kind): (Option<Vec<u8>>, String) = (r.get(2)?, r.get(3)?);
                let content_hash: Vec<u8> = r.get(6)?;
                let stream = log_stream(&session);
                let head = heads.get(&stream).copied().unwrap_or(Head { seq: 0, hash: START });
                let link = LogLink {
                    id: &id,
                    session: &session,
                    seq: head.seq + 1,
                    run: run.as_deref(),
                    kind: &kind,
                    tainted: r.get(4)?,
                    at_ms: r.get(5)?,
                    content_hash: &content_hash,
                };
                Ok(link.hash(key, &head.hash).map(|hash| (stream, Head { seq: link.seq, hash })))
            })
            .attempt(what)??;
        write.execute(params![int(head.seq), head.hash, place]).attempt(what)?;
        heads.insert(stream, head);
    }
    Ok(order.len() as u64)
}

fn rechain_audit(conn: &Connection, key: &ChainKey, heads: &mut BTreeMap<String, Head>) -> Result<u64, StoreError> {
    let what = "chain the audit log anew";
    let order = places(conn, "SELECT rowid FROM audit ORDER BY seq")?;
    conn.execute("UPDATE audit SET seq = -seq", []).attempt(what)?;
    let mut read =
        conn.prepare("SELECT id, kind, subject, at_ms, content_hash FROM audit WHERE rowid = ?1").attempt(what)?;
    let mut write = conn.prepare("UPDATE audit SET seq = ?1, hash = ?2 WHERE rowid = ?3").attempt(what)?;
    let mut head = Head { seq: 0, hash: START };
    for place in &order {
        head = read
            .query_row([place], |r| {
                let (id, kind): (Vec<u8>, String) = (r.get(0)?, r.get(1)?);
                let (subject, content_hash): (String, Vec<u8>) = (r.get(2)?, r.get(4)?);
                let (seq, at_ms) = (head.seq + 1, r.get(3)?);
                let link =
                    AuditLink { id: &id, seq, kind: &kind, subject: &subject, at_ms, content_hash: &content_hash };
                Ok(link.hash(key, &head.hash).map(|hash| Head { seq, hash }))
            })
            .attempt(what)??;
        write.execute(params![int(head.seq), head.hash, place]).attempt(what)?;
    }
    if !order.is_empty() {
        heads.insert(AUDIT.to_owned(), head);
    }
    Ok(order.len() as u64)
}

fn rechain_tombstones(conn: &Connection, key: &ChainKey) -> Result<(), StoreError> {
    let what = "authenticate the tombstones anew";
    let tombstones: Vec<(Vec<u8>, i64)> = conn
        .prepare("SELECT id, erased_ms FROM content WHERE erased_ms IS NOT NULL")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .attempt(what)?;
    for (id, erased_ms) in tombstones {
        let mac = tombstone_mac(key, &id, erased_ms)?;
        conn.execute("UPDATE content SET erased_mac = ?1 WHERE id = ?2", params![mac, id]).attempt(what)?;
    }
    Ok(())
}
