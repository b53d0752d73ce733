//! kill -9 in the middle of committing, again and again, on the same directory.

use crate::{open, options, row};
use carapace_store::{AuditRow, Batch, KvWrite, Store, Ulid};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "CARAPACE_STORE_CRASH_DIRECTORY";
const LANES: u64 = 8;

/// Not a test by itself: the process that is killed.
#[test]
#[ignore = "started by a_killed_kernel_loses_nothing_it_acknowledged"]
fn child_commits_until_it_is_killed() {
    let dir = std::env::var(DIRECTORY).expect("started by the test");
    let store = open(Path::new(&dir));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let lanes: Vec<_> = (0..LANES).map(|lane| tokio::spawn(commit_forever(store.clone(), lane))).collect();
        for lane in lanes {
            lane.await.unwrap();
        }
    });
}

async fn commit_forever(store: Store, lane: u64) {
    loop {
        let mark = Ulid::generate();
        let written = carapace_store::LogRow { id: mark, ..row(&format!("lane-{lane}"), "user", "x".repeat(300)) };
        let value = KvWrite {
            instance: "local/x/main".into(),
            key: mark.to_string(),
            value: vec![1; 200],
            ttl_ms: None,
            quota_bytes: u64::MAX,
            tainted: false,
        };
        let fact = AuditRow { kind: "mark".into(), subject: mark.to_string(), detail: json!(lane), at_ms: 1 };
        store.commit(Batch::new().append(written).kv_set(value).audit(fact)).await.unwrap();
        // One write per line, so that a line is there whole or not at all.
        std::io::stdout().lock().write_all(format!("acknowledged {mark}\n").as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_killed_kernel_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=6usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_commits_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mark = |line: &str| line.strip_prefix("acknowledged ").filter(|m| m.len() == 26).map(str::to_owned);
        let before = acknowledged.len();
        acknowledged.extend(lines.by_ref().filter_map(|l| mark(&l)).take(37 * round));
        assert_eq!(acknowledged.len(), before + 37 * round, "the child ended by itself");
        child.kill().unwrap();
        // What it had acknowledged before it died counts too.
        acknowledged.extend(lines.filter_map(|l| mark(&l)));
        child.wait().unwrap();

        let store = Store::open(dir.path(), options()).unwrap();
        let report = store.verify().await.unwrap();
        assert_eq!(report.first_broken, None, "round {round}");
        let mut logged = BTreeSet::new();
        for lane in 0..LANES {
            let rows = store.session_rows(&format!("lane-{lane}"), usize::MAX).await.unwrap();
            logged.extend(rows.into_iter().map(|r| r.id.to_string()));
        }
        let kept: BTreeSet<_> =
            store.kv_keys("local/x/main", "", None, usize::MAX).await.unwrap().into_iter().map(|k| k.key).collect();
        let facts: BTreeSet<_> =
            store.audit_tail(usize::MAX).await.unwrap().into_iter().map(|e| e.row.subject).collect();
        assert!(acknowledged.is_subset(&logged), "round {round}: an acknowledged batch is missing");
        assert_eq!(logged, kept, "round {round}: a batch was half applied");
        assert_eq!(logged, facts, "round {round}: a batch was half applied");
        store.close().await;
    }
}
