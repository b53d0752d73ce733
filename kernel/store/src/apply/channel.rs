//! Channels: state, timers, stored events, who may talk.

use super::{Context, length};
use crate::error::StoreError;
use crate::rows::{ChannelEventRow, ChannelEventState, ChannelRow, PairedRow, PairingRow, PlaceRow, TimerRow};
use crate::sql::{int, text};
use carapace_contract::InstanceId;
use rusqlite::params;
use serde_json::Value;
use ulid::Ulid;

/// The largest state, bytes.
const MAX_STATE: usize = 64 << 10;
/// The longest id of a timer or a sender, bytes.
const MAX_ID: usize = 256;

pub(super) fn state(c: &Context<'_>, row: &ChannelRow) -> Result<(), StoreError> {
    if row.state.len() > MAX_STATE {
        let rule = format!("it has at most {MAX_STATE}");
        return Err(StoreError::Invalid { what: format!("a channel's state of {} bytes", row.state.len()), rule });
    }
    let sql = "INSERT OR REPLACE INTO channel (instance, digest, state) VALUES (?1, ?2, ?3)";
    c.run("write a channel's state", sql, params![row.instance.to_string(), row.digest.to_string(), row.state])
        .map(|_| ())
}

/// What is being given to a channel, and how often it was; `Null` = nothing.
pub(super) fn attempts(c: &Context<'_>, instance: &InstanceId, body: &Value) -> Result<(), StoreError> {
    if body.is_null() {
        let sql = "DELETE FROM channel_attempts WHERE instance = ?1";
        return c.run("forget the attempts", sql, [instance.to_string()]).map(|_| ());
    }
    let sql = "INSERT OR REPLACE INTO channel_attempts (instance, body) VALUES (?1, ?2)";
    c.run("note the attempts", sql, params![instance.to_string(), text(body)]).map(|_| ())
}

/// How often its sockets logged in, in the caller's words.
pub(super) fn logins(c: &Context<'_>, instance: &InstanceId, body: &Value) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO channel_logins (instance, body) VALUES (?1, ?2)";
    c.run("note the logins", sql, params![instance.to_string(), text(body)]).map(|_| ())
}

pub(super) fn timer(c: &Context<'_>, row: &TimerRow) -> Result<(), StoreError> {
    length("a timer's id", &row.id, MAX_ID)?;
    let sql = "INSERT OR REPLACE INTO channel_timer (instance, id, set_ms, due_ms) VALUES (?1, ?2, ?3, ?4)";
    c.run("set a timer", sql, params![row.instance.to_string(), row.id, int(row.set_ms), int(row.due_ms)]).map(|_| ())
}

pub(super) fn timer_clear(c: &Context<'_>, instance: &InstanceId, id: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM channel_timer WHERE instance = ?1 AND id = ?2";
    c.run("clear a timer", sql, params![instance.to_string(), id]).map(|_| ())
}

pub(super) fn event(c: &Context<'_>, row: &ChannelEventRow, kept: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO channel_event (id, instance, fingerprint, body, state, why, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
               ON CONFLICT (id) DO NOTHING";
    let instance = row.instance.to_string();
    let params = params![
        row.id.to_bytes(),
        instance,
        row.fingerprint,
        text(&row.body),
        row.state.as_str(),
        row.why,
        int(row.at_ms)
    ];
    if c.run("keep an event", sql, params)? == 0 {
        return Err(StoreError::conflict(format!("an event {} is kept", row.id)));
    }
    if row.state == ChannelEventState::Dead { drop_oldest(c, &instance, kept) } else { Ok(()) }
}

fn drop_oldest(c: &Context<'_>, instance: &str, kept: u64) -> Result<(), StoreError> {
    let sql = "DELETE FROM channel_event WHERE instance = ?1 AND state = 'dead' AND place <= \
               (SELECT place FROM channel_event WHERE instance = ?1 AND state = 'dead' ORDER BY place DESC LIMIT 1 OFFSET ?2)";
    c.run("drop the oldest dead event", sql, params![instance, int(kept)]).map(|_| ())
}

pub(super) fn event_state(
    c: &Context<'_>,
    id: Ulid,
    state: ChannelEventState,
    why: Option<&str>,
    kept: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE channel_event SET state = ?2, why = ?3 WHERE id = ?1";
    if c.run("move a kept event on", sql, params![id.to_bytes(), state.as_str(), why])? == 0 {
        return Err(StoreError::missing(format!("kept event {id}")));
    }
    if state == ChannelEventState::Dead {
        let sql = "SELECT instance FROM channel_event WHERE id = ?1";
        if let Some(instance) = c.one::<String>("read a kept event", sql, [id.to_bytes()], |r| r.get(0))? {
            return drop_oldest(c, &instance, kept);
        }
    }
    Ok(())
}

pub(super) fn event_delete(c: &mut Context<'_>, id: Ulid) -> Result<(), StoreError> {
    let deleted = c.run("drop a kept event", "DELETE FROM channel_event WHERE id = ?1", [id.to_bytes()])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}

pub(super) fn pairing(c: &Context<'_>, row: &PairingRow) -> Result<(), StoreError> {
    length("a sender's id", &row.sender, MAX_ID)?;
    let sql = "DELETE FROM pairing WHERE instance = ?1 AND sender = ?2";
    c.run("replace a pairing code", sql, params![row.instance.to_string(), row.sender])?;
    let sql = "INSERT INTO pairing (code, instance, sender, name, at_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (code) DO NOTHING";
    let params = params![row.code, row.instance.to_string(), row.sender, row.name, int(row.at_ms), int(row.expires_ms)];
    if c.run("keep a pairing code", sql, params)? == 0 {
        return Err(StoreError::conflict("the pairing code is taken"));
    }
    Ok(())
}

pub(super) fn pairing_delete(c: &mut Context<'_>, code: &str) -> Result<(), StoreError> {
    let deleted = c.run("drop a pairing code", "DELETE FROM pairing WHERE code = ?1", [code])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}

pub(super) fn paired(c: &Context<'_>, row: &PairedRow) -> Result<(), StoreError> {
    length("a sender's id", &row.sender, MAX_ID)?;
    let sql = "INSERT OR REPLACE INTO paired (instance, sender, name, owner, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    let params = params![row.instance.to_string(), row.sender, row.name, row.owner, int(row.at_ms)];
    c.run("pair a sender", sql, params).map(|_| ())
}

pub(super) fn place(c: &Context<'_>, row: &PlaceRow) -> Result<(), StoreError> {
    length("a sender's id", &row.sender, MAX_ID)?;
    let sql = "INSERT OR REPLACE INTO place (instance, sender, conversation, at_ms) VALUES (?1, ?2, ?3, ?4)";
    c.run("note a place", sql, params![row.instance.to_string(), row.sender, text(&row.conversation), int(row.at_ms)])
        .map(|_| ())
}

pub(super) fn paired_delete(c: &mut Context<'_>, instance: &InstanceId, sender: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM paired WHERE instance = ?1 AND sender = ?2";
    let deleted = c.run("unpair a sender", sql, params![instance.to_string(), sender])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}
