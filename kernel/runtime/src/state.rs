//! What every store carries: its instance, its limits, and the ways in which a call is stopped.

use crate::bindings::{
    HttpResponse, assets, blob, clock, completion, config, kv, lines, log, memory, message, random, requests, secrets,
    sessions, settings, types,
};
use crate::http::Sends;
use crate::linker::{Interface, LinkPlan};
use crate::meter::InstanceMeter;
use crate::recording::Recorder;
use crate::wasi::Entered;
use carapace_contract::limits::Limits;
use carapace_contract::{Denial, InstanceId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

/// Handles no store may exceed, whatever its limits say: each costs memory that no limiter sees.
const MAX_HANDLES: u32 = 1_000;

/// Store data. `host` implements it on the type that also implements the generated `Host` traits.
pub trait Guest: Send + Sized + 'static {
    /// The part the runtime looks at.
    fn core(&mut self) -> &mut Core;
}

/// A [`Guest`] that implements every import. Nothing to implement by hand: a new interface in `wit/` that
/// `host` does not implement simply does not compile.
pub trait Imports:
    Guest
    + types::Host
    + log::Host
    + clock::Host
    + random::Host
    + config::Host
    + kv::Host
    + Sends
    + secrets::Host
    + completion::Host
    + assets::Host
    + memory::Host
    + sessions::Host
    + settings::Host
    + requests::Host
    + message::Host
    + lines::Host
    + blob::Host
{
}

impl<T> Imports for T where
    T: Guest
        + types::Host
        + log::Host
        + clock::Host
        + random::Host
        + config::Host
        + kv::Host
        + Sends
        + secrets::Host
        + completion::Host
        + assets::Host
        + memory::Host
        + sessions::Host
        + settings::Host
        + requests::Host
        + message::Host
        + lines::Host
        + blob::Host
{
}

/// A named configuration of a package, as the runtime sees it: limits in force, calls in flight, meters.
#[derive(Debug)]
pub struct Instance {
    id: InstanceId,
    limits: Limits,
    meter: Arc<InstanceMeter>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Instance {
    /// `limits`: what is in force, that is the manifest's with the operator's ceiling above it.
    pub fn new(id: InstanceId, limits: Limits) -> Arc<Self> {
        Self::metered(id, limits, Arc::default())
    }
    /// What replaces this one: what it uses is added to what was used so far.
    pub fn succeeded_by(&self, limits: Limits) -> Arc<Self> {
        Self::metered(self.id.clone(), limits, self.meter.clone())
    }
    fn metered(id: InstanceId, limits: Limits, meter: Arc<InstanceMeter>) -> Arc<Self> {
        let permits = usize::try_from(limits.concurrency.max(1)).unwrap_or(1);
        Arc::new(Self { id, limits, meter, gate: Arc::new(Semaphore::new(permits)) })
    }
    /// Which.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }
    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    /// What it used.
    pub fn meter(&self) -> &InstanceMeter {
        &self.meter
    }
}

/// Why the kernel ended a call from inside. Travels as the outer error of imports and limiters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// What was granted was taken back.
    #[error("revoked")]
    Revoked,
    /// The CPU-tick budget is over.
    #[error("CPU budget exceeded")]
    Cpu,
    /// Memories and tables together would pass the limit.
    #[error("memory limit exceeded")]
    Memory {
        /// Bytes wanted in all.
        wanted: u64,
    },
    /// Too many calls into the kernel.
    #[error("host call limit exceeded")]
    HostCalls,
}

/// The runtime's part of the store data.
pub struct Core {
    instance: Arc<Instance>,
    plan: Arc<LinkPlan>,
    cancel: CancellationToken,
    pub(crate) table: ResourceTable,
    deadline: Instant,
    host_calls: u64,
    ticks: u64,
    pub(crate) on_cpu: Arc<OnCpu>,
    memory: u64,
    pending: u64,
    pub(crate) wasi: Option<Box<Entered>>,
    recorder: Option<Arc<Recorder>>,
}

impl Core {
    /// For one call of `instance`, linked by `plan`. The call's wall time starts when it gets its permit.
    pub fn new(instance: &Arc<Instance>, plan: &Arc<LinkPlan>, cancel: CancellationToken) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles(instance.limits()));
        Self {
            deadline: Instant::now() + Duration::from_millis(instance.limits.wall_ms_per_call),
            instance: instance.clone(),
            plan: plan.clone(),
            cancel,
            table,
            host_calls: 0,
            ticks: 0,
            on_cpu: Arc::default(),
            memory: 0,
            pending: 0,
            wasi: None,
            recorder: None,
        }
    }

    /// What this call asks and is told is written down.
    #[must_use]
    pub fn recorded(mut self, recorder: Arc<Recorder>) -> Self {
        self.plan = Arc::new(self.plan.recorded());
        self.recorder = Some(recorder);
        self
    }
    /// Who writes it down.
    pub fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    /// The instance that is called.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.instance.limits
    }
    /// What the instance used.
    pub fn meter(&self) -> &InstanceMeter {
        &self.instance.meter
    }
    /// What this store is linked to.
    pub fn plan(&self) -> &Arc<LinkPlan> {
        &self.plan
    }
    /// Resources handed to the guest; holds at most as many as the handle limit says.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
    /// Keeps a response for the guest.
    pub(crate) fn hold(&mut self, response: HttpResponse) -> Result<Resource<HttpResponse>, ResourceTableError> {
        self.table.push(response)
    }
    /// Cancelled when the run is.
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }
    /// Wall time left to this call. A host function never waits longer.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Counts a call from the guest. Every import begins with it.
    ///
    /// # Errors
    /// [`Stop`] when the run was cancelled or has no host call left; it ends the guest.
    pub fn host_call(&mut self) -> wasmtime::Result<()> {
        self.count_host_call();
        self.within_host_calls()?;
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled.into());
        }
        Ok(())
    }

    /// Counts a call from the guest, and no more: what cannot be refused on the spot (WASI) is ended by [`Core::tick`].
    pub(crate) fn count_host_call(&mut self) {
        self.host_calls += 1;
        self.instance.meter.host_call();
    }

    fn within_host_calls(&self) -> Result<(), Stop> {
        if self.host_calls > self.instance.limits.host_calls_per_call { Err(Stop::HostCalls) } else { Ok(()) }
    }

    /// Counts a denial and puts it into the contract's words.
    pub fn deny(&mut self, denial: &Denial) -> types::Error {
        self.instance.meter.denial(denial);
        types::Error::Denied(denial.to_string())
    }

    /// The refusal that stands in an ungranted interface's place.
    pub(crate) fn refuse(&mut self, interface: Interface) -> types::Error {
        let plan = self.plan.clone();
        self.deny(&plan.refusal(interface, &self.instance.id))
    }

    /// Starts the wall clock (after permits) and gives back the deadline.
    pub(crate) fn start(&mut self) -> Instant {
        self.deadline = Instant::now() + Duration::from_millis(self.instance.limits.wall_ms_per_call);
        self.deadline
    }

    /// A tick passed.
    pub(crate) fn tick(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if self.wasi.as_ref().is_some_and(|wasi| !wasi.stands()) {
            return Err(Stop::Revoked);
        }
        self.within_host_calls()
    }

    /// Counts one tick of CPU.
    pub(crate) fn cpu_tick(&mut self) -> Result<(), Stop> {
        self.ticks += 1;
        self.instance.meter.cpu_tick();
        let budget = self.instance.limits.cpu_ms_per_call.div_ceil(crate::ticker::TICK_MS).max(1);
        if self.ticks > budget { Err(Stop::Cpu) } else { Ok(()) }
    }

    /// Takes over what a kept store already holds.
    pub(crate) fn inherit(&mut self, earlier: &Self) {
        self.memory = earlier.memory;
    }

    fn grow(&mut self, current: usize, desired: usize, size: u64) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX).saturating_mul(size);
        let wanted = self.memory.saturating_add(more);
        if wanted > self.instance.limits.memory {
            return Err(Stop::Memory { wanted }.into());
        }
        self.memory = wanted;
        self.pending = more;
        self.instance.meter.memory(wanted);
        Ok(true)
    }
}

/// Handles in force.
pub(crate) fn handles(limits: &Limits) -> usize {
    usize::try_from(limits.handles.clamp(1, MAX_HANDLES)).unwrap_or(1)
}

/// All linear memories and all tables of a store count together.
impl ResourceLimiter for Core {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|m| desired > m) {
            self.pending = 0;
            return Ok(false);
        }
        self.grow(current, desired, 1)
    }
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(instance = %self.instance.id, %error, "a memory did not grow");
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.pending));
        Ok(())
    }
    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|m| desired > m) {
            self.pending = 0;
            return Ok(false);
        }
        // A slot is a pointer.
        self.grow(current, desired, 8)
    }
    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_grow_failed(error)
    }
    fn instances(&self) -> usize {
        64
    }
    fn tables(&self) -> usize {
        32
    }
    fn memories(&self) -> usize {
        16
    }
}

/// When the guest last came back onto a CPU, in ticks.
///
/// A call that waits in the host is not polled; the poll after the wait notes the tick. The next tick counts as
/// CPU only if it is later than that, so waiting costs nothing, however often it happens.
#[derive(Debug, Default)]
pub(crate) struct OnCpu(AtomicU64);

impl OnCpu {
    pub(crate) fn resumed(&self, tick: u64) {
        self.0.store(tick, Relaxed);
    }
    pub(crate) fn since(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_never_pass_a_thousand() {
        assert_eq!(handles(&Limits { handles: 1_000_000, ..Limits::default() }), 1_000);
        assert_eq!(handles(&Limits { handles: 0, ..Limits::default() }), 1);
    }
}
