//! What a channel component and the kernel say to each other: the `channel` interface of `wit/` as plain data.

mod outcome;
mod socket;

pub use outcome::{Effect, KernelRequest, KernelTarget, Link, Outcome, Progress, TimerChange};
pub use socket::{
    Closed, Closing, Dial, DialReason, Frame, MAX_SOCKETS, SocketAddress, SocketInfo, SocketStatus, SocketTarget,
};

use crate::digest::Digest;
use crate::media::Media;
use crate::name::{EndpointName, InstanceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest state of a channel, bytes.
pub const MAX_STATE: usize = 64 << 10;
/// Messages of one event.
pub const MAX_INBOUND: usize = 256;
/// Effects, and timers, of one event.
pub const MAX_EFFECTS: usize = 64;
/// Parts of one answer.
pub const MAX_PARTS: usize = 64;
/// The largest part, bytes of its data.
pub const MAX_PART: usize = 256 << 10;
/// The longest id of the platform's (of a conversation, a sender, a message), and dedupe key, bytes.
pub const MAX_ID: usize = 256;
/// The longest text of a message that comes in, bytes; what is longer is cut, and says so.
pub const MAX_TEXT: usize = 64 << 10;
/// Files of one answer.
pub const MAX_FILES: usize = 10;
/// How often an event is given to a component that breaks on it.
pub const MAX_ATTEMPTS: u32 = 3;

/// A loaded channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelInfo {
    /// Which.
    pub instance: InstanceId,
    /// Its package. Another digest is another version: it is started anew, with the state of the one before.
    pub digest: Digest,
    /// What it says about its platform.
    pub description: Description,
    /// The names of its webhooks.
    pub webhooks: Vec<String>,
    /// Events are durable before the component sees them, because its platform does not repeat them.
    pub spool: bool,
    /// Its sockets, by endpoint.
    pub sockets: BTreeMap<EndpointName, SocketInfo>,
    /// It fetches files that come with messages.
    pub media: bool,
    /// It talks with programs on this computer.
    pub lines: bool,
}

/// What a platform can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Longest text of one message.
    pub text_limit: u32,
    /// In which unit: `bytes`, `utf16`, `scalars`.
    pub text_unit: String,
    /// For so long the platform drops a second message with the same key, s; 0 = it does not.
    pub key_window_s: u32,
    /// The largest file that can be sent, bytes; 0 = none.
    #[serde(default)]
    pub file_limit: u64,
    /// How it shows that somebody writes.
    pub typing: Option<TypingSupport>,
    /// What was said can be changed.
    #[serde(default)]
    pub edits: Option<EditSupport>,
}

/// See [`Description`]. How long lies between two changes of a message, at least, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditSupport {
    /// Where one person writes with the assistant.
    pub direct_ms: u32,
    /// Elsewhere.
    pub group_ms: u32,
}

impl EditSupport {
    /// How long lies between two changes in such a conversation.
    pub fn interval_ms(self, kind: ConversationKind) -> u32 {
        if kind == ConversationKind::Direct { self.direct_ms } else { self.group_ms }
    }
}

/// See [`Description`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingSupport {
    /// Shown for so long, ms.
    pub lasts_ms: u32,
    /// It can be taken back.
    pub stops: bool,
}

/// Who is in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConversationKind {
    /// One person and the assistant.
    Direct,
    /// Several people.
    Group,
    /// One speaks to many.
    Broadcast,
}

/// A place on the platform where messages are exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conversation {
    /// The platform's id.
    pub id: String,
    /// Who is in it.
    pub kind: ConversationKind,
    /// A thread or topic in it.
    pub thread: Option<String>,
    /// For people.
    pub title: Option<String>,
}

impl ConversationKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Broadcast => "broadcast",
        }
    }
}

impl Conversation {
    /// That of a program on this computer, by its name.
    pub fn of_program(name: impl Into<String>) -> Self {
        Self { id: name.into(), kind: ConversationKind::Direct, thread: None, title: None }
    }

    /// One text for conversation and thread: what order is kept by.
    pub fn key(&self) -> String {
        match &self.thread {
            Some(thread) => format!("{}#{thread}", self.id),
            None => self.id.clone(),
        }
    }
}

/// Where a turn takes place on a chat platform, and messages there that a tool may be about; ids are the platform's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Through which channel.
    pub instance: InstanceId,
    /// In which conversation.
    pub conversation: Conversation,
    /// The message that is being answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// What was last said there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<String>,
}

/// Who wrote, as the component says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The platform's id; empty = unknown, and nobody is answered.
    pub id: String,
    /// For people.
    pub name: String,
    /// A program.
    pub is_bot: bool,
    /// The account that the component speaks with.
    pub is_me: bool,
}

/// A file by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// For the component.
    pub reference: String,
    /// File name.
    pub name: Option<String>,
    /// Media type, as the platform says.
    pub mime: Option<String>,
    /// Bytes, as the platform says.
    pub size: Option<u64>,
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMessage {
    /// The same key is the same message.
    pub key: String,
    /// The platform's id, for replies.
    pub id: String,
    /// Where.
    pub conversation: Conversation,
    /// Who.
    pub sender: Sender,
    /// What.
    pub text: String,
    /// It names the assistant, or answers something it said.
    pub mentions_me: bool,
    /// The message it answers.
    pub reply_to: Option<String>,
    /// When, by the platform's clock, ms since the epoch.
    pub at_ms: Option<u64>,
    /// Files with it.
    pub attachments: Vec<Attachment>,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Inbound {
    /// A message.
    Message(ChannelMessage),
    /// What a message says now.
    Edited(ChannelMessage),
}

/// One thing out of a poll's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Tells it from its neighbours.
    pub cursor: String,
    /// What.
    #[serde(with = "serde_base64")]
    pub data: Vec<u8>,
}

/// An authentic request to a webhook of a component's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRequest {
    /// Which webhook of its manifest.
    pub webhook: String,
    /// Method.
    pub method: String,
    /// Without `?`.
    pub query: String,
    /// Headers, lower case, without what the kernel keeps to itself.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(with = "serde_base64")]
    pub body: Vec<u8>,
}

/// What it is answered, or what a poll was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[serde(with = "serde_base64")]
    pub body: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "kebab-case")]
pub enum Event {
    /// A poll brought this.
    Item(Item),
    /// The kernel gave up on the item of this cursor.
    PassedOver(String),
    /// A timer has run down.
    Timer(String),
    /// A request to a webhook.
    Webhook(WebhookRequest),
    /// A connection is wanted.
    Dial(Dial),
    /// A socket is open.
    Opened(u32),
    /// Something came through a socket.
    Frame(Frame),
    /// A socket has ended.
    Closed(Closed),
    /// A program on this computer wrote something.
    Line(Line),
}

/// What a program on this computer wrote, that has shown the owner's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Under which name it is attached.
    pub client: String,
    /// The same line has the same id.
    pub id: String,
    /// What; at most [`MAX_TEXT`] bytes.
    pub text: String,
}

/// What has to wait after a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureScope {
    /// This conversation.
    #[default]
    Conversation,
    /// Everything of the instance.
    Account,
}

/// Why a channel's call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ChannelFailure {
    /// What kind.
    pub kind: ChannelFailureKind,
    /// For the owner; holds no secret.
    pub message: String,
    /// After so long, ms.
    pub retry_after_ms: Option<u64>,
    /// What has to wait.
    pub scope: FailureScope,
    /// It may have been done all the same.
    pub uncertain: bool,
}

/// See [`ChannelFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelFailureKind {
    /// The component broke: a trap, a limit, an answer outside the contract. The same again may break it again.
    Broken,
    /// The component says that trying again may help, or the other side could not be reached.
    Retryable,
    /// The component says that trying again will not help.
    Final,
    /// The kernel did not let it: no permit was free, the instance was replaced or is going. Counts as no attempt.
    NotNow,
    /// It is not loaded, disabled, revoked.
    Gone,
}

/// What is to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Markdown (CommonMark); may be empty if there are files.
    pub text: String,
    /// The message it answers, where it is shown as an answer to that.
    pub reply_to: Option<String>,
    /// The message that led to it, whether or not that is to be named; none if no message did.
    pub about: Option<String>,
    /// Files with it; they have names.
    pub files: Vec<Media>,
}

/// One message of the platform's, rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedPart {
    /// What a person will read.
    pub text: String,
    /// For the component.
    #[serde(with = "serde_base64")]
    pub data: Vec<u8>,
}

/// A part on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub conversation: Conversation,
    /// What.
    pub part: RenderedPart,
    /// The same each time it is tried.
    pub key: String,
    /// From 1.
    pub attempt: u32,
}

/// How a channel stands, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Which.
    pub instance: InstanceId,
    /// How it stands.
    pub state: ChannelState,
    /// Why, and what to do, where it is not `running`.
    pub why: Option<String>,
    /// Since when, ms since the epoch.
    pub since_ms: u64,
    /// When it last took something in, ms since the epoch.
    pub last_event_ms: Option<u64>,
    /// When a poll last succeeded, ms since the epoch.
    pub last_poll_ms: Option<u64>,
    /// Messages that wait for their turn, or are in it.
    pub waiting: u64,
    /// Messages given up.
    pub messages_dead: u64,
    /// Parts to be sent.
    pub outbox_pending: u64,
    /// Parts that may or may not have arrived.
    pub outbox_uncertain: u64,
    /// Parts given up.
    pub outbox_dead: u64,
    /// Events put aside.
    pub events_dead: u64,
    /// Strangers who wait for an approval.
    pub pairing: u64,
    /// Its sockets that are open.
    #[serde(default)]
    pub sockets: Vec<SocketStatus>,
}

/// See [`ChannelStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelState {
    /// Its `start` has not been answered yet.
    Starting,
    /// All is well.
    Running,
    /// Something fails and is tried again.
    Degraded,
    /// It does nothing until its configuration, a secret, a grant or its package changes, or the kernel is started again.
    Stopped,
}

impl ChannelState {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// Bytes as base64 (standard, padded) in JSON.
mod serde_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}
