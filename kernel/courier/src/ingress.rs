//! The ingress session of a channel instance: one mailbox, one event after the other, under a lease.

use crate::chance::back_off;
use crate::clock::Moment;
use crate::courier::{HOLDER, Inner};
use crate::effects::{effects, release};
use crate::events::Due;
use crate::harvest::{Gathered, Harvest, settled};
use crate::marks::Marks;
use crate::polls::{Polled, Polls};
use crate::slot::Slot;
use crate::timers::Timers;
use carapace_contract::Digest;
use carapace_contract::channel::{
    ChannelFailure, ChannelFailureKind, ChannelInfo, ChannelState, Effect, Event, Item, Link, MAX_ATTEMPTS,
};
use carapace_store::{Batch, ChannelEventRow, ChannelEventState, ChannelRow, Lease, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a lease holds unless it is renewed.
const LEASE: Duration = Duration::from_secs(120);
/// When it is renewed, ms.
const RENEW_MS: u64 = 40_000;
/// The first wait after a failure, and the longest, ms.
pub(crate) const FIRST_MS: u64 = 1_000;
/// See [`FIRST_MS`].
pub(crate) const LONGEST_MS: u64 = 60_000;
/// The longest wait that a platform may ask for, ms.
pub(crate) const LONGEST_ASKED_MS: u64 = 3_600_000;
/// Events of the mailbox that one commit may hold.
pub(crate) const MOST_EVENTS: usize = 64;

/// Why a session ended.
pub(crate) enum End {
    /// It was told to.
    Cancelled,
    /// It cannot go on until something changes.
    Stopped(String),
    /// Its component is not there: replaced just now, or about to be unloaded.
    Gone(String),
    /// The store is closed, or somebody else took over.
    Lost(StoreError),
}

impl From<StoreError> for End {
    fn from(e: StoreError) -> Self {
        Self::Lost(e)
    }
}

/// A channel at work.
pub(crate) struct Session {
    pub(crate) inner: Arc<Inner>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) info: ChannelInfo,
    pub(crate) cancel: CancellationToken,
    pub(crate) lease: Lease,
    renew: Moment,
    pub(crate) state: Vec<u8>,
    pub(crate) link: Option<Link>,
    pub(crate) timers: Timers,
    pub(crate) marks: Marks,
    pub(crate) polls: Polls,
    /// Given next, before anything new is taken from the mailbox.
    pub(crate) pending: VecDeque<Due>,
    /// What a poll brought and nobody has looked at.
    pub(crate) items: VecDeque<Item>,
    effects: mpsc::Sender<Vec<Effect>>,
    /// Failures in a row that say nothing about an event.
    pub(crate) failures: u32,
}

/// Works until it is told to stop, or cannot go on.
pub(crate) async fn run(inner: Arc<Inner>, slot: Arc<Slot>, info: ChannelInfo, cancel: CancellationToken) {
    let clock = Arc::clone(&inner.clock);
    slot.stands(clock.as_ref(), ChannelState::Starting, None);
    let mut failures = 3;
    loop {
        failures += 1;
        let end = match Session::open(&inner, &slot, info.clone(), cancel.clone()).await {
            Ok(mut session) => {
                failures = 3;
                let end = session.work().await;
                session.give_back();
                end
            }
            Err(end) => end,
        };
        let why = match end {
            End::Cancelled => return,
            End::Stopped(why) => {
                slot.sockets.cut_all();
                return slot.stands(clock.as_ref(), ChannelState::Stopped, Some(why));
            }
            End::Lost(e) if e.is_closed() => return,
            End::Lost(e) if e.is_fenced() => {
                slot.sockets.cut_all();
                return slot.stands(clock.as_ref(), ChannelState::Stopped, Some(e.to_string()));
            }
            End::Lost(e) => e.to_string(),
            // If it stays away, this session is told to end.
            End::Gone(why) => why,
        };
        slot.stands(clock.as_ref(), ChannelState::Degraded, Some(why));
        tokio::select! {
            () = cancel.cancelled() => return,
            () = clock.sleep_ms(back_off(failures, FIRST_MS, LONGEST_MS)) => {}
        }
    }
}

impl Session {
    async fn open(
        inner: &Arc<Inner>,
        slot: &Arc<Slot>,
        info: ChannelInfo,
        cancel: CancellationToken,
    ) -> Result<Self, End> {
        let (inner, slot) = (Arc::clone(inner), Arc::clone(slot));
        let name = format!("channel:{}", info.instance);
        let lease = loop {
            match inner.store.lease_acquire(&name, HOLDER, LEASE).await {
                Ok(lease) => break lease,
                Err(e) if e.is_lease_held() => {
                    slot.stands(inner.clock.as_ref(), ChannelState::Degraded, Some(e.to_string()));
                    tokio::select! {
                        () = cancel.cancelled() => return Err(End::Cancelled),
                        () = inner.clock.sleep_ms(15_000) => {}
                    }
                }
                Err(e) => return Err(e.into()),
            }
        };
        // Only now: what the last holder was still writing lies before the change of hands.
        let instance = &info.instance;
        let state = inner.store.channel(instance).await?.map(|row| row.state).unwrap_or_default();
        let timers = Timers::load(inner.store.channel_timers(instance).await?, inner.clock.as_ref());
        let marks = Marks::load(&inner.store.channel_attempts(instance).await?);
        slot.dead_are(inner.store.dead_fingerprints(instance).await?);
        let waiting = inner.store.delivery_counts(instance).await?.events;
        slot.stored_are(usize::try_from(waiting).unwrap_or(usize::MAX));
        slot.read_again();
        let effects = effects(&inner, &slot, &info);
        slot.sockets.take_over(&info);
        let renew = Moment::after(inner.clock.as_ref(), RENEW_MS);
        let mut session = Self {
            inner,
            slot,
            info,
            cancel,
            lease,
            renew,
            state,
            link: None,
            timers,
            marks,
            polls: Polls::default(),
            pending: VecDeque::new(),
            items: VecDeque::new(),
            effects,
            failures: 0,
        };
        session.start().await?;
        Ok(session)
    }

    /// `start`, until it is answered.
    async fn start(&mut self) -> Result<(), End> {
        let mut broken = 0;
        loop {
            let call = self.inner.channels.start(&self.info.instance, self.state.clone());
            let outcome = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Cancelled),
                outcome = call => outcome,
            };
            match outcome {
                Ok(mut outcome) => {
                    let state = std::mem::take(&mut outcome.state);
                    let mut harvest = Harvest::new(&self.inner, &self.slot, self.batch());
                    harvest.take(outcome, None, &mut self.timers);
                    let gathered = harvest.gathered();
                    self.commit(gathered, state).await?;
                    self.failures = 0;
                    return self.go_on();
                }
                Err(f) => {
                    broken += u32::from(f.kind == ChannelFailureKind::Broken);
                    if broken >= MAX_ATTEMPTS {
                        return Err(End::Stopped(format!("its component breaks when it is started: {f}")));
                    }
                    self.held_up(&f, "could not be started").await?;
                }
            }
        }
    }

    /// Looks at the link: a fatal one ends the session.
    pub(crate) fn go_on(&mut self) -> Result<(), End> {
        if let Some(Link::Fatal(why)) = &self.link {
            return Err(End::Stopped(why.clone()));
        }
        if self.failures == 0 && self.polls.failures == 0 {
            let why = self.slot.sockets.trouble();
            let state = if why.is_some() { ChannelState::Degraded } else { ChannelState::Running };
            self.slot.stands(self.inner.clock.as_ref(), state, why);
        }
        Ok(())
    }

    /// Waits after a failure that says nothing about what was given; ends the session where waiting is in vain.
    pub(crate) async fn held_up(&mut self, f: &ChannelFailure, what: &str) -> Result<(), End> {
        match f.kind {
            ChannelFailureKind::Final => return Err(End::Stopped(f.to_string())),
            ChannelFailureKind::Gone => return Err(End::Gone(f.to_string())),
            ChannelFailureKind::NotNow | ChannelFailureKind::Broken | ChannelFailureKind::Retryable => {}
        }
        self.failures = self.failures.saturating_add(1);
        // The kernel's own refusals pass quickly, and are no news.
        let (first, longest) = match f.kind {
            ChannelFailureKind::NotNow => (100, 5_000),
            _ => (FIRST_MS, LONGEST_MS),
        };
        if f.kind != ChannelFailureKind::NotNow {
            self.slot.stands(self.inner.clock.as_ref(), ChannelState::Degraded, Some(format!("{what}: {f}")));
        }
        let asked = f.retry_after_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
        self.wait(back_off(self.failures, first, longest).max(asked)).await
    }

    pub(crate) async fn wait(&mut self, ms: u64) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(End::Cancelled),
            () = self.inner.clock.sleep_ms(ms) => Ok(()),
        }
    }

    /// A batch that only the holder of the lease can commit.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new().lease(self.lease.name.clone(), self.lease.token)
    }

    /// Commits what events yielded with the state they left, and lets their effects go.
    pub(crate) async fn commit(&mut self, gathered: Gathered, state: Vec<u8>) -> Result<(), End> {
        let Gathered { batch, taken, effects, link } = gathered;
        let row = ChannelRow { instance: self.info.instance.clone(), digest: self.info.digest, state };
        let receipt = self.durably(batch.channel_state(row.clone())).await?;
        self.state = row.state;
        if let Some(link) = link {
            self.polls.relink(self.link.as_ref(), &link);
            match &link {
                Link::Socket { after_ms } => self.slot.sockets.want(self.inner.clock.as_ref(), *after_ms),
                Link::Poll { .. } | Link::Idle => self.slot.sockets.unwant(),
                Link::Fatal(_) => {}
            }
            self.link = Some(link);
        }
        for new in settled(taken, &receipt, &self.info.instance.to_string()) {
            self.inner.enqueue(new.id, self.info.instance.clone(), new.session);
        }
        for effects in effects {
            release(&self.inner, &self.slot, &self.info, &self.effects, &self.cancel, effects).await;
        }
        Ok(())
    }

    /// Commits, and again while the disk is full: nothing that was not committed may be acknowledged, and nothing has been.
    pub(crate) async fn durably(&mut self, batch: Batch) -> Result<carapace_store::Receipt, End> {
        let mut failures = 0;
        loop {
            // Not given up half-way when the session is told to end: whether it was written has to be known.
            match self.inner.store.commit(batch.clone()).await {
                Ok(receipt) => return Ok(receipt),
                Err(e) if e.is_full() => {
                    failures += 1;
                    self.slot.stands(self.inner.clock.as_ref(), ChannelState::Degraded, Some(e.to_string()));
                    self.wait(back_off(failures, FIRST_MS, LONGEST_MS)).await?;
                }
                Err(e) => {
                    // What was given out with this batch was not given out.
                    self.inner.pairing.load(&self.inner.store).await?;
                    return Err(e.into());
                }
            }
        }
    }

    async fn work(&mut self) -> End {
        loop {
            let step = async {
                if self.pending.is_empty() {
                    self.collect().await?;
                }
                self.process().await?;
                self.go_on()
            };
            if let Err(end) = step.await {
                return end;
            }
        }
    }

    /// Waits until there is something to give, and takes it: webhooks first, then timers, then what was stored, then what came through
    /// sockets, then items.
    async fn collect(&mut self) -> Result<(), End> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(End::Cancelled);
            }
            self.pending.extend(self.slot.hooks(MOST_EVENTS).into_iter().map(Due::hook));
            self.pending.extend(self.timers.due(self.inner.clock.as_ref()).into_iter().map(Due::timer));
            self.pending.extend(self.slot.sockets.due(self.inner.clock.as_ref()).map(Due::dial));
            self.read_stored().await?;
            self.take_arrived().await?;
            while self.pending.len() < MOST_EVENTS {
                let Some(item) = self.items.pop_front() else { break };
                self.pending.push_back(Due::item(item, &self.slot));
            }
            if self.renew.left(self.inner.clock.as_ref()) == 0 {
                self.lease = self.inner.store.lease_renew(&self.lease, LEASE).await?;
                self.renew = Moment::after(self.inner.clock.as_ref(), RENEW_MS);
            }
            if !self.pending.is_empty() {
                return Ok(());
            }
            let polled = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Cancelled),
                () = self.slot.mail.notified() => continue,
                () = self.timers.wait(self.inner.clock.as_ref()) => continue,
                () = self.slot.sockets.wait(self.inner.clock.as_ref()) => continue,
                () = self.renew.wait(self.inner.clock.as_ref()) => continue,
                polled = self.polls.next(&self.inner, &self.info.instance, self.link.as_ref()) => polled,
            };
            self.polled(polled).await?;
        }
    }

    async fn polled(&mut self, polled: Polled) -> Result<(), End> {
        match polled.result {
            Ok(items) => {
                self.slot.polled(self.inner.clock.as_ref().now_ms());
                if self.info.spool && !items.is_empty() {
                    self.spool(items).await?;
                } else {
                    self.items.extend(items);
                }
                self.go_on()
            }
            Err(f) => {
                match f.kind {
                    ChannelFailureKind::Final => return Err(End::Stopped(f.to_string())),
                    ChannelFailureKind::Gone => return Err(End::Gone(f.to_string())),
                    ChannelFailureKind::Broken if self.info.spool => {
                        // Its platform will not send it again.
                        if let Some(response) = polled.response {
                            self.keep_response(response, &f).await?;
                        }
                    }
                    _ => {}
                }
                self.slot.stands(self.inner.clock.as_ref(), ChannelState::Degraded, Some(format!("polling: {f}")));
                Ok(())
            }
        }
    }

    /// Makes items durable before the component sees them.
    async fn spool(&mut self, items: Vec<Item>) -> Result<(), End> {
        let n = items.len();
        let mut batch = self.batch();
        for item in items {
            batch = batch.event_put(self.kept(&Event::Item(item), ChannelEventState::Waiting, None));
        }
        self.durably(batch).await?;
        self.slot.stored(n);
        Ok(())
    }

    /// An event as it is kept.
    pub(crate) fn kept(&self, event: &Event, state: ChannelEventState, why: Option<String>) -> ChannelEventRow {
        let body = serde_json::to_value(event).unwrap_or_default();
        ChannelEventRow {
            id: self.inner.new_id(),
            instance: self.info.instance.clone(),
            fingerprint: Digest::of(body.to_string().as_bytes()).hex(),
            body,
            state,
            why,
            at_ms: self.inner.clock.now_ms(),
        }
    }
}
