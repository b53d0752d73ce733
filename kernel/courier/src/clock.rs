//! The time, injected: what the wall shows, and what passes.

use async_trait::async_trait;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest sleep before the wall is looked at again: a machine that slept, or was put right, is noticed after it.
pub(crate) const SLICE_MS: u64 = 30_000;

/// Says what time it is, and waits.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch; may jump.
    fn now_ms(&self) -> u64;
    /// Milliseconds since some moment; never goes back.
    fn steady_ms(&self) -> u64;
    /// Waits so long.
    async fn sleep_ms(&self, ms: u64);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    since: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { since: Instant::now() }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }

    fn steady_ms(&self) -> u64 {
        millis(self.since.elapsed())
    }

    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// What the wall may be put back by without its being noticed, ms.
const SLACK_MS: i128 = 1_000;

/// Notices that the wall is put back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wall {
    /// The wall, less the steady clock.
    ahead_ms: i128,
}

impl Wall {
    /// As it stands now.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { ahead_ms: i128::from(clock.now_ms()) - i128::from(clock.steady_ms()) }
    }

    /// Whether it was put back, by a second or more, since this last said so. That it was put forward in between is no matter.
    pub(crate) fn was_put_back(&mut self, clock: &dyn Clock) -> bool {
        let now = Self::of(clock);
        let back = now.ahead_ms < self.ahead_ms - SLACK_MS;
        self.ahead_ms = if back { now.ahead_ms } else { now.ahead_ms.max(self.ahead_ms) };
        back
    }
}

/// A moment to come, by whichever of the two clocks gets there first: the steady one does not count the time that a machine sleeps, and
/// the wall may be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    steady_ms: u64,
    wall_ms: u64,
}

impl Moment {
    /// In so many milliseconds.
    pub(crate) fn after(clock: &dyn Clock, ms: u64) -> Self {
        Self { steady_ms: clock.steady_ms().saturating_add(ms), wall_ms: clock.now_ms().saturating_add(ms) }
    }

    /// How long it is over, by the steady clock.
    pub(crate) fn passed(self, clock: &dyn Clock) -> u64 {
        clock.steady_ms().saturating_sub(self.steady_ms)
    }

    /// How long it still takes; 0 = it is over.
    pub(crate) fn left(self, clock: &dyn Clock) -> u64 {
        let steady = self.steady_ms.saturating_sub(clock.steady_ms());
        steady.min(self.wall_ms.saturating_sub(clock.now_ms()))
    }

    /// Waits for it.
    pub(crate) async fn wait(self, clock: &dyn Clock) {
        loop {
            match self.left(clock) {
                0 => return,
                left => clock.sleep_ms(left.min(SLICE_MS)).await,
            }
        }
    }
}
