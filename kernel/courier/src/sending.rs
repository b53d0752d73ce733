//! One part on its way: noted before it is sent, and what came of it noted after.

use crate::chance::back_off;
use crate::courier::Inner;
use crate::ingress::LONGEST_ASKED_MS;
use carapace_config::Uncertain;
use carapace_contract::InstanceId;
use carapace_contract::channel::{
    ChannelFailure, ChannelFailureKind, Conversation, FailureScope, MAX_ATTEMPTS, Outgoing, RenderedPart,
};
use carapace_store::{Batch, Lease, OutboxChange, OutboxEntry, OutboxState, StoreError, Ulid};
use serde::{Deserialize, Serialize};

/// The first wait after a failure, and the longest, ms.
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 300_000;

/// A part and where it goes: what an outbox row holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Addressed {
    pub(crate) conversation: Conversation,
    pub(crate) part: RenderedPart,
    /// The row that it takes the place of, if that was sent: the draft of the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edits: Option<Ulid>,
}

/// What is known about the sending of a part: the row's `detail`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Detail {
    /// When it was first tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_ms: Option<u64>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How often the component broke on it.
    pub(crate) broken: u32,
    /// How long it was put off when it last failed, ms.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) wait_ms: u64,
    /// The last failure, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The platform's id of what was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<String>,
    /// It cannot take the place of anything: it is sent as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) anew: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Detail {
    pub(crate) fn of(entry: &OutboxEntry) -> Self {
        entry.detail.clone().and_then(|d| serde_json::from_value(d).ok()).unwrap_or_default()
    }

    /// The platform's id of what was sent, where it has one.
    pub(crate) fn sent_as(self) -> Option<String> {
        self.receipt.filter(|id| !id.is_empty())
    }

    pub(crate) fn change(&self, state: OutboxState, not_before_ms: Option<u64>) -> OutboxChange {
        OutboxChange { state, not_before_ms, expires_ms: None, detail: serde_json::to_value(self).ok() }
    }
}

/// What the worker has to know about a part that was tried.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Nothing of the instance is sent for so long, ms.
    pub(crate) pause_ms: Option<u64>,
    /// The channel is not there.
    pub(crate) gone: bool,
    /// The store refused: somebody else sends now, or it is closed.
    pub(crate) lost: Option<StoreError>,
}

/// What becomes of a part of which nobody knows whether it arrived.
pub(crate) fn settle(policy: Uncertain, key_window_s: u32, detail: &Detail, now_ms: u64) -> OutboxState {
    let first = detail.first_ms.unwrap_or(now_ms);
    let age = now_ms.checked_sub(first);
    // The platform itself drops the second one. Of a clock that was put back nobody knows how much time has passed.
    if age.is_some_and(|age| age < u64::from(key_window_s) * 1_000) {
        return OutboxState::Pending;
    }
    match policy {
        Uncertain::Ask => OutboxState::Uncertain,
        Uncertain::Resend => OutboxState::Pending,
        Uncertain::Drop => OutboxState::Dead,
    }
}

impl Inner {
    /// Sends a part that is due.
    pub(crate) async fn send(&self, instance: &InstanceId, lease: &Lease, entry: OutboxEntry) -> Tried {
        let row = &entry.row;
        let mut detail = Detail::of(&entry);
        let batch = || Batch::new().lease(lease.name.clone(), lease.token);
        let Ok(addressed) = serde_json::from_value::<Addressed>(row.part.clone()) else {
            detail.error = Some("it cannot be read back, or was erased".to_owned());
            return self.note(batch().outbox_state(row.id, detail.change(OutboxState::Dead, None))).await;
        };
        detail.first_ms.get_or_insert(self.clock.now_ms());
        // Durable first: a part found so by the next start may have arrived.
        let begun = self.store.commit(batch().outbox_state(row.id, detail.change(OutboxState::InFlight, None))).await;
        match begun {
            Err(e) if e.is_fenced() || e.is_closed() => return Tried { lost: Some(e), ..Tried::default() },
            // Dropped by the owner, or the disk is full: it is looked at again.
            Err(error) => {
                tracing::warn!(%instance, %error, "a part could not be sent");
                return Tried { pause_ms: Some(FIRST_MS), ..Tried::default() };
            }
            Ok(_) => {}
        }
        let edited = self.edited(&addressed, &detail).await;
        let outgoing = Outgoing {
            conversation: addressed.conversation,
            part: addressed.part,
            key: row.idempotency_key.clone(),
            attempt: row.attempts.saturating_add(1),
        };
        let result = match &edited {
            // The same change twice is one.
            Some(id) => match self.channels.edit(instance, outgoing, id.clone()).await {
                Ok(()) => Ok(id.clone()),
                Err(f) => Err(ChannelFailure { uncertain: false, ..f }),
            },
            None => self.channels.send(instance, outgoing).await,
        };
        let now = self.clock.now_ms();
        let mut tried = Tried::default();
        let (change, outcome) = match result {
            Ok(receipt) => {
                detail = Detail { receipt: Some(receipt), error: None, ..detail };
                (detail.change(OutboxState::Sent, None), "sent")
            }
            // What was to be changed is gone, or too old: then it is said anew.
            Err(f) if edited.is_some() && f.kind == ChannelFailureKind::Final => {
                tracing::info!(%instance, error = %f, "a message could not be changed; the answer is sent as another one");
                (detail.anew, detail.wait_ms) = (true, 0);
                (detail.change(OutboxState::Pending, Some(now)), "anew")
            }
            Err(f) => {
                let (state, wait, outcome) = self.failed(instance, &f, &mut detail, now);
                tried.gone = f.kind == ChannelFailureKind::Gone;
                if f.scope == FailureScope::Account && state == OutboxState::Pending {
                    tried.pause_ms = Some(wait);
                }
                let not_before = (state == OutboxState::Pending).then(|| now.saturating_add(wait));
                detail.wait_ms = not_before.map_or(0, |_| wait);
                (detail.change(state, not_before), outcome)
            }
        };
        metrics::counter!("carapace_channel_sends_total", "instance" => instance.to_string(), "outcome" => outcome)
            .increment(1);
        let noted = self.note(batch().outbox_state(row.id, change)).await;
        Tried { lost: noted.lost, ..tried }
    }

    /// The platform's id of the message whose place a part takes.
    pub(crate) async fn edited(&self, addressed: &Addressed, detail: &Detail) -> Option<String> {
        let draft = addressed.edits.filter(|_| !detail.anew)?;
        Detail::of(&self.store.outbox_entry(draft).await.ok().flatten()?).sent_as()
    }

    /// What becomes of a part that failed, when it is tried again, and the word for the counters.
    fn failed(
        &self,
        instance: &InstanceId,
        f: &ChannelFailure,
        detail: &mut Detail,
        now_ms: u64,
    ) -> (OutboxState, u64, &'static str) {
        detail.error = Some(f.message.chars().take(500).collect());
        let asked = f.retry_after_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
        if f.kind == ChannelFailureKind::NotNow && !f.uncertain {
            return (OutboxState::Pending, back_off(1, 400, 400).max(asked), "not-now");
        }
        detail.failures = detail.failures.saturating_add(1);
        detail.broken += u32::from(f.kind == ChannelFailureKind::Broken);
        let wait = back_off(detail.failures, FIRST_MS, LONGEST_MS).max(asked);
        if f.uncertain {
            let window = self.channel(instance).map_or(0, |info| info.description.key_window_s);
            let state = settle(self.policy(instance).uncertain, window, detail, now_ms);
            // With the same key, or by the owner's own choice: but not for ever.
            if state == OutboxState::Pending && detail.broken >= MAX_ATTEMPTS {
                return (OutboxState::Dead, wait, "dead");
            }
            let outcome = match state {
                OutboxState::Uncertain => "uncertain",
                OutboxState::Dead => "dead",
                _ => "retried",
            };
            return (state, wait, outcome);
        }
        match f.kind {
            ChannelFailureKind::Final => (OutboxState::Dead, wait, "dead"),
            ChannelFailureKind::Broken if detail.broken >= MAX_ATTEMPTS => (OutboxState::Dead, wait, "dead"),
            // At once when its channel is there again.
            ChannelFailureKind::Gone => (OutboxState::Pending, 0, "gone"),
            _ => (OutboxState::Pending, wait, "retried"),
        }
    }

    /// Commits what came of it, and again while that cannot be written: a part that went out must not stay unsaid.
    async fn note(&self, batch: Batch) -> Tried {
        let mut failures = 0;
        loop {
            match self.store.commit(batch.clone()).await {
                Ok(_) => return Tried::default(),
                Err(e) if e.is_full() => {
                    failures += 1;
                    self.clock.sleep_ms(back_off(failures, FIRST_MS, 60_000)).await;
                }
                Err(e) => return Tried { lost: Some(e), ..Tried::default() },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncertain_part_is_repeated_only_where_the_platform_drops_it_or_the_owner_said_so() {
        let detail = Detail { first_ms: Some(10_000), ..Detail::default() };
        let asked = |window, now| settle(Uncertain::Ask, window, &detail, now);
        assert_eq!(asked(0, 10_001), OutboxState::Uncertain);
        assert_eq!(asked(60, 69_999), OutboxState::Pending);
        assert_eq!(asked(60, 70_000), OutboxState::Uncertain);
        assert_eq!(asked(60, 9_999), OutboxState::Uncertain, "the clock was put back");
        assert_eq!(settle(Uncertain::Resend, 0, &detail, 70_000), OutboxState::Pending);
        assert_eq!(settle(Uncertain::Drop, 0, &detail, 70_000), OutboxState::Dead);
    }
}
