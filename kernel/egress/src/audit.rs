//! One line per request, also for those that were refused.

use crate::error::EgressError;
use carapace_contract::InstanceId;
use std::sync::Arc;
use std::time::Instant;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered.
    Status(u16),
    /// It was refused or failed: the denial's code, or `limit`, `invalid`, `unavailable`, `timeout`, `cancelled`.
    Failed(String),
}

/// One request, as the audit log keeps it. Holds no query, no header, no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// For whom.
    pub instance: InstanceId,
    /// Method, as the guest gave it.
    pub method: String,
    /// The last origin spoken to or refused; none if the target could not be parsed.
    pub origin: Option<String>,
    /// The path there, without query and credentials; none for handles, whose path may be a credential.
    pub path: Option<String>,
    /// Status or refusal.
    pub outcome: Outcome,
    /// Body bytes sent, all hops together.
    pub bytes_out: u64,
    /// Body bytes received, as they came (before decompression).
    pub bytes_in: u64,
    /// From the call to the end of the body, milliseconds.
    pub elapsed_ms: u64,
    /// Redirects followed.
    pub redirects: u32,
    /// A secret was found in the answer and redacted.
    pub leak_found: bool,
    /// A byte may have reached a server.
    pub sent: bool,
}

/// Receives exactly one [`Record`] per request: when its body ended or failed, or when it was refused or dropped. Of a socket, one when it
/// was opened or not, and one when an open one ended: method `WEBSOCKET-CLOSE`, its code as status, the bytes of its messages.
pub trait Recorder: Send + Sync {
    /// Must not block.
    fn record(&self, record: Record);
}

/// Records nothing: for callers that keep no audit log.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn record(&self, _: Record) {}
}

/// A record in the making. Dropping it hands it in, so that a cancelled future is recorded too.
pub(crate) struct Ticket {
    recorder: Arc<dyn Recorder>,
    started: Instant,
    pub(crate) record: Record,
}

impl Ticket {
    pub(crate) fn new(recorder: Arc<dyn Recorder>, instance: InstanceId, method: String) -> Self {
        let record = Record {
            instance,
            method,
            origin: None,
            path: None,
            // Whoever drops the future without an answer has cancelled it.
            outcome: Outcome::Failed(EgressError::Cancelled.code().to_owned()),
            bytes_out: 0,
            bytes_in: 0,
            elapsed_ms: 0,
            redirects: 0,
            leak_found: false,
            sent: false,
        };
        Self { recorder, started: Instant::now(), record }
    }

    pub(crate) fn failed(&mut self, error: &EgressError) {
        self.record.outcome = Outcome::Failed(error.code().to_owned());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.record.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.recorder.record(self.record.clone());
    }
}
