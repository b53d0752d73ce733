//! What each operation of a batch does to the database.

mod blob;
mod channel;
mod conversation;
mod delivery;
mod erase;
pub(crate) mod kv;
mod lease;
mod memory;
mod package;
mod request;
mod trust;

use crate::batch::{Batch, Op, Receipt};
use crate::chain::{Appender, ChainKey};
use crate::error::{Attempt, StoreError};
use crate::rows::ChannelEventRow;
use crate::sql::int;
use crate::writer::{Reply, Task};
pub(crate) use blob::PIECE;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use ulid::Ulid;

/// Why a batch was not applied.
#[derive(Debug)]
pub(crate) enum Refused {
    Error(StoreError),
    /// It is the same event as this earlier row.
    Duplicate(Ulid),
}

impl From<StoreError> for Refused {
    fn from(e: StoreError) -> Self {
        Self::Error(e)
    }
}

/// What an operation sees.
pub(crate) struct Context<'a> {
    conn: &'a Connection,
    key: &'a ChainKey,
    chain: Appender<'a>,
    now_ms: u64,
    receipt: Receipt,
}

impl Context<'_> {
    /// Runs a statement; says how many rows it changed.
    fn run(&self, what: &str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        run(self.conn, what, sql, params)
    }

    fn one<T>(
        &self,
        what: &str,
        sql: &str,
        params: impl Params,
        f: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        one(self.conn, what, sql, params, f)
    }

    fn now(&self) -> i64 {
        int(self.now_ms)
    }
}

fn run(conn: &Connection, what: &str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    conn.prepare_cached(sql).and_then(|mut s| s.execute(params)).attempt(what)
}

fn one<T>(
    conn: &Connection,
    what: &str,
    sql: &str,
    params: impl Params,
    f: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    conn.prepare_cached(sql).and_then(|mut s| s.query_row(params, f).optional()).attempt(what)
}

pub(crate) fn task(conn: &Connection, key: &ChainKey, now_ms: u64, task: &Task) -> Result<Reply, Refused> {
    match task {
        Task::Batch(b) => batch(conn, key, now_ms, b).map(Reply::Receipt),
        Task::LeaseAcquire { name, holder, ttl_ms } => {
            Ok(Reply::Lease(lease::acquire(conn, now_ms, name, holder, *ttl_ms)?))
        }
        Task::LeaseRenew { name, token, ttl_ms } => {
            Ok(Reply::Lease(lease::renew(conn, now_ms, name, *token, *ttl_ms)?))
        }
        Task::LeaseRelease { name, token } => {
            lease::release(conn, name, *token)?;
            Ok(Reply::Done)
        }
        Task::ForgetSecrets => {
            run(conn, "forget the secrets", "DELETE FROM secret", [])?;
            run(conn, "forget the key slots", "DELETE FROM vault_slot", [])?;
            Ok(Reply::Done)
        }
        Task::Slot { slot, first } => {
            trust::slot(conn, slot, *first)?;
            Ok(Reply::Done)
        }
    }
}

fn batch(conn: &Connection, key: &ChainKey, now_ms: u64, batch: &Batch) -> Result<Receipt, Refused> {
    for (name, token) in &batch.leases {
        lease::guard(conn, name, *token)?;
    }
    let mut c = Context { conn, key, chain: Appender::new(conn, key), now_ms, receipt: Receipt::default() };
    for op in &batch.ops {
        apply(&mut c, op)?;
    }
    let Context { chain, receipt, .. } = c;
    chain.finish()?;
    Ok(receipt)
}

fn apply(c: &mut Context<'_>, op: &Op) -> Result<(), Refused> {
    match op {
        Op::Session(row) => conversation::session(c, row)?,
        Op::Append(row) => conversation::append(c, row)?,
        Op::Run(row) => return conversation::run(c, row),
        Op::CallBegin(row) => conversation::call_begin(c, row)?,
        Op::CallEnd(id, outcome) => conversation::call_end(c, id, outcome)?,
        Op::Inbox(row) => return delivery::inbox(c, row),
        Op::InboxDead(id, why) => delivery::inbox_dead(c, *id, why)?,
        Op::InboxState(id, state) => delivery::inbox_state(c, *id, *state)?,
        Op::Outbox(row) => delivery::outbox(c, row)?,
        Op::OutboxState(id, change) => delivery::outbox_state(c, *id, change)?,
        Op::KvSet(write) => kv::set(c, write)?,
        Op::KvSwap(write, expected) => kv::swap(c, write, *expected)?,
        Op::KvSchema { instance, schema, empty } => kv::schema(c, instance, *schema, *empty)?,
        Op::KvDelete(instance, key) => kv::delete(c, instance, key)?,
        Op::Grant(grant) => trust::grant(c, grant)?,
        Op::GrantRevoke(instance) => trust::grant_revoke(c, instance)?,
        Op::GrantDelete(instance) => trust::grant_delete(c, instance)?,
        Op::Package(row) => package::put(c, row)?,
        Op::PackageState(instance, enabled) => package::state(c, instance, *enabled)?,
        Op::PackageDelete(instance) => package::delete(c, instance)?,
        Op::PackageBefore(earlier) => package::before(c, earlier)?,
        Op::PackageForgetBefore { component, only_last } => package::forget_before(c, component, *only_last)?,
        Op::PassOver(row) => package::pass_over(c, row)?,
        Op::TakeAgain(component) => package::take_again(c, component)?,
        Op::ForgetData(component) => package::forget_data(c, component)?,
        Op::HighestVersion(component, version) => package::highest_version(c, component, version)?,
        Op::SignedBy(component, mark) => package::signed_by(c, component, mark)?,
        Op::Request(row) => request::put(c, row)?,
        Op::RequestDelete(id) => request::delete(c, *id)?,
        Op::Usage(row) => trust::usage(c, row)?,
        Op::Audit(row) => c.chain.audit(row)?,
        // Sealed before it is handed to the writer: the writer never sees a value.
        Op::SecretPut(write) => {
            let what = format!("the secret {}", write.id);
            return Err(StoreError::Invalid { what, rule: "it was not encrypted".into() }.into());
        }
        Op::SecretSealed(secret) => trust::secret(c, secret)?,
        Op::SecretDelete(id) => trust::secret_delete(c, id)?,
        Op::Approval(row) => trust::approval(c, row)?,
        Op::ApprovalState(id, change) => trust::approval_state(c, *id, change)?,
        Op::Memory(row, quota) => memory::put(c, row, *quota)?,
        Op::MemoryDelete(namespace, key) => memory::delete(c, namespace, key)?,
        Op::Erase(ids) => erase::rows(c, ids)?,
        Op::EraseSession(session) => erase::session(c, session)?,
        Op::InboxTake(message) => delivery::take(c, message)?,
        Op::OutboxDelete(id) => delivery::outbox_delete(c, *id)?,
        Op::Prune { inbox_before_ms, outbox_before_ms } => delivery::prune(c, *inbox_before_ms, *outbox_before_ms)?,
        Op::Channel(row) => channel::state(c, row)?,
        Op::ChannelAttempts(instance, body) => channel::attempts(c, instance, body)?,
        Op::ChannelLogins(instance, body) => channel::logins(c, instance, body)?,
        Op::Timer(row) => channel::timer(c, row)?,
        Op::TimerClear(instance, id) => channel::timer_clear(c, instance, id)?,
        Op::Event(row) => channel::event(c, row, ChannelEventRow::KEPT)?,
        Op::EventState(id, state, why) => channel::event_state(c, *id, *state, why.as_deref(), ChannelEventRow::KEPT)?,
        Op::EventDelete(id) => channel::event_delete(c, *id)?,
        Op::Pairing(row) => channel::pairing(c, row)?,
        Op::PairingDelete(code) => channel::pairing_delete(c, code)?,
        Op::Paired(row) => channel::paired(c, row)?,
        Op::Blob(row) => blob::put(c, row)?,
        Op::BlobGive { id, to, at_ms } => blob::give(c, id, to, *at_ms)?,
        Op::BlobPrune(before_ms) => blob::prune(c, *before_ms)?,
        Op::Place(row) => channel::place(c, row)?,
        Op::PairedDelete(instance, sender) => channel::paired_delete(c, instance, sender)?,
    }
    Ok(())
}

fn length(what: &str, value: &str, max: usize) -> Result<(), StoreError> {
    if value.is_empty() || value.len() > max {
        return Err(StoreError::Invalid {
            what: format!("{what} of {} bytes", value.len()),
            rule: format!("it must have 1 to {max} bytes"),
        });
    }
    Ok(())
}
