//! Channels: state, timers, kept events, who may talk.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::{
    ChannelEventRow, ChannelEventState, ChannelRow, DeliveryCounts, PairedRow, PairingRow, PlaceRow, TimerRow,
};
use crate::sql::{Columns, size};
use carapace_contract::InstanceId;
use rusqlite::{Row, params};
use serde_json::Value;
use ulid::Ulid;

const EVENT: &str = "SELECT id, instance, fingerprint, body, state, why, at_ms FROM channel_event";

fn event(r: &Row<'_>) -> rusqlite::Result<ChannelEventRow> {
    Ok(ChannelEventRow {
        id: r.ulid(0)?,
        instance: r.parsed(1)?,
        fingerprint: r.get(2)?,
        body: r.json(3)?,
        state: r.word(4, ChannelEventState::parse)?,
        why: r.get(5)?,
        at_ms: r.u64(6)?,
    })
}

impl Reader {
    /// What a channel keeps; none before its first start.
    pub async fn channel(&self, instance: &InstanceId) -> Result<Option<ChannelRow>, StoreError> {
        let (key, instance) = (instance.to_string(), instance.clone());
        self.read(move |c| {
            let sql = "SELECT digest, state FROM channel WHERE instance = ?1";
            one(c, "read a channel's state", sql, [key], |r| {
                Ok(ChannelRow { instance: instance.clone(), digest: r.parsed(0)?, state: r.get(1)? })
            })
        })
        .await
    }

    /// What was being given to a channel when the kernel last noted it; `Null` = nothing.
    pub async fn channel_attempts(&self, instance: &InstanceId) -> Result<Value, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| {
            let sql = "SELECT body FROM channel_attempts WHERE instance = ?1";
            Ok(one(c, "read the attempts", sql, [instance], |r| r.json(0))?.unwrap_or_default())
        })
        .await
    }

    /// How often a channel's sockets logged in; `Null` = never.
    pub async fn channel_logins(&self, instance: &InstanceId) -> Result<Value, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| {
            let sql = "SELECT body FROM channel_logins WHERE instance = ?1";
            Ok(one(c, "read the logins", sql, [instance], |r| r.json(0))?.unwrap_or_default())
        })
        .await
    }

    /// Where people last wrote directly, the newest first.
    pub async fn places(&self) -> Result<Vec<PlaceRow>, StoreError> {
        self.read(move |c| {
            let sql = "SELECT instance, sender, conversation, at_ms FROM place ORDER BY at_ms DESC";
            all(c, "read the places", sql, [], |r| {
                Ok(PlaceRow { instance: r.parsed(0)?, sender: r.get(1)?, conversation: r.json(2)?, at_ms: r.u64(3)? })
            })
        })
        .await
    }

    /// The timers of a channel, the first to run down first.
    pub async fn channel_timers(&self, instance: &InstanceId) -> Result<Vec<TimerRow>, StoreError> {
        let (key, instance) = (instance.to_string(), instance.clone());
        self.read(move |c| {
            let sql = "SELECT id, set_ms, due_ms FROM channel_timer WHERE instance = ?1 ORDER BY due_ms, id";
            all(c, "read the timers", sql, [key], |r| {
                Ok(TimerRow { instance: instance.clone(), id: r.get(0)?, set_ms: r.u64(1)?, due_ms: r.u64(2)? })
            })
        })
        .await
    }

    /// Kept events in a state, of one instance or of all, in the order they were put.
    pub async fn channel_events(
        &self,
        instance: Option<&InstanceId>,
        state: ChannelEventState,
        limit: usize,
    ) -> Result<Vec<ChannelEventRow>, StoreError> {
        let instance = instance.map(InstanceId::to_string);
        self.read(move |c| {
            let sql = format!("{EVENT} WHERE state = ?1 AND (?2 IS NULL OR instance = ?2) ORDER BY place LIMIT ?3");
            all(c, "read the kept events", &sql, params![state.as_str(), instance, size(limit)], event)
        })
        .await
    }

    /// The fingerprints of a channel's dead events.
    pub async fn dead_fingerprints(&self, instance: &InstanceId) -> Result<Vec<String>, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| {
            let sql = "SELECT fingerprint FROM channel_event WHERE state = 'dead' AND instance = ?1";
            all(c, "read the dead events", sql, [instance], |r| r.get(0))
        })
        .await
    }

    /// One kept event.
    pub async fn channel_event(&self, id: Ulid) -> Result<Option<ChannelEventRow>, StoreError> {
        self.read(move |c| one(c, "read a kept event", &format!("{EVENT} WHERE id = ?1"), [id.to_bytes()], event)).await
    }

    /// Every pairing code, expired or not, oldest first.
    pub async fn pairings(&self) -> Result<Vec<PairingRow>, StoreError> {
        self.read(|c| {
            let sql = "SELECT instance, code, sender, name, at_ms, expires_ms FROM pairing ORDER BY at_ms, code";
            all(c, "read the pairing codes", sql, [], |r| {
                Ok(PairingRow {
                    instance: r.parsed(0)?,
                    code: r.get(1)?,
                    sender: r.get(2)?,
                    name: r.get(3)?,
                    at_ms: r.u64(4)?,
                    expires_ms: r.u64(5)?,
                })
            })
        })
        .await
    }

    /// Everybody who was paired.
    pub async fn paired(&self) -> Result<Vec<PairedRow>, StoreError> {
        self.read(|c| {
            let sql = "SELECT instance, sender, name, owner, at_ms FROM paired ORDER BY instance, at_ms, sender";
            all(c, "read who is paired", sql, [], |r| {
                Ok(PairedRow {
                    instance: r.parsed(0)?,
                    sender: r.get(1)?,
                    name: r.get(2)?,
                    owner: r.get(3)?,
                    at_ms: r.u64(4)?,
                })
            })
        })
        .await
    }

    /// How much lies in the tables of deliveries, of one instance.
    pub async fn delivery_counts(&self, instance: &InstanceId) -> Result<DeliveryCounts, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| {
            let mut counts = DeliveryCounts::default();
            for (table, owner, states) in [
                ("inbox", "source", "'accepted', 'processing', 'dead'"),
                ("outbox", "instance", "'pending', 'in-flight', 'uncertain', 'dead'"),
                ("channel_event", "instance", "'waiting', 'dead'"),
            ] {
                let sql = format!(
                    "SELECT state, count(*) FROM {table} WHERE state IN ({states}) AND {owner} = ?1 GROUP BY state"
                );
                let found: Vec<(String, u64)> =
                    all(c, "count the deliveries", &sql, [&instance], |r| Ok((r.get(0)?, r.u64(1)?)))?;
                for (state, n) in found {
                    let count = match (table, state.as_str()) {
                        ("inbox", "dead") => &mut counts.inbox_dead,
                        ("inbox", _) => &mut counts.inbox,
                        ("outbox", "pending") => &mut counts.pending,
                        ("outbox", "in-flight") => &mut counts.in_flight,
                        ("outbox", "uncertain") => &mut counts.uncertain,
                        ("outbox", _) => &mut counts.dead,
                        (_, "dead") => &mut counts.events_dead,
                        _ => &mut counts.events,
                    };
                    *count += n;
                }
            }
            Ok(counts)
        })
        .await
    }
}
