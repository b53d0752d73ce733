//! All WebSocket connections: how many there may be, and the one task that hands every event to each of them.

use crate::options::GatewayLimits;
use crate::state::{Shared, now_ms};
use crate::ws::events;
use crate::ws::methods::health;
use crate::ws::queue::Queue;
use carapace_contract::turn::TurnEvent;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Events held back at most while their run's name is being settled.
const HELD: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    members: RwLock<HashMap<u64, Member>>,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
    health_version: AtomicU64,
}

#[derive(Debug)]
struct Member {
    queue: Arc<Queue>,
    reads: bool,
}

impl Hub {
    /// A seat, if there is one left.
    pub(crate) fn admit(shared: &Arc<Shared>, peer: IpAddr) -> Option<Seat> {
        let (hub, limits): (&Self, &GatewayLimits) = (&shared.hub, &shared.limits);
        let mut by_address = hub.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.entry(peer).or_default();
        if hub.open.load(Ordering::Relaxed) >= limits.ws_connections || *here >= limits.ws_connections_per_address {
            if *here == 0 {
                by_address.remove(&peer);
            }
            return None;
        }
        *here += 1;
        hub.open.fetch_add(1, Ordering::Relaxed);
        ::metrics::gauge!("carapace_ws_connections").increment(1.0);
        ::metrics::counter!("carapace_ws_connections_total").increment(1);
        Some(Seat { shared: Arc::clone(shared), peer, id: hub.next.fetch_add(1, Ordering::Relaxed) })
    }

    /// Open connections.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How often health has changed.
    pub(crate) fn health_version(&self) -> u64 {
        self.health_version.load(Ordering::Relaxed)
    }

    fn listening(&self) -> bool {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().any(|m| m.reads)
    }

    fn each(&self, mut of: impl FnMut(&Member)) {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().for_each(&mut of);
    }

    /// An event for everybody who may read.
    fn broadcast(&self, name: &'static str, payload: &Value) {
        let payload: Arc<str> = payload.to_string().into();
        self.each(|m| {
            if m.reads {
                m.queue.event(name, &payload);
            }
        });
    }

    /// Tells everybody that the gateway stops.
    pub(crate) fn announce_shutdown(&self, reason: &str) {
        let reason = if reason.is_empty() { "shutdown" } else { reason };
        let payload: Arc<str> = json!({"reason": reason}).to_string().into();
        self.each(|m| m.queue.event("shutdown", &payload));
    }
}

/// A connection's place. Dropping it frees it.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    peer: IpAddr,
    pub(crate) id: u64,
}

impl Seat {
    /// From now on the connection gets events.
    pub(crate) fn join(&self, queue: &Arc<Queue>, reads: bool) {
        let member = Member { queue: Arc::clone(queue), reads };
        self.shared.hub.members.write().unwrap_or_else(PoisonError::into_inner).insert(self.id, member);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let hub = &self.shared.hub;
        hub.members.write().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        let mut by_address = hub.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = by_address.get_mut(&self.peer) {
            *n -= 1;
            if *n == 0 {
                by_address.remove(&self.peer);
            }
        }
        hub.open.fetch_sub(1, Ordering::Relaxed);
        ::metrics::gauge!("carapace_ws_connections").decrement(1.0);
    }
}

/// Hands out events until the gateway has ended.
pub(crate) async fn pump(shared: Arc<Shared>, mut events: broadcast::Receiver<Arc<TurnEvent>>) {
    let mut settled = shared.runs.settled();
    let mut held = Held::default();
    let every = shared.limits.ws_tick;
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_health = Value::Null;
    let mut open = true;
    loop {
        tokio::select! {
            event = events.recv(), if open => match event {
                Ok(event) => {
                    held.release(&shared);
                    held.offer(&shared, event);
                }
                Err(RecvError::Lagged(n)) => {
                    tracing::warn!(events = n, "events were lost before they reached the clients");
                    ::metrics::counter!("carapace_ws_dropped_total", "what" => "events").increment(n);
                    shared.hub.each(|m| m.queue.skip());
                }
                Err(RecvError::Closed) => open = false,
            },
            changed = settled.changed(), if !held.is_empty() => {
                if changed.is_ok() {
                    held.release(&shared);
                }
            }
            _ = tick.tick() => beat(&shared, &mut last_health).await,
            () = shared.dead.cancelled() => return,
        }
    }
}

async fn beat(shared: &Shared, last_health: &mut Value) {
    let payload: Arc<str> = json!({"ts": now_ms()}).to_string().into();
    shared.hub.each(|m| {
        if !m.queue.unimportant("tick", &payload) {
            ::metrics::counter!("carapace_ws_dropped_total", "what" => "tick").increment(1);
        }
    });
    if !shared.hub.listening() {
        return;
    }
    let mut now = health(shared).await;
    let moving: Vec<Value> = now
        .as_object_mut()
        .map(|o| ["ts", "durationMs"].iter().filter_map(|k| o.remove(*k)).collect())
        .unwrap_or_default();
    if now != *last_health {
        last_health.clone_from(&now);
        shared.hub.health_version.fetch_add(1, Ordering::Relaxed);
        if let (Some(o), Some(ts)) = (now.as_object_mut(), moving.into_iter().next()) {
            o.insert("ts".into(), ts);
        }
        shared.hub.broadcast("health", &now);
    }
}

/// Events whose run is just being submitted: its name is not known until then.
#[derive(Default)]
struct Held(VecDeque<Arc<TurnEvent>>);

impl Held {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn offer(&mut self, shared: &Shared, event: Arc<TurnEvent>) {
        if !shared.hub.listening() {
            return;
        }
        let waits = self.0.iter().any(|h| h.run == event.run) || shared.runs.is_unsettled(event.run, &event.session);
        if waits && self.0.len() < HELD {
            self.0.push_back(event);
        } else {
            deliver(shared, &event);
        }
    }

    fn release(&mut self, shared: &Shared) {
        if self.0.is_empty() {
            return;
        }
        // A run that must wait waits with all its events, or they would change order.
        let mut waiting = HashSet::new();
        for event in std::mem::take(&mut self.0) {
            if waiting.contains(&event.run) || shared.runs.is_unsettled(event.run, &event.session) {
                waiting.insert(event.run);
                self.0.push_back(event);
            } else {
                deliver(shared, &event);
            }
        }
    }
}

fn deliver(shared: &Shared, event: &TurnEvent) {
    let run = shared.runs.name(event.run);
    for (name, payload) in events::payloads(event, &run) {
        shared.hub.broadcast(name, &payload);
    }
}
