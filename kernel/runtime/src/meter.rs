//! What each instance used, counted where it happens.

use carapace_contract::meter::Meter;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

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
    /// Something was refused, by code.
    pub fn denial(&self, code: &str) {
        bump(&self.denials, code);
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
