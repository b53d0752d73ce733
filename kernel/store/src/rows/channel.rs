//! What a channel keeps between its calls, what it was given and broke on, and who may talk through it.

use super::{InboxRow, OutboxRow};
use carapace_contract::{Digest, InstanceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

words! {
    /// How an event that was stored before a channel took it stands.
    ChannelEventState {
        /// It is given to the channel as soon as it can be.
        Waiting = "waiting",
        /// Put aside: looked at, replayed or dropped by the owner.
        Dead = "dead",
    }
}

/// What a channel's component keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Whose.
    pub instance: InstanceId,
    /// The package that left it.
    pub digest: Digest,
    /// The component's own.
    pub state: Vec<u8>,
}

/// A timer of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerRow {
    /// Whose.
    pub instance: InstanceId,
    /// Which; unique per instance.
    pub id: String,
    /// When it was set: a clock that shows less has been put back since.
    pub set_ms: u64,
    /// When it runs down.
    pub due_ms: u64,
}

/// An event as it came, kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelEventRow {
    /// Unique; the events of an instance are given in the order they were put.
    pub id: Ulid,
    /// For whom.
    pub instance: InstanceId,
    /// Equal for the same event.
    pub fingerprint: String,
    /// The event.
    pub body: Value,
    /// How it stands.
    pub state: ChannelEventState,
    /// Why it is dead, for a person.
    pub why: Option<String>,
    /// When it came.
    pub at_ms: u64,
}

impl ChannelEventRow {
    /// So many dead events of an instance are kept; the oldest goes first.
    pub const KEPT: u64 = 1_000;
}

/// A message that a channel took in.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxMessage {
    /// The message; it has a dedupe key.
    pub row: InboxRow,
    /// The platform's id of it, by which an edit finds it.
    pub reference: Option<String>,
    /// An edit: this takes the place of the payload of the message of the same reference, if nobody has begun with that.
    pub replaces: Option<Value>,
}

/// What became of an [`InboxMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxTaken {
    /// It waits in the inbox.
    New,
    /// Its key was known: nothing was stored.
    Known,
    /// It took the place of the message that it edits, whose work had not begun.
    Replaced,
}

/// A stranger who was given a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRow {
    /// Through which channel.
    pub instance: InstanceId,
    /// The code; unique.
    pub code: String,
    /// The stranger, by the platform's id; one code each.
    pub sender: String,
    /// What they call themselves.
    pub name: String,
    /// When it was given.
    pub at_ms: u64,
    /// Until when it can be approved.
    pub expires_ms: u64,
}

/// Somebody who may talk through a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairedRow {
    /// Through which channel.
    pub instance: InstanceId,
    /// By the platform's id.
    pub sender: String,
    /// What they called themselves.
    pub name: String,
    /// They are the owner.
    pub owner: bool,
    /// Since when.
    pub at_ms: u64,
}

/// Where somebody last wrote directly.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceRow {
    /// Through which channel.
    pub instance: InstanceId,
    /// Who, by the platform's id.
    pub sender: String,
    /// The conversation.
    pub conversation: Value,
    /// When.
    pub at_ms: u64,
}

/// An [`OutboxRow`] with what is known about its sending.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEntry {
    /// The part.
    pub row: OutboxRow,
    /// What the platform answered, or why it failed.
    pub detail: Option<Value>,
    /// When it was last tried.
    pub tried_ms: Option<u64>,
}

/// How much lies in the tables of deliveries, of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Messages that wait for their turn, or are in it.
    pub inbox: u64,
    /// Messages given up.
    pub inbox_dead: u64,
    /// Parts that wait.
    pub pending: u64,
    /// Parts being sent.
    pub in_flight: u64,
    /// Parts that may or may not have arrived.
    pub uncertain: u64,
    /// Parts given up.
    pub dead: u64,
    /// Events that wait for the channel.
    pub events: u64,
    /// Events put aside.
    pub events_dead: u64,
}
