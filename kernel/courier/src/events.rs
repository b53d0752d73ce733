//! Giving events to a component: in turn, with the state threaded through, one commit for all that went well.

use crate::harvest::Harvest;
use crate::ingress::{End, LONGEST_ASKED_MS, MOST_EVENTS, Session};
use crate::marks::Marks;
use crate::slot::{Hook, Slot};
use crate::sockets::Arrived;
use carapace_contract::channel::{ChannelFailure, ChannelFailureKind, ChannelState, Dial, Event, HttpAnswer, Item};
use carapace_contract::{Digest, EndpointName};
use carapace_store::{Batch, ChannelEventState, Durability, Ulid};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A commit is not put off for longer than this by further events.
const LONGEST_GROUP: Duration = Duration::from_millis(100);
/// So often something that says nothing about the event may keep it from being taken, in a row; then it is put aside. About an hour.
const MOST_HELD_UP: u32 = 60;
/// Marks of events that never came again.
const MOST_MARKS: usize = 256;

/// What is kept of something that a component could not take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Kept {
    Event(Event),
    /// A poll's response that could not be split.
    Response {
        response: HttpAnswer,
    },
}

/// Where an event came from: what has to happen when it is over.
pub(crate) enum Source {
    Hook(oneshot::Sender<HttpAnswer>),
    Timer,
    Stored(Ulid),
    Item,
    /// The kernel itself.
    Dial,
    /// A socket.
    Arrived {
        endpoint: EndpointName,
        room: Option<OwnedSemaphorePermit>,
    },
}

/// An event that is to be given.
pub(crate) struct Due {
    pub(crate) event: Event,
    fingerprint: String,
    source: Source,
    /// It was put aside before, and came again.
    known_dead: bool,
    held_up: u32,
}

impl Due {
    fn new(event: Event, fingerprint: String, source: Source) -> Self {
        Self { event, fingerprint, source, known_dead: false, held_up: 0 }
    }

    pub(crate) fn hook(hook: Hook) -> Self {
        let seen = match &hook.event {
            // Not the headers: a request that is repeated has another date.
            Event::Webhook(r) => format!("{}\n{}\n{}\n{}", r.webhook, r.method, r.query, Digest::of(&r.body)),
            Event::Line(line) => format!("line\n{}\n{}\n{}", line.client, line.id, line.text),
            _ => String::new(),
        };
        let fingerprint = Digest::of(seen.as_bytes()).hex();
        Self::new(hook.event, fingerprint, Source::Hook(hook.answer))
    }

    pub(crate) fn timer(id: String) -> Self {
        let fingerprint = format!("timer:{}", Digest::of(id.as_bytes()).hex());
        Self::new(Event::Timer(id), fingerprint, Source::Timer)
    }

    pub(crate) fn item(item: Item, slot: &Slot) -> Self {
        let event = Event::Item(item);
        let body = serde_json::to_value(&event).unwrap_or_default();
        let fingerprint = Digest::of(body.to_string().as_bytes()).hex();
        let known_dead = slot.is_dead(&fingerprint);
        Self { known_dead, ..Self::new(event, fingerprint, Source::Item) }
    }

    pub(crate) fn dial(dial: Dial) -> Self {
        Self::new(Event::Dial(dial), "dial".to_owned(), Source::Dial)
    }

    /// What came through a socket. The same message is known again whatever socket it comes through.
    pub(crate) fn arrived(arrived: Arrived) -> Self {
        let Arrived { event, endpoint, room } = arrived;
        let fingerprint = match &event {
            Event::Frame(frame) => Digest::of(&frame.data).hex(),
            Event::Opened(socket) => format!("opened:{socket}"),
            Event::Closed(closed) => format!("closed:{}", closed.socket),
            _ => String::new(),
        };
        Self::new(event, fingerprint, Source::Arrived { endpoint, room })
    }

    fn passed_over(cursor: String) -> Self {
        let fingerprint = format!("passed:{}", Digest::of(cursor.as_bytes()).hex());
        Self::new(Event::PassedOver(cursor), fingerprint, Source::Item)
    }

    /// The program that wrote it.
    fn program(&self) -> Option<&str> {
        match &self.event {
            Event::Line(line) => Some(&line.client),
            _ => None,
        }
    }

    fn is_unwanted(&self) -> bool {
        matches!(&self.source, Source::Hook(answer) if answer.is_closed())
    }

    /// What its end does to the store.
    fn end(&self, batch: Batch, session: &Session) -> Batch {
        match (&self.source, &self.event) {
            (Source::Stored(id), _) => batch.event_delete(*id),
            (_, Event::Timer(id)) => batch.timer_clear(session.info.instance.clone(), id.clone()),
            _ => batch,
        }
    }
}

impl Session {
    /// Reads stored events into what is given next.
    pub(crate) async fn read_stored(&mut self) -> Result<(), End> {
        if self.pending.len() >= MOST_EVENTS || !self.slot.take_unread() {
            return Ok(());
        }
        let instance = self.info.instance.clone();
        let rows = self.inner.store.channel_events(Some(&instance), ChannelEventState::Waiting, MOST_EVENTS).await?;
        if rows.len() == MOST_EVENTS {
            self.slot.read_again();
        }
        for row in rows {
            match serde_json::from_value::<Kept>(row.body) {
                Ok(Kept::Event(event)) => {
                    self.pending.push_back(Due::new(event, row.id.to_string(), Source::Stored(row.id)));
                }
                Ok(Kept::Response { response }) => self.split_again(row.id, response).await?,
                Err(e) => {
                    let why = format!("it cannot be read back: {e}");
                    let batch = self.batch().event_state(row.id, ChannelEventState::Dead, Some(why));
                    self.durably(batch).await?;
                    self.slot.unstored();
                }
            }
        }
        Ok(())
    }

    /// Takes what came through sockets: what is to be kept first is kept, and given when it is read back.
    pub(crate) async fn take_arrived(&mut self) -> Result<(), End> {
        let most = MOST_EVENTS.saturating_sub(self.pending.len());
        let mut arrived: VecDeque<Arrived> = self.slot.sockets.take(most).into();
        let (mut kept, mut batch) = (Vec::new(), self.batch());
        while let Some(next) = arrived.front() {
            let spool = self.info.sockets.get(&next.endpoint).is_some_and(|s| s.spool);
            let is_frame = matches!(next.event, Event::Frame(_));
            // The end of a socket is not told before what came through it.
            if spool && (!is_frame && (!kept.is_empty() || self.slot.has_stored()) || is_frame && self.slot.is_full()) {
                break;
            }
            let Some(next) = arrived.pop_front() else { break };
            if spool && is_frame {
                batch = batch.event_put(self.kept(&next.event, ChannelEventState::Waiting, None));
                kept.push(next);
            } else {
                self.pending.push_back(Due::arrived(next));
            }
        }
        self.slot.sockets.put_back(arrived.into());
        if kept.is_empty() {
            return Ok(());
        }
        let n = kept.len();
        match self.durably(batch).await {
            Ok(_) => self.slot.stored(n),
            Err(end) => {
                self.slot.sockets.put_back(kept);
                return Err(end);
            }
        }
        Ok(())
    }

    /// The session ends: what came through sockets and was not dealt with is for the next one.
    pub(crate) fn give_back(&mut self) {
        let mut arrived = Vec::new();
        for due in self.pending.drain(..) {
            match (due.event, due.source) {
                (event, Source::Arrived { endpoint, room }) => arrived.push(Arrived { event, endpoint, room }),
                (Event::Dial(dial), _) => self.slot.sockets.dial_again(dial.reason),
                _ => {}
            }
        }
        self.slot.sockets.put_back(arrived);
    }

    /// Keeps a poll's response that could not be split.
    pub(crate) async fn keep_response(&mut self, response: HttpAnswer, f: &ChannelFailure) -> Result<(), End> {
        let mut row = self.kept(&Event::Timer(String::new()), ChannelEventState::Dead, Some(f.to_string()));
        row.body = serde_json::to_value(Kept::Response { response }).unwrap_or_default();
        row.fingerprint = Digest::of(row.body.to_string().as_bytes()).hex();
        let batch = self.batch().event_put(row);
        self.durably(batch).await?;
        self.count("dead");
        Ok(())
    }

    async fn split_again(&mut self, id: Ulid, response: HttpAnswer) -> Result<(), End> {
        let instance = self.info.instance.clone();
        let mut batch = self.batch();
        match self.inner.channels.split(&instance, response).await {
            Ok(items) => {
                batch = batch.event_delete(id);
                let n = items.len();
                for item in items {
                    batch = batch.event_put(self.kept(&Event::Item(item), ChannelEventState::Waiting, None));
                }
                self.durably(batch).await?;
                self.slot.stored(n);
            }
            Err(f) => {
                self.durably(batch.event_state(id, ChannelEventState::Dead, Some(f.to_string()))).await?;
            }
        }
        self.slot.unstored();
        Ok(())
    }

    /// Gives what is pending, group by group.
    pub(crate) async fn process(&mut self) -> Result<(), End> {
        while let Some(first) = self.pending.pop_front() {
            if first.is_unwanted() {
                continue;
            }
            if first.known_dead {
                self.pass_over(&first.event);
                continue;
            }
            if let Some(why) = self.marks.verdict(&first.fingerprint) {
                self.bury(first, why).await?;
                continue;
            }
            let mut group = VecDeque::from([first]);
            // What was under way before and was not taken goes alone, so that nothing falls with it.
            // So does a dial, during which others would have to wait for their commit, and a timer, which what was given before it may clear.
            let alone = |marks: &Marks, due: &Due| {
                due.known_dead
                    || due.is_unwanted()
                    || marks.is_suspect(&due.fingerprint)
                    || matches!(due.event, Event::Dial(_) | Event::Timer(_))
            };
            if group.front().is_some_and(|due| !alone(&self.marks, due)) {
                while group.len() < MOST_EVENTS
                    && let Some(next) = self.pending.pop_front_if(|due| !alone(&self.marks, due))
                {
                    group.push_back(next);
                }
            }
            self.give(group).await?;
        }
        Ok(())
    }

    /// Gives one group: up to the first event that fails, or to the time a commit may be put off.
    async fn give(&mut self, mut group: VecDeque<Due>) -> Result<(), End> {
        self.marks.keep_at_most(MOST_MARKS);
        for due in &group {
            self.marks.begin(&due.fingerprint);
        }
        self.note().await?;
        let inner = Arc::clone(&self.inner);
        let slot = Arc::clone(&self.slot);
        let events: Vec<_> = group.iter().map(|due| (&due.event, self.marks.attempt(&due.fingerprint))).collect();
        let call = inner.channels.events(&self.info.instance, self.state.clone(), &events, LONGEST_GROUP);
        let progress = tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            progress = call => Some(progress),
        };
        let Some(progress) = progress else {
            for due in &group {
                self.marks.unbegin(&due.fingerprint);
            }
            self.restore(group);
            self.note().await?;
            return Err(End::Cancelled);
        };
        let mut rest = group.split_off(progress.outcomes.len().min(group.len()));
        let (mut state, mut harvest) = (self.state.clone(), Harvest::new(&inner, &slot, self.batch()));
        let mut responses = Vec::with_capacity(group.len());
        for (due, mut outcome) in group.iter().zip(progress.outcomes) {
            state = std::mem::take(&mut outcome.state);
            responses.push(outcome.response.take());
            harvest.add(|b| due.end(b, self));
            harvest.take(outcome, due.program(), &mut self.timers);
        }
        // A timer that was set anew, or cleared, while it waited to be given has not run down after all.
        self.pending.retain(|due| !matches!(&due.event, Event::Timer(id) if harvest.touched.contains(id)));
        let failed = progress.failure.and_then(|f| rest.pop_front().map(|due| (due, f)));
        for due in &rest {
            self.marks.unbegin(&due.fingerprint);
        }
        self.restore(rest);
        if !group.is_empty() {
            for due in &group {
                self.marks.end(&due.fingerprint);
            }
            harvest.add(|b| b.channel_attempts(self.info.instance.clone(), self.marks.body()));
            let gathered = harvest.gathered();
            if let Err(end) = self.commit(gathered, state).await {
                self.restore(group.into_iter().chain(failed.map(|(due, _)| due)));
                return Err(end);
            }
            self.failures = 0;
            self.slot.took_in(inner.clock.now_ms());
            for (due, response) in group.into_iter().zip(responses) {
                self.over(due, response);
            }
        }
        match failed {
            Some((due, f)) => self.failed(due, f).await,
            None => Ok(()),
        }
    }

    /// Puts back what was given and is not durable.
    fn restore(&mut self, given: impl IntoIterator<Item = Due>) {
        let rest = std::mem::take(&mut self.pending);
        self.pending = given.into_iter().chain(rest).collect();
    }

    /// Notes what is under way. A power cut may lose it: what counts are deaths that the machine survives.
    async fn note(&mut self) -> Result<(), End> {
        let batch = self.batch().durability(Durability::Relaxed);
        let batch = batch.channel_attempts(self.info.instance.clone(), self.marks.body());
        self.durably(batch).await.map(|_| ())
    }

    /// It is durable: whoever waits may know.
    fn over(&self, due: Due, response: Option<HttpAnswer>) {
        self.count("ok");
        match due.source {
            Source::Hook(answer) => {
                // Gone: its answer was 503, and it will come again.
                let _ = answer.send(response.unwrap_or(HttpAnswer { status: 200, ..HttpAnswer::default() }));
            }
            Source::Stored(_) => self.slot.unstored(),
            Source::Arrived { .. } => {
                if let Event::Closed(closed) = &due.event {
                    self.slot.sockets.forget(self.inner.clock.as_ref(), closed);
                }
            }
            Source::Timer | Source::Item | Source::Dial => {}
        }
    }

    async fn failed(&mut self, mut due: Due, f: ChannelFailure) -> Result<(), End> {
        match f.kind {
            ChannelFailureKind::Broken => {
                self.marks.broke(&due.fingerprint);
                tracing::warn!(instance = %self.info.instance, error = %f, "the channel broke on an event");
                self.count("broken");
                self.pending.push_front(due);
                Ok(())
            }
            ChannelFailureKind::Final => self.bury(due, f.to_string()).await,
            ChannelFailureKind::Gone => {
                self.marks.unbegin(&due.fingerprint);
                self.note().await?;
                Err(End::Gone(f.to_string()))
            }
            ChannelFailureKind::Retryable if matches!(due.event, Event::Dial(_)) => {
                self.marks.unbegin(&due.fingerprint);
                self.not_dialled(&due.event, &f.to_string(), f.retry_after_ms);
                Ok(())
            }
            ChannelFailureKind::Retryable | ChannelFailureKind::NotNow => {
                self.marks.unbegin(&due.fingerprint);
                if f.kind == ChannelFailureKind::Retryable {
                    due.held_up += 1;
                    if due.held_up >= MOST_HELD_UP {
                        let why = format!("{} times in a row: {f}", due.held_up);
                        return self.bury(due, why).await;
                    }
                }
                self.pending.push_front(due);
                self.held_up(&f, "an event could not be taken in").await
            }
        }
    }

    /// A dial came to nothing. Everything else goes on; it is given again after a while.
    fn not_dialled(&mut self, event: &Event, why: &str, after_ms: Option<u64>) {
        let Event::Dial(dial) = event else { return };
        let after_ms = after_ms.map(|ms| ms.min(LONGEST_ASKED_MS));
        let why = format!("no socket could be asked for: {why}");
        tracing::warn!(instance = %self.info.instance, why, "a channel did not dial");
        self.slot.sockets.dial_failed(self.inner.clock.as_ref(), dial.reason, after_ms, why);
    }

    /// What the kernel itself says about sockets is not kept: that would be of no use to anybody later.
    async fn bury_socket(&mut self, due: &Due, why: &str) -> Result<(), End> {
        tracing::error!(instance = %self.info.instance, why, "a channel cannot take what was said about its sockets");
        match &due.event {
            Event::Opened(socket) => self.slot.sockets.cut(*socket),
            Event::Closed(closed) => self.slot.sockets.forget(self.inner.clock.as_ref(), closed),
            dial => self.not_dialled(dial, why, None),
        }
        let batch = self.batch().channel_attempts(self.info.instance.clone(), self.marks.body());
        self.durably(batch).await.map(|_| ())
    }

    /// Puts an event aside: kept as it came, listed, and not given again unless the owner says so.
    async fn bury(&mut self, due: Due, why: String) -> Result<(), End> {
        self.marks.end(&due.fingerprint);
        self.count("dead");
        if matches!(due.event, Event::Dial(_) | Event::Opened(_) | Event::Closed(_)) {
            return self.bury_socket(&due, &why).await;
        }
        tracing::error!(instance = %self.info.instance, why, "an event was put aside; `carapace events list` shows it");
        let mut batch = self.batch().channel_attempts(self.info.instance.clone(), self.marks.body());
        match (&due.source, &due.event) {
            (Source::Stored(id), _) => batch = batch.event_state(*id, ChannelEventState::Dead, Some(why)),
            (_, Event::PassedOver(_)) => {
                // Kept once already, as the item that it is about. It will come again; not at once.
                self.durably(batch).await?;
                self.polls.fail(&self.inner);
                let why = "its component does not get past an item; see `carapace events list`".to_owned();
                self.slot.stands(self.inner.clock.as_ref(), ChannelState::Degraded, Some(why));
                return Ok(());
            }
            _ => {
                let mut row = self.kept(&due.event, ChannelEventState::Dead, Some(why));
                row.fingerprint.clone_from(&due.fingerprint);
                batch = due.end(batch.event_put(row), self);
            }
        }
        self.durably(batch).await?;
        match due.source {
            // It is kept here: nobody has to send it again.
            Source::Hook(answer) => drop(answer.send(HttpAnswer { status: 200, ..HttpAnswer::default() })),
            Source::Stored(_) => self.slot.unstored(),
            Source::Item => {
                self.slot.died(due.fingerprint);
                self.pass_over(&due.event);
            }
            Source::Timer | Source::Dial | Source::Arrived { .. } => {}
        }
        Ok(())
    }

    fn pass_over(&mut self, event: &Event) {
        if let Event::Item(item) = event {
            self.pending.push_front(Due::passed_over(item.cursor.clone()));
        }
    }

    fn count(&self, outcome: &'static str) {
        let instance = self.info.instance.to_string();
        metrics::counter!("carapace_channel_events_total", "instance" => instance, "outcome" => outcome).increment(1);
    }
}
