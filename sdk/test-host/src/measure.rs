//! What calls use of their limits.

use carapace_contract::meter::Meter;
use serde::{Deserialize, Serialize};

/// The most that one call used, of all that were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// How many were made.
    pub calls: u64,
    /// Fuel; none is counted in the profile `cpu`.
    pub fuel: u64,
    /// Bytes of all memories and tables of a store.
    pub memory: u64,
    /// Processor time, milliseconds, in steps of 10.
    pub cpu_ms: u64,
    /// Calls into the kernel.
    pub host_calls: u64,
}

impl Used {
    /// Takes a call into account, by the meter before it and after it.
    pub(crate) fn add(&mut self, before: &Meter, after: &Meter) {
        self.calls += after.calls.saturating_sub(before.calls);
        self.fuel = self.fuel.max(after.fuel.saturating_sub(before.fuel));
        self.memory = self.memory.max(after.peak_memory);
        self.cpu_ms = self.cpu_ms.max(after.cpu_ticks.saturating_sub(before.cpu_ticks).saturating_mul(10));
        self.host_calls = self.host_calls.max(after.host_calls.saturating_sub(before.host_calls));
    }

    /// Of two processes' calls.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            fuel: self.fuel.max(other.fuel),
            memory: self.memory.max(other.memory),
            cpu_ms: self.cpu_ms.max(other.cpu_ms),
            host_calls: self.host_calls.max(other.host_calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_call_counts() {
        let meter = |calls, fuel, peak_memory| Meter { calls, fuel, peak_memory, ..Meter::default() };
        let mut used = Used::default();
        used.add(&meter(0, 0, 0), &meter(1, 70, 9));
        used.add(&meter(1, 70, 9), &meter(2, 90, 9));
        assert_eq!((used.calls, used.fuel, used.memory), (2, 70, 9));
        let both = used.with(Used { calls: 1, fuel: 80, ..Used::default() });
        assert_eq!((both.calls, both.fuel, both.memory), (3, 80, 9));
    }
}
