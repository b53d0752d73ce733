//! How a call can end that is no answer: which limit, of whom, and how to raise it.

use crate::linker::LinkPlan;
use crate::state::{Instance, Stop};
use carapace_contract::limits::raising;
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// What ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapKind {
    /// The guest gave up (a panic).
    Unreachable,
    /// Another guest fault: out of bounds, division by zero, a bad cast.
    Fault,
    /// Fuel is used up.
    OutOfFuel,
    /// The CPU-tick budget is used up.
    Cpu,
    /// Wall time is over.
    Wall,
    /// Memories and tables.
    Memory,
    /// Recursion.
    StackOverflow,
    /// Too many bytes handed to the kernel at once.
    HostCallBytes,
    /// Too many host calls.
    HostCalls,
    /// Too many live handles.
    Handles,
    /// The result is too large.
    ResultBytes,
    /// Stopped by the owner or the kernel.
    Cancelled,
    /// It could not be instantiated.
    Instantiate,
    /// No permit came free in time.
    Busy,
    /// Too many components calling each other.
    Depth,
    /// It does not export what was called.
    NoExport,
    /// An import failed inside the kernel.
    Host,
    /// It ended its program (WASI) instead of answering.
    Exit,
    /// Its grant was revoked while it ran.
    Revoked,
}

impl TrapKind {
    /// Its word in meters.
    pub fn as_str(self) -> &'static str {
        self.table().0
    }
    /// Its stable code.
    pub fn code(self) -> &'static str {
        self.table().1
    }
    /// Whether the same call may succeed later, unchanged.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::Wall)
    }

    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Unreachable => ("unreachable", "E-RUNTIME-001"),
            Self::OutOfFuel => ("fuel", "E-RUNTIME-002"),
            Self::Cpu => ("cpu", "E-RUNTIME-003"),
            Self::Wall => ("wall", "E-RUNTIME-004"),
            Self::Memory => ("memory", "E-RUNTIME-005"),
            Self::StackOverflow => ("stack", "E-RUNTIME-006"),
            Self::HostCallBytes => ("host-call-bytes", "E-RUNTIME-007"),
            Self::Handles => ("handles", "E-RUNTIME-008"),
            Self::Cancelled => ("cancelled", "E-RUNTIME-009"),
            Self::Instantiate => ("instantiate", "E-RUNTIME-010"),
            Self::HostCalls => ("host-calls", "E-RUNTIME-011"),
            Self::ResultBytes => ("result-bytes", "E-RUNTIME-012"),
            Self::Fault => ("fault", "E-RUNTIME-013"),
            Self::Busy => ("busy", "E-RUNTIME-014"),
            Self::Depth => ("depth", "E-RUNTIME-015"),
            Self::NoExport => ("no-export", "E-RUNTIME-016"),
            Self::Host => ("host", "E-RUNTIME-017"),
            Self::Exit => ("exit", "E-RUNTIME-018"),
            Self::Revoked => ("revoked", "E-RUNTIME-019"),
        }
    }
}

/// A call that did not answer. The store it ran in is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{}]{}", kind.code(), if fix.is_empty() { String::new() } else { format!("; {fix}") })]
pub struct CallError {
    /// What ended it.
    pub kind: TrapKind,
    /// For a person: the instance, what was called, the limit. Holds no data of the call.
    pub message: String,
    /// How to raise the limit; empty if there is none.
    pub fix: String,
}

fn bytes(n: u64) -> String {
    match n {
        n if n > 0 && n % (1 << 30) == 0 => format!("{} GiB", n >> 30),
        n if n > 0 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n > 0 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

impl CallError {
    pub(crate) fn new(kind: TrapKind, instance: &Instance, plan: &LinkPlan, detail: &str) -> Self {
        let limits = instance.limits();
        let what = match kind {
            TrapKind::Unreachable => "the component gave up (it panicked)".to_owned(),
            TrapKind::OutOfFuel => format!("fuel limit {} per call used up", limits.fuel_per_call),
            TrapKind::Cpu => format!("CPU limit {} ms per call exceeded", limits.cpu_ms_per_call),
            TrapKind::Wall => format!("wall time limit {} ms per call exceeded", limits.wall_ms_per_call),
            TrapKind::Memory => format!("memory limit {} exceeded", bytes(limits.memory)),
            TrapKind::StackOverflow => "the guest's stack overflowed (512 KiB, not adjustable)".to_owned(),
            TrapKind::HostCallBytes => {
                format!("host call limit {} exceeded by one call's data", bytes(limits.host_call_bytes))
            }
            TrapKind::HostCalls => format!("host call limit {} per call exceeded", limits.host_calls_per_call),
            TrapKind::Handles => format!("handle limit {} exceeded", crate::state::handles(limits)),
            TrapKind::ResultBytes => format!("result limit {} exceeded", bytes(limits.result_bytes)),
            TrapKind::Cancelled => "cancelled".to_owned(),
            TrapKind::Instantiate => format!("the component could not be instantiated: {detail}"),
            TrapKind::Fault => format!("the component failed: {detail}"),
            TrapKind::Busy => format!("no permit came free in time: {detail}"),
            TrapKind::Depth => format!("components may call each other at most {} deep", crate::permits::MAX_DEPTH),
            TrapKind::NoExport => format!("the component does not export `{detail}`"),
            TrapKind::Revoked => "its grant was revoked while it ran".to_owned(),
            TrapKind::Exit => format!("the component ended its program instead of answering, with status {detail}"),
            TrapKind::Host => format!("a host call failed inside the kernel: {detail}"),
        };
        let field = match kind {
            TrapKind::OutOfFuel => Some(("fuelPerCall", limits.fuel_per_call)),
            TrapKind::Cpu => Some(("cpuMsPerCall", limits.cpu_ms_per_call)),
            TrapKind::Wall => Some(("wallMsPerCall", limits.wall_ms_per_call)),
            TrapKind::Memory => Some(("memory", limits.memory)),
            TrapKind::HostCallBytes => Some(("hostCallBytes", limits.host_call_bytes)),
            TrapKind::HostCalls => Some(("hostCallsPerCall", limits.host_calls_per_call)),
            TrapKind::Handles => Some(("handles", u64::from(limits.handles))),
            TrapKind::ResultBytes => Some(("resultBytes", limits.result_bytes)),
            TrapKind::Busy => Some(("concurrency", u64::from(limits.concurrency))),
            _ => None,
        };
        let fix = field.map_or_else(String::new, |(name, value)| raising(instance.id(), name, value));
        Self { kind, message: format!("{} of {}: {what}", plan.entry(), instance.id()), fix }
    }
}

/// What the engine's error means. `instantiating`: the call itself had not begun.
pub(crate) fn classify(error: &wasmtime::Error, instantiating: bool) -> (TrapKind, String) {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        let kind = match stop {
            Stop::Cancelled => TrapKind::Cancelled,
            Stop::Revoked => TrapKind::Revoked,
            Stop::Cpu => TrapKind::Cpu,
            Stop::Memory { .. } => TrapKind::Memory,
            Stop::HostCalls => TrapKind::HostCalls,
        };
        return (kind, String::new());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let kind = match trap {
            Trap::UnreachableCodeReached => TrapKind::Unreachable,
            Trap::OutOfFuel => TrapKind::OutOfFuel,
            Trap::Interrupt => TrapKind::Cpu,
            Trap::StackOverflow => TrapKind::StackOverflow,
            _ => TrapKind::Fault,
        };
        return (kind, trap.to_string());
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return (TrapKind::Exit, exit.0.to_string());
    }
    if error.is::<wasmtime::component::ResourceTableError>() {
        return (TrapKind::Handles, String::new());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (TrapKind::Busy, "the instance pool is full".to_owned());
    }
    // These two have no type of their own in the engine; tests hold the texts.
    let root = error.root_cause().to_string();
    if root.contains("fuel allocated for hostcalls has been exhausted") {
        return (TrapKind::HostCallBytes, String::new());
    }
    if root.contains("store handle limit exceeded") {
        return (TrapKind::Handles, String::new());
    }
    if instantiating { (TrapKind::Instantiate, root) } else { (TrapKind::Host, root) }
}
