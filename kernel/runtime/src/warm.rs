//! Kept instances: `life = "warm"`.

use crate::bindings::provider;
use crate::call::{CallError, TrapKind};
use crate::instance::{Live, Loaded, failed, parts};
use crate::permits::Admission;
use crate::size::completion_size;
use crate::state::Imports;
use std::sync::Arc;

/// One kept instance of a component with `life = "warm"`: called serially, dropped on any failure and made anew.
pub struct Warm<T: Imports> {
    loaded: Arc<Loaded<T>>,
    kept: tokio::sync::Mutex<Option<Live<T>>>,
}

impl<T: Imports> std::fmt::Debug for Warm<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warm").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

impl<T: Imports> Warm<T> {
    /// Nothing is instantiated before the first call.
    pub fn new(loaded: Arc<Loaded<T>>) -> Self {
        Self { loaded, kept: tokio::sync::Mutex::default() }
    }

    /// The component.
    pub fn loaded(&self) -> &Arc<Loaded<T>> {
        &self.loaded
    }

    /// Whether an instance is kept now.
    pub async fn is_warm(&self) -> bool {
        self.kept.lock().await.is_some()
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
        let loaded = &self.loaded;
        let (instance, plan, cancel) = parts(&mut state);
        let mut kept = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(failed(TrapKind::Cancelled, &instance, &plan, "")),
            kept = tokio::time::timeout(admission.wait, self.kept.lock()) => kept
                .map_err(|_| failed(TrapKind::Busy, &instance, &plan, "the kept instance is still answering"))?,
        };
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
        let (live, answer) = loaded
            .run(make, permits, &instance, &plan, cancel, completion_size, true, |store, exports| {
                Box::pin(async move { exports.provider()?.call_complete(store, &request).await })
            })
            .await?;
        *kept = live;
        Ok(answer)
    }
}
