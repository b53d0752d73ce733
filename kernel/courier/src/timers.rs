//! A channel's timers: they stand in the store, and survive a start and a swap.

use crate::chance::below;
use crate::clock::{Clock, Moment};
use carapace_contract::InstanceId;
use carapace_contract::channel::TimerChange;
use carapace_store::{Batch, TimerRow};
use std::collections::BTreeMap;

/// The shortest timer, ms: one that is set again whenever it runs down must not fill the session.
const LEAST_MS: u64 = 50;

/// The timers that have not run down.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeMap<String, Moment>,
}

impl Timers {
    /// From their rows. What ran down meanwhile is due at once; what was set by a clock that has been put back since begins anew.
    pub(crate) fn load(rows: Vec<TimerRow>, clock: &dyn Clock) -> Self {
        let now = clock.now_ms();
        let left = |row: &TimerRow| row.due_ms.saturating_sub(now.max(row.set_ms));
        let set = rows.into_iter().map(|row| (row.id.clone(), Moment::after(clock, left(&row)))).collect();
        Self { set }
    }

    /// Does what an event asked for.
    pub(crate) fn change(
        &mut self,
        batch: Batch,
        instance: &InstanceId,
        change: TimerChange,
        clock: &dyn Clock,
    ) -> Batch {
        let Some(after) = change.after_ms else {
            self.set.remove(&change.id);
            return batch.timer_clear(instance.clone(), change.id);
        };
        let after = u64::from(after).max(LEAST_MS) + below(u64::from(change.jitter_ms) + 1);
        let set_ms = clock.now_ms();
        self.set.insert(change.id.clone(), Moment::after(clock, after));
        batch.timer_set(TimerRow {
            instance: instance.clone(),
            id: change.id,
            set_ms,
            due_ms: set_ms.saturating_add(after),
        })
    }

    /// Takes those that have run down, the earliest first.
    pub(crate) fn due(&mut self, clock: &dyn Clock) -> Vec<String> {
        let over = self.set.iter().filter(|(_, m)| m.left(clock) == 0);
        let mut due: Vec<(Moment, String)> = over.map(|(id, moment)| (*moment, id.clone())).collect();
        due.sort();
        for (_, id) in &due {
            self.set.remove(id);
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Waits for the next one; for ever if there is none.
    pub(crate) async fn wait(&self, clock: &dyn Clock) {
        match self.set.values().min_by_key(|m| m.left(clock)) {
            Some(moment) => moment.wait(clock).await,
            None => std::future::pending().await,
        }
    }
}
