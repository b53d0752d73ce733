//! The assistant's front door: accepts turns, lists what there is, stops and drains.

use crate::accept;
use crate::arguments::Schemas;
use crate::clock::Clock;
use crate::completion::Patience;
use crate::events;
use crate::journal::{Job, Request};
use crate::lanes::Lanes;
use crate::ledger::Ledger;
use crate::problem;
use crate::rows::Entry;
use crate::runs::Active;
use async_trait::async_trait;
use carapace_config::ConfigHandle;
use carapace_contract::completion::ModelInfo;
use carapace_contract::ports::{Assistant, Models, Tools};
use carapace_contract::turn::{
    HistoryItem, RunState, SessionInfo, Submitted, ToolInfo, TurnError, TurnEvent, TurnEventKind, TurnRequest,
};
use carapace_store::{Batch, RunPhase, RunRow, Store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ulid::Ulid;

/// Turns of one session that wait or run.
const MOST_PER_SESSION: usize = 32;
/// Turns of all sessions that wait or run.
const MOST_RUNS: usize = 1_024;
/// Events that a reader of everything may lag behind.
const EVERYTHING: usize = 4_096;
/// How long `abort` waits for what it stopped to be over.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// What an agent stands on.
pub struct Deps {
    /// Durable state.
    pub store: Store,
    /// The operator's configuration; read anew for every turn.
    pub config: Arc<ConfigHandle>,
    /// Tools.
    pub tools: Arc<dyn Tools>,
    /// Models.
    pub models: Arc<dyn Models>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How patient to be with a model that fails.
    pub patience: Patience,
}

/// The assistant. Cheap to share; dropping it does not stop its runs, [`drain`](Assistant::drain) does.
pub struct Agent {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) config: Arc<ConfigHandle>,
    pub(crate) tools: Arc<dyn Tools>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) patience: Patience,
    pub(crate) schemas: Schemas,
    pub(crate) ledger: Ledger,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) permits: Semaphore,
    pub(crate) everyone: broadcast::Sender<Arc<TurnEvent>>,
    pub(crate) tasks: TaskTracker,
    active: Mutex<HashMap<Ulid, Arc<Active>>>,
    ids: Mutex<ulid::Generator>,
    draining: AtomicBool,
    /// Cancelled when the kernel stops: what runs is left to the next start.
    pub(crate) stopping: CancellationToken,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("runs", &self.inner.active().len()).finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that has nothing to do yet. `agent.maxConcurrentRuns` is read here, once.
    pub fn new(deps: Deps) -> Arc<Self> {
        let concurrent = usize::try_from(deps.config.current().agent.max_concurrent_runs).unwrap_or(1).max(1);
        let inner = Inner {
            ledger: Ledger::new(deps.store.clone(), Arc::clone(&deps.clock)),
            store: deps.store,
            config: deps.config,
            tools: deps.tools,
            models: deps.models,
            clock: deps.clock,
            patience: deps.patience,
            schemas: Schemas::default(),
            lanes: Arc::new(Lanes::default()),
            permits: Semaphore::new(concurrent),
            everyone: broadcast::Sender::new(EVERYTHING),
            tasks: TaskTracker::new(),
            active: Mutex::new(HashMap::new()),
            ids: Mutex::new(ulid::Generator::new()),
            draining: AtomicBool::new(false),
            stopping: CancellationToken::new(),
        };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// Resumes the runs that an earlier life of the kernel accepted and did not end, in the order in which they were accepted.
    /// Call it once, before the first `submit`. Gives back which.
    ///
    /// Results that were stored are used again; calls without side effects may be repeated; a call with side effects that had
    /// begun is never repeated but shown, to the model and to the owner, as *interrupted*.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn recover(&self) -> Result<Vec<Ulid>, TurnError> {
        let inner = &self.inner;
        let mut rows: Vec<RunRow> = Vec::new();
        for phase in [RunPhase::Running, RunPhase::Accepted] {
            rows.extend(inner.store.runs_by_phase(phase, usize::MAX).await.map_err(problem::store)?);
        }
        rows.sort_by_key(|r| (r.started_ms, r.run));
        let mut resumed = Vec::new();
        for row in rows {
            if inner.active().contains_key(&row.run) {
                continue;
            }
            let attempts = inner.store.inbox_entry(row.run).await.map_err(problem::store)?.map_or(0, |e| e.attempts);
            inner.resume(&row, attempts).await?;
            resumed.push(row.run);
        }
        Ok(resumed)
    }
}

impl Inner {
    pub(crate) fn active(&self) -> std::sync::MutexGuard<'_, HashMap<Ulid, Arc<Active>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), TurnError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.store.commit(batch).await.map(|_| ()).map_err(problem::store)
    }

    /// Runs sort in the order in which they were accepted, also within a millisecond.
    fn new_run(&self) -> Ulid {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.generate().unwrap_or_else(|_| Ulid::generate())
    }

    async fn accept(self: Arc<Self>, request: TurnRequest) -> Result<Submitted, TurnError> {
        let session: Arc<str> = request.session.as_str().into();
        let door = self.lanes.door(Arc::clone(&session)).await;
        let waiting = self.lanes.length(&session);
        let all = self.active().len();
        if waiting >= MOST_PER_SESSION || all >= MOST_RUNS {
            let what = if waiting >= MOST_PER_SESSION {
                format!("{waiting} messages of this session are waiting already")
            } else {
                format!("{all} messages are waiting already")
            };
            let message = format!("{what}; try again when one of them has been answered");
            return Err(problem::turn("E-TURN-003", message, true));
        }
        if let Some(after) = request.options.after
            && self.stored(after).await.is_none_or(|state| *state.session != *session)
        {
            return Err(problem::turn(
                "E-TURN-001",
                format!("run {after} is no run of the session {session:?}"),
                false,
            ));
        }
        let now = self.clock.now_ms();
        let origin = request.origin;
        let job = Job {
            run: self.new_run(),
            session: Arc::clone(&session),
            // One origin cannot ask for another's run by guessing its key.
            idempotency_key: request.idempotency_key.map(|key| format!("{origin:?}:{key}")),
            request: Request {
                origin,
                history: request.history,
                system: request.system,
                model: request.model,
                options: request.options,
                place: request.place,
            },
            accepted_ms: now,
        };
        let (after, brought) = (job.request.options.after, !job.request.history.is_empty());
        let entry = Entry::User { origin, parts: request.parts, after, brought };
        let user = job.row(now, accept::from_outside(origin), entry);
        let run = job.run;
        // Known before it is durable, so that whoever meets its key waits for this one.
        let active = Active::new(&job, &self.stopping);
        self.active().insert(run, Arc::clone(&active));
        let receipt = match self.store.commit(job.accept(&user)).await {
            Ok(receipt) => receipt,
            Err(e) => {
                self.active().remove(&run);
                active.never_was();
                return Err(problem::store(e));
            }
        };
        if let Some(earlier) = receipt.duplicate_of {
            self.active().remove(&run);
            active.never_was();
            drop(door);
            return self.duplicate(earlier).await;
        }
        let (sender, events) = events::channel();
        self.start(job, active, Some(sender));
        drop(door);
        Ok(Submitted { run, duplicate: false, events })
    }

    /// The outcome of an earlier run, once it has one.
    async fn duplicate(self: Arc<Self>, run: Ulid) -> Result<Submitted, TurnError> {
        let (sender, events) = events::channel();
        let inner = Arc::clone(&self);
        self.tasks.spawn(async move {
            let state = tokio::select! {
                state = inner.state_at_end(run) => state,
                () = sender.closed() => None,
            };
            let Some((session, last)) = state else { return };
            let event = TurnEvent { run, session, seq: 0, at_ms: inner.clock.now_ms(), kind: last };
            // Closed: nobody waits for it any more.
            let _ = sender.send(Arc::new(event)).await;
        });
        Ok(Submitted { run, duplicate: true, events })
    }

    async fn state_at_end(&self, run: Ulid) -> Option<(Arc<str>, TurnEventKind)> {
        let active = self.active().get(&run).cloned();
        if let Some(active) = active {
            active.over().await;
        }
        let state = self.stored(run).await?;
        Some((state.session.into(), state.last?))
    }

    async fn stored(&self, run: Ulid) -> Option<RunState> {
        let row = match self.store.run(run).await {
            Ok(row) => row?,
            Err(error) => {
                tracing::error!(%run, %error, "a run could not be read");
                return None;
            }
        };
        Some(RunState {
            run,
            note: row.request.pointer("/options/note").cloned(),
            last: row.last.and_then(|last| serde_json::from_value(last).ok()),
            session: row.session,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
        })
    }
}

#[async_trait]
impl Assistant for Agent {
    async fn submit(&self, request: TurnRequest) -> Result<Submitted, TurnError> {
        accept::check(&request)?;
        if self.inner.draining.load(Ordering::SeqCst) {
            return Err(problem::turn("E-TURN-004", "the kernel is stopping; try again when it runs", true));
        }
        // A task of its own: a client that goes away in mid-commit must not leave an accepted message without its run.
        let accepted = self.inner.tasks.spawn(Arc::clone(&self.inner).accept(request));
        accepted.await.unwrap_or_else(|e| {
            Err(problem::turn("E-TURN-005", format!("the message could not be accepted: {e}"), true))
        })
    }

    fn events(&self) -> broadcast::Receiver<Arc<TurnEvent>> {
        self.inner.everyone.subscribe()
    }

    async fn abort(&self, run: Option<Ulid>, session: Option<&str>) -> Vec<Ulid> {
        let stopped: Vec<Arc<Active>> = {
            let active = self.inner.active();
            let wanted = |a: &&Arc<Active>| run == Some(a.run) || session.is_some_and(|s| *s == *a.session);
            active.values().filter(wanted).cloned().collect()
        };
        for active in &stopped {
            active.abort();
        }
        let over = futures::future::join_all(stopped.iter().map(|a| a.over()));
        if tokio::time::timeout(ABORT_WAIT, over).await.is_err() {
            tracing::warn!("a run that was stopped takes more than a second to end");
        }
        let mut runs: Vec<Ulid> = stopped.iter().map(|a| a.run).collect();
        runs.sort_unstable();
        runs
    }

    async fn wait(&self, run: Ulid, timeout: Duration) -> Option<RunState> {
        let active = self.inner.active().get(&run).cloned();
        if let Some(active) = active {
            // Too slow is an answer, too: the state says that it has not ended.
            let _ = tokio::time::timeout(timeout, active.over()).await;
        }
        self.inner.stored(run).await
    }

    async fn sessions(&self, limit: usize) -> Result<Vec<SessionInfo>, TurnError> {
        let found = self.inner.store.sessions(limit).await.map_err(problem::store)?;
        Ok(found
            .into_iter()
            .map(|s| SessionInfo {
                key: s.key,
                created_ms: s.created_ms,
                updated_ms: s.updated_ms,
                messages: s.messages,
                title: s.title,
                tainted: s.tainted,
            })
            .collect())
    }

    async fn history(&self, session: &str, limit: usize) -> Result<Vec<HistoryItem>, TurnError> {
        crate::view::history(&self.inner.store, session, limit).await
    }

    async fn models(&self) -> Vec<ModelInfo> {
        self.inner.models.list().await
    }

    fn tools(&self) -> Arc<Vec<ToolInfo>> {
        self.inner.tools.catalog()
    }

    async fn drain(&self, grace: Duration) {
        let inner = &self.inner;
        inner.draining.store(true, Ordering::SeqCst);
        inner.tasks.close();
        if tokio::time::timeout(grace, inner.tasks.wait()).await.is_err() {
            inner.stopping.cancel();
            inner.tasks.wait().await;
        }
    }
}
