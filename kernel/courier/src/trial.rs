//! A short message to the owner through one channel, and what became of it: how a person finds out whether a channel works.

use crate::control::{no_channel, stored};
use crate::courier::Courier;
use crate::sending::Detail;
use carapace_contract::channel::Conversation;
use carapace_contract::ports::Unsendable;
use carapace_contract::{Denial, InstanceId};
use carapace_store::Ulid;
use serde_json::{Value, json};

/// How long it is worth sending, ms: whoever tries a channel looks at it now.
const TRIAL_MS: u64 = 600_000;

impl Courier {
    /// Queues the message. Answer: as [`Test`](carapace_contract::control::ChannelRequest::Test) says.
    pub(crate) async fn test(&self, instance: &InstanceId) -> Result<Value, Denial> {
        let inner = &self.inner;
        let Some(slot) = inner.slot(instance) else { return Err(no_channel(instance)) };
        // The latest first.
        let places = inner.store.places().await.map_err(|e| stored(&e))?;
        let mut places = places.into_iter().filter(|p| &p.instance == instance && inner.is_owner(instance, &p.sender));
        let found = places.find_map(|p| {
            let conversation: Conversation = serde_json::from_value(p.conversation).ok()?;
            Some((p.sender, p.at_ms, conversation))
        });
        let found = match found {
            // A program comes and goes: only one that is there can be written to.
            None if inner.channel(instance).is_some_and(|info| info.lines) => {
                let name = slot.programs.first().ok_or_else(|| nobody_attached(instance))?;
                Some((name.clone(), inner.clock.now_ms(), Conversation::of_program(name)))
            }
            found => found,
        };
        let Some((sender, at_ms, conversation)) = found else { return Ok(json!({ "owner": null, "part": null })) };
        let text = format!("This is a test of the channel {instance}, as its owner asked for. There is nothing to do.");
        let key = format!("test:{}", inner.new_id());
        inner.queue(instance, conversation, text, &key, TRIAL_MS).await.map_err(|e| unsendable(&e))?;
        let first =
            inner.store.outbox_by_key(&instance.to_string(), &format!("{key}:0")).await.map_err(|e| stored(&e))?;
        let part = first.map(|entry| entry.row.id).ok_or_else(|| {
            unsendable(&Unsendable::Invalid(format!("`{instance}` makes no message of the words of a test")))
        })?;
        Ok(json!({ "owner": { "sender": sender, "at_ms": at_ms }, "part": part }))
    }

    /// How a part stands.
    pub(crate) async fn outbox_show(&self, id: Ulid) -> Result<Value, Denial> {
        let entry = self.inner.store.outbox_entry(id).await.map_err(|e| stored(&e))?.ok_or_else(|| {
            Denial::new("E-CHANNEL-004", format!("there is no part {id}"), "see `carapace outbox list`")
        })?;
        let detail = Detail::of(&entry);
        Ok(
            json!({ "state": entry.row.state, "attempts": entry.row.attempts, "error": detail.error, "receipt": detail.receipt }),
        )
    }
}

fn nobody_attached(instance: &InstanceId) -> Denial {
    Denial::new(
        "E-CHANNEL-007",
        format!("no program is attached to {instance}, so there is nowhere to send a test to"),
        format!("`carapace console {instance}` in another terminal, then `carapace channels test {instance}` again"),
    )
}

fn unsendable(e: &Unsendable) -> Denial {
    Denial::new("E-CHANNEL-007", e.to_string(), "see `carapace channels list`")
}
