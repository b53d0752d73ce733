//! Submitting a turn so that a client that goes away leaves nothing half done.

use crate::state::Shared;
use carapace_contract::Ulid;
use carapace_contract::turn::{Submitted, TurnError, TurnRequest};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Submits on a task of its own: accepting a turn is never cut short by its client. If the client has gone when the
/// turn is accepted, and `abandon` says so, the run is stopped; but not by a gateway that cut it off because it stops.
pub(crate) async fn submit(shared: &Arc<Shared>, request: TurnRequest, abandon: bool) -> Result<Submitted, TurnError> {
    if shared.stopping.is_cancelled() {
        return Err(is_stopping());
    }
    let (tx, rx) = oneshot::channel();
    let (assistant, stopping) = (Arc::clone(&shared.assistant), shared.stopping.clone());
    shared.tracker.spawn(async move {
        if let Err(Ok(unclaimed)) = tx.send(assistant.submit(request).await)
            && abandon
            && !unclaimed.duplicate
            && !stopping.is_cancelled()
        {
            assistant.abort(Some(unclaimed.run), None).await;
        }
    });
    rx.await.unwrap_or_else(|_| Err(is_stopping()))
}

fn is_stopping() -> TurnError {
    TurnError {
        code: "E-GATE-010".into(),
        message: "the gateway is stopping and accepts no more turns; try again when it is back".into(),
        retryable: true,
    }
}

/// Stops a run when its client goes away before its end.
pub(crate) struct AbortOnDrop {
    shared: Arc<Shared>,
    run: Option<Ulid>,
}

impl AbortOnDrop {
    pub(crate) fn new(shared: &Arc<Shared>, run: Option<Ulid>) -> Self {
        Self { shared: Arc::clone(shared), run }
    }

    /// The run has ended.
    pub(crate) fn disarm(&mut self) {
        self.run = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // A gateway that stops leaves its runs alone: they go on after the next start.
        if let Some(run) = self.run.take()
            && !self.shared.stopping.is_cancelled()
        {
            let assistant = Arc::clone(&self.shared.assistant);
            self.shared.tracker.spawn_on(
                async move {
                    assistant.abort(Some(run), None).await;
                },
                &self.shared.runtime,
            );
        }
    }
}
