//! What someone who edits the file cannot do unseen.

use crate::{fresh, open, options, raw, row};
use carapace_store::{AuditRow, Batch, Broken, LogRow, RunPhase, RunRow, Store, StoreOptions, Ulid};
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

fn fact(n: u64) -> AuditRow {
    AuditRow { kind: "grant-given".into(), subject: "local/x".into(), detail: json!({ "n": n }), at_ms: n }
}

/// Two sessions, an audit log, one erased row.
async fn filled() -> (TempDir, Vec<Ulid>) {
    let (dir, store) = fresh();
    let run = Some(Ulid::generate());
    let rows: Vec<LogRow> =
        (0..4).map(|n| LogRow { run, ..row("one", "user", n) }).chain([row("two", "note", "x")]).collect();
    let batch = rows.iter().cloned().fold(Batch::new(), Batch::append);
    store.commit(batch.audit(fact(1)).audit(fact(2)).audit(fact(3))).await.unwrap();
    store.commit(Batch::new().erase_content([rows[1].id])).await.unwrap();
    let report = store.verify().await.unwrap();
    assert_eq!((report.streams, report.rows, report.erased, report.first_broken), (3, 8, 1, None));
    store.close().await;
    (dir, rows.iter().map(|r| r.id).collect())
}

async fn broken(dir: &Path) -> Option<Broken> {
    Store::open_reader(dir, options()).unwrap().verify().await.unwrap().first_broken
}

async fn after(sql: &str) -> Broken {
    let (dir, _) = filled().await;
    raw(dir.path()).execute_batch(sql).unwrap();
    broken(dir.path()).await.unwrap_or_else(|| panic!("nobody noticed: {sql}"))
}

#[tokio::test]
async fn a_changed_row_is_named() {
    let found = after("UPDATE log SET kind = 'note' WHERE session = 'one' AND seq = 3").await;
    assert_eq!((found.stream.as_str(), found.seq), ("log:one", 3));
    let found = after("UPDATE audit SET subject = 'local/y' WHERE seq = 2").await;
    assert_eq!((found.stream.as_str(), found.seq), ("audit", 2));
    assert!(found.to_string().starts_with("audit, row 2 ("), "{found}");
}

#[tokio::test]
async fn a_changed_content_is_noticed() {
    let sql = "UPDATE content SET body = CAST('{\"n\":9}' AS BLOB) WHERE id = (SELECT id FROM audit WHERE seq = 1)";
    let found = after(sql).await;
    assert_eq!((found.stream.as_str(), found.seq, found.problem.as_str()), ("audit", 1, "its content was changed"));
}

#[tokio::test]
async fn a_content_that_vanished_is_not_an_erased_one() {
    let id = "(SELECT id FROM log WHERE session = 'one' AND seq = 4)";
    assert_eq!(after(&format!("DELETE FROM content WHERE id = {id}")).await.seq, 4);
    assert_eq!(after(&format!("UPDATE content SET body = NULL, salt = NULL WHERE id = {id}")).await.seq, 4);
    let stolen = "(SELECT erased_mac FROM content WHERE erased_mac IS NOT NULL)";
    let sql =
        format!("UPDATE content SET body = NULL, salt = NULL, erased_ms = 1, erased_mac = {stolen} WHERE id = {id}");
    assert_eq!(after(&sql).await.problem, "its tombstone is not authentic");
}

#[tokio::test]
async fn a_removed_row_is_noticed() {
    assert_eq!(after("DELETE FROM log WHERE session = 'one' AND seq = 2").await.seq, 2);
    assert_eq!(after("DELETE FROM log WHERE session = 'one' AND seq = 1").await.seq, 1);
    let closed_up = "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3";
    assert_eq!(after(closed_up).await.seq, 2);
}

#[tokio::test]
async fn rows_that_changed_places_are_noticed() {
    let found = after("UPDATE audit SET seq = 9 WHERE seq = 1; UPDATE audit SET seq = 1 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 9").await;
    assert_eq!((found.stream.as_str(), found.seq), ("audit", 1));
}

#[tokio::test]
async fn a_cut_tail_is_noticed() {
    let found = after("DELETE FROM log WHERE session = 'one' AND seq = 4").await;
    assert_eq!((found.stream.as_str(), found.seq, found.id), ("log:one", 4, None));
    let with_head = "DELETE FROM audit WHERE seq = 3; UPDATE chain_head SET seq = 2, hash = (SELECT hash FROM audit WHERE seq = 2) WHERE stream = 'audit'";
    assert!(after(with_head).await.problem.contains("not authentic"));
}

#[tokio::test]
async fn a_removed_session_is_noticed() {
    let found = after("DELETE FROM log WHERE session = 'two'").await;
    assert_eq!((found.stream.as_str(), found.problem.as_str()), ("log:two", "all its rows were removed"));
    let with_head = "DELETE FROM log WHERE session = 'two'; DELETE FROM chain_head WHERE stream = 'log:two'";
    let found = after(with_head).await;
    assert!(found.problem.contains("3 streams with 8 rows"), "{found}");
    assert!(after("DELETE FROM chain_root").await.problem.contains("root"));
}

/// An older head is authentic; that there should be more rows is, too.
#[tokio::test]
async fn an_older_copy_of_one_stream_is_noticed() {
    let (dir, store) = fresh();
    store.commit(Batch::new().audit(fact(1)).append(row("one", "user", "x"))).await.unwrap();
    let file = raw(dir.path());
    let (seq, hash, mac): (i64, Vec<u8>, Vec<u8>) = file
        .query_row("SELECT seq, hash, mac FROM chain_head WHERE stream = 'audit'", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .unwrap();
    store.commit(Batch::new().audit(fact(2))).await.unwrap();
    store.close().await;
    file.execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
    file.execute("UPDATE chain_head SET seq = ?1, hash = ?2, mac = ?3 WHERE stream = 'audit'", (seq, hash, mac))
        .unwrap();
    assert!(broken(dir.path()).await.unwrap().problem.contains("2 streams with 3 rows"));
    let store = open(dir.path());
    store.commit(Batch::new().audit(fact(3))).await.unwrap();
    assert!(store.verify().await.unwrap().first_broken.is_some(), "writing on does not cover it up");
}

#[tokio::test]
async fn nothing_is_appended_to_a_head_that_is_not_authentic() {
    let (dir, _) = filled().await;
    raw(dir.path()).execute_batch("UPDATE chain_head SET seq = 2 WHERE stream = 'log:one'").unwrap();
    let store = open(dir.path());
    let refused = store.commit(Batch::new().append(row("one", "user", "more"))).await.unwrap_err();
    assert!(refused.to_string().contains("log:one"), "{refused}");
    store.commit(Batch::new().append(row("two", "user", "more"))).await.unwrap();
}

/// Every table the chain covers; every row; every column; one bit in every byte, and high and low bits of numbers.
#[tokio::test]
async fn any_flipped_bit_in_any_row_is_noticed() {
    let (dir, _) = filled().await;
    let file = raw(dir.path());
    let reader = Store::open_reader(dir.path(), options()).unwrap();
    let mut flips = 0;
    for table in ["log", "audit", "content", "chain_head", "chain_root"] {
        let mut columns: Vec<String> = file
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .and_then(|mut s| s.query_map([], |r| r.get(0))?.collect())
            .unwrap();
        let key = columns[0].clone();
        if table == "chain_root" {
            columns.remove(0);
        }
        for column in columns {
            let cells: Vec<(Sql, Sql)> = file
                .prepare(&format!("SELECT {key}, {column} FROM {table}"))
                .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
                .unwrap();
            for (id, cell) in cells {
                for (n, (sql, changed)) in flipped(&cell).into_iter().enumerate() {
                    let set = |id: &Sql, value: &Sql, sql: &str| {
                        file.execute(&format!("UPDATE {table} SET {column} = {sql} WHERE {key} IS ?2"), (value, id))
                            .unwrap()
                    };
                    assert_eq!(set(&id, &changed, sql), 1);
                    let report = reader.verify().await.unwrap();
                    assert!(report.first_broken.is_some(), "{table}.{column}: {cell:?} became {changed:?} (flip {n})");
                    // Where the key itself was changed, the row is found under its new one.
                    if column == key {
                        let back =
                            format!("UPDATE {table} SET {column} = ?1 WHERE {key} IS {}", sql.replace("?1", "?2"));
                        assert_eq!(file.execute(&back, (&cell, &changed)).unwrap(), 1);
                    } else {
                        set(&id, &cell, "?1");
                    }
                    flips += 1;
                }
            }
        }
    }
    assert!(flips > 1_000, "{flips}");
    assert_eq!(reader.verify().await.unwrap().first_broken, None, "all of it was put back");
}

/// The cell with one bit changed, in several ways; and the expression that stores it.
fn flipped(cell: &Sql) -> Vec<(&'static str, Sql)> {
    let each_byte = |bytes: &[u8]| -> Vec<Vec<u8>> {
        (0..bytes.len())
            .map(|i| {
                let mut b = bytes.to_vec();
                b[i] ^= 1 << (i % 8);
                b
            })
            .collect()
    };
    match cell {
        Sql::Integer(n) => [3, 7, 30, 50, 62, 63].map(|bit| ("?1", Sql::Integer(n ^ (1 << bit)))).to_vec(),
        Sql::Blob(b) => each_byte(b).into_iter().map(|b| ("?1", Sql::Blob(b))).collect(),
        Sql::Text(t) => each_byte(t.as_bytes()).into_iter().map(|b| ("CAST(?1 AS TEXT)", Sql::Blob(b))).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn erased_words_are_in_no_file_and_the_chain_still_holds() {
    let (dir, store) = fresh();
    let word = "inexpressible-word";
    let run = Ulid::generate();
    let said = LogRow { run: Some(run), ..row("main", "user", json!({ "text": word })) };
    let kept = row("main", "assistant", "fine");
    let run_row = RunRow {
        run,
        session: "main".into(),
        idempotency_key: None,
        state: RunPhase::Ended,
        last: Some(json!({ "text": word })),
        started_ms: 1,
        ended_ms: Some(2),
        request: json!({ "text": word }),
    };
    let named = carapace_store::SessionRow { key: "main".into(), title: word.into(), ..Default::default() };
    let batch = Batch::new().session_upsert(named).run_upsert(run_row).append(said.clone()).append(kept.clone());
    store.commit(batch).await.unwrap();
    store.commit(Batch::new().erase_content([said.id, Ulid::generate()])).await.unwrap();
    let tombstone = LogRow { content: Value::Null, ..said };
    assert_eq!(store.session_rows("main", 9).await.unwrap(), [tombstone.clone(), kept]);
    let found = store.run(run).await.unwrap().unwrap();
    assert_eq!((found.request, found.last), (Value::Null, None));
    assert_eq!(store.session("main").await.unwrap().unwrap().title, "");
    store.commit(Batch::new().erase_session("main")).await.unwrap();
    let report = store.verify().await.unwrap();
    assert_eq!((report.erased, report.first_broken), (2, None));
    store.close().await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn a_lost_chain_key_is_refused_and_a_new_one_is_accepted_only_on_demand() {
    let (dir, ids) = filled().await;
    let key = dir.path().join("chain.key");
    std::fs::remove_file(&key).unwrap();
    let refused = Store::open(dir.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("chain.key") && refused.contains("missing") && refused.contains("from a backup"));
    std::fs::write(&key, "00".repeat(32)).unwrap();
    let refused = Store::open(dir.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("another key"), "{refused}");
    let store = Store::open(dir.path(), StoreOptions { accept_new_chain_key: true, ..options() }).unwrap();
    assert_eq!(store.verify().await.unwrap().first_broken, None);
    assert_eq!(store.audit_tail(1).await.unwrap()[0].row.kind, "chain-key-replaced");
    let rows = store.session_rows("one", 9).await.unwrap();
    assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), ids[..4]);
    store.commit(Batch::new().append(row("one", "user", "on it goes")).audit(fact(9))).await.unwrap();
    store.close().await;
    assert_eq!(broken(dir.path()).await, None);
}
