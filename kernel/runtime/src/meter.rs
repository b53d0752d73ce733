//! What each instance used, counted where it happens.

use carapace_contract::Denial;
use carapace_contract::meter::Meter;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// So many refusals are kept word for word.
pub const RECENT_DENIALS: usize = 20;
/// So many characters of each text: a guest's own words may stand in it.
const MAX_TEXT: usize = 400;

/// Counters of one instance. Cheap to add to from any thread; [`snapshot`](Self::snapshot) reads them.
#[derive(Debug, Default)]
pub struct InstanceMeter {
    calls: AtomicU64,
    fuel: AtomicU64,
    cpu_ticks: AtomicU64,
    peak_memory: AtomicU64,
    host_calls: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    traps: Mutex<BTreeMap<String, u64>>,
    denials: Mutex<BTreeMap<String, u64>>,
    recent: Mutex<VecDeque<(SystemTime, Denial)>>,
}

fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

fn bump(map: &Mutex<BTreeMap<String, u64>>, key: &str) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(n) = map.get_mut(key) {
        *n += 1;
    } else {
        map.insert(key.to_owned(), 1);
    }
}

impl InstanceMeter {
    /// A call began.
    pub fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }
    /// A call ended in a trap of this kind.
    pub fn trap(&self, kind: &str) {
        bump(&self.traps, kind);
    }
    /// Something was refused.
    pub fn denial(&self, denial: &Denial) {
        bump(&self.denials, &denial.code);
        let kept = Denial::new(&denial.code, shortened(&denial.message), shortened(&denial.fix));
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT_DENIALS {
            recent.pop_front();
        }
        recent.push_back((SystemTime::now(), kept));
    }
    /// The last [`RECENT_DENIALS`] refusals, oldest first; each text without control characters and at most 400 characters long.
    pub fn recent_denials(&self) -> Vec<(SystemTime, Denial)> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
    /// Fuel was used.
    pub fn fuel(&self, fuel: u64) {
        self.fuel.fetch_add(fuel, Relaxed);
    }
    /// A tick passed while the guest was on a CPU.
    pub fn cpu_tick(&self) {
        self.cpu_ticks.fetch_add(1, Relaxed);
    }
    /// A store held this many bytes.
    pub fn memory(&self, bytes: u64) {
        self.peak_memory.fetch_max(bytes, Relaxed);
    }
    /// The guest called the kernel.
    pub fn host_call(&self) {
        self.host_calls.fetch_add(1, Relaxed);
    }
    /// Bytes left through egress.
    pub fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Relaxed);
    }
    /// Bytes came in through egress.
    pub fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Relaxed);
    }
    /// Everything so far.
    pub fn snapshot(&self) -> Meter {
        let read = |map: &Mutex<BTreeMap<String, u64>>| map.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Meter {
            calls: self.calls.load(Relaxed),
            traps: read(&self.traps),
            fuel: self.fuel.load(Relaxed),
            cpu_ticks: self.cpu_ticks.load(Relaxed),
            peak_memory: self.peak_memory.load(Relaxed),
            host_calls: self.host_calls.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            denials: read(&self.denials),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusals_are_kept_and_only_so_many_and_so_much_of_each() {
        let meter = InstanceMeter::default();
        for n in 0..RECENT_DENIALS + 5 {
            meter.denial(&Denial::new("E-GRANT-002", format!("{n}\u{1b}[2J{}", "x".repeat(9_000)), "fix"));
        }
        let recent = meter.recent_denials();
        assert_eq!((recent.len(), meter.snapshot().denials["E-GRANT-002"]), (RECENT_DENIALS, 25));
        let (_, first) = &recent[0];
        assert!(first.message.starts_with("5 [2J") && first.message.chars().count() == MAX_TEXT, "{}", first.message);
    }
}
