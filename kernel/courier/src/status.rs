//! How the channels stand, for their owner and for `/health/ready`.

use crate::courier::Courier;
use crate::slot::Slot;
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelState, ChannelStatus};
use carapace_store::StoreError;

impl Courier {
    /// Every channel that is loaded.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn statuses(&self) -> Result<Vec<ChannelStatus>, StoreError> {
        let mut all = Vec::new();
        for slot in self.inner.all_slots() {
            all.push(self.status_of(&slot).await?);
        }
        Ok(all)
    }

    pub(crate) async fn status_of(&self, slot: &Slot) -> Result<ChannelStatus, StoreError> {
        let inner = &self.inner;
        let counts = inner.store.delivery_counts(&slot.instance).await?;
        let standing = slot.standing();
        let pending = inner.pairing.pending(inner.clock.now_ms());
        Ok(ChannelStatus {
            instance: slot.instance.clone(),
            state: standing.state,
            why: standing.why,
            since_ms: standing.since_ms,
            last_event_ms: standing.last_event_ms,
            last_poll_ms: standing.last_poll_ms,
            waiting: counts.inbox,
            messages_dead: counts.inbox_dead,
            outbox_pending: counts.pending + counts.in_flight,
            outbox_uncertain: counts.uncertain,
            outbox_dead: counts.dead,
            events_dead: counts.events_dead,
            pairing: pending.iter().filter(|row| row.instance == slot.instance).count() as u64,
            sockets: slot.sockets.statuses(),
        })
    }

    /// The channels that have stopped, and why, for people. Cheap: asks nobody.
    pub fn not_ready(&self) -> Vec<(InstanceId, String)> {
        let slots = self.inner.all_slots();
        let stopped =
            slots.iter().map(|slot| (slot, slot.standing())).filter(|(_, s)| s.state == ChannelState::Stopped);
        stopped
            .map(|(slot, s)| {
                let why = format!("the channel {} has stopped: {}", slot.instance, s.why.unwrap_or_default());
                (slot.instance.clone(), why)
            })
            .collect()
    }
}
