//! What a run of events yields: one batch, and what leaves once it is durable.

use crate::address;
use crate::courier::Inner;
use crate::inbound::{Payload, introduction};
use crate::lines;
use crate::pairing::Given;
use crate::policy::{Acquaintance, Ruling, rule};
use crate::slot::Slot;
use crate::timers::Timers;
use carapace_config::ChannelPolicy;
use carapace_contract::channel::{ChannelMessage, ConversationKind, Effect, Inbound, Link, MAX_ID, Outcome};
use carapace_store::{Batch, InboxMessage, InboxRow, InboxTaken, PlaceRow, Receipt, Ulid};

/// A row that was taken in, if it turns out to be new.
pub(crate) struct Taken {
    pub(crate) id: Ulid,
    pub(crate) session: String,
}

/// Collects the outcomes of events that are given one after the other, up to their commit.
pub(crate) struct Harvest<'a> {
    inner: &'a Inner,
    slot: &'a Slot,
    policy: ChannelPolicy,
    batch: Batch,
    /// Of each event that has any.
    effects: Vec<Vec<Effect>>,
    link: Option<Link>,
    taken: Vec<Taken>,
    /// Timers that an outcome set or cleared.
    pub(crate) touched: Vec<String>,
}

impl<'a> Harvest<'a> {
    pub(crate) fn new(inner: &'a Inner, slot: &'a Slot, batch: Batch) -> Self {
        let policy = inner.policy(&slot.instance);
        Self { inner, slot, policy, batch, effects: Vec::new(), link: None, taken: Vec::new(), touched: Vec::new() }
    }

    /// Adds to the batch.
    pub(crate) fn add(&mut self, change: impl FnOnce(Batch) -> Batch) {
        self.batch = change(std::mem::take(&mut self.batch));
    }

    /// Adds an outcome, all but its state and its response; `program` wrote what it is about.
    pub(crate) fn take(&mut self, outcome: Outcome, program: Option<&str>, timers: &mut Timers) {
        for change in outcome.timers {
            if change.id.is_empty() || change.id.len() > MAX_ID {
                tracing::warn!(instance = %self.slot.instance, "a timer without an id, or with one that is too long, was not set");
                continue;
            }
            self.touched.push(change.id.clone());
            let (instance, clock) = (&self.slot.instance, self.inner.clock.as_ref());
            self.batch = timers.change(std::mem::take(&mut self.batch), instance, change, clock);
        }
        for inbound in outcome.inbound {
            match inbound {
                Inbound::Message(message) => self.message(message, false, program),
                Inbound::Edited(message) => self.message(message, true, program),
            }
        }
        if !outcome.effects.is_empty() {
            self.effects.push(outcome.effects);
        }
        if outcome.link.is_some() {
            self.link = outcome.link;
        }
    }

    fn message(&mut self, message: ChannelMessage, edit: bool, program: Option<&str>) {
        let instance = &self.slot.instance;
        if message.key.is_empty() || [&message.key, &message.id, &message.sender.id].iter().any(|id| id.len() > MAX_ID)
        {
            return self.count("invalid");
        }
        // Who wrote a line has shown the owner's token.
        let is_program = program.is_some_and(|name| lines::is_of(&message, name));
        let known = self.inner.pairing.known(instance, &message.sender.id);
        let known = if is_program { Some(Acquaintance::Owner) } else { known };
        match rule(&self.policy, known, &message) {
            Ruling::Nothing(why) => self.count(why),
            Ruling::Turn(origin) => {
                let session = address::session(instance, &message, self.policy.session, origin.is_owner());
                // A program may be gone when there is something to say to the owner.
                if origin.is_owner() && !is_program && message.conversation.kind == ConversationKind::Direct {
                    self.note_place(&message);
                }
                let (key, reference) = (message.key.clone(), message.id.clone());
                let replaces = edit.then(|| Payload::Turn { origin, edit: false, message: message.clone() });
                self.put(session, key, Some(reference), replaces, &Payload::Turn { origin, edit, message });
            }
            Ruling::Pairing => {
                let now = self.inner.clock.now_ms();
                let (given, over) = self.inner.pairing.give(instance, &message.sender, now);
                for code in over {
                    self.add(|b| b.pairing_delete(code));
                }
                match given {
                    Given::Nothing(why) => self.count(why),
                    Given::Code(row) => {
                        self.count("pairing");
                        let session = address::session(instance, &message, self.policy.session, false);
                        let payload = Payload::Notice {
                            conversation: message.conversation,
                            text: introduction(&row.code),
                            expires_ms: row.expires_ms,
                        };
                        // No key that a platform's message could have.
                        let key = format!("\u{1}pairing:{}", row.code);
                        self.add(|b| b.pairing_put(row));
                        self.put(session, key, None, None, &payload);
                    }
                }
            }
        }
    }

    /// Where the owner can be written to.
    fn note_place(&mut self, message: &ChannelMessage) {
        let Ok(conversation) = serde_json::to_value(&message.conversation) else { return };
        let row = PlaceRow {
            instance: self.slot.instance.clone(),
            sender: message.sender.id.clone(),
            conversation,
            at_ms: self.inner.clock.now_ms(),
        };
        self.add(|b| b.place_put(row));
    }

    fn put(
        &mut self,
        session: String,
        key: String,
        reference: Option<String>,
        replaces: Option<Payload>,
        payload: &Payload,
    ) {
        let Ok(payload) = serde_json::to_value(payload) else { return };
        let id = self.inner.new_id();
        let row = InboxRow {
            id,
            source: self.slot.instance.to_string(),
            dedupe_key: Some(key),
            session: session.clone(),
            payload,
            at_ms: self.inner.clock.now_ms(),
        };
        self.taken.push(Taken { id, session });
        let replaces = replaces.and_then(|p| serde_json::to_value(p).ok());
        let reference = reference.filter(|r| !r.is_empty());
        self.add(|b| b.inbox_take(InboxMessage { row, reference, replaces }));
    }

    fn count(&self, outcome: &'static str) {
        count(&self.slot.instance.to_string(), outcome);
    }

    /// Takes it apart for its commit.
    pub(crate) fn gathered(self) -> Gathered {
        Gathered { batch: self.batch, taken: self.taken, effects: self.effects, link: self.link }
    }
}

/// What is to be committed, and what follows from it.
pub(crate) struct Gathered {
    pub(crate) batch: Batch,
    pub(crate) taken: Vec<Taken>,
    pub(crate) effects: Vec<Vec<Effect>>,
    pub(crate) link: Option<Link>,
}

/// The rows of new messages, now that they are durable.
pub(crate) fn settled(taken: Vec<Taken>, receipt: &Receipt, instance: &str) -> Vec<Taken> {
    let mut new = Vec::new();
    for (row, taken) in taken.into_iter().zip(&receipt.taken) {
        match taken {
            InboxTaken::New => {
                count(instance, "accepted");
                new.push(row);
            }
            InboxTaken::Known => count(instance, "known"),
            InboxTaken::Replaced => count(instance, "edited"),
        }
    }
    new
}

fn count(instance: &str, outcome: &'static str) {
    metrics::counter!("carapace_channel_messages_total", "instance" => instance.to_owned(), "outcome" => outcome)
        .increment(1);
}
