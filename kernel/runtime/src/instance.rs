//! Calls. Every one runs in a store with limits, under permits, inside a wall clock and a cancellation that stand outside the store.

use crate::binding::Binding;
use crate::bindings::{provider, tools};
use crate::call::{CallError, TrapKind, classify};
use crate::engine::Engines;
use crate::exports::{Exports, Indices, NoExport, WrongExport};
use crate::linker::{Entry, Interface, LinkPlan};
use crate::permits::Admission;
use crate::recording::{self, Recorder, value};
use crate::size::{completion_size, content_size, models_size, tools_size};
use crate::state::{Imports, Instance, handles};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::limits::Profile;
use carapace_contract::{ComponentId, Denial, Digest, InstanceId};
use futures::FutureExt;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Store, UpdateDeadline};

pub(crate) type Calling<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// A component, mapped and ready to be called. Shared by all instances of the package; put it into an `ArcSwap` to swap it.
pub struct Loaded<T: Imports> {
    pub(crate) engines: Engines,
    pub(crate) component: Component,
    pub(crate) profile: Profile,
    pub(crate) id: ComponentId,
    pub(crate) digest: Digest,
    pub(crate) asked: CapabilitySet,
    pub(crate) imports: BTreeSet<Interface>,
    pub(crate) binding: Arc<dyn Binding<T>>,
    pub(crate) templates: Mutex<HashMap<u64, Arc<Template<T>>>>,
}

impl<T: Imports> std::fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("id", &self.id).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// A component linked by one plan, type-checked once.
pub(crate) struct Template<T: Imports> {
    pre: InstancePre<T>,
    exports: Indices,
}

/// A store and its instance. Dropping it books what it used, however it ended.
pub(crate) struct Live<T: Imports> {
    pub(crate) store: Store<T>,
    exports: Option<Exports>,
    fuel: u64,
    /// Of the plan it was linked by.
    pub(crate) key: u64,
}

impl<T: Imports> Drop for Live<T> {
    fn drop(&mut self) {
        self.book();
    }
}

impl<T: Imports> Live<T> {
    pub(crate) fn new(engines: &Engines, profile: Profile, mut state: T) -> Self {
        let key = state.core().plan().key();
        let mut store = Store::new(engines.engine(profile), state);
        store.limiter(|t| t.core());
        let clock = engines.clone();
        store.epoch_deadline_callback(move |mut context| {
            let core = context.data_mut().core();
            core.tick()?;
            // The tick may have passed while the host worked for the guest: then it is not the guest's.
            if clock.now() > core.on_cpu.since() {
                core.cpu_tick()?;
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Self { store, exports: None, fuel: 0, key }
    }

    /// Before every entry: limits of the instance that is called, fuel, deadline.
    fn arm(&mut self, profile: Profile) -> wasmtime::Result<()> {
        let core = self.store.data_mut().core();
        core.meter().call();
        let limits = *core.limits();
        self.store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
        self.store.set_max_component_handles(handles(&limits));
        if profile == Profile::Metered {
            self.store.set_fuel(limits.fuel_per_call)?;
            self.fuel = limits.fuel_per_call;
        }
        self.store.set_epoch_deadline(1);
        Ok(())
    }

    fn book(&mut self) {
        let left = self.store.get_fuel().unwrap_or(0);
        let used = std::mem::take(&mut self.fuel).saturating_sub(left);
        self.store.data_mut().core().meter().fuel(used);
    }
}

/// Why a call gave no answer, before it is put into words.
enum Ended {
    Trap { error: wasmtime::Error, instantiating: bool },
    Wall,
    Cancelled,
}

/// Why a call's task did not come to its end.
enum Lost {
    Panicked,
    Stopped,
}

/// How a call is carried out.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Its store lives on.
    pub(crate) keep: bool,
    /// See [`Admission::in_place`].
    pub(crate) in_place: bool,
}

impl<T: Imports> Loaded<T> {
    /// Whose component it is.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }
    /// The package.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// What the code really imports.
    pub fn imports(&self) -> &BTreeSet<Interface> {
        &self.imports
    }

    /// What a call of `entry` is linked to under `granted`.
    ///
    /// # Errors
    /// See [`LinkPlan::new`].
    pub fn plan(
        &self,
        instance: &InstanceId,
        granted: &CapabilitySet,
        entry: Entry<'_>,
    ) -> Result<Arc<LinkPlan>, Denial> {
        LinkPlan::new(instance, &self.imports, &self.asked, granted, entry).map(Arc::new)
    }

    /// `tools.list` in a fresh store.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation.
    pub async fn list_tools(&self, state: T, admission: Admission) -> Result<Vec<tools::Tool>, CallError> {
        self.fresh(
            state,
            admission,
            |list: &Vec<_>| tools_size(list),
            |store, exports| Box::pin(async move { exports.list(store).await }),
        )
        .await
    }

    /// `tools.call` in a fresh store.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation. The tool's own errors are in the inner result.
    pub async fn call_tool(
        &self,
        state: T,
        admission: Admission,
        name: String,
        arguments: String,
        context: tools::Context,
    ) -> Result<Result<Vec<tools::Content>, tools::ToolError>, CallError> {
        let mut state = state;
        let recorder = begun(&mut state, "tools.call", || {
            recording::arguments([
                ("name", value::of(&name)),
                ("arguments", value::of(&arguments)),
                ("context", value::of(&context)),
            ])
        });
        let answer = self.fresh(state, admission, content_size, |store, exports| {
            Box::pin(async move { exports.call(store, &name, &arguments, &context).await })
        });
        over(recorder, answer.await)
    }

    /// `provider.models` in a fresh store.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation. The provider's own errors are in the inner result.
    pub async fn models(
        &self,
        state: T,
        admission: Admission,
    ) -> Result<Result<Vec<provider::Model>, provider::Failure>, CallError> {
        let mut state = state;
        let recorder = begun(&mut state, "provider.models", || recording::arguments([]));
        let answer = self.fresh(state, admission, models_size, |store, exports| {
            Box::pin(async move { exports.models(store).await })
        });
        over(recorder, answer.await)
    }

    /// `provider.complete` in a fresh store. What the model says goes through `completion.emit`.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation. The provider's own errors are in the inner result.
    pub async fn complete(
        &self,
        state: T,
        admission: Admission,
        request: provider::Request,
    ) -> Result<Result<(), provider::Failure>, CallError> {
        let mut state = state;
        let recorder = begun_completion(&mut state, &request);
        let answer = self.fresh(state, admission, completion_size, |store, exports| {
            Box::pin(async move { exports.complete(store, &request).await })
        });
        over(recorder, answer.await)
    }

    pub(crate) async fn fresh<R, F>(
        &self,
        mut state: T,
        admission: Admission,
        size: fn(&R) -> u64,
        call: F,
    ) -> Result<R, CallError>
    where
        R: Send + 'static,
        F: for<'a> FnOnce(&'a mut Store<T>, &'a Exports) -> Calling<'a, R> + Send + 'static,
    {
        let (instance, plan, cancel) = parts(&mut state);
        let permits = self.admit(&instance, &plan, &cancel, admission).await?;
        let (engines, profile) = (self.engines.clone(), self.profile);
        let make = move || Live::new(&engines, profile, state);
        let how = How { keep: false, in_place: admission.in_place };
        self.run(make, permits, &instance, &plan, cancel, size, how, call).await.map(|(_, answer)| answer)
    }

    /// Waits for the instance's turn and for a permit, at most as long as the admission says.
    pub(crate) async fn admit(
        &self,
        instance: &Arc<Instance>,
        plan: &LinkPlan,
        cancel: &CancellationToken,
        admission: Admission,
    ) -> Result<[OwnedSemaphorePermit; 2], CallError> {
        let both = async {
            let gate = instance.gate.clone().acquire_owned().await.map_err(|_| TrapKind::Cancelled)?;
            let permit =
                self.engines.permits().acquire(admission.class, admission.depth).await.ok_or(TrapKind::Depth)?;
            Ok([gate, permit])
        };
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(TrapKind::Cancelled),
            outcome = tokio::time::timeout(admission.wait, both) => outcome.unwrap_or(Err(TrapKind::Busy)),
        };
        outcome.map_err(|kind| {
            let detail = format!("waited {} ms as class `{}`", admission.wait.as_millis(), admission.class);
            failed(kind, instance, plan, &detail)
        })
    }

    /// The template of a plan; type-checking happens once per plan.
    fn template(&self, plan: &LinkPlan) -> wasmtime::Result<Arc<Template<T>>> {
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = templates.get(&plan.key()) {
            return Ok(known.clone());
        }
        let linker = plan.linker(self.engines.engine(self.profile), self.binding.as_ref())?;
        let pre = linker.instantiate_pre(&self.component)?;
        let template = Arc::new(Template { exports: Indices::new(&pre, self.binding.contract()), pre });
        templates.insert(plan.key(), template.clone());
        Ok(template)
    }

    #[allow(clippy::too_many_arguments, reason = "one call, spelled out; `fresh` and `Warm` are its only callers")]
    pub(crate) async fn run<R, F>(
        &self,
        make: impl FnOnce() -> Live<T> + Send + 'static,
        permits: [OwnedSemaphorePermit; 2],
        instance: &Arc<Instance>,
        plan: &Arc<LinkPlan>,
        cancel: CancellationToken,
        size: fn(&R) -> u64,
        how: How,
        call: F,
    ) -> Result<(Option<Live<T>>, R), CallError>
    where
        R: Send + 'static,
        F: for<'a> FnOnce(&'a mut Store<T>, &'a Exports) -> Calling<'a, R> + Send + 'static,
    {
        let template =
            self.template(plan).map_err(|e| failed(TrapKind::Instantiate, instance, plan, &format!("{e:#}")))?;
        let (engines, profile) = (self.engines.clone(), self.profile);
        let work = async move {
            let _permits = permits;
            let _running = engines.running();
            let mut live = make();
            let outcome = enter(&mut live, &template, &engines, profile, cancel, call).await;
            // A store that failed, or is not to be kept, goes now: here, on the guests' own threads.
            outcome.map(|answer| (how.keep.then_some(live), answer))
        };
        let outcome = if how.in_place {
            AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Lost::Panicked)
        } else {
            let lost = |e: JoinError| if e.is_panic() { Lost::Panicked } else { Lost::Stopped };
            self.engines.spawn(work).await.map_err(lost)
        };
        let ended = match outcome {
            Ok(Ok((mut live, answer))) => {
                if let Some(live) = &mut live {
                    live.book();
                }
                if size(&answer) > instance.limits().result_bytes {
                    return Err(failed(TrapKind::ResultBytes, instance, plan, ""));
                }
                return Ok((live, answer));
            }
            Ok(Err(ended)) => ended,
            Err(Lost::Panicked) => return Err(failed(TrapKind::Host, instance, plan, "it panicked")),
            Err(Lost::Stopped) => Ended::Cancelled,
        };
        let (kind, detail) = match &ended {
            Ended::Wall => (TrapKind::Wall, String::new()),
            Ended::Cancelled => (TrapKind::Cancelled, String::new()),
            Ended::Trap { error, instantiating } => {
                match (error.downcast_ref::<NoExport>(), error.downcast_ref::<WrongExport>()) {
                    (Some(missing), _) => (TrapKind::NoExport, missing.0.to_owned()),
                    (_, Some(wrong)) => (TrapKind::Instantiate, wrong.to_string()),
                    _ => classify(error, *instantiating),
                }
            }
        };
        Err(failed(kind, instance, plan, &detail))
    }
}

async fn enter<T: Imports, R, F>(
    live: &mut Live<T>,
    template: &Template<T>,
    engines: &Engines,
    profile: Profile,
    cancel: CancellationToken,
    call: F,
) -> Result<R, Ended>
where
    F: for<'a> FnOnce(&'a mut Store<T>, &'a Exports) -> Calling<'a, R> + Send + 'static,
{
    let core = live.store.data_mut().core();
    let deadline = core.start();
    let on_cpu = core.on_cpu.clone();
    let work = async {
        let during = |instantiating| move |error| Ended::Trap { error, instantiating };
        live.arm(profile).map_err(during(true))?;
        if live.exports.is_none() {
            let instance = template.pre.instantiate_async(&mut live.store).await.map_err(during(true))?;
            live.exports = Some(Exports::new(instance, template.exports));
        }
        let Live { store, exports: Some(exports), .. } = live else {
            return Err(Ended::Cancelled);
        };
        call(store, exports).await.map_err(during(false))
    };
    let mut work = pin!(work);
    // Each poll is the guest coming back onto a CPU.
    let work = poll_fn(|context| {
        on_cpu.resumed(engines.now());
        work.as_mut().poll(context)
    });
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Ended::Cancelled),
        outcome = tokio::time::timeout_at(deadline, work) => outcome.unwrap_or(Err(Ended::Wall)),
    }
}

pub(crate) fn parts<T: Imports>(state: &mut T) -> (Arc<Instance>, Arc<LinkPlan>, CancellationToken) {
    let core = state.core();
    (core.instance().clone(), core.plan().clone(), core.cancel().clone())
}

/// Writes down that a call begins, if it is recorded.
fn begun<T: Imports>(state: &mut T, export: &str, arguments: impl FnOnce() -> Value) -> Option<Arc<Recorder>> {
    let recorder = state.core().recorder().cloned();
    recorder.inspect(|recorder| recorder.called(export, arguments()))
}

pub(crate) fn begun_completion<T: Imports>(state: &mut T, request: &provider::Request) -> Option<Arc<Recorder>> {
    begun(state, "provider.complete", || recording::arguments([("request", value::of(request))]))
}

/// Writes down how it ended.
pub(crate) fn over<R: Serialize>(
    recorder: Option<Arc<Recorder>>,
    answer: Result<R, CallError>,
) -> Result<R, CallError> {
    if let Some(recorder) = recorder {
        recorder.ended(&answer);
    }
    answer
}

pub(crate) fn failed(kind: TrapKind, instance: &Instance, plan: &LinkPlan, detail: &str) -> CallError {
    instance.meter().trap(kind.as_str());
    CallError::new(kind, instance, plan, detail)
}
