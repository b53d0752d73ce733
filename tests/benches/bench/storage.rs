//! What a commit costs.

use crate::report::{Report, Samples, timed};
use carapace_store::{Batch, LogRow, Store, StoreOptions, Ulid};
use serde_json::json;

fn row(n: usize) -> LogRow {
    LogRow {
        id: Ulid::generate(),
        session: "bench".into(),
        run: None,
        kind: "user".into(),
        content: json!({"text": format!("message {n}, about as long as a message is")}),
        tainted: false,
        at_ms: 1_700_000_000_000,
    }
}

/// The medians of a full and of a relaxed commit, in microseconds.
pub(crate) async fn commits(samples: usize) -> (Samples, Samples) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let (mut full, mut relaxed) = (Samples::default(), Samples::default());
    for n in 0..samples {
        let (done, took) = timed(store.commit(Batch::new().append(row(n)))).await;
        done.unwrap();
        full.add(took);
        let (done, took) = timed(store.commit(Batch::relaxed().append(row(n)))).await;
        done.unwrap();
        relaxed.add(took);
    }
    store.close().await;
    (full, relaxed)
}

pub(crate) async fn measure(report: &mut Report) {
    let (full, relaxed) = commits(500).await;
    report.both("commit, full (fsync)", &full, "us", None, None);
    report.both("commit, relaxed", &relaxed, "us", None, None);
}
