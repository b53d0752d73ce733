//! One audit row per request that leaves through egress, written behind the request and never in front of it.

use carapace_egress::{Outcome, Record, Recorder};
use carapace_store::{AuditRow, Batch, Store};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait to be recorded; the channel is emptied in batches.
const QUEUE: usize = 4_096;

enum Entry {
    Record(Record),
    /// Everything before it is in the store.
    Flushed(oneshot::Sender<()>),
}

/// A recorder that commits to the store's audit chain.
pub(crate) struct ToStore(mpsc::Sender<Entry>);

/// Starts one.
pub(crate) fn to_store(store: Store) -> Arc<ToStore> {
    let (sender, mut receiver) = mpsc::channel::<Entry>(QUEUE);
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while receiver.recv_many(&mut waiting, 256).await > 0 {
            let mut flushed = Vec::new();
            let mut batch = Batch::relaxed();
            for entry in waiting.drain(..) {
                match entry {
                    Entry::Record(record) => batch = batch.audit(row(&record)),
                    Entry::Flushed(answer) => flushed.push(answer),
                }
            }
            if !batch.is_empty()
                && let Err(error) = store.commit(batch).await
            {
                tracing::error!(%error, "requests could not be written to the audit log");
            }
            // Whoever asked may have gone.
            flushed.into_iter().for_each(|answer| answer.send(()).unwrap_or_default());
        }
    });
    Arc::new(ToStore(sender))
}

impl ToStore {
    /// Waits until everything recorded so far is in the store: before the store is closed.
    pub(crate) async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.0.send(Entry::Flushed(answer)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Recorder for ToStore {
    fn record(&self, record: Record) {
        let outcome = match &record.outcome {
            Outcome::Status(status) => status.to_string(),
            Outcome::Failed(code) => code.clone(),
        };
        metrics::counter!("carapace_egress_requests_total", "instance" => record.instance.to_string(), "outcome" => outcome)
            .increment(1);
        let instance = record.instance.clone();
        if self.0.try_send(Entry::Record(record)).is_err() {
            metrics::counter!("carapace_egress_records_lost_total").increment(1);
            tracing::error!(%instance, "the audit queue is full: a request was not recorded");
        }
    }
}

fn row(r: &Record) -> AuditRow {
    let outcome = match &r.outcome {
        Outcome::Status(status) => json!(status),
        Outcome::Failed(code) => json!(code),
    };
    AuditRow {
        kind: "request".to_owned(),
        subject: r.instance.to_string(),
        detail: json!({
            "method": r.method, "origin": r.origin, "path": r.path, "outcome": outcome, "bytesOut": r.bytes_out,
            "bytesIn": r.bytes_in, "ms": r.elapsed_ms, "redirects": r.redirects, "leakFound": r.leak_found, "sent": r.sent,
        }),
        at_ms: crate::trust::now_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_store::StoreOptions;

    fn record(n: u64) -> Record {
        Record {
            instance: "local/web/main".parse().unwrap(),
            method: "GET".to_owned(),
            origin: Some("https://example.com".to_owned()),
            path: Some("/".to_owned()),
            outcome: Outcome::Status(200),
            bytes_out: n,
            bytes_in: 0,
            elapsed_ms: 0,
            redirects: 0,
            leak_found: false,
            sent: true,
        }
    }

    #[tokio::test]
    async fn what_was_recorded_before_the_end_is_in_the_store_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            StoreOptions { unlocker: carapace_store::Unlocker::Password("a test".into()), ..StoreOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        let recorder = to_store(store.clone());
        (0..1_000).for_each(|n| recorder.record(record(n)));
        recorder.flush().await;
        let rows = store.audit_tail(2_000).await.unwrap();
        assert_eq!(rows.iter().filter(|r| r.row.kind == "request").count(), 1_000);
        store.close().await;
    }
}
