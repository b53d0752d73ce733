//! What came in and what goes out.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::{InboxEntry, InboxRow, InboxState, OutboxEntry, OutboxRow, OutboxState};
use crate::sql::{Columns, int, size};
use rusqlite::{Row, params};
use serde_json::Value;
use ulid::Ulid;

const INBOX: &str = "SELECT id, source, dedupe_key, session, payload, at_ms, state, attempts, why FROM inbox";
const OUTBOX: &str = "SELECT o.id, o.run, o.instance, o.conversation, o.priority, o.idempotency_key, o.part, o.state, o.attempts, \
                      o.not_before_ms, o.expires_ms, o.detail, o.tried_ms FROM outbox o";
/// Nothing of the same conversation stands before it that is still to go. `?1` is the instance, `?2` now.
const FIRST: &str = "NOT EXISTS (SELECT 1 FROM outbox e WHERE e.instance = ?1 AND e.conversation = o.conversation AND e.place < o.place \
                     AND e.state IN ('pending', 'in-flight') \
                     AND NOT (e.state = 'pending' AND e.expires_ms IS NOT NULL AND e.expires_ms <= ?2))";

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
        why: r.get(8)?,
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

fn entry(r: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    Ok(OutboxEntry { row: outbox(r)?, detail: r.opt_json(11)?, tried_ms: r.opt_u64(12)? })
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

    /// Events of channels that are not done, in the order in which they were accepted: id, source and session of each.
    pub async fn inbox_open(&self) -> Result<Vec<(Ulid, String, String)>, StoreError> {
        self.read(|c| {
            let sql = "SELECT id, source, session FROM inbox WHERE state IN ('accepted', 'processing') AND source <> 'turn' ORDER BY rowid";
            all(c, "read the inbox", sql, [], |r| Ok((r.ulid(0)?, r.get(1)?, r.get(2)?)))
        })
        .await
    }

    /// Parts of an instance (or of all) in one of these states, in the order they were put, with what is known about their sending.
    pub async fn outbox_entries(
        &self,
        instance: Option<&str>,
        states: &[OutboxState],
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let instance = instance.map(str::to_owned);
        let words: Vec<String> = states.iter().map(|s| format!("'{}'", s.as_str())).collect();
        self.read(move |c| {
            let sql = format!(
                "{OUTBOX} WHERE o.state IN ({}) AND (?1 IS NULL OR o.instance = ?1) ORDER BY o.place LIMIT ?2",
                words.join(", ")
            );
            all(c, "read the outbox", &sql, params![instance, size(limit)], entry)
        })
        .await
    }

    /// One part, with what is known about its sending.
    pub async fn outbox_entry(&self, id: Ulid) -> Result<Option<OutboxEntry>, StoreError> {
        self.read(move |c| one(c, "read the outbox", &format!("{OUTBOX} WHERE o.id = ?1"), [id.to_bytes()], entry))
            .await
    }

    /// The part of an instance with this key.
    pub async fn outbox_by_key(&self, instance: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
        let (instance, key) = (instance.to_owned(), key.to_owned());
        let sql = format!("{OUTBOX} WHERE o.instance = ?1 AND o.idempotency_key = ?2");
        self.read(move |c| one(c, "read the outbox", &sql, params![instance, key], entry)).await
    }

    /// What is known about the part that was last sent in a conversation.
    pub async fn outbox_last_sent(&self, instance: &str, conversation: &str) -> Result<Option<Value>, StoreError> {
        let (instance, conversation) = (instance.to_owned(), conversation.to_owned());
        self.read(move |c| {
            let sql = "SELECT detail FROM outbox WHERE instance = ?1 AND conversation = ?2 AND state = 'sent' ORDER BY place DESC LIMIT 1";
            Ok(one(c, "read the outbox", sql, params![instance, conversation], |r| r.opt_json(0))?.flatten())
        })
        .await
    }

    /// The parts that an instance is to send now: the first unfinished one of each conversation, if it is pending, due and not expired.
    /// Higher priority first, then oldest. An uncertain part holds nobody up: what nobody can decide must not silence a conversation, and
    /// a part that is sent after all comes late either way. A time further off than `at_most_ms` was set by a clock that has been put
    /// back since, and counts as now.
    pub async fn outbox_due(
        &self,
        instance: &str,
        now_ms: u64,
        at_most_ms: u64,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |c| {
            let sql = format!(
                "{OUTBOX} WHERE o.instance = ?1 AND o.state = 'pending' AND (o.not_before_ms <= ?2 OR o.not_before_ms > ?2 + ?3) \
                 AND (o.expires_ms IS NULL OR o.expires_ms > ?2) AND {FIRST} ORDER BY o.priority DESC, o.place LIMIT ?4"
            );
            all(c, "read the outbox", &sql, params![instance, int(now_ms), int(at_most_ms), size(limit)], entry)
        })
        .await
    }

    /// When the next part of an instance is due, or expires; none if nothing is pending that isn't held up by another.
    pub async fn outbox_next(&self, instance: &str, now_ms: u64) -> Result<Option<u64>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |c| {
            let sql = format!(
                "SELECT min(min(o.not_before_ms, coalesce(o.expires_ms, o.not_before_ms))) FROM outbox o \
                 WHERE o.instance = ?1 AND o.state = 'pending' AND {FIRST}"
            );
            Ok(one(c, "read the outbox", &sql, params![instance, int(now_ms)], |r| r.opt_u64(0))?.flatten())
        })
        .await
    }

    /// Pending parts of an instance whose time is over.
    pub async fn outbox_expired(
        &self,
        instance: &str,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |c| {
            let sql = format!(
                "{OUTBOX} WHERE o.instance = ?1 AND o.state = 'pending' AND o.expires_ms <= ?2 ORDER BY o.place LIMIT ?3"
            );
            all(c, "read the outbox", &sql, params![instance, int(now_ms), size(limit)], outbox)
        })
        .await
    }
}
