//! What an instance may use. The manifest asks, the operator's ceiling wins.

use crate::name::InstanceId;
use serde::{Deserialize, Serialize};

/// How a component's code is compiled and metered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Fuel and epochs. The default.
    #[default]
    Metered,
    /// Epochs with a CPU-tick budget, 4 GiB reservation, relaxed SIMD: for heavy arithmetic. Shown at consent.
    Cpu,
}

/// How long an instance lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// A fresh store per call. The default.
    #[default]
    Fresh,
    /// One instance kept, serially. A capability, shown at consent.
    Warm,
}

/// Limits of one call (and, where said, of the instance).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes, all linear memories and tables of a store together.
    pub memory: u64,
    /// Fuel per call (profile `metered`).
    pub fuel_per_call: u64,
    /// CPU milliseconds per call, counted in epoch ticks of 10 ms while the guest runs.
    pub cpu_ms_per_call: u64,
    /// Wall-clock milliseconds per call, host waits included.
    pub wall_ms_per_call: u64,
    /// Host calls per call.
    pub host_calls_per_call: u64,
    /// Bytes a guest may hand to the host in one host call.
    pub host_call_bytes: u64,
    /// Live handles (resources) per store.
    pub handles: u32,
    /// Calls of this instance in flight at once.
    pub concurrency: u32,
    /// Bytes of a call's result.
    pub result_bytes: u64,
    /// Bytes in the kv namespace of the instance.
    pub kv_bytes: u64,
    /// Bytes of notes (keys and texts) in one namespace of the instance's memory.
    pub notes_bytes: u64,
    /// Log lines per minute of the instance.
    pub log_lines_per_minute: u32,
    /// HTTP requests per minute of the instance.
    pub http_requests_per_minute: u32,
    /// Bytes of one HTTP request body.
    pub http_request_bytes: u64,
    /// Bytes of one HTTP response body, after decompression.
    pub http_response_bytes: u64,
    /// Milliseconds a kept instance (`life = "warm"`) may stand idle before it is unloaded.
    pub warm_idle_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 32 << 20,
            fuel_per_call: 500_000_000,
            cpu_ms_per_call: 2_000,
            wall_ms_per_call: 30_000,
            host_calls_per_call: 100_000,
            host_call_bytes: 8 << 20,
            handles: 256,
            concurrency: 16,
            result_bytes: 1 << 20,
            kv_bytes: 16 << 20,
            notes_bytes: 4 << 20,
            log_lines_per_minute: 600,
            http_requests_per_minute: 600,
            http_request_bytes: 16 << 20,
            http_response_bytes: 32 << 20,
            warm_idle_ms: 300_000,
        }
    }
}

/// The line of `carapace.json5` that doubles a limit of an instance, for errors: `field` as it is written there.
pub fn raising(instance: &InstanceId, field: &str, value: u64) -> String {
    let key = match instance.id().as_str() {
        "main" => instance.name().to_string(),
        id => format!("{}:{id}", instance.name()),
    };
    format!(
        "to raise it: `instances: {{ \"{key}\": {{ limits: {{ {field}: {} }} }} }}` in carapace.json5 (at most its `limits.ceiling`)",
        value.saturating_mul(2)
    )
}

impl Limits {
    /// The keys of `[limits]`, in the order of the fields.
    pub const KEYS: [&'static str; 16] = [
        "memory",
        "fuel-per-call",
        "cpu-per-call",
        "wall-per-call",
        "host-calls-per-call",
        "host-call-bytes",
        "handles",
        "concurrency",
        "result-size",
        "kv-size",
        "notes-size",
        "log-lines-per-minute",
        "http-requests-per-minute",
        "http-request-size",
        "http-response-size",
        "warm-idle",
    ];

    /// Each limit by its key in a manifest, as a number (bytes, milliseconds, or a count).
    pub fn by_key(&self) -> [(&'static str, u64); 16] {
        let values = [
            self.memory,
            self.fuel_per_call,
            self.cpu_ms_per_call,
            self.wall_ms_per_call,
            self.host_calls_per_call,
            self.host_call_bytes,
            u64::from(self.handles),
            u64::from(self.concurrency),
            self.result_bytes,
            self.kv_bytes,
            self.notes_bytes,
            u64::from(self.log_lines_per_minute),
            u64::from(self.http_requests_per_minute),
            self.http_request_bytes,
            self.http_response_bytes,
            self.warm_idle_ms,
        ];
        let mut values = values.into_iter();
        Self::KEYS.map(|key| (key, values.next().unwrap_or_default()))
    }

    /// The operator's default ceiling.
    pub fn ceiling() -> Self {
        Self {
            memory: 256 << 20,
            fuel_per_call: 50_000_000_000,
            cpu_ms_per_call: 120_000,
            wall_ms_per_call: 900_000,
            host_calls_per_call: 10_000_000,
            host_call_bytes: 16 << 20,
            handles: 1_000,
            concurrency: 64,
            result_bytes: 8 << 20,
            kv_bytes: 256 << 20,
            notes_bytes: 64 << 20,
            log_lines_per_minute: 6_000,
            http_requests_per_minute: 6_000,
            http_request_bytes: 64 << 20,
            http_response_bytes: 256 << 20,
            warm_idle_ms: 3_600_000,
        }
    }

    /// Field by field the smaller of the two.
    pub fn min(self, c: Self) -> Self {
        Self {
            memory: self.memory.min(c.memory),
            fuel_per_call: self.fuel_per_call.min(c.fuel_per_call),
            cpu_ms_per_call: self.cpu_ms_per_call.min(c.cpu_ms_per_call),
            wall_ms_per_call: self.wall_ms_per_call.min(c.wall_ms_per_call),
            host_calls_per_call: self.host_calls_per_call.min(c.host_calls_per_call),
            host_call_bytes: self.host_call_bytes.min(c.host_call_bytes),
            handles: self.handles.min(c.handles),
            concurrency: self.concurrency.min(c.concurrency),
            result_bytes: self.result_bytes.min(c.result_bytes),
            kv_bytes: self.kv_bytes.min(c.kv_bytes),
            notes_bytes: self.notes_bytes.min(c.notes_bytes),
            log_lines_per_minute: self.log_lines_per_minute.min(c.log_lines_per_minute),
            http_requests_per_minute: self.http_requests_per_minute.min(c.http_requests_per_minute),
            http_request_bytes: self.http_request_bytes.min(c.http_request_bytes),
            http_response_bytes: self.http_response_bytes.min(c.http_response_bytes),
            warm_idle_ms: self.warm_idle_ms.min(c.warm_idle_ms),
        }
    }
}
