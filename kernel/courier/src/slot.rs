//! What is known about a channel instance while the kernel runs, whoever works on it.

use crate::clock::Clock;
use crate::lines::Programs;
use crate::sockets::Sockets;
use carapace_contract::InstanceId;
use carapace_contract::channel::{ChannelState, Event, HttpAnswer};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Webhooks and lines of an instance that may wait to be given to its component.
const MOST_HOOKS: usize = 64;
/// Stored events of an instance that may wait.
const MOST_STORED: usize = 10_000;

/// An authentic request, or a program's line, that waits for its component.
pub(crate) struct Hook {
    pub(crate) event: Event,
    pub(crate) answer: oneshot::Sender<HttpAnswer>,
}

/// How an instance stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) state: ChannelState,
    pub(crate) why: Option<String>,
    pub(crate) since_ms: u64,
    pub(crate) last_event_ms: Option<u64>,
    pub(crate) last_poll_ms: Option<u64>,
}

/// One instance. It outlives the sessions that come and go with packages and configurations.
pub(crate) struct Slot {
    pub(crate) instance: InstanceId,
    hooks: Mutex<VecDeque<Hook>>,
    /// Something lies in the mailbox: a webhook, a stored event.
    pub(crate) mail: Notify,
    /// Stored events may be waiting that nobody has looked at.
    unread: AtomicBool,
    /// Stored events that wait.
    stored: AtomicUsize,
    /// Something lies in the outbox, or changed there.
    pub(crate) outbox: Notify,
    /// Its sockets.
    pub(crate) sockets: Sockets,
    /// Programs on this computer that are attached to it.
    pub(crate) programs: Programs,
    standing: Mutex<Standing>,
    /// Fingerprints of dead events.
    dead: Mutex<HashSet<String>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    pub(crate) fn new(instance: InstanceId, clock: &dyn Clock) -> Arc<Self> {
        let standing = Standing {
            state: ChannelState::Starting,
            why: None,
            since_ms: clock.now_ms(),
            last_event_ms: None,
            last_poll_ms: None,
        };
        Arc::new(Self {
            instance,
            hooks: Mutex::default(),
            mail: Notify::new(),
            unread: AtomicBool::new(true),
            stored: AtomicUsize::new(0),
            outbox: Notify::new(),
            sockets: Sockets::default(),
            programs: Programs::default(),
            standing: Mutex::new(standing),
            dead: Mutex::default(),
        })
    }

    /// Puts a webhook or a line into the mailbox.
    ///
    /// # Errors
    /// It is full.
    pub(crate) fn post(&self, hook: Hook) -> Result<(), ()> {
        let mut hooks = held(&self.hooks);
        // What nobody waits for any more will come again.
        hooks.retain(|h| !h.answer.is_closed());
        if hooks.len() >= MOST_HOOKS {
            return Err(());
        }
        hooks.push_back(hook);
        drop(hooks);
        self.mail.notify_one();
        Ok(())
    }

    /// Webhooks and lines in the order they came, at most so many.
    pub(crate) fn hooks(&self, most: usize) -> Vec<Hook> {
        let mut hooks = held(&self.hooks);
        let n = hooks.len().min(most);
        hooks.drain(..n).filter(|h| !h.answer.is_closed()).collect()
    }

    /// So many events were stored for it.
    pub(crate) fn stored(&self, n: usize) {
        self.stored.fetch_add(n, Ordering::SeqCst);
        self.read_again();
    }

    /// One of them is over.
    pub(crate) fn unstored(&self) {
        // Two lives of a session may have counted it; the number only guards against a flood.
        let _ = self.stored.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
    }

    /// So many wait.
    pub(crate) fn stored_are(&self, n: usize) {
        self.stored.store(n, Ordering::SeqCst);
    }

    /// Whether any wait.
    pub(crate) fn has_stored(&self) -> bool {
        self.stored.load(Ordering::SeqCst) > 0
    }

    /// No more are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.stored.load(Ordering::SeqCst) >= MOST_STORED
    }

    /// Stored events may wait.
    pub(crate) fn read_again(&self) {
        self.unread.store(true, Ordering::SeqCst);
        self.mail.notify_one();
    }

    /// Whether events may be stored that nobody looked at; the answer is `false` until there may be another.
    pub(crate) fn take_unread(&self) -> bool {
        self.unread.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn standing(&self) -> Standing {
        held(&self.standing).clone()
    }

    /// Notes how it stands. Says so in the log when that is news.
    pub(crate) fn stands(&self, clock: &dyn Clock, state: ChannelState, why: Option<String>) {
        let mut standing = held(&self.standing);
        if standing.state == state && standing.why == why {
            return;
        }
        let (instance, word) = (&self.instance, state.as_str());
        match (state, &why) {
            (ChannelState::Stopped, why) => tracing::warn!(%instance, why, "the channel has stopped"),
            (ChannelState::Degraded, why) => tracing::warn!(%instance, why, "the channel is degraded"),
            _ => tracing::info!(%instance, "the channel is {word}"),
        }
        metrics::gauge!("carapace_channel_ready", "instance" => instance.to_string())
            .set(f64::from(u8::from(matches!(state, ChannelState::Running))));
        if standing.state != state {
            standing.since_ms = clock.now_ms();
        }
        standing.state = state;
        standing.why = why;
    }

    pub(crate) fn took_in(&self, now_ms: u64) {
        held(&self.standing).last_event_ms = Some(now_ms);
    }

    pub(crate) fn polled(&self, now_ms: u64) {
        held(&self.standing).last_poll_ms = Some(now_ms);
    }

    pub(crate) fn is_dead(&self, fingerprint: &str) -> bool {
        held(&self.dead).contains(fingerprint)
    }

    pub(crate) fn died(&self, fingerprint: String) {
        held(&self.dead).insert(fingerprint);
    }

    pub(crate) fn is_no_longer_dead(&self, fingerprint: &str) {
        held(&self.dead).remove(fingerprint);
    }

    pub(crate) fn dead_are(&self, fingerprints: Vec<String>) {
        *held(&self.dead) = fingerprints.into_iter().collect();
    }
}
