//! A clock whose time is moved by the test, and a way to pull the plug.

use async_trait::async_trait;
use carapace_courier::Clock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Time as the test says.
#[derive(Default)]
pub(crate) struct SimClock {
    /// Shared with the store.
    pub(crate) wall: Arc<AtomicU64>,
    steady: AtomicU64,
    sleepers: Mutex<Vec<(u64, oneshot::Sender<()>)>>,
    pub(crate) activity: Arc<AtomicU64>,
}

impl SimClock {
    pub(crate) fn new(activity: Arc<AtomicU64>) -> Arc<Self> {
        let wall = Arc::new(AtomicU64::new(1_700_000_000_000));
        Arc::new(Self { wall, activity, ..Self::default() })
    }

    /// Moves to the moment when the next sleeper wakes, a minute at most, and wakes who is due. `false` if nobody sleeps.
    pub(crate) fn advance(&self) -> bool {
        let mut sleepers = self.sleepers.lock().unwrap();
        sleepers.retain(|(_, wake)| !wake.is_closed());
        let Some(next) = sleepers.iter().map(|(at, _)| *at).min() else { return false };
        let now = self.steady.load(SeqCst);
        // Not by hours at once: who waits for something else must not be overtaken by what runs out some day.
        let passed = next.saturating_sub(now).min(60_000);
        let next = now + passed;
        self.steady.fetch_add(passed, SeqCst);
        self.wall.fetch_add(passed, SeqCst);
        let due: Vec<_> = sleepers.extract_if(.., |(at, _)| *at <= next).collect();
        drop(sleepers);
        for (_, wake) in due {
            let _ = wake.send(());
        }
        true
    }

    /// The wall clock jumps; no time passes.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.wall.store(self.wall.load(SeqCst).saturating_add_signed(by_ms), SeqCst);
    }

    pub(crate) fn passed(&self) -> u64 {
        self.steady.load(SeqCst)
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        self.wall.load(SeqCst)
    }
    fn steady_ms(&self) -> u64 {
        self.steady.load(SeqCst)
    }
    async fn sleep_ms(&self, ms: u64) {
        self.activity.fetch_add(1, SeqCst);
        let (wake, woken) = oneshot::channel();
        let at = self.steady.load(SeqCst) + ms;
        self.sleepers.lock().unwrap().push((at, wake));
        let _ = woken.await;
        self.activity.fetch_add(1, SeqCst);
    }
}

/// Counts the points at which a kernel may die, and makes it die at one of them.
#[derive(Default)]
pub(crate) struct Plug {
    left: AtomicI64,
    pub(crate) pulled: AtomicBool,
    pub(crate) passed: AtomicU64,
    pub(crate) activity: Arc<AtomicU64>,
}

impl Plug {
    pub(crate) fn new(activity: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(i64::MAX), activity, ..Self::default() })
    }

    /// Dies at the `n`th point from now, from 1.
    pub(crate) fn pull_at(&self, n: i64) {
        self.left.store(n, SeqCst);
        self.pulled.store(false, SeqCst);
    }

    /// Here it may die: then nothing after this line happens in this life.
    pub(crate) async fn point(&self) {
        self.activity.fetch_add(1, SeqCst);
        self.passed.fetch_add(1, SeqCst);
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.pulled.store(true, SeqCst);
        }
        if self.pulled.load(SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}
