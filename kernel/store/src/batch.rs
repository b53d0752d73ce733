//! What is committed together: all of it, or nothing.

use crate::rows::{
    ApprovalChange, ApprovalRow, AuditRow, BlobRow, CallRow, ChannelEventRow, ChannelEventState, ChannelRow,
    EarlierPackage, InboxMessage, InboxRow, InboxState, InboxTaken, KvWrite, LogRow, MemoryRow, OutboxChange,
    OutboxRow, PackageRow, PairedRow, PairingRow, PassedOver, PlaceRow, RequestRow, RunRow, SealedSecret, SecretId,
    SecretWrite, SessionRow, TimerRow, UsageRow,
};
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, InstanceId};
use secrecy::SecretString;
use serde_json::Value;
use ulid::Ulid;

/// What must have happened before `commit` answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Written; survives the death of the process. A power cut may lose it, never tear it.
    Relaxed,
    /// On the disk. For everything an acknowledgement, a side effect or a reply depends on. The default.
    #[default]
    Full,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Session(SessionRow),
    Append(LogRow),
    Inbox(InboxRow),
    InboxState(Ulid, InboxState),
    InboxDead(Ulid, String),
    Run(RunRow),
    Outbox(OutboxRow),
    OutboxState(Ulid, OutboxChange),
    CallBegin(CallRow),
    CallEnd(String, Value),
    KvSet(KvWrite),
    KvSwap(KvWrite, Option<u64>),
    KvDelete(String, String),
    KvSchema { instance: String, schema: u32, empty: bool },
    Grant(Box<Grant>),
    GrantRevoke(InstanceId),
    GrantDelete(InstanceId),
    Package(PackageRow),
    PackageState(InstanceId, bool),
    PackageDelete(InstanceId),
    PackageBefore(Box<EarlierPackage>),
    PackageForgetBefore { component: ComponentId, only_last: bool },
    PassOver(PassedOver),
    TakeAgain(ComponentId),
    ForgetData(ComponentId),
    HighestVersion(ComponentId, semver::Version),
    SignedBy(ComponentId, String),
    Request(RequestRow),
    RequestDelete(Ulid),
    Usage(UsageRow),
    Audit(AuditRow),
    SecretPut(SecretWrite),
    SecretSealed(SealedSecret),
    SecretDelete(SecretId),
    Approval(Box<ApprovalRow>),
    ApprovalState(Ulid, ApprovalChange),
    Memory(MemoryRow, u64),
    MemoryDelete(String, String),
    Erase(Vec<Ulid>),
    EraseSession(String),
    InboxTake(Box<InboxMessage>),
    OutboxDelete(Ulid),
    Prune { inbox_before_ms: u64, outbox_before_ms: u64 },
    Channel(ChannelRow),
    ChannelAttempts(InstanceId, Value),
    ChannelLogins(InstanceId, Value),
    Timer(TimerRow),
    TimerClear(InstanceId, String),
    Event(Box<ChannelEventRow>),
    EventState(Ulid, ChannelEventState, Option<String>),
    EventDelete(Ulid),
    Pairing(PairingRow),
    PairingDelete(String),
    Paired(PairedRow),
    PairedDelete(InstanceId, String),
    Place(PlaceRow),
    Blob(Box<BlobRow>),
    BlobGive { id: String, to: InstanceId, at_ms: u64 },
    BlobPrune(u64),
}

/// A list of changes that [`Store::commit`](crate::Store::commit) applies in order, in one transaction.
///
/// If any of them fails, none is applied. If one meets a *duplicate* (see [`Receipt::duplicate_of`]), none is
/// applied either, and that is not an error.
#[derive(Debug, Clone, Default)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) durability: Durability,
    pub(crate) leases: Vec<(String, u64)>,
    pub(crate) ops: Vec<Op>,
}

impl Batch {
    /// An empty batch, [`Durability::Full`].
    pub fn new() -> Self {
        Self::default()
    }
    /// An empty batch, [`Durability::Relaxed`].
    pub fn relaxed() -> Self {
        Self { durability: Durability::Relaxed, ..Self::default() }
    }
    /// Sets the durability.
    pub fn durability(mut self, d: Durability) -> Self {
        self.durability = d;
        self
    }
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Changes in it.
    pub fn len(&self) -> usize {
        self.ops.len()
    }
    fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Guard: refuses the batch ([`Fenced`](crate::StoreError::Fenced)) unless `token` is still the lease's.
    pub fn lease(mut self, name: impl Into<String>, token: u64) -> Self {
        self.leases.push((name.into(), token));
        self
    }

    /// Makes or updates a session.
    pub fn session_upsert(self, row: SessionRow) -> Self {
        self.op(Op::Session(row))
    }
    /// Appends to a session's log. An id that exists is a conflict.
    pub fn append(self, row: LogRow) -> Self {
        self.op(Op::Append(row))
    }
    /// Erases the contents of log rows; the rows stay in the chain as tombstones. Also drops the request, the last event,
    /// the arguments and outcomes of the *ended* runs these rows belong to, and sent parts of theirs. Unknown ids are ignored.
    pub fn erase_content(self, ids: impl IntoIterator<Item = Ulid>) -> Self {
        self.op(Op::Erase(ids.into_iter().collect()))
    }
    /// [`erase_content`](Self::erase_content) of every row of a session, and its title and meta.
    pub fn erase_session(self, session: impl Into<String>) -> Self {
        self.op(Op::EraseSession(session.into()))
    }

    /// Accepts an event. A known `(source, dedupe_key)` makes the batch a duplicate of the earlier row.
    pub fn inbox_put(self, row: InboxRow) -> Self {
        self.op(Op::Inbox(row))
    }
    /// Takes a channel's message in. A known `(source, dedupe_key)` stores nothing of *this message* and leaves the rest of the batch alone;
    /// what became of it is in [`Receipt::taken`].
    pub fn inbox_take(self, message: InboxMessage) -> Self {
        self.op(Op::InboxTake(Box::new(message)))
    }
    /// Moves an event on.
    pub fn inbox_state(self, id: Ulid, state: InboxState) -> Self {
        self.op(Op::InboxState(id, state))
    }
    /// Gives an event up ([`InboxState::Dead`]), and says why.
    pub fn inbox_dead(self, id: Ulid, why: impl Into<String>) -> Self {
        self.op(Op::InboxDead(id, why.into()))
    }
    /// Makes or updates a run. A known idempotency key of *another* run makes the batch a duplicate of that run;
    /// moving a run backwards is a conflict. `request`, `idempotency_key` and `started_ms` are those of the first write.
    pub fn run_upsert(self, row: RunRow) -> Self {
        self.op(Op::Run(row))
    }

    /// Queues a part. A known `(instance, idempotency_key)` is a conflict.
    pub fn outbox_put(self, row: OutboxRow) -> Self {
        self.op(Op::Outbox(row))
    }
    /// Moves a part on. `Sent` and `Dead` are final, except that `Dead` may go back to `Pending`.
    pub fn outbox_state(self, id: Ulid, change: OutboxChange) -> Self {
        self.op(Op::OutboxState(id, change))
    }
    /// Forgets a part that waits, is uncertain or was given up; one that is being sent or was sent is a conflict.
    pub fn outbox_delete(self, id: Ulid) -> Self {
        self.op(Op::OutboxDelete(id))
    }
    /// Forgets events of channels that were done before the one time, and parts that were sent or given up before the other.
    /// A forgotten event is no longer known: its key can come again.
    pub fn prune(self, inbox_before_ms: u64, outbox_before_ms: u64) -> Self {
        self.op(Op::Prune { inbox_before_ms, outbox_before_ms })
    }

    /// Keeps a channel's state.
    pub fn channel_state(self, row: ChannelRow) -> Self {
        self.op(Op::Channel(row))
    }
    /// Notes what is about to be given to a channel, and how often it was; `Null` = nothing.
    pub fn channel_attempts(self, instance: InstanceId, body: Value) -> Self {
        self.op(Op::ChannelAttempts(instance, body))
    }
    /// Notes how often a channel's sockets logged in.
    pub fn channel_logins(self, instance: InstanceId, body: Value) -> Self {
        self.op(Op::ChannelLogins(instance, body))
    }
    /// Sets a channel's timer; it replaces the one of the same id.
    pub fn timer_set(self, row: TimerRow) -> Self {
        self.op(Op::Timer(row))
    }
    /// Clears one, if it is set.
    pub fn timer_clear(self, instance: InstanceId, id: impl Into<String>) -> Self {
        self.op(Op::TimerClear(instance, id.into()))
    }
    /// Keeps an event. Of dead ones the newest [`ChannelEventRow::KEPT`] of an instance stay.
    pub fn event_put(self, row: ChannelEventRow) -> Self {
        self.op(Op::Event(Box::new(row)))
    }
    /// Puts a kept event aside, or lets it wait again.
    pub fn event_state(self, id: Ulid, state: ChannelEventState, why: Option<String>) -> Self {
        self.op(Op::EventState(id, state, why))
    }
    /// Forgets a kept event. Whether it existed is in [`Receipt::deleted`].
    pub fn event_delete(self, id: Ulid) -> Self {
        self.op(Op::EventDelete(id))
    }
    /// Keeps a stranger's pairing code, in place of an earlier one of theirs. A code that is taken is a conflict.
    pub fn pairing_put(self, row: PairingRow) -> Self {
        self.op(Op::Pairing(row))
    }
    /// Forgets a code. Whether it existed is in [`Receipt::deleted`].
    pub fn pairing_delete(self, code: impl Into<String>) -> Self {
        self.op(Op::PairingDelete(code.into()))
    }
    /// Lets somebody talk through a channel.
    pub fn paired_put(self, row: PairedRow) -> Self {
        self.op(Op::Paired(row))
    }
    /// Keeps a blob; one that is kept already is kept for longer. Where there are too many bytes, the oldest blobs go.
    pub fn blob_put(self, row: BlobRow) -> Self {
        self.op(Op::Blob(Box::new(row)))
    }
    /// Lets an instance read a blob, and keeps it for longer. Nothing happens if it is no longer kept.
    pub fn blob_give(self, id: impl Into<String>, to: InstanceId, at_ms: u64) -> Self {
        self.op(Op::BlobGive { id: id.into(), to, at_ms })
    }
    /// Forgets blobs that were last brought before then.
    pub fn blob_prune(self, before_ms: u64) -> Self {
        self.op(Op::BlobPrune(before_ms))
    }
    /// Notes where somebody wrote directly; it replaces what was noted earlier.
    pub fn place_put(self, row: PlaceRow) -> Self {
        self.op(Op::Place(row))
    }
    /// No longer. Whether they could is in [`Receipt::deleted`].
    pub fn paired_delete(self, instance: InstanceId, sender: impl Into<String>) -> Self {
        self.op(Op::PairedDelete(instance, sender.into()))
    }

    /// Notes that a call with side effects is about to happen: commit this *before* it. The same id again is allowed only while
    /// the earlier attempt is *interrupted* and everything is the same; otherwise it is a conflict.
    pub fn call_begin(self, row: CallRow) -> Self {
        self.op(Op::CallBegin(row))
    }
    /// Notes what came of it. An ended call is a conflict.
    pub fn call_end(self, call_id: impl Into<String>, outcome: Value) -> Self {
        self.op(Op::CallEnd(call_id.into(), outcome))
    }

    /// Sets a key. Its version is in [`Receipt::kv_versions`].
    pub fn kv_set(self, write: KvWrite) -> Self {
        self.op(Op::KvSet(write))
    }
    /// Sets a key if its version is `expected` (none = it does not exist), else the batch is a conflict.
    pub fn kv_swap(self, write: KvWrite, expected: Option<u64>) -> Self {
        self.op(Op::KvSwap(write, expected))
    }
    /// Deletes a key. Whether it existed is in [`Receipt::deleted`].
    pub fn kv_delete(self, instance: impl Into<String>, key: impl Into<String>) -> Self {
        self.op(Op::KvDelete(instance.into(), key.into()))
    }

    /// Notes the form in which a namespace is kept, if nothing is kept there yet: before its first value.
    pub fn kv_first_schema(self, instance: impl Into<String>, schema: u32) -> Self {
        self.op(Op::KvSchema { instance: instance.into(), schema, empty: true })
    }
    /// Notes the form in which a namespace is kept now.
    pub fn kv_schema(self, instance: impl Into<String>, schema: u32) -> Self {
        self.op(Op::KvSchema { instance: instance.into(), schema, empty: false })
    }

    /// Records a grant; it replaces the instance's earlier one.
    pub fn grant_put(self, grant: Grant) -> Self {
        self.op(Op::Grant(Box::new(grant)))
    }
    /// Revokes the instance's grant; it stays on record. None there: an error.
    pub fn grant_revoke(self, instance: InstanceId) -> Self {
        self.op(Op::GrantRevoke(instance))
    }
    /// Ends an instance's grant: it leaves the record of grants, not the audit log. Whether there was one is in [`Receipt::deleted`].
    pub fn grant_delete(self, instance: InstanceId) -> Self {
        self.op(Op::GrantDelete(instance))
    }
    /// Records an installed package; it replaces the instance's earlier one.
    pub fn package_put(self, row: PackageRow) -> Self {
        self.op(Op::Package(row))
    }
    /// Enables or disables it. Enabled, it has been looked at: its note goes.
    pub fn package_state(self, instance: InstanceId, enabled: bool) -> Self {
        self.op(Op::PackageState(instance, enabled))
    }
    /// Uninstalls it. The highest version seen stays.
    pub fn package_delete(self, instance: InstanceId) -> Self {
        self.op(Op::PackageDelete(instance))
    }
    /// Keeps what is replaced, on top of what was replaced earlier; the last [`EarlierPackage::KEPT`] of a component stay.
    pub fn package_before(self, earlier: EarlierPackage) -> Self {
        self.op(Op::PackageBefore(Box::new(earlier)))
    }
    /// Forgets what was replaced last.
    pub fn package_forget_last(self, component: ComponentId) -> Self {
        self.op(Op::PackageForgetBefore { component, only_last: true })
    }
    /// Forgets everything that was replaced.
    pub fn package_forget_before(self, component: ComponentId) -> Self {
        self.op(Op::PackageForgetBefore { component, only_last: false })
    }
    /// Keeps the bundle directory from bringing a package (back) in.
    pub fn pass_over(self, row: PassedOver) -> Self {
        self.op(Op::PassOver(row))
    }
    /// Passes nothing of a component over any more.
    pub fn take_again(self, component: ComponentId) -> Self {
        self.op(Op::TakeAgain(component))
    }
    /// Deletes what the instances of a component kept: kv, memory, secrets.
    pub fn forget_data(self, component: ComponentId) -> Self {
        self.op(Op::ForgetData(component))
    }
    /// Notes a version of a component; the highest one ever noted is kept.
    pub fn highest_version(self, component: ComponentId, version: semver::Version) -> Self {
        self.op(Op::HighestVersion(component, version))
    }
    /// Notes by which key or rule the publisher of a component was recognised; it replaces what was noted earlier, and stays when
    /// the component goes.
    pub fn signed_by(self, component: ComponentId, mark: impl Into<String>) -> Self {
        self.op(Op::SignedBy(component, mark.into()))
    }

    /// Records a request to the owner. One of that name that waits already is a conflict, and so is one too many
    /// ([`RequestRow::MOST`]); expired ones are dropped first.
    pub fn request_put(self, row: RequestRow) -> Self {
        self.op(Op::Request(row))
    }
    /// Ends a request, whatever came of it. Whether there was one is in [`Receipt::deleted`].
    pub fn request_delete(self, id: Ulid) -> Self {
        self.op(Op::RequestDelete(id))
    }

    /// Adds to a day's usage.
    pub fn usage_add(self, row: UsageRow) -> Self {
        self.op(Op::Usage(row))
    }
    /// Appends to the audit log.
    pub fn audit(self, row: AuditRow) -> Self {
        self.op(Op::Audit(row))
    }

    /// Stores a secret, encrypted. At least 8 bytes; needs an unlocked store (see [`crate::secrets`]).
    pub fn secret_put(self, id: SecretId, value: SecretString) -> Self {
        self.op(Op::SecretPut(SecretWrite { id, value }))
    }
    /// Deletes a secret. Whether it existed is in [`Receipt::deleted`].
    pub fn secret_delete(self, id: SecretId) -> Self {
        self.op(Op::SecretDelete(id))
    }

    /// Asks the owner. A known id is a conflict.
    pub fn approval_put(self, row: ApprovalRow) -> Self {
        self.op(Op::Approval(Box::new(row)))
    }
    /// Answers, withdraws or spends it; a move that is not allowed ([`ApprovalState`](crate::ApprovalState)) is a conflict.
    pub fn approval_state(self, id: Ulid, change: ApprovalChange) -> Self {
        self.op(Op::ApprovalState(id, change))
    }

    /// Remembers; replaces what the key held. `quota_bytes`: what the namespace (keys and texts) may hold after it.
    pub fn memory_put(self, row: MemoryRow, quota_bytes: u64) -> Self {
        self.op(Op::Memory(row, quota_bytes))
    }
    /// Forgets. Whether there was something is in [`Receipt::deleted`].
    pub fn memory_delete(self, namespace: impl Into<String>, key: impl Into<String>) -> Self {
        self.op(Op::MemoryDelete(namespace.into(), key.into()))
    }
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// **Nothing was applied**, because an earlier row is the same event: the id of that inbox row (`inbox_put` with a known
    /// `(source, dedupe_key)`) or of that run (`run_upsert` with a known idempotency key), whichever came first in the batch.
    pub duplicate_of: Option<Ulid>,
    /// The new version of each `kv_set` and `kv_swap`, in order.
    pub kv_versions: Vec<u64>,
    /// Of each `…_delete`, in order: whether there was something.
    pub deleted: Vec<bool>,
    /// What became of each `inbox_take`, in order.
    pub taken: Vec<InboxTaken>,
}
