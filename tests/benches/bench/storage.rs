//! What a commit costs.

use crate::report::{Report, Samples, timed};
use carapace_store::{Batch, LogRow, Store, StoreOptions, Ulid};
use serde_json::json;
use std::time::Duration;

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

/// A store of its own, on the disk that kernels under test use.
pub(crate) struct Disk {
    store: Store,
    _dir: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Store::open(dir.path(), StoreOptions::default()).unwrap(), _dir: dir }
    }

    pub(crate) async fn full(&self, n: usize) -> Duration {
        let (done, took) = timed(self.store.commit(Batch::new().append(row(n)))).await;
        done.unwrap();
        took
    }

    pub(crate) async fn relaxed(&self, n: usize) -> Duration {
        let (done, took) = timed(self.store.commit(Batch::relaxed().append(row(n)))).await;
        done.unwrap();
        took
    }
}

pub(crate) async fn measure(report: &mut Report) {
    let disk = Disk::new();
    let (mut full, mut relaxed) = (Samples::default(), Samples::default());
    for n in 0..500 {
        full.add(disk.full(n).await);
        relaxed.add(disk.relaxed(n).await);
    }
    report.both("commit, full (fsync)", &full, "us", None, None);
    report.both("commit, relaxed", &relaxed, "us", None, None);
}
