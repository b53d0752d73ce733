//! Recordings of what an instance is called with, asks and is told, while its owner wants one.

use crate::host::Host;
use crate::instance::Live;
use crate::services::{Vault, now_ms};
use carapace_contract::recording::{Event, Header, Line, MAX_BYTES, VERSION};
use carapace_contract::{Denial, InstanceId};
use carapace_egress::SecretSource as _;
use carapace_egress::leak::Scanner;
use carapace_runtime::{Core, Interface, Journal, Recorder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A recording that nobody reads for so long is over: whoever wanted it is gone.
const UNREAD: Duration = Duration::from_secs(60);

/// What is new in a recording.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recorded {
    /// Lines of JSON, the header first.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: usize,
    /// Calls that have begun, and those of them that are over.
    pub begun: u64,
    /// See `begun`.
    pub over: u64,
    /// Nothing more will come.
    pub done: bool,
}

/// One recording.
pub(crate) struct Tape {
    so_far: Mutex<SoFar>,
    changed: Notify,
    /// A guest never sees a secret; if one of its owner's stands in what it sees all the same, it does not stand in the file.
    scanner: Scanner,
}

struct SoFar {
    lines: Vec<String>,
    bytes: usize,
    /// Calls to record.
    wanted: u64,
    /// Calls that count towards those.
    counted: u64,
    begun: u64,
    over: u64,
    stopped: bool,
    read: Instant,
}

impl SoFar {
    fn full(&self) -> bool {
        self.bytes > MAX_BYTES
    }
    fn accepts(&self) -> bool {
        !self.stopped && !self.full() && self.counted < self.wanted && self.read.elapsed() < UNREAD
    }
    /// Calls that run are written down to their end.
    fn done(&self) -> bool {
        !self.accepts() && (self.over == self.begun || self.full())
    }
}

impl Tape {
    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more call. Those that `count` are what the owner waits for.
    fn begin(&self, counts: bool) -> Option<u64> {
        let mut so_far = self.so_far();
        if !so_far.accepts() {
            return None;
        }
        so_far.begun += 1;
        so_far.counted += u64::from(counts);
        Some(so_far.begun)
    }
}

impl Journal for Tape {
    fn take(&self, line: Line) {
        let ends = matches!(line.event, Event::Returned { .. } | Event::Ended { .. });
        let written = |line: &Line| serde_json::to_string(line).map(|text| self.scanner.redact(&text)).ok();
        let mut so_far = self.so_far();
        if !so_far.full() {
            let cut = |call| written(&Line { call, event: Event::Cut });
            let text = written(&line).filter(|text| so_far.bytes + text.len() <= MAX_BYTES);
            let text = text.or_else(|| {
                so_far.bytes = MAX_BYTES;
                cut(line.call)
            });
            if let Some(text) = text {
                so_far.bytes += text.len();
                so_far.lines.push(text);
            }
        }
        so_far.over += u64::from(ends);
        drop(so_far);
        self.changed.notify_waiters();
    }
}

/// The recordings of a host.
#[derive(Default)]
pub(crate) struct Tapes(Mutex<BTreeMap<InstanceId, Arc<Tape>>>);

impl Tapes {
    fn of(&self, id: &InstanceId) -> Option<Arc<Tape>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The store's state for a call that is written down, if one is wanted.
    pub(crate) fn attach(&self, live: &Live, core: Core, counts: bool, tainted: bool) -> Core {
        let Some(tape) = self.of(&live.id) else { return core };
        match tape.begin(counts) {
            Some(call) => core.recorded(Recorder::new(call, tape, tainted)),
            None => core,
        }
    }
}

impl Host {
    /// Begins to write down the next `calls` calls of tools and completions of an instance, in place of an earlier recording of it.
    ///
    /// # Errors
    /// It is not loaded, it asks WASI, or one of its secrets cannot be read, so that nobody could make sure that it is left out.
    pub async fn record(&self, id: &InstanceId, calls: u64) -> Result<(), Denial> {
        let live = self.instance(id)?;
        // A recording without those answers could not be replayed, and would not say what is from outside.
        if live.loaded.imports().iter().any(|i| matches!(i, Interface::Wasi(_))) {
            return Err(Denial::new(
                "E-HOST-033",
                format!("`{id}` is built for WASI, and what it asks there cannot be written down"),
                format!("carapace plugin logs {id}"),
            ));
        }
        let vault = Vault::new(self.services(), live.clone(), None);
        let mut secrets = Vec::new();
        let granted = live.grant.load();
        for name in granted.grant.capabilities.secrets.keys() {
            if vault.find(name).await?.is_some() {
                secrets.push(vault.get(name).await?);
            }
        }
        let scanner = Scanner::new(secrets).map_err(|e| {
            Denial::new(
                "E-HOST-031",
                format!("the secrets of `{id}` cannot be looked for: {e}"),
                "carapace secrets list",
            )
        })?;
        let component = &live.package.manifest().component;
        let header = Header {
            carapace_recording: VERSION,
            instance: id.clone(),
            version: component.version.to_string(),
            digest: live.package.digest(),
            contract: component.contract.clone(),
            recorded_ms: now_ms(),
        };
        let lines = serde_json::to_string(&header).into_iter().collect();
        let so_far = SoFar {
            lines,
            bytes: 0,
            wanted: calls,
            counted: 0,
            begun: 0,
            over: 0,
            stopped: false,
            read: Instant::now(),
        };
        let tape = Arc::new(Tape { so_far: Mutex::new(so_far), changed: Notify::new(), scanner });
        self.tapes.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), tape);
        Ok(())
    }

    /// What is new in an instance's recording since `from`; waits so long for something new. Once all of a recording that is done was
    /// read, it is forgotten.
    ///
    /// # Errors
    /// There is no recording of it.
    pub async fn recorded(&self, id: &InstanceId, from: usize, wait: Duration) -> Result<Recorded, Denial> {
        let Some(tape) = self.tapes.of(id) else {
            return Err(Denial::new(
                "E-HOST-032",
                format!("`{id}` is not being recorded"),
                format!("carapace plugin record {id}"),
            ));
        };
        let deadline = tokio::time::Instant::now() + wait;
        let new = loop {
            let changed = tape.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut so_far = tape.so_far();
                so_far.read = Instant::now();
                let done = so_far.done();
                let lines: Vec<String> = so_far.lines.get(from..).unwrap_or_default().to_vec();
                if done || !lines.is_empty() || tokio::time::Instant::now() >= deadline {
                    let next = so_far.lines.len();
                    break Recorded { lines, next, begun: so_far.begun, over: so_far.over, done };
                }
            }
            let _ = tokio::time::timeout_at(deadline, changed).await;
        };
        if new.done {
            let mut tapes = self.tapes.0.lock().unwrap_or_else(PoisonError::into_inner);
            if tapes.get(id).is_some_and(|t| Arc::ptr_eq(t, &tape)) {
                tapes.remove(id);
            }
        }
        Ok(new)
    }

    /// Records no further calls; what runs is written down to its end, and can be read.
    pub fn stop_recording(&self, id: &InstanceId) {
        if let Some(tape) = self.tapes.of(id) {
            tape.so_far().stopped = true;
            tape.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tape(wanted: u64, secret: &str) -> Tape {
        let so_far = SoFar {
            lines: Vec::new(),
            bytes: 0,
            wanted,
            counted: 0,
            begun: 0,
            over: 0,
            stopped: false,
            read: Instant::now(),
        };
        let scanner = Scanner::new(vec![secret.into()]).unwrap();
        Tape { so_far: Mutex::new(so_far), changed: Notify::new(), scanner }
    }

    fn returned(call: u64, result: serde_json::Value) -> Line {
        Line { call, event: Event::Returned { result } }
    }

    #[test]
    fn it_is_done_when_the_calls_that_count_are_over() {
        let tape = tape(1, "a-secret-of-a-test");
        assert_eq!((tape.begin(false), tape.begin(true), tape.begin(true)), (Some(1), Some(2), None));
        tape.take(returned(1, json!(1)));
        assert!(!tape.so_far().done());
        tape.take(returned(2, json!(2)));
        assert!(tape.so_far().done());
    }

    #[test]
    fn a_secret_that_a_guest_saw_all_the_same_does_not_stand_in_the_file() {
        let tape = tape(1, "a-secret-of-a-test");
        tape.take(returned(1, json!({ "text": "the key is a-secret-of-a-test, or YS1zZWNyZXQtb2YtYS10ZXN0" })));
        let line = tape.so_far().lines[0].clone();
        assert!(!line.contains("a-secret") && !line.contains("YS1zZWNyZXQ"), "{line}");
        assert!(serde_json::from_str::<Line>(&line).is_ok(), "{line}");
    }

    #[test]
    fn what_is_too_much_is_left_out_and_a_line_says_so() {
        let tape = tape(9, "a-secret-of-a-test");
        let call = tape.begin(true).unwrap();
        tape.take(returned(call, json!("x".repeat(MAX_BYTES))));
        tape.take(returned(call, json!("small")));
        let so_far = tape.so_far();
        assert_eq!(so_far.lines, [serde_json::to_string(&Line { call, event: Event::Cut }).unwrap()]);
        assert!(so_far.done());
    }
}
