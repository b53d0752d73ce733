//! Runs that are under way: their task, and how they are stopped.

use crate::agent::Inner;
use crate::events::Emitter;
use crate::journal::Job;
use crate::lanes::Place;
use crate::problem;
use crate::turn::{Ending, Turn};
use carapace_contract::turn::{TurnError, TurnEvent, TurnEventKind};
use carapace_store::{Batch, RunRow};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use ulid::Ulid;

/// A run that kills the kernel this often is not begun again.
const MOST_ATTEMPTS: u32 = 5;

/// A run that waits or works.
pub(crate) struct Active {
    pub(crate) run: Ulid,
    pub(crate) session: Arc<str>,
    cancel: CancellationToken,
    aborted: AtomicBool,
    over: CancellationToken,
    ended: AtomicBool,
}

impl Active {
    /// Below the agent's own token: when the kernel stops, every run does.
    pub(crate) fn new(job: &Job, stopping: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            run: job.run,
            session: Arc::clone(&job.session),
            cancel: stopping.child_token(),
            aborted: AtomicBool::new(false),
            over: CancellationToken::new(),
            ended: AtomicBool::new(false),
        })
    }

    /// Stops it and everything below it, for good.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        self.cancel.cancel();
    }

    /// It is no run after all: nobody waits for it.
    pub(crate) fn never_was(&self) {
        self.over.cancel();
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    fn stopped(&self) -> Ending {
        if self.aborted.load(Ordering::SeqCst) { Ending::Cancelled } else { Ending::Suspended }
    }
}

/// Whatever happens to a run's task, the run leaves the list.
struct Leave<'a> {
    inner: &'a Inner,
    active: Arc<Active>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.inner.active().remove(&self.active.run);
        self.active.over.cancel();
    }
}

impl Inner {
    /// Puts a durable run in its session's queue and begins to work on it when its turn comes.
    pub(crate) fn start(self: &Arc<Self>, job: Job, active: Arc<Active>, reader: Option<mpsc::Sender<Arc<TurnEvent>>>) {
        let place = self.lanes.enter(Arc::clone(&job.session));
        let events =
            Emitter::new(job.run, Arc::clone(&job.session), Arc::clone(&self.clock), reader, self.everyone.clone());
        let inner = Arc::clone(self);
        let span = tracing::info_span!("turn", run = %job.run, session = &*job.session);
        let task = async move {
            let _leave = Leave { inner: &inner, active: Arc::clone(&active) };
            let work = AssertUnwindSafe(inner.work(&job, &active, events, &place)).catch_unwind();
            if work.await.is_err() && !active.ended.load(Ordering::SeqCst) {
                inner
                    .end_without_turn(
                        &job,
                        problem::turn(
                            "E-TURN-010",
                            "the kernel met a bug while it worked on this turn; the log says where, please report it",
                            false,
                        ),
                    )
                    .await;
            }
            drop(place);
        };
        self.tasks.spawn(task.instrument(span));
    }

    async fn work(&self, job: &Job, active: &Active, events: Emitter, place: &Place) {
        let mut turn = Turn::new(self, job, events, active.cancel.clone());
        let cancelled = active.cancel.cancelled();
        tokio::pin!(cancelled);
        let permit = tokio::select! {
            biased;
            () = &mut cancelled => None,
            permit = async {
                place.first().await;
                self.permits.acquire().await.ok()
            } => permit,
        };
        let ending = if permit.is_none() {
            active.stopped()
        } else {
            let timeout = turn.timeout();
            tokio::select! {
                biased;
                () = &mut cancelled => active.stopped(),
                result = tokio::time::timeout(timeout, turn.drive()) => match result {
                    Ok(Ok(stop)) => Ending::Completed(stop),
                    Ok(Err(error)) => Ending::Failed(error),
                    Err(_) => Ending::Failed(problem::turn(
                        "E-TURN-008",
                        format!(
                            "the turn took longer than {} s; raise `agent: {{ runTimeoutMs: {} }}` in carapace.json5",
                            timeout.as_secs(),
                            timeout.as_millis().saturating_mul(2)
                        ),
                        true,
                    )),
                },
            }
        };
        turn.finish(ending).await;
        active.ended.store(true, Ordering::SeqCst);
    }

    /// A run of an earlier life of the kernel.
    pub(crate) async fn resume(self: &Arc<Self>, row: &RunRow, attempts: u32) -> Result<(), TurnError> {
        let job = match Job::read(row) {
            Ok(job) => job,
            Err(error) => {
                self.end_without_turn(&Job::unreadable(row), error).await;
                return Ok(());
            }
        };
        if attempts >= MOST_ATTEMPTS {
            let message = format!(
                "the kernel stopped {attempts} times while it worked on this turn; it is not begun again, ask anew"
            );
            self.end_without_turn(&job, problem::turn("E-TURN-011", message, false)).await;
            return Ok(());
        }
        let active = Active::new(&job, &self.stopping);
        self.active().insert(job.run, Arc::clone(&active));
        tracing::info!(run = %job.run, session = &*job.session, attempts, "a run is resumed");
        self.start(job, active, None);
        Ok(())
    }

    /// Ends a run that cannot be worked on.
    async fn end_without_turn(&self, job: &Job, error: TurnError) {
        let last = TurnEventKind::Failed { code: error.code, message: error.message, retryable: error.retryable };
        let now = self.clock.now_ms();
        if let Err(error) = self.commit(job.end(Batch::new(), &last, now)).await {
            tracing::error!(run = %job.run, %error, "a run could not be ended");
        }
        metrics::counter!("carapace_turns_total", "outcome" => "failed").increment(1);
        Emitter::new(job.run, Arc::clone(&job.session), Arc::clone(&self.clock), None, self.everyone.clone())
            .finish(last);
    }
}
