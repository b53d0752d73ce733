//! A live instance: its package, grant and loaded code.

use crate::grants::GrantCell;
use crate::lending::Lendings;
use crate::probation::Probation;
use crate::state::HostState;
use carapace_contract::limits::Limits;
use carapace_contract::{Denial, EndpointName, HostPort, InstanceId};
use carapace_registry::VerifiedPackage;
use carapace_runtime::{Instance, Loaded, Warm};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// Everything about an instance that its calls need.
pub(crate) struct Live {
    pub(crate) id: InstanceId,
    pub(crate) package: Arc<VerifiedPackage>,
    pub(crate) grant: GrantCell,
    pub(crate) lendings: Lendings,
    pub(crate) config: serde_json::Value,
    pub(crate) runtime: Arc<Instance>,
    pub(crate) loaded: Arc<Loaded<HostState>>,
    /// The kept store of a provider that was granted `life = "warm"`.
    pub(crate) warm: Option<Warm<HostState>>,
    pub(crate) log_rate: Rate,
    pub(crate) eviction: Eviction,
    /// It replaced an earlier version not long ago.
    pub(crate) probation: Option<Probation>,
    /// What its policy is made of, besides the grant.
    pub(crate) made_of: MadeOf,
}

/// What an instance's policy is made of, besides its grant.
#[derive(Debug)]
pub(crate) struct MadeOf {
    pub(crate) endpoints: BTreeMap<EndpointName, url::Url>,
    pub(crate) public_allow: BTreeSet<HostPort>,
    pub(crate) limits: Limits,
}

/// An instance's place: what answers, and what answered a moment ago.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) now: Arc<Live>,
    /// The code that was replaced, for calls that were planned before it was.
    pub(crate) before: Option<Arc<Live>>,
}

impl Live {
    /// Variables of the kernel's environment speak for the instance that nobody named. A key in the environment must not follow
    /// to a server that another instance points at.
    pub(crate) fn hears_environment(id: &InstanceId) -> bool {
        *id.id() == carapace_contract::Name::main()
    }
}

/// How an instance is thrown out while calls of it run.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    why: OnceLock<Denial>,
    now: CancellationToken,
}

impl Eviction {
    /// Ends every call of the instance, running and to come.
    pub(crate) fn evict(&self, why: Denial) {
        // Whoever was first has said why.
        let _ = self.why.set(why);
        self.now.cancel();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.now.is_cancelled()
    }

    /// The call's answer, or why the instance was thrown out meanwhile. Dropping the call stops its guest.
    pub(crate) async fn or<T>(&self, call: impl Future<Output = T>) -> Result<T, Denial> {
        tokio::select! {
            biased;
            () = self.now.cancelled() => Err(self.why.get().cloned().unwrap_or_else(|| {
                Denial::new("E-HOST-007", "the instance was unloaded", "carapace plugin list")
            })),
            answer = call => Ok(answer),
        }
    }
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
