//! The schema and its history. A step, once released, never changes; a new one is added below it.

use crate::error::{Attempt, StoreError};
use rusqlite::Connection;
use std::path::Path;

/// Step n brings a file from `user_version` n to n + 1.
pub(crate) const STEPS: &[&str] = &[
    STATE,
    MEMORY_INDEX,
    SPACE_AND_TAINT,
    PACKAGE_HISTORY,
    SIGNED_BY,
    REQUESTS,
    KV_SCHEMA,
    CHANNELS,
    LOGINS,
    PLACES,
    BLOBS,
];

const STATE: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('store-id', randomblob(16));

CREATE TABLE session (
  key TEXT PRIMARY KEY, title TEXT NOT NULL DEFAULT '', created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
  rows INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0, tainted INTEGER NOT NULL DEFAULT 0, meta TEXT
) WITHOUT ROWID;
CREATE INDEX session_updated ON session (updated_ms);

CREATE TABLE log (
  id BLOB PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, run BLOB, kind TEXT NOT NULL, tainted INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, content_hash BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE UNIQUE INDEX log_place ON log (session, seq);
CREATE INDEX log_run ON log (run) WHERE run IS NOT NULL;

CREATE TABLE audit (
  id BLOB PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL, subject TEXT NOT NULL, at_ms INTEGER NOT NULL,
  content_hash BLOB NOT NULL, hash BLOB NOT NULL
);

CREATE TABLE content (id BLOB PRIMARY KEY, salt BLOB, body BLOB, erased_ms INTEGER, erased_mac BLOB);
CREATE TABLE chain_head (stream TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE chain_root (one INTEGER PRIMARY KEY CHECK (one = 1), streams INTEGER NOT NULL, rows INTEGER NOT NULL, mac BLOB NOT NULL);

CREATE TABLE inbox (
  id BLOB PRIMARY KEY, source TEXT NOT NULL, dedupe_key TEXT, session TEXT NOT NULL, payload TEXT, at_ms INTEGER NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX inbox_dedupe ON inbox (source, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE INDEX inbox_state ON inbox (state, id);

CREATE TABLE run (
  run BLOB PRIMARY KEY, session TEXT NOT NULL, idempotency_key TEXT, state TEXT NOT NULL, last TEXT, started_ms INTEGER NOT NULL,
  ended_ms INTEGER, request TEXT
);
CREATE UNIQUE INDEX run_key ON run (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_state ON run (state, run);
CREATE INDEX run_session ON run (session);

CREATE TABLE outbox (
  place INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, run BLOB, instance TEXT NOT NULL, conversation TEXT NOT NULL,
  priority INTEGER NOT NULL, idempotency_key TEXT NOT NULL, part TEXT, state TEXT NOT NULL, attempts INTEGER NOT NULL,
  not_before_ms INTEGER NOT NULL, expires_ms INTEGER, detail TEXT, UNIQUE (instance, idempotency_key)
);
CREATE INDEX outbox_state ON outbox (state, place);
CREATE INDEX outbox_conversation ON outbox (instance, conversation, place);

CREATE TABLE call (
  call_id TEXT PRIMARY KEY, run BLOB NOT NULL, tool TEXT NOT NULL, instance TEXT NOT NULL, digest TEXT NOT NULL, arguments TEXT,
  at_ms INTEGER NOT NULL, outcome TEXT, ended_ms INTEGER, attempts INTEGER NOT NULL DEFAULT 1, interrupted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX call_open ON call (at_ms) WHERE ended_ms IS NULL;
CREATE INDEX call_run ON call (run);

CREATE TABLE kv (
  instance TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, expires_ms INTEGER,
  PRIMARY KEY (instance, key)
) WITHOUT ROWID;
CREATE INDEX kv_expiry ON kv (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE kv_space (instance TEXT PRIMARY KEY, bytes INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE granted (instance TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE package (
  instance TEXT PRIMARY KEY, digest TEXT NOT NULL, version TEXT NOT NULL, enabled INTEGER NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE highest_version (component TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE usage (
  day TEXT NOT NULL, instance TEXT NOT NULL, model TEXT NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost_micros INTEGER NOT NULL, requests INTEGER NOT NULL,
  PRIMARY KEY (day, instance, model)
) WITHOUT ROWID;

CREATE TABLE secret (name TEXT PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL, updated_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE vault_slot (kind TEXT PRIMARY KEY, kdf TEXT, nonce BLOB NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE approval (
  id BLOB PRIMARY KEY, session TEXT NOT NULL, run BLOB NOT NULL, call_id TEXT NOT NULL, tool TEXT NOT NULL, instance TEXT NOT NULL,
  digest TEXT NOT NULL, arguments TEXT NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL, expires_ms INTEGER, state TEXT NOT NULL,
  scope TEXT, decided_by TEXT, decided_ms INTEGER
);
CREATE INDEX approval_state ON approval (state, id);

CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE memory (
  place INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, tainted INTEGER NOT NULL,
  at_ms INTEGER NOT NULL, UNIQUE (namespace, key)
);
";

/// Full-text search; `secure-delete` so that what is forgotten does not linger in the index.
const MEMORY_INDEX: &str = "
CREATE VIRTUAL TABLE memory_text USING fts5 (text, content='memory', content_rowid='place', tokenize='unicode61 remove_diacritics 2');
INSERT INTO memory_text (memory_text, rank) VALUES ('secure-delete', 1);
INSERT INTO memory_text (memory_text) VALUES ('rebuild');
CREATE TRIGGER memory_added AFTER INSERT ON memory BEGIN
  INSERT INTO memory_text (rowid, text) VALUES (new.place, new.text);
END;
CREATE TRIGGER memory_removed AFTER DELETE ON memory BEGIN
  INSERT INTO memory_text (memory_text, rowid, text) VALUES ('delete', old.place, old.text);
END;
CREATE TRIGGER memory_changed AFTER UPDATE ON memory BEGIN
  INSERT INTO memory_text (memory_text, rowid, text) VALUES ('delete', old.place, old.text);
  INSERT INTO memory_text (rowid, text) VALUES (new.place, new.text);
END;
";

/// What each memory holds, so that a quota is checked without reading it; and where components' own values came from. Of values
/// that were there before, nobody knows.
const SPACE_AND_TAINT: &str = "
CREATE TABLE memory_space (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO memory_space (namespace, bytes)
  SELECT namespace, sum(length(CAST(key AS BLOB)) + length(CAST(text AS BLOB))) FROM memory GROUP BY namespace;
ALTER TABLE kv ADD COLUMN tainted INTEGER NOT NULL DEFAULT 1;
";

/// How packages follow each other: what was there before, what was let in although it is older, what the bundle may not bring back.
const PACKAGE_HISTORY: &str = "
ALTER TABLE package ADD COLUMN older INTEGER NOT NULL DEFAULT 0;
ALTER TABLE package ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
ALTER TABLE package ADD COLUMN note TEXT;
CREATE TABLE package_before (
  component TEXT NOT NULL, place INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (component, place)
) WITHOUT ROWID;
CREATE TABLE passed_over (
  component TEXT NOT NULL, digest TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (component, digest)
) WITHOUT ROWID;
";

/// By which key or rule the publisher of a component was recognised; like the highest version, it outlasts the component.
const SIGNED_BY: &str = "
CREATE TABLE signed_by (component TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
";

/// What components have asked the owner for.
const REQUESTS: &str = "
CREATE TABLE request (
  id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, reason TEXT NOT NULL, instance TEXT NOT NULL, session TEXT NOT NULL,
  tainted INTEGER NOT NULL, at_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) WITHOUT ROWID;
";

/// In which form a component keeps its own values.
const KV_SCHEMA: &str = "ALTER TABLE kv_space ADD COLUMN schema INTEGER NOT NULL DEFAULT 1;";

/// What channels keep, what they were given, who may talk through them; and how messages are found by the platform's id of them.
const CHANNELS: &str = "
CREATE TABLE channel (instance TEXT PRIMARY KEY, digest TEXT NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE channel_attempts (instance TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE channel_timer (
  instance TEXT NOT NULL, id TEXT NOT NULL, set_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, PRIMARY KEY (instance, id)
) WITHOUT ROWID;
CREATE TABLE channel_event (
  place INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, instance TEXT NOT NULL, fingerprint TEXT NOT NULL, body TEXT NOT NULL,
  state TEXT NOT NULL, why TEXT, at_ms INTEGER NOT NULL
);
CREATE INDEX channel_event_state ON channel_event (instance, state, place);
CREATE TABLE pairing (
  code TEXT PRIMARY KEY, instance TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL, at_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL, UNIQUE (instance, sender)
) WITHOUT ROWID;
CREATE TABLE paired (
  instance TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL, owner INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (instance, sender)
) WITHOUT ROWID;
ALTER TABLE inbox ADD COLUMN reference TEXT;
ALTER TABLE inbox ADD COLUMN why TEXT;
CREATE INDEX inbox_reference ON inbox (source, reference) WHERE reference IS NOT NULL AND state = 'accepted';
CREATE INDEX inbox_done ON inbox (at_ms) WHERE state = 'done';
ALTER TABLE outbox ADD COLUMN tried_ms INTEGER;
CREATE INDEX outbox_open ON outbox (instance, state, place);
CREATE INDEX outbox_first ON outbox (instance, conversation, place) WHERE state IN ('pending', 'in-flight');
";

/// How often sockets of channels logged in.
const LOGINS: &str = "CREATE TABLE channel_logins (instance TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;";

/// Where people last wrote directly: there they can be written to.
const PLACES: &str = "
CREATE TABLE place (
  instance TEXT NOT NULL, sender TEXT NOT NULL, conversation TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (instance, sender)
) WITHOUT ROWID;
";

/// Media, in pieces, and which components brought them or were given them.
const BLOBS: &str = "
CREATE TABLE blob (
  id TEXT PRIMARY KEY, size INTEGER NOT NULL, mime TEXT NOT NULL, width INTEGER, height INTEGER, at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX blob_age ON blob (at_ms);
CREATE TABLE blob_piece (id TEXT NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX blob_place ON blob_piece (id, n);
CREATE TABLE blob_holder (id TEXT NOT NULL, instance TEXT NOT NULL, PRIMARY KEY (id, instance)) WITHOUT ROWID;
";

/// The version this program writes.
pub(crate) fn current() -> i64 {
    crate::sql::size(STEPS.len())
}

/// The file's version; a newer one is refused.
pub(crate) fn version(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).attempt("read the schema version")?;
    if found > current() {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: current() });
    }
    Ok(found)
}

/// Brings the file up to date, each step in a transaction of its own.
pub(crate) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(conn, path)?;
    for (n, step) in STEPS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let tx = conn.transaction().attempt("begin a schema migration")?;
        tx.execute_batch(step).attempt("migrate the schema")?;
        tx.pragma_update(None, "user_version", crate::sql::size(n) + 1).attempt("migrate the schema")?;
        tx.commit().attempt("commit a schema migration")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, MemoryRow, Store, StoreOptions, Unlocker};

    #[tokio::test]
    async fn an_old_file_is_brought_up_to_date_with_all_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        // A file as the first version of this program left it, before there was a text index.
        let old = Connection::open(dir.path().join("carapace.db")).unwrap();
        old.execute_batch(STATE).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute(
            "INSERT INTO memory (namespace, key, text, tainted, at_ms) VALUES ('me', 'dog', 'called Rex', 0, 1)",
            [],
        )
        .unwrap();
        drop(old);
        let options = StoreOptions { unlocker: Unlocker::None, ..StoreOptions::default() };
        let behind = Store::open_reader(dir.path(), options.clone()).unwrap_err().to_string();
        assert!(behind.contains("schema is version 1"), "{behind}");
        let store = Store::open(dir.path(), options.clone()).unwrap();
        let found = store.memory_search("me", "rex", 9).await.unwrap();
        assert_eq!(found.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(), ["dog"]);
        store.close().await;
        // What was there counts, and is taken off again.
        let write = |text: &str, quota| {
            let row =
                MemoryRow { namespace: "me".into(), key: "cat".into(), text: text.into(), tainted: false, at_ms: 2 };
            Batch::new().memory_put(row, quota)
        };
        let store = Store::open(dir.path(), options.clone()).unwrap();
        assert!(store.commit(write("Tom", 18)).await.unwrap_err().is_quota());
        store.commit(write("Tom", 19)).await.unwrap();
        store.close().await;
        let reader = Store::open_reader(dir.path(), options).unwrap();
        assert_eq!(reader.memory_search("me", "rex", 9).await.unwrap().len(), 1);
    }
}
