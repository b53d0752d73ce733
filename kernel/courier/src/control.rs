//! What the owner may say about channels. Who is let in is decided here, by an authenticated person, and nowhere else.

use crate::answer::WORTH_MS;
use crate::courier::Courier;
use crate::pairing::{spelled, typed};
use crate::sending::Addressed;
use carapace_contract::control::ChannelRequest;
use carapace_contract::{Denial, InstanceId};
use carapace_store::{
    AuditRow, Batch, ChannelEventState, InboxState, OutboxChange, OutboxEntry, OutboxState, PairedRow, PairingRow,
    StoreError, Ulid,
};
use serde_json::{Value, json};

/// Rows of a list.
const MOST_ROWS: usize = 1_000;

pub(crate) fn stored(e: &StoreError) -> Denial {
    Denial::new("E-STORE-011", format!("the state could not be read or written: {e}"), "")
}

pub(crate) fn no_channel(instance: &InstanceId) -> Denial {
    Denial::new(
        "E-CHANNEL-001",
        format!("there is no channel {instance}"),
        format!("install it, or `carapace channels enable {instance}`; `carapace channels list` shows what there is"),
    )
}

fn no_event(id: Ulid) -> Denial {
    Denial::new("E-CHANNEL-005", format!("there is no dead event or message {id}"), "see `carapace events list`")
}

impl Courier {
    /// Carries out what the owner asks. The answers' forms stand with [`ChannelRequest`].
    ///
    /// # Errors
    /// What there is not, or what the store refuses.
    pub async fn control(&self, request: ChannelRequest) -> Result<Value, Denial> {
        match request {
            ChannelRequest::List => {
                let all = self.statuses().await.map_err(|e| stored(&e))?;
                Ok(serde_json::to_value(all).unwrap_or_default())
            }
            ChannelRequest::Status { instance } => {
                let slot = self.inner.slot(&instance).ok_or_else(|| no_channel(&instance))?;
                let status = self.status_of(&slot).await.map_err(|e| stored(&e))?;
                Ok(serde_json::to_value(status).unwrap_or_default())
            }
            ChannelRequest::Test { instance } => self.test(&instance).await,
            ChannelRequest::PairingList => Ok(self.pairing_list()),
            ChannelRequest::PairingApprove { code, owner } => self.approve(&code, owner).await,
            ChannelRequest::PairingReject { code } => {
                let _alone = self.inner.pairing.changing.lock().await;
                let row = self.waiting(&code)?;
                let batch = Batch::new().pairing_delete(&row.code).audit(self.fact(
                    "pairing-rejected",
                    &row.instance,
                    &row.sender,
                ));
                self.commit(batch).await?;
                self.inner.pairing.spent(&row.code, None);
                Ok(json!({ "instance": row.instance, "sender": row.sender, "name": row.name }))
            }
            ChannelRequest::PairingRemove { instance, sender } => {
                let _alone = self.inner.pairing.changing.lock().await;
                let batch = Batch::new().paired_delete(instance.clone(), &sender);
                let removed = self.commit(batch.audit(self.fact("pairing-removed", &instance, &sender))).await?;
                self.inner.pairing.removed(&instance, &sender);
                if removed.deleted.first() != Some(&true) {
                    return Err(Denial::new(
                        "E-CHANNEL-003",
                        format!("nobody {sender:?} is paired with {instance}"),
                        "see `carapace pairing list`; those whom carapace.json5 lists are taken out of it there",
                    ));
                }
                Ok(json!({}))
            }
            ChannelRequest::OutboxList { instance } => self.outbox_list(instance).await,
            ChannelRequest::OutboxShow { id } => self.outbox_show(id).await,
            ChannelRequest::OutboxRetry { id } => self.outbox_retry(id).await,
            ChannelRequest::OutboxDrop { id } => {
                let row = self.part(id).await?.row;
                match self.inner.store.commit(Batch::new().outbox_delete(id)).await {
                    Err(e) if e.is_conflict() => return Err(on_its_way(id)),
                    other => drop(other.map_err(|e| stored(&e))?),
                }
                self.wake(&row.instance);
                Ok(json!({}))
            }
            ChannelRequest::EventList => self.event_list().await,
            ChannelRequest::EventReplay { id } => self.event_replay(id).await,
            ChannelRequest::EventDrop { id } => self.event_drop(id).await,
        }
    }

    fn fact(&self, kind: &str, instance: &InstanceId, sender: &str) -> AuditRow {
        AuditRow {
            kind: kind.to_owned(),
            subject: instance.to_string(),
            detail: json!({ "sender": sender }),
            at_ms: self.inner.clock.now_ms(),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<carapace_store::Receipt, Denial> {
        self.inner.store.commit(batch).await.map_err(|e| stored(&e))
    }

    fn wake(&self, instance: &str) {
        if let Some(slot) = instance.parse().ok().and_then(|i| self.inner.slot(&i)) {
            slot.outbox.notify_one();
        }
    }

    fn pairing_list(&self) -> Value {
        let pairing = &self.inner.pairing;
        let pending: Vec<Value> = pairing
            .pending(self.inner.clock.now_ms())
            .into_iter()
            .map(|r| {
                json!({ "instance": r.instance, "code": spelled(&r.code), "sender": r.sender, "name": r.name,
                    "at_ms": r.at_ms, "expires_ms": r.expires_ms })
            })
            .collect();
        let paired: Vec<Value> = pairing
            .paired()
            .into_iter()
            .map(|r| {
                json!({ "instance": r.instance, "sender": r.sender, "name": r.name, "owner": r.owner, "at_ms": r.at_ms })
            })
            .collect();
        json!({ "pending": pending, "paired": paired })
    }

    fn waiting(&self, code: &str) -> Result<PairingRow, Denial> {
        let wanted = typed(code);
        let pending = self.inner.pairing.pending(self.inner.clock.now_ms());
        pending.into_iter().find(|row| row.code == wanted).ok_or_else(|| {
            let shown: String = code.chars().take(20).collect();
            Denial::new(
                "E-CHANNEL-002",
                format!("no stranger waits with the code {shown:?}: it was never given, was answered, or is older than an hour"),
                "see `carapace pairing list`; a new message of theirs brings a new code",
            )
        })
    }

    async fn approve(&self, code: &str, owner: bool) -> Result<Value, Denial> {
        let _alone = self.inner.pairing.changing.lock().await;
        let row = self.waiting(code)?;
        let paired = PairedRow {
            instance: row.instance.clone(),
            sender: row.sender.clone(),
            name: row.name.clone(),
            owner,
            at_ms: self.inner.clock.now_ms(),
        };
        let kind = if owner { "pairing-approved-owner" } else { "pairing-approved" };
        let batch = Batch::new().pairing_delete(&row.code).paired_put(paired.clone());
        self.commit(batch.audit(self.fact(kind, &row.instance, &row.sender))).await?;
        self.inner.pairing.spent(&row.code, Some(paired));
        Ok(json!({ "instance": row.instance, "sender": row.sender, "name": row.name, "owner": owner }))
    }

    async fn part(&self, id: Ulid) -> Result<OutboxEntry, Denial> {
        let found = self.inner.store.outbox_entry(id).await.map_err(|e| stored(&e))?;
        found.filter(|e| e.row.state != OutboxState::Sent).ok_or_else(|| {
            Denial::new(
                "E-CHANNEL-004",
                format!("there is no part {id} that has not gone out"),
                "see `carapace outbox list`",
            )
        })
    }

    async fn outbox_list(&self, instance: Option<InstanceId>) -> Result<Value, Denial> {
        use OutboxState::{Dead, InFlight, Pending, Uncertain};
        let instance = instance.map(|i| i.to_string());
        let states = [Uncertain, InFlight, Pending, Dead];
        let entries = self.inner.store.outbox_entries(instance.as_deref(), &states, MOST_ROWS).await;
        let shown = entries.map_err(|e| stored(&e))?.into_iter().map(|e| {
            let text = serde_json::from_value::<Addressed>(e.row.part).map(|a| a.part.text).unwrap_or_default();
            json!({ "id": e.row.id, "instance": e.row.instance, "conversation": e.row.conversation,
                "state": e.row.state, "text": text, "attempts": e.row.attempts, "not_before_ms": e.row.not_before_ms,
                "expires_ms": e.row.expires_ms, "tried_ms": e.tried_ms, "detail": e.detail })
        });
        Ok(shown.collect())
    }

    async fn outbox_retry(&self, id: Ulid) -> Result<Value, Denial> {
        let row = self.part(id).await?.row;
        if row.state == OutboxState::InFlight {
            return Err(on_its_way(id));
        }
        let now = self.inner.clock.now_ms();
        let change = OutboxChange {
            state: OutboxState::Pending,
            not_before_ms: Some(now),
            expires_ms: Some(now.saturating_add(WORTH_MS)),
            // What was known about it is no longer true of it.
            detail: Some(json!({})),
        };
        match self.inner.store.commit(Batch::new().outbox_state(id, change)).await {
            Err(e) if e.is_conflict() => return Err(on_its_way(id)),
            other => drop(other.map_err(|e| stored(&e))?),
        }
        self.wake(&row.instance);
        Ok(json!({}))
    }

    async fn event_list(&self) -> Result<Value, Denial> {
        let store = &self.inner.store;
        let events = store.channel_events(None, ChannelEventState::Dead, MOST_ROWS).await.map_err(|e| stored(&e))?;
        let messages = store.inbox(InboxState::Dead, MOST_ROWS).await.map_err(|e| stored(&e))?;
        let mut shown: Vec<Value> = events
            .into_iter()
            .map(|e| {
                json!({ "id": e.id, "instance": e.instance, "what": "event", "why": e.why, "at_ms": e.at_ms, "body": e.body })
            })
            .collect();
        shown.extend(messages.into_iter().filter(|m| m.row.source.parse::<InstanceId>().is_ok()).map(|m| {
            json!({ "id": m.row.id, "instance": m.row.source, "what": "message", "why": m.why, "at_ms": m.row.at_ms,
                "body": m.row.payload })
        }));
        Ok(Value::Array(shown))
    }

    async fn event_replay(&self, id: Ulid) -> Result<Value, Denial> {
        let store = &self.inner.store;
        if let Some(event) = store.channel_event(id).await.map_err(|e| stored(&e))? {
            if event.state != ChannelEventState::Dead {
                return Err(no_event(id));
            }
            self.commit(Batch::new().event_state(id, ChannelEventState::Waiting, None)).await?;
            if let Some(slot) = self.inner.slot(&event.instance) {
                slot.is_no_longer_dead(&event.fingerprint);
                slot.stored(1);
            }
            return Ok(json!({}));
        }
        let entry = store.inbox_entry(id).await.map_err(|e| stored(&e))?.filter(|e| e.state == InboxState::Dead);
        let entry = entry.ok_or_else(|| no_event(id))?;
        let instance: InstanceId = entry.row.source.parse().map_err(|_| no_event(id))?;
        self.commit(Batch::new().inbox_state(id, InboxState::Accepted)).await?;
        self.inner.enqueue(id, instance, entry.row.session);
        Ok(json!({}))
    }

    async fn event_drop(&self, id: Ulid) -> Result<Value, Denial> {
        let store = &self.inner.store;
        if let Some(event) = store.channel_event(id).await.map_err(|e| stored(&e))? {
            if event.state != ChannelEventState::Dead {
                return Err(no_event(id));
            }
            self.commit(Batch::new().event_delete(id)).await?;
            // Its fingerprint stays dead until the channel is started again: it may come once more before that.
            return Ok(json!({}));
        }
        let entry = store.inbox_entry(id).await.map_err(|e| stored(&e))?.filter(|e| e.state == InboxState::Dead);
        let entry = entry.filter(|e| e.row.source.parse::<InstanceId>().is_ok()).ok_or_else(|| no_event(id))?;
        self.commit(Batch::new().inbox_state(entry.row.id, InboxState::Done)).await?;
        Ok(json!({}))
    }
}

fn on_its_way(id: Ulid) -> Denial {
    Denial::new("E-CHANNEL-006", format!("part {id} is being sent"), "wait until that is over")
}
