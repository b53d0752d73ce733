//! The wall clock, replaceable in tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as the store reads them for lifetimes and leases.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self(None)
    }
    /// One that shows what `hand` holds.
    pub fn manual(hand: Arc<AtomicU64>) -> Self {
        Self(Some(hand))
    }
    /// Now.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Some(hand) => hand.load(Ordering::SeqCst),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(manual)" } else { "Clock(system)" })
    }
}
