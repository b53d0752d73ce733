//! What came in and what goes out.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::{InboxEntry, InboxRow, InboxState, OutboxRow, OutboxState};
use crate::sql::{Columns, int, size};
use rusqlite::{Row, params};
use ulid::Ulid;

const INBOX: &str = "SELECT id, source, dedupe_key, session, payload, at_ms, state, attempts FROM inbox";
const OUTBOX: &str = "SELECT o.id, o.run, o.instance, o.conversation, o.priority, o.idempotency_key, o.part, o.state, o.attempts, \
                      o.not_before_ms, o.expires_ms FROM outbox o";

fn inbox(r: &Row<'_>) -> rusqlite::Result<InboxEntry> {
    Ok(InboxEntry {
        row: InboxRow {
            id: r.ulid(0)?,
            source: r.get(1)?,
            dedupe_key: r.get(2)?,
            session: r.get(3)?,
            payload: r.json(4)?,
            at_ms: r.u64(5)?,
        },
        state: r.word(6, InboxState::parse)?,
        attempts: r.get(7)?,
    })
}

fn outbox(r: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: r.ulid(0)?,
        run: r.opt_ulid(1)?,
        instance: r.get(2)?,
        conversation: r.get(3)?,
        priority: r.get(4)?,
        idempotency_key: r.get(5)?,
        part: r.json(6)?,
        state: r.word(7, OutboxState::parse)?,
        attempts: r.get(8)?,
        not_before_ms: r.u64(9)?,
        expires_ms: r.opt_u64(10)?,
    })
}

impl Reader {
    /// Events in a state, oldest first.
    pub async fn inbox(&self, state: InboxState, limit: usize) -> Result<Vec<InboxEntry>, StoreError> {
        self.read(move |c| {
            let sql = format!("{INBOX} WHERE state = ?1 ORDER BY at_ms, id LIMIT ?2");
            all(c, "read the inbox", &sql, params![state.as_str(), size(limit)], inbox)
        })
        .await
    }

    /// One event.
    pub async fn inbox_entry(&self, id: Ulid) -> Result<Option<InboxEntry>, StoreError> {
        self.read(move |c| one(c, "read the inbox", &format!("{INBOX} WHERE id = ?1"), [id.to_bytes()], inbox)).await
    }

    /// Parts in a state, in the order they were put.
    pub async fn outbox(&self, state: OutboxState, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(move |c| {
            let sql = format!("{OUTBOX} WHERE o.state = ?1 ORDER BY o.place LIMIT ?2");
            all(c, "read the outbox", &sql, params![state.as_str(), size(limit)], outbox)
        })
        .await
    }

    /// One part.
    pub async fn outbox_row(&self, id: Ulid) -> Result<Option<OutboxRow>, StoreError> {
        self.read(move |c| one(c, "read the outbox", &format!("{OUTBOX} WHERE o.id = ?1"), [id.to_bytes()], outbox))
            .await
    }

    /// The parts to send now: the first unfinished one of each conversation, if it is pending, due and not expired.
    /// Higher priority first, then oldest. An uncertain part holds its conversation until it is settled.
    pub async fn outbox_due(&self, now_ms: u64, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(move |c| {
            let sql = format!(
                "{OUTBOX} WHERE o.state = 'pending' AND o.not_before_ms <= ?1 AND (o.expires_ms IS NULL OR o.expires_ms > ?1) \
                 AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.instance = o.instance AND e.conversation = o.conversation \
                 AND e.place < o.place AND e.state IN ('pending', 'in-flight', 'uncertain') \
                 AND NOT (e.state = 'pending' AND e.expires_ms IS NOT NULL AND e.expires_ms <= ?1)) \
                 ORDER BY o.priority DESC, o.place LIMIT ?2"
            );
            all(c, "read the outbox", &sql, params![int(now_ms), size(limit)], outbox)
        })
        .await
    }
}
