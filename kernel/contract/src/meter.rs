//! What an instance has used. Counters only grow.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Totals of one instance since the kernel started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Calls into the guest.
    pub calls: u64,
    /// Calls that ended in a trap, by kind (`unreachable`, `fuel`, `cpu`, `wall`, `memory`, …).
    pub traps: BTreeMap<String, u64>,
    /// Fuel consumed.
    pub fuel: u64,
    /// Epoch ticks of 10 ms on a CPU.
    pub cpu_ticks: u64,
    /// The most memory one store held, bytes.
    pub peak_memory: u64,
    /// Calls from the guest into the kernel.
    pub host_calls: u64,
    /// Bytes sent and received through egress.
    pub bytes_out: u64,
    /// See `bytes_out`.
    pub bytes_in: u64,
    /// Refusals, by code.
    pub denials: BTreeMap<String, u64>,
}
