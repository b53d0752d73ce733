//! One audit row per request that leaves through egress, written behind the request and never in front of it.

use carapace_egress::{Outcome, Record, Recorder};
use carapace_store::{AuditRow, Batch, Store};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Requests that may wait to be recorded; the channel is emptied in batches.
const QUEUE: usize = 4_096;

struct ToStore(mpsc::Sender<Record>);

/// A recorder that commits to the store's audit chain.
pub(crate) fn to_store(store: Store) -> Arc<dyn Recorder> {
    let (sender, mut receiver) = mpsc::channel::<Record>(QUEUE);
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while receiver.recv_many(&mut waiting, 256).await > 0 {
            let batch = waiting.drain(..).fold(Batch::relaxed(), |batch, r| batch.audit(row(&r)));
            if let Err(error) = store.commit(batch).await {
                tracing::error!(%error, "requests could not be written to the audit log");
            }
        }
    });
    Arc::new(ToStore(sender))
}

impl Recorder for ToStore {
    fn record(&self, record: Record) {
        let outcome = match &record.outcome {
            Outcome::Status(status) => status.to_string(),
            Outcome::Failed(code) => code.clone(),
        };
        metrics::counter!("carapace_egress_requests_total", "instance" => record.instance.to_string(), "outcome" => outcome)
            .increment(1);
        if let Err(mpsc::error::TrySendError::Full(record)) = self.0.try_send(record) {
            metrics::counter!("carapace_egress_records_lost_total").increment(1);
            tracing::error!(instance = %record.instance, "the audit queue is full: a request was not recorded");
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
