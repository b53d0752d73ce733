//! A live instance: its package, grant and loaded code.

use crate::grants::GrantCell;
use crate::state::HostState;
use carapace_contract::InstanceId;
use carapace_registry::VerifiedPackage;
use carapace_runtime::{Instance, Loaded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Everything about an instance that its calls need.
pub(crate) struct Live {
    pub(crate) id: InstanceId,
    pub(crate) package: Arc<VerifiedPackage>,
    pub(crate) grant: GrantCell,
    pub(crate) config: serde_json::Value,
    pub(crate) runtime: Arc<Instance>,
    pub(crate) loaded: Arc<Loaded<HostState>>,
    pub(crate) log_rate: Rate,
}

/// At most so many a minute, counted per whole minute.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// The minute in the upper half, the count in the lower.
    state: AtomicU64,
}

impl Rate {
    /// Takes one of this minute's.
    pub(crate) fn take(&self, per_minute: u32) -> bool {
        let minute = (crate::services::now_ms() / 60_000) & 0xffff_ffff;
        let took = self.state.fetch_update(Relaxed, Relaxed, |s| {
            let count = if s >> 32 == minute { s & 0xffff_ffff } else { 0 };
            (count < u64::from(per_minute)).then_some(minute << 32 | (count + 1))
        });
        took.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn a_minute_has_only_so_many() {
        let rate = Rate::default();
        let took = (0..1_000).filter(|_| rate.take(10)).count();
        // Two minutes' worth if the clock turned over in between.
        assert!(took == 10 || took == 20, "{took}");
    }
}
