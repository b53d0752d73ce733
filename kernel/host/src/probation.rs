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

/// An instance's version broke within its probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relapse {
    /// Which instance.
    pub instance: InstanceId,
    /// The package that failed.
    pub digest: Digest,
    /// What ended the last call, for a person.
    pub why: String,
}

/// Counts the calls of a version on probation.
#[derive(Debug)]
pub(crate) struct Probation {
    until: Instant,
    calls: AtomicU32,
    broken: AtomicU32,
    told: AtomicBool,
}

impl Probation {
    pub(crate) fn lasting(left: Duration) -> Self {
        let until = Instant::now() + left.min(PROBATION);
        Self { until, calls: AtomicU32::new(0), broken: AtomicU32::new(0), told: AtomicBool::new(false) }
    }

    /// A call ended; true the one time at which it was one too many.
    fn ended(&self, broken: bool) -> bool {
        let calls = self.calls.fetch_add(1, SeqCst) + 1;
        if !broken || calls > PROBATION_CALLS || Instant::now() >= self.until {
            return false;
        }
        self.broken.fetch_add(1, SeqCst) + 1 >= PROBATION_BROKEN && !self.told.swap(true, SeqCst)
    }
}

/// Whether the component is to blame: not for a call that was stopped, found no room, or met a fault of the kernel.
fn is_broken(e: &CallError) -> bool {
    !matches!(e.kind, TrapKind::Cancelled | TrapKind::Busy | TrapKind::Depth | TrapKind::Host)
}

impl Host {
    /// Counts a call of a version on probation. What a tool or a provider itself says went wrong is an answer, and no broken call.
    pub(crate) fn watch(&self, live: &Live, ended_by: Option<&CallError>) {
        if let Some(e) = ended_by {
            // What its author looks for first, beside what it logged itself.
            self.services().logbook.push(&live.id, "error", true, e.to_string(), String::new());
        }
        let Some(probation) = &live.probation else { return };
        let blamed = ended_by.filter(|e| is_broken(e));
        if probation.ended(blamed.is_some()) {
            let why = blamed.map(|e| format!("{} [{}]", e.message, e.kind.code())).unwrap_or_default();
            // Without a listener there is nobody to act on it.
            let _ = self.relapses.send(Relapse { instance: live.id.clone(), digest: live.package.digest(), why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_broken_call_is_told_once() {
        let p = Probation::lasting(PROBATION);
        let told: Vec<bool> = [true, false, true, true, true].map(|broken| p.ended(broken)).into();
        assert_eq!(told, [false, false, false, true, false]);
    }

    #[test]
    fn after_twenty_calls_or_its_time_probation_is_over() {
        let p = Probation::lasting(PROBATION);
        assert!((0..PROBATION_CALLS).all(|_| !p.ended(false)));
        assert!((0..9).all(|_| !p.ended(true)));
        let p = Probation::lasting(Duration::ZERO);
        assert!((0..9).all(|_| !p.ended(true)));
    }
}
