//! Whether a new version breaks where the earlier one worked.

use crate::host::Host;
use crate::instance::Live;
use carapace_contract::{Digest, InstanceId};
use carapace_runtime::{CallError, TrapKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How long a version that replaced another one is on probation.
pub const PROBATION: Duration = Duration::from_secs(600);
/// It is over after so many calls, if they come first.
pub const PROBATION_CALLS: u32 = 20;
/// So many broken calls within it, and the version has failed.
pub const PROBATION_BROKEN: u32 = 3;

/// An instance's version broke, or ran into its limits, within its probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relapse {
    /// Which instance.
    pub instance: InstanceId,
    /// The package that failed.
    pub digest: Digest,
    /// The code is broken. False: calls ended at a limit, which whoever wrote the input can bring about; a stranger's message must
    /// not bring an older version back.
    pub broken: bool,
    /// What ended the last call, for a person.
    pub why: String,
}

/// Counts the calls of a version on probation.
#[derive(Debug)]
pub(crate) struct Probation {
    until: Instant,
    calls: AtomicU32,
    broken: Count,
    exhausted: Count,
}

/// Calls that ended in one way, and whether that was told.
#[derive(Debug, Default)]
struct Count {
    calls: AtomicU32,
    told: AtomicBool,
}

impl Count {
    /// One more; true the one time at which it was one too many.
    fn is_too_many(&self) -> bool {
        self.calls.fetch_add(1, SeqCst) + 1 >= PROBATION_BROKEN && !self.told.swap(true, SeqCst)
    }
}

/// How a call ended that gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The code gave up, reached where it has nothing, or did not come up.
    Broken,
    /// It came to a limit.
    Exhausted,
    /// It was stopped, found no room, or met a fault of the kernel: not its doing.
    Excused,
}

impl Probation {
    pub(crate) fn lasting(left: Duration) -> Self {
        let until = Instant::now() + left.min(PROBATION);
        Self { until, calls: AtomicU32::new(0), broken: Count::default(), exhausted: Count::default() }
    }

    /// A call ended; true the one time at which it was one too many that ended so.
    fn ended(&self, end: End) -> bool {
        let calls = self.calls.fetch_add(1, SeqCst) + 1;
        if calls > PROBATION_CALLS || Instant::now() >= self.until {
            return false;
        }
        match end {
            End::Broken => self.broken.is_too_many(),
            End::Exhausted => self.exhausted.is_too_many(),
            End::Excused => false,
        }
    }
}

fn end_of(kind: TrapKind) -> End {
    match kind {
        TrapKind::Unreachable | TrapKind::Fault | TrapKind::Instantiate | TrapKind::NoExport | TrapKind::Exit => {
            End::Broken
        }
        TrapKind::OutOfFuel
        | TrapKind::Cpu
        | TrapKind::Wall
        | TrapKind::Memory
        | TrapKind::StackOverflow
        | TrapKind::HostCallBytes
        | TrapKind::HostCalls
        | TrapKind::Handles
        | TrapKind::ResultBytes => End::Exhausted,
        TrapKind::Cancelled | TrapKind::Revoked | TrapKind::Busy | TrapKind::Depth | TrapKind::Host => End::Excused,
    }
}

impl Host {
    /// Counts a call of a version on probation. What a tool or a provider itself says went wrong is an answer, and no broken call.
    pub(crate) fn watch(&self, live: &Live, ended_by: Option<&CallError>) {
        if let Some(e) = ended_by {
            // What its author looks for first, beside what it logged itself.
            self.services().logbook.push(&live.id, "error", true, e.to_string(), String::new());
        }
        let Some(probation) = &live.probation else { return };
        let end = ended_by.map_or(End::Excused, |e| end_of(e.kind));
        if probation.ended(end) {
            let why = ended_by.map(|e| format!("{} [{}]", e.message, e.kind.code())).unwrap_or_default();
            let (instance, digest) = (live.id.clone(), live.package.digest());
            // Without a listener there is nobody to act on it.
            let _ = self.relapses.send(Relapse { instance, digest, broken: end == End::Broken, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_broken_call_is_told_once() {
        let p = Probation::lasting(PROBATION);
        use End::{Broken, Excused, Exhausted};
        let told: Vec<bool> = [Broken, Excused, Broken, Broken, Broken].map(|end| p.ended(end)).into();
        assert_eq!(told, [false, false, false, true, false]);
        // Limits are counted apart, and told of once, too.
        let told: Vec<bool> = [Exhausted, Exhausted, Exhausted, Exhausted].map(|end| p.ended(end)).into();
        assert_eq!(told, [false, false, true, false]);
    }

    #[test]
    fn a_limit_that_an_input_can_reach_is_no_broken_code() {
        for kind in
            [TrapKind::OutOfFuel, TrapKind::Wall, TrapKind::Memory, TrapKind::StackOverflow, TrapKind::ResultBytes]
        {
            assert_eq!(end_of(kind), End::Exhausted, "{kind:?}");
        }
        for kind in [TrapKind::Unreachable, TrapKind::Fault, TrapKind::Instantiate, TrapKind::NoExport] {
            assert_eq!(end_of(kind), End::Broken, "{kind:?}");
        }
    }

    #[test]
    fn after_twenty_calls_or_its_time_probation_is_over() {
        let p = Probation::lasting(PROBATION);
        assert!((0..PROBATION_CALLS).all(|_| !p.ended(End::Excused)));
        assert!((0..9).all(|_| !p.ended(End::Broken)));
        let p = Probation::lasting(Duration::ZERO);
        assert!((0..9).all(|_| !p.ended(End::Broken)));
    }
}
