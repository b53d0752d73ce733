//! Programs on this computer that talk line by line: who is attached, what they write, and what is written to them.

use crate::control::{no_channel, stored};
use crate::courier::{Courier, Inner};
use crate::inbound::Payload;
use crate::sending::Addressed;
use crate::slot::{Hook, Slot};
use async_trait::async_trait;
use carapace_contract::channel::{ChannelInfo, ChannelMessage, ChannelState, ConversationKind, Event, Line, MAX_TEXT};
use carapace_contract::ports::{LATER, Lines, Program, Seated, Unattached, Written};
use carapace_contract::{Denial, InstanceId};
use carapace_store::{Batch, InboxState, OutboxChange, OutboxState, StoreError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// The longest name of a program, bytes.
const MAX_NAME: usize = 64;
/// The longest id of a line, bytes.
const MAX_LINE_ID: usize = 128;
/// What may wait for one program to take it.
const MOST_WAITING: usize = 64;
/// Programs of one instance at once.
const MOST_PROGRAMS: usize = 64;
/// How long a program may take to say that it has something, ms.
const PATIENCE_MS: u64 = 5_000;
/// Rows that are looked at.
const MOST_ROWS: usize = 1_000;

/// Who is attached to an instance.
#[derive(Default)]
pub(crate) struct Programs {
    all: Mutex<Vec<(String, mpsc::Sender<Written>)>>,
}

impl Programs {
    fn join(&self, name: &str) -> Option<mpsc::Receiver<Written>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, to)| !to.is_closed());
        if all.len() >= MOST_PROGRAMS {
            return None;
        }
        let (to, from) = mpsc::channel(MOST_WAITING);
        all.push((name.to_owned(), to));
        Some(from)
    }

    fn named(&self, name: &str) -> Vec<mpsc::Sender<Written>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, to)| !to.is_closed());
        all.iter().filter(|(n, _)| n == name).map(|(_, to)| to.clone()).collect()
    }

    /// Somebody who is attached.
    pub(crate) fn first(&self) -> Option<String> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(_, to)| !to.is_closed()).map(|(name, _)| name.clone())
    }

    /// Nobody is attached any more.
    pub(crate) fn leave(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether a message is what the program of this name wrote.
pub(crate) fn is_of(message: &ChannelMessage, name: &str) -> bool {
    message.conversation.kind == ConversationKind::Direct
        && message.conversation.id == name
        && message.sender.id == name
}

#[async_trait]
impl Lines for Courier {
    async fn attach(&self, component: &str, instance: &str, client: &str) -> Result<Seated, Denial> {
        let named = |info: &ChannelInfo| {
            info.instance.name().as_str() == component && info.instance.id().as_str() == instance && info.lines
        };
        let found: Vec<InstanceId> =
            self.inner.channels.channels().into_iter().filter(named).map(|i| i.instance).collect();
        let slot = match found.as_slice() {
            [id] => self.inner.slot(id).ok_or_else(|| no_channel(id))?,
            _ => {
                let why = format!("there is no channel `{component}/{instance}` that talks with programs");
                return Err(Denial::new(
                    "E-CHANNEL-013",
                    why,
                    "carapace channels enable console; `carapace channels list` shows what there is",
                ));
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=MAX_NAME).contains(&client.len()) || !client.chars().all(plain) {
            let why = format!("a program's name has 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ -");
            return Err(Denial::new("E-CHANNEL-014", why, "carapace console --as NAME"));
        }
        let written = slot.programs.join(client).ok_or_else(|| {
            let why = format!("{MOST_PROGRAMS} programs are attached to {} already", slot.instance);
            Denial::new("E-CHANNEL-014", why, "end one of them")
        })?;
        // After it joined: what is tried now finds it.
        self.inner.due_now(&slot, client).await.map_err(|e| stored(&e))?;
        let program = One { inner: Arc::clone(&self.inner), slot, name: client.to_owned() };
        Ok(Seated { program: Arc::new(program), written })
    }

    async fn write(&self, instance: &InstanceId, client: &str, key: &str, text: String) -> Result<(), Unattached> {
        let slot = self.inner.slot(instance).ok_or(Unattached)?;
        let mut told = FuturesUnordered::new();
        for to in slot.programs.named(client) {
            let (got, receiver) = oneshot::channel();
            if to.try_send(Written { key: key.to_owned(), text: text.clone(), got }).is_ok() {
                told.push(receiver);
            }
        }
        let any = async {
            while let Some(answer) = told.next().await {
                if answer.is_ok() {
                    return Ok(());
                }
            }
            Err(Unattached)
        };
        tokio::select! {
            biased;
            result = any => result,
            () = self.inner.clock.sleep_ms(PATIENCE_MS) => Err(Unattached),
        }
    }
}

impl Inner {
    /// What waits for a program is tried at once.
    async fn due_now(&self, slot: &Slot, name: &str) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        let waiting =
            self.store.outbox_entries(Some(&slot.instance.to_string()), &[OutboxState::Pending], MOST_ROWS).await?;
        let mut batch = Batch::relaxed();
        for entry in waiting {
            if entry.row.not_before_ms > now && is_for(&entry.row.part, name) {
                let change = OutboxChange {
                    state: OutboxState::Pending,
                    not_before_ms: Some(now),
                    expires_ms: None,
                    detail: entry.detail,
                };
                batch = batch.outbox_state(entry.row.id, change);
            }
        }
        if !batch.is_empty() {
            match self.store.commit(batch).await {
                // One of them was sent, or dropped, meanwhile.
                Err(e) if e.is_conflict() || e.is_missing() => {}
                other => drop(other?),
            }
        }
        slot.outbox.notify_one();
        Ok(())
    }

    /// Whether a program's lines are dealt with, and nothing is on its way to it.
    async fn is_quiet(&self, instance: &InstanceId, name: &str) -> Result<bool, StoreError> {
        let source = instance.to_string();
        for state in [InboxState::Accepted, InboxState::Processing] {
            let mut open = self.store.inbox(state, MOST_ROWS).await?.into_iter().filter(|e| e.row.source == source);
            let is_its = |payload| matches!(serde_json::from_value(payload), Ok(Payload::Turn { message, .. }) if is_of(&message, name));
            if open.any(|e| is_its(e.row.payload)) {
                return Ok(false);
            }
        }
        let states = [OutboxState::Pending, OutboxState::InFlight];
        let parts = self.store.outbox_entries(Some(&source), &states, MOST_ROWS).await?;
        Ok(!parts.iter().any(|e| is_for(&e.row.part, name)))
    }
}

fn is_for(part: &serde_json::Value, name: &str) -> bool {
    serde_json::from_value::<Addressed>(part.clone()).is_ok_and(|a| a.conversation.id == name)
}

/// A program that is attached.
struct One {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    name: String,
}

fn not_now(why: impl Into<String>) -> Denial {
    Denial::new(LATER, why, "the same line again, a little later")
}

#[async_trait]
impl Program for One {
    async fn line(&self, id: String, text: String) -> Result<(), Denial> {
        let instance = &self.slot.instance;
        let plain = |c: char| !c.is_control();
        if !(1..=MAX_LINE_ID).contains(&id.len()) || !id.chars().all(plain) || text.len() > MAX_TEXT {
            let why = format!("a line has an id of 1 to {MAX_LINE_ID} bytes and at most {MAX_TEXT} bytes of text");
            return Err(Denial::new("E-CHANNEL-014", why, "send a shorter line"));
        }
        if !self.inner.channel(instance).is_some_and(|info| info.lines) {
            let why = format!("{instance} does not talk with programs any more");
            return Err(Denial::new("E-CHANNEL-013", why, format!("carapace channels enable {instance}")));
        }
        let standing = self.slot.standing();
        if standing.state == ChannelState::Stopped {
            return Err(not_now(format!("the channel has stopped: {}", standing.why.unwrap_or_default())));
        }
        if self.inner.lanes.is_full(instance) {
            return Err(not_now("too many messages wait for their answers"));
        }
        let (sender, answer) = oneshot::channel();
        let event = Event::Line(Line { client: self.name.clone(), id, text });
        if self.slot.post(Hook { event, answer: sender }).is_err() {
            return Err(not_now("too many lines wait to be taken in"));
        }
        // Closed: its session ended before the line was taken in.
        let answer = answer.await.map_err(|_| not_now("the channel is being started anew"))?;
        if answer.status < 400 {
            return Ok(());
        }
        let why: String = String::from_utf8_lossy(&answer.body).chars().filter(|c| !c.is_control()).take(500).collect();
        Err(Denial::new("E-CHANNEL-016", format!("{instance} does not take this line: {why}"), ""))
    }

    async fn is_quiet(&self) -> Result<bool, Denial> {
        self.inner.is_quiet(&self.slot.instance, &self.name).await.map_err(|e| stored(&e))
    }
}
