//! What is stored, as plain rows. Times are milliseconds since the Unix epoch.

use carapace_contract::{Digest, InstanceId, SecretName};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use ulid::Ulid;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }
        impl $name {
            /// Its word in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            pub(crate) fn parse(word: &str) -> Result<Self, crate::StoreError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::StoreError::corrupt(format!(concat!("unknown ", stringify!($name), " `{}`"), word))),
                }
            }
        }
    };
}

mod blob;
mod channel;
mod package;
mod request;

pub use blob::BlobRow;
pub use channel::{
    ChannelEventRow, ChannelEventState, ChannelRow, DeliveryCounts, InboxMessage, InboxTaken, OutboxEntry, PairedRow,
    PairingRow, PlaceRow, TimerRow,
};
pub use package::{ComponentData, EarlierPackage, PackageRow, PassedOver};
pub use request::RequestRow;

words! {
    /// How a run stands. It only moves forward.
    RunPhase {
        /// Durable, not begun.
        Accepted = "accepted",
        /// Begun.
        Running = "running",
        /// Over, one way or another.
        Ended = "ended",
    }
}
words! {
    /// How an accepted event stands.
    InboxState {
        /// Durable, not begun.
        Accepted = "accepted",
        /// Being worked on; after a crash it is worked on again.
        Processing = "processing",
        /// Done; its payload is dropped, its dedupe key stays.
        Done = "done",
        /// Given up; its payload is kept to be looked at and replayed.
        Dead = "dead",
    }
}
words! {
    /// How a part on its way out stands.
    OutboxState {
        /// Waiting for its turn.
        Pending = "pending",
        /// Being sent. Found so at open, it becomes `Uncertain`.
        InFlight = "in-flight",
        /// May or may not have arrived: the process died, or the connection broke, in mid-send.
        Uncertain = "uncertain",
        /// Delivered.
        Sent = "sent",
        /// Given up.
        Dead = "dead",
    }
}
words! {
    /// How a question to the owner stands. Allowed moves: `Pending` → any but `Used`; `Approved` → `Used`, `Expired` or `Cancelled`.
    ApprovalState {
        /// Not answered.
        Pending = "pending",
        /// Yes.
        Approved = "approved",
        /// No.
        Denied = "denied",
        /// Not answered in time.
        Expired = "expired",
        /// No longer needed.
        Cancelled = "cancelled",
        /// A yes that was spent.
        Used = "used",
    }
}

impl ApprovalState {
    pub(crate) fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => !matches!(next, Self::Pending | Self::Used),
            Self::Approved => matches!(next, Self::Used | Self::Expired | Self::Cancelled),
            _ => false,
        }
    }
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionRow {
    /// Its key, 1 to 512 bytes.
    pub key: String,
    /// For people; the first that is not empty stays.
    pub title: String,
    /// When it began; kept from the first write.
    pub created_ms: u64,
    /// When something last happened; never goes back.
    pub updated_ms: u64,
    /// What the agent keeps about it; `Null` leaves the stored one alone.
    pub meta: Value,
}

/// A conversation in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSummary {
    /// Its key.
    pub key: String,
    /// For people; may be empty.
    pub title: String,
    /// When it began.
    pub created_ms: u64,
    /// When something last happened.
    pub updated_ms: u64,
    /// Rows in its log.
    pub rows: u64,
    /// Of these, of kind `user` or `assistant`.
    pub messages: u64,
    /// A row of it is tainted.
    pub tainted: bool,
    /// What the agent keeps about it.
    pub meta: Value,
}

/// A row of a session's append-only log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Unique.
    pub id: Ulid,
    /// The conversation; made if it does not exist.
    pub session: String,
    /// The run it belongs to.
    pub run: Option<Ulid>,
    /// `user`, `assistant`, `tool-call`, `tool-result`, `turn`, `note`, …
    pub kind: String,
    /// What; `Null` once erased.
    pub content: Value,
    /// It came from outside.
    pub tainted: bool,
    /// When.
    pub at_ms: u64,
}

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxRow {
    /// Unique.
    pub id: Ulid,
    /// Where it came from (an instance, `http`, a schedule).
    pub source: String,
    /// The same key from the same source is the same event.
    pub dedupe_key: Option<String>,
    /// The conversation it goes to.
    pub session: String,
    /// The event; `Null` once it is done.
    pub payload: Value,
    /// When.
    pub at_ms: u64,
}

/// An [`InboxRow`] as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxEntry {
    /// The row.
    pub row: InboxRow,
    /// How it stands.
    pub state: InboxState,
    /// How often it went to `Processing`.
    pub attempts: u32,
    /// Why it was given up, for a person.
    pub why: Option<String>,
}

/// A turn's run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Unique.
    pub run: Ulid,
    /// Its conversation.
    pub session: String,
    /// The same key is the same run.
    pub idempotency_key: Option<String>,
    /// How it stands.
    pub state: RunPhase,
    /// Its last event, once it has ended.
    pub last: Option<Value>,
    /// When it was accepted; kept from the first write.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// What was asked: enough to run it again after a crash. Kept from the first write.
    pub request: Value,
}

/// One rendered part on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Unique; rows of a conversation go out in the order they were put.
    pub id: Ulid,
    /// The run that said it.
    pub run: Option<Ulid>,
    /// Who sends it.
    pub instance: String,
    /// Where it goes.
    pub conversation: String,
    /// Higher goes first among conversations.
    pub priority: i32,
    /// Handed to the platform where it takes one; unique per instance.
    pub idempotency_key: String,
    /// The part.
    pub part: Value,
    /// How it stands.
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: u32,
    /// Not before.
    pub not_before_ms: u64,
    /// Not after.
    pub expires_ms: Option<u64>,
}

/// A change of an outbox row.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxChange {
    /// The new state; going to `InFlight` counts an attempt.
    pub state: OutboxState,
    /// Not before, if it changes.
    pub not_before_ms: Option<u64>,
    /// Not after, if it changes.
    pub expires_ms: Option<u64>,
    /// What the platform answered, or why it failed.
    pub detail: Option<Value>,
}

/// A call with side effects that is about to happen.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRow {
    /// Unique.
    pub call_id: String,
    /// Its run.
    pub run: Ulid,
    /// The tool.
    pub tool: String,
    /// Who runs it.
    pub instance: InstanceId,
    /// Which package.
    pub digest: Digest,
    /// With what; `Null` once erased.
    pub arguments: Value,
    /// When it began.
    pub at_ms: u64,
}

/// A [`CallRow`] as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEntry {
    /// The call.
    pub row: CallRow,
    /// What came of it, once known.
    pub outcome: Option<Value>,
    /// How often it was begun.
    pub attempts: u32,
    /// The process died before its outcome was known.
    pub interrupted: bool,
}

/// A value of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The value.
    pub value: Vec<u8>,
    /// Grows with every write in the namespace, and never repeats.
    pub version: u64,
    /// When it disappears.
    pub expires_ms: Option<u64>,
    /// Text from outside had a hand in it.
    pub tainted: bool,
}

/// A key of a component's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvKey {
    /// The key.
    pub key: String,
    /// Text from outside had a hand in it.
    pub tainted: bool,
}

/// A write to a component's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvWrite {
    /// Whose namespace.
    pub instance: String,
    /// 1 to 512 bytes.
    pub key: String,
    /// At most 1 MiB.
    pub value: Vec<u8>,
    /// How long it lives; none = for ever.
    pub ttl_ms: Option<u64>,
    /// Bytes (keys and values) the namespace may hold after this write.
    pub quota_bytes: u64,
    /// Text from outside had a hand in it.
    pub tainted: bool,
}

/// What a model used on a day. Added to what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// The provider instance.
    pub instance: String,
    /// Its model.
    pub model: String,
    /// Prompt tokens.
    pub input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Prompt tokens from a cache.
    pub cached: u64,
    /// Tokens of thought.
    pub reasoning: u64,
    /// Millionths of the accounting currency.
    pub cost_micros: u64,
    /// Requests.
    pub requests: u64,
}

/// A fact for the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// `grant-given`, `install`, `denied`, …
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// The details; no secrets.
    pub detail: Value,
    /// When.
    pub at_ms: u64,
}

/// An [`AuditRow`] in its chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Unique.
    pub id: Ulid,
    /// Its place in the chain, from 1, without gaps.
    pub seq: u64,
    /// The fact.
    pub row: AuditRow,
}

/// Which secret: `publisher/name/instance/secret`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretId {
    /// Whose.
    pub instance: InstanceId,
    /// Its name in the manifest.
    pub name: SecretName,
}

impl SecretId {
    /// The secret `name` of `instance`.
    pub fn new(instance: InstanceId, name: SecretName) -> Self {
        Self { instance, name }
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.name)
    }
}

/// A secret in a list: never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Which.
    pub id: SecretId,
    /// When it was last set.
    pub updated_ms: u64,
}

/// A secret to be stored.
#[derive(Debug, Clone)]
pub(crate) struct SecretWrite {
    pub(crate) id: SecretId,
    pub(crate) value: SecretString,
}

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct SealedSecret {
    pub(crate) name: String,
    pub(crate) nonce: [u8; 12],
    pub(crate) sealed: Vec<u8>,
}

/// A question to the owner.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    /// Unique.
    pub id: Ulid,
    /// The conversation.
    pub session: String,
    /// The run that waits.
    pub run: Ulid,
    /// The call.
    pub call_id: String,
    /// The tool.
    pub tool: String,
    /// Who would run it.
    pub instance: InstanceId,
    /// Which package; an approval is void for another.
    pub digest: Digest,
    /// The exact arguments; an approval is void for others.
    pub arguments: Value,
    /// Why it is asked, for a person.
    pub reason: String,
    /// When it was asked.
    pub at_ms: u64,
    /// Until when it may be answered.
    pub expires_ms: Option<u64>,
}

/// An answer to (or the end of) a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalChange {
    /// The new state.
    pub state: ApprovalState,
    /// How far a yes goes: `once`, `session`, `always`, …
    pub scope: Option<String>,
    /// Who answered and where.
    pub by: String,
    /// When.
    pub at_ms: u64,
}

/// An [`ApprovalRow`] as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalEntry {
    /// The question.
    pub row: ApprovalRow,
    /// How it stands.
    pub state: ApprovalState,
    /// How far a yes goes.
    pub scope: Option<String>,
    /// Who answered and where.
    pub decided_by: Option<String>,
    /// When.
    pub decided_ms: Option<u64>,
}

/// Something remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    /// Whose memory.
    pub namespace: String,
    /// Unique in it, 1 to 512 bytes.
    pub key: String,
    /// What, at most 64 KiB; indexed for search.
    pub text: String,
    /// Text from outside had a hand in it.
    pub tainted: bool,
    /// When.
    pub at_ms: u64,
}

/// A lease: who may do something until it expires or someone else takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token: grows with every change of hands.
    pub token: u64,
    /// Until when, unless renewed.
    pub expires_ms: u64,
}

/// What the store has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Transactions committed.
    pub commits: u64,
    /// Batches applied in them.
    pub batches: u64,
    /// Batches refused (fenced, conflict, quota, …).
    pub refused: u64,
    /// The most batches one transaction held.
    pub largest_group: u64,
    /// What the last durable commit took, µs.
    pub last_commit_us: u64,
    /// Batches waiting now.
    pub queued: u64,
}
