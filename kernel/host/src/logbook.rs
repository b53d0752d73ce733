//! The last lines that each instance logged, for its owner to read.

use crate::host::Host;
use crate::services::now_ms;
use carapace_contract::InstanceId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Lines of an instance that are kept, and their bytes.
pub const LOG_LINES: usize = 1_000;
/// See [`LOG_LINES`].
pub const LOG_BYTES: usize = 256 << 10;

/// A line of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// Its number; they only grow, and a gap is what was dropped meanwhile.
    pub n: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// `trace debug info warn error`
    pub level: &'static str,
    /// Whether the kernel says it of the component, and not the component itself.
    pub kernel: bool,
    /// Without control characters, at most 4 KiB.
    pub message: String,
    /// `name=value …`, at most 4 KiB.
    pub fields: String,
}

/// The logs of all instances; in memory, and bounded.
#[derive(Debug, Default)]
pub(crate) struct Logbook {
    rings: Mutex<BTreeMap<InstanceId, Ring>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
}

fn size(line: &LogLine) -> usize {
    line.message.len() + line.fields.len()
}

impl Ring {
    fn push(&mut self, line: LogLine) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES || self.bytes > LOG_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
    }
}

impl Logbook {
    pub(crate) fn push(&self, id: &InstanceId, level: &'static str, kernel: bool, message: String, fields: String) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.entry(id.clone()).or_default();
        ring.next += 1;
        let line = LogLine { n: ring.next, at_ms: now_ms(), level, kernel, message, fields };
        ring.push(line);
        drop(rings);
        self.changed.notify_waiters();
    }

    fn after(&self, id: &InstanceId, n: u64) -> Vec<LogLine> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = rings.get(id).into_iter().flat_map(|r| r.lines.iter());
        lines.filter(|line| line.n > n).cloned().collect()
    }
}

impl Host {
    /// What an instance logged after the line of that number; waits so long for something new. Its lines outlast a new version of it,
    /// and not the kernel.
    pub async fn logged(&self, id: &InstanceId, after: u64, wait: Duration) -> Vec<LogLine> {
        let (services, deadline) = (self.services(), tokio::time::Instant::now() + wait);
        loop {
            let changed = services.logbook.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let lines = services.logbook.after(id, after);
            if !lines.is_empty() || tokio::time::Instant::now() >= deadline {
                return lines;
            }
            let _ = tokio::time::timeout_at(deadline, changed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_only_so_many_and_so_much() {
        let (book, id) = (Logbook::default(), "me/dice/main".parse().unwrap());
        for n in 0..LOG_LINES + 5 {
            book.push(&id, "info", false, n.to_string(), String::new());
        }
        let lines = book.after(&id, 0);
        assert_eq!((lines.len(), lines[0].message.as_str(), lines[0].n), (LOG_LINES, "5", 6));
        assert_eq!(book.after(&id, 1_003).len(), 2);
        for _ in 0..LOG_BYTES / 4_000 + 5 {
            book.push(&id, "info", false, "x".repeat(4_000), String::new());
        }
        assert!(book.after(&id, 0).iter().map(size).sum::<usize>() <= LOG_BYTES);
        assert!(book.after(&"me/other/main".parse().unwrap(), 0).is_empty());
    }
}
