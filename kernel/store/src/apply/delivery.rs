//! Inbox and outbox.

use super::{Context, Refused};
use crate::error::StoreError;
use crate::rows::{InboxMessage, InboxRow, InboxState, InboxTaken, OutboxChange, OutboxRow, OutboxState};
use crate::sql::{Columns, int, text};
use rusqlite::params;
use ulid::Ulid;

pub(super) fn inbox(c: &Context<'_>, row: &InboxRow) -> Result<(), Refused> {
    if let Some(key) = &row.dedupe_key {
        let sql = "SELECT id FROM inbox WHERE source = ?1 AND dedupe_key = ?2";
        if let Some(earlier) = c.one("look for an earlier event", sql, [&row.source, key], |r| r.ulid(0))? {
            return Err(Refused::Duplicate(earlier));
        }
    }
    let sql = "INSERT INTO inbox (id, source, dedupe_key, session, payload, at_ms, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'accepted') \
               ON CONFLICT (id) DO NOTHING";
    let params =
        params![row.id.to_bytes(), row.source, row.dedupe_key, row.session, text(&row.payload), int(row.at_ms)];
    if c.run("accept an event", sql, params)? == 0 {
        return Err(StoreError::conflict(format!("an event {} exists", row.id)).into());
    }
    Ok(())
}

pub(super) fn take(c: &mut Context<'_>, message: &InboxMessage) -> Result<(), StoreError> {
    let row = &message.row;
    let taken = match inbox(c, row) {
        Ok(()) => {
            c.run(
                "note a message's id",
                "UPDATE inbox SET reference = ?2 WHERE id = ?1",
                params![row.id.to_bytes(), message.reference],
            )?;
            if replace(c, message)? { InboxTaken::Replaced } else { InboxTaken::New }
        }
        Err(Refused::Duplicate(_)) => InboxTaken::Known,
        Err(Refused::Error(e)) => return Err(e),
    };
    c.receipt.taken.push(taken);
    Ok(())
}

/// Puts an edit in the place of what it edits, if nobody has begun with that. The edit's own row stays for its key.
fn replace(c: &Context<'_>, message: &InboxMessage) -> Result<bool, StoreError> {
    let (row, Some(reference), Some(payload)) = (&message.row, &message.reference, &message.replaces) else {
        return Ok(false);
    };
    let sql = "SELECT id FROM inbox WHERE source = ?1 AND reference = ?2 AND state = 'accepted' AND session = ?3 AND id <> ?4 \
               ORDER BY rowid DESC LIMIT 1";
    let params = params![row.source, reference, row.session, row.id.to_bytes()];
    let Some(original) = c.one("find an edited message", sql, params, |r| r.ulid(0))? else { return Ok(false) };
    let sql = "UPDATE inbox SET payload = ?2 WHERE id = ?1";
    c.run("edit a message", sql, params![original.to_bytes(), text(payload)])?;
    inbox_state(c, row.id, InboxState::Done)?;
    Ok(true)
}

pub(super) fn prune(c: &Context<'_>, inbox_before: u64, outbox_before: u64) -> Result<(), StoreError> {
    // The agent's own rows go with their runs.
    let sql = "DELETE FROM inbox WHERE state = 'done' AND at_ms < ?1 AND source <> 'turn'";
    c.run("forget what came in", sql, [int(inbox_before)])?;
    // Also what nobody sends any more, because its channel is gone.
    let sql = "DELETE FROM outbox WHERE (state IN ('sent', 'dead') AND coalesce(tried_ms, not_before_ms) < ?1) \
               OR (state = 'pending' AND expires_ms < ?1)";
    c.run("forget what went out", sql, [int(outbox_before)]).map(|_| ())
}

pub(super) fn inbox_state(c: &Context<'_>, id: Ulid, state: InboxState) -> Result<(), StoreError> {
    let sql = "SELECT state FROM inbox WHERE id = ?1";
    match c.one("read an event", sql, [id.to_bytes()], |r| r.word(0, InboxState::parse))? {
        None => return Err(StoreError::missing(format!("event {id} in the inbox"))),
        Some(InboxState::Done) if state != InboxState::Done => {
            return Err(StoreError::conflict(format!("event {id} is done, it cannot become {}", state.as_str())));
        }
        Some(_) => {}
    }
    let sql = "UPDATE inbox SET state = ?2, attempts = attempts + (?2 = 'processing'), payload = CASE ?2 WHEN 'done' THEN NULL ELSE payload END \
               WHERE id = ?1";
    c.run("move an event on", sql, params![id.to_bytes(), state.as_str()]).map(|_| ())
}

pub(super) fn inbox_dead(c: &Context<'_>, id: Ulid, why: &str) -> Result<(), StoreError> {
    inbox_state(c, id, InboxState::Dead)?;
    let sql = "UPDATE inbox SET why = ?2 WHERE id = ?1";
    c.run("say why an event was given up", sql, params![id.to_bytes(), why]).map(|_| ())
}

pub(super) fn outbox(c: &Context<'_>, row: &OutboxRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (id, run, instance, conversation, priority, idempotency_key, part, state, attempts, not_before_ms, expires_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING";
    let params = params![
        row.id.to_bytes(),
        row.run.map(|r| r.to_bytes()),
        row.instance,
        row.conversation,
        row.priority,
        row.idempotency_key,
        text(&row.part),
        row.state.as_str(),
        row.attempts,
        int(row.not_before_ms),
        row.expires_ms.map(int)
    ];
    if c.run("queue a part", sql, params)? == 0 {
        let (id, instance, key) = (row.id, &row.instance, &row.idempotency_key);
        return Err(StoreError::conflict(format!("a part {id}, or one of {instance} with the key `{key}`, exists")));
    }
    Ok(())
}

pub(super) fn outbox_delete(c: &Context<'_>, id: Ulid) -> Result<(), StoreError> {
    let sql = "DELETE FROM outbox WHERE id = ?1 AND state IN ('pending', 'uncertain', 'dead')";
    if c.run("forget a part", sql, [id.to_bytes()])? == 0 {
        return Err(StoreError::conflict(format!("part {id} is unknown, being sent, or sent")));
    }
    Ok(())
}

pub(super) fn outbox_state(c: &Context<'_>, id: Ulid, change: &OutboxChange) -> Result<(), StoreError> {
    let sql = "SELECT state FROM outbox WHERE id = ?1";
    let found = c
        .one("read a part", sql, [id.to_bytes()], |r| r.word(0, OutboxState::parse))?
        .ok_or_else(|| StoreError::missing(format!("part {id} in the outbox")))?;
    let allowed = match found {
        OutboxState::Sent => false,
        OutboxState::Dead => change.state == OutboxState::Pending,
        OutboxState::Pending | OutboxState::InFlight | OutboxState::Uncertain => true,
    };
    if !allowed {
        let (was, is) = (found.as_str(), change.state.as_str());
        return Err(StoreError::conflict(format!("part {id} is {was}, it cannot become {is}")));
    }
    let sql = "UPDATE outbox SET state = ?2, attempts = attempts + (?2 = 'in-flight'), not_before_ms = coalesce(?3, not_before_ms), \
               detail = coalesce(?4, detail), tried_ms = CASE ?2 WHEN 'in-flight' THEN ?5 ELSE tried_ms END, \
               expires_ms = coalesce(?6, expires_ms) WHERE id = ?1";
    let params = params![
        id.to_bytes(),
        change.state.as_str(),
        change.not_before_ms.map(int),
        change.detail.as_ref().map(text),
        c.now(),
        change.expires_ms.map(int)
    ];
    c.run("move a part on", sql, params).map(|_| ())
}
