//! Kept instances: `life = "warm"`. One that stands idle for longer than its limit says is unloaded.

use crate::bindings::provider;
use crate::call::{CallError, TrapKind};
use crate::instance::{How, Live, Loaded, begun_completion, failed, over, parts};
use crate::permits::Admission;
use crate::size::completion_size;
use crate::state::Imports;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// One kept instance of a component with `life = "warm"`: called serially, dropped on any failure and made anew.
pub struct Warm<T: Imports> {
    loaded: Arc<Loaded<T>>,
    kept: Arc<Kept<T>>,
}

struct Kept<T: Imports> {
    live: tokio::sync::Mutex<Option<Live<T>>>,
    /// Calls so far: an instance that was called since is not idle.
    calls: AtomicU64,
}

impl<T: Imports> std::fmt::Debug for Warm<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warm").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

impl<T: Imports> Warm<T> {
    /// Nothing is instantiated before the first call.
    pub fn new(loaded: Arc<Loaded<T>>) -> Self {
        Self { loaded, kept: Arc::new(Kept { live: tokio::sync::Mutex::new(None), calls: AtomicU64::new(0) }) }
    }

    /// The component.
    pub fn loaded(&self) -> &Arc<Loaded<T>> {
        &self.loaded
    }

    /// Whether an instance is kept now.
    pub async fn is_warm(&self) -> bool {
        self.kept.live.lock().await.is_some()
    }

    /// `provider.complete` in the kept instance. `state` replaces the earlier call's, with its resources.
    ///
    /// # Errors
    /// As [`Loaded::complete`]; the kept instance is dropped then.
    pub async fn complete(
        &self,
        mut state: T,
        admission: Admission,
        request: provider::Request,
    ) -> Result<Result<(), provider::Failure>, CallError> {
        let recorder = begun_completion(&mut state, &request);
        over(recorder, self.kept_complete(state, admission, request).await)
    }

    async fn kept_complete(
        &self,
        mut state: T,
        admission: Admission,
        request: provider::Request,
    ) -> Result<Result<(), provider::Failure>, CallError> {
        let loaded = &self.loaded;
        let (instance, plan, cancel) = parts(&mut state);
        let mut kept = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(failed(TrapKind::Cancelled, &instance, &plan, "")),
            kept = tokio::time::timeout(admission.wait, self.kept.live.lock()) => kept
                .map_err(|_| failed(TrapKind::Busy, &instance, &plan, "the kept instance is still answering"))?,
        };
        // Counted while the instance is held, so that a timer of an earlier call sees this one.
        let call = self.kept.calls.fetch_add(1, SeqCst) + 1;
        let permits = loaded.admit(&instance, &plan, &cancel, admission).await?;
        let (engines, profile) = (loaded.engines.clone(), loaded.profile);
        // A changed grant needs another linker, hence another instance.
        let earlier = kept.take().filter(|live| live.key == plan.key());
        let make = move || match earlier {
            Some(mut live) => {
                state.core().inherit(live.store.data_mut().core());
                *live.store.data_mut() = state;
                live
            }
            None => Live::new(&engines, profile, state),
        };
        let how = How { keep: true, in_place: admission.in_place };
        let (live, answer) = loaded
            .run(make, permits, &instance, &plan, cancel, completion_size, how, |store, exports| {
                Box::pin(async move { exports.complete(store, &request).await })
            })
            .await?;
        *kept = live;
        drop(kept);
        self.unload_when_idle(call, Duration::from_millis(instance.limits().warm_idle_ms));
        Ok(answer)
    }

    /// Drops the kept instance once nothing has called it for `idle`. It does not keep a component alive that was unloaded.
    fn unload_when_idle(&self, call: u64, idle: Duration) {
        let kept = Arc::downgrade(&self.kept);
        tokio::spawn(async move {
            tokio::time::sleep(idle).await;
            let Some(kept) = kept.upgrade() else { return };
            let mut live = kept.live.lock().await;
            if kept.calls.load(SeqCst) == call {
                *live = None;
            }
        });
    }
}
