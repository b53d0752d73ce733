//! The sockets of a channel: when one is wanted, which are open, what came through them. They stand beside the sessions, and so outlive
//! a trap and a swap of the component.

use crate::chance::{back_off, below};
use crate::clock::{Clock, Moment};
use crate::connect::New;
use crate::courier::Inner;
use crate::pump::{self, Command};
use crate::slot::Slot;
use carapace_contract::channel::{
    ChannelInfo, ChannelState, Closed, Dial, DialReason, Event, Frame, MAX_SOCKETS, SocketInfo, SocketStatus,
};
use carapace_contract::ports::ConnectFailure;
use carapace_contract::{EndpointName, InstanceId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// What may have come in and not been dealt with, KiB; a socket is not read while there is more.
pub(crate) const ROOM_KIB: u32 = 4 << 10;
/// A socket that lived so long was a good one: the next failure is the first, ms.
const GOOD_MS: u64 = 60_000;
/// The first wait between two connections, and the longest, ms.
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 120_000;
/// The wait before the first connection after a good one, at most, ms: not everybody at once.
const SPREAD_MS: u64 = 1_000;
/// A dial that was given, and answered with no connection for so long, is given again, ms.
const ANSWER_MS: u64 = 30_000;

/// What came through a socket, or became of one, in order.
pub(crate) struct Arrived {
    pub(crate) event: Event,
    /// Through which `[[socket]]`.
    pub(crate) endpoint: EndpointName,
    /// Gives its room back when it is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

struct Open {
    number: u32,
    endpoint: EndpointName,
    since: Moment,
    since_ms: u64,
    last_frame_ms: Option<u64>,
    /// Its end is among what came.
    ended: bool,
    commands: mpsc::Sender<Command>,
    cut: CancellationToken,
}

#[derive(Default)]
struct Inside {
    /// The link is a socket.
    wanted: bool,
    open: Vec<Open>,
    /// The one that is being opened.
    attempt: Option<(u64, CancellationToken)>,
    attempts: u64,
    /// What the session that is at work was told about them.
    infos: BTreeMap<EndpointName, SocketInfo>,
    /// A dial that is to be given.
    dial: Option<DialReason>,
    /// One that was given, until there is a connection.
    given: Option<(DialReason, Moment)>,
    /// Not before.
    not_before: Option<Moment>,
    /// In a row.
    failures: u32,
    status: Option<u16>,
    /// Why there is none although one is wanted, for people.
    trouble: Option<String>,
    numbers: u32,
    arrived: VecDeque<Arrived>,
}

/// See the module.
pub(crate) struct Sockets {
    inside: Mutex<Inside>,
    room: Arc<Semaphore>,
    /// When a dial is due may have changed.
    changed: Notify,
}

impl Default for Sockets {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(usize::try_from(ROOM_KIB).unwrap_or(usize::MAX)));
        Self { inside: Mutex::default(), room, changed: Notify::new() }
    }
}

impl Sockets {
    fn held(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self) -> &Arc<Semaphore> {
        &self.room
    }

    /// The link is a socket, from now on or anew: the next dial waits at least so long.
    pub(crate) fn want(&self, clock: &dyn Clock, after_ms: u32) {
        let mut inside = self.held();
        let first = !std::mem::replace(&mut inside.wanted, true);
        if after_ms > 0 {
            let wait = Moment::after(clock, after_ms.into());
            inside.not_before = inside.not_before.max(Some(wait));
        }
        if first && inside.none_open() && inside.attempt.is_none() {
            inside.dial.get_or_insert(DialReason::Start);
        }
        drop(inside);
        self.changed.notify_one();
    }

    /// The link is none any more: what is open ends.
    pub(crate) fn unwant(&self) {
        let mut inside = self.held();
        inside.wanted = false;
        inside.quiet();
        for open in inside.open.iter().filter(|o| !o.ended) {
            // A socket that takes no command any more ends by itself.
            let _ = open.commands.try_send(Command::Close { code: 1000, reason: String::new() });
        }
    }

    /// Everything is cut, and what came is forgotten: the channel has stopped, or is gone.
    pub(crate) fn cut_all(&self) {
        let mut inside = self.held();
        inside.wanted = false;
        inside.quiet();
        inside.failures = 0;
        inside.trouble = None;
        for open in inside.open.drain(..) {
            open.cut.cancel();
        }
        inside.arrived.clear();
    }

    /// Ends one without a farewell; its end is told.
    pub(crate) fn cut(&self, number: u32) {
        if let Some(open) = self.held().open.iter().find(|o| o.number == number) {
            open.cut.cancel();
        }
    }

    /// Another session takes over: sockets that the component no longer has, or no longer has so, are cut.
    pub(crate) fn take_over(&self, info: &ChannelInfo) {
        let mut inside = self.held();
        inside.wanted = false;
        inside.dial = None;
        let before = std::mem::replace(&mut inside.infos, info.sockets.clone());
        let changed = |o: &&Open| before.get(&o.endpoint) != info.sockets.get(&o.endpoint);
        for open in inside.open.iter().filter(changed) {
            open.cut.cancel();
        }
    }

    /// Every one is cut, and told to have ended: it leads where nobody points any more.
    pub(crate) fn cut_each(&self) {
        let mut inside = self.held();
        inside.quiet();
        for open in &inside.open {
            open.cut.cancel();
        }
    }

    /// A dial, if one is due.
    pub(crate) fn due(&self, clock: &dyn Clock) -> Option<Dial> {
        let mut inside = self.held();
        inside.look(clock);
        let reason = inside.dial.filter(|_| inside.may_dial())?;
        if inside.not_before.is_some_and(|m| m.left(clock) > 0) {
            return None;
        }
        inside.dial = None;
        inside.not_before = None;
        inside.given = Some((reason, Moment::after(clock, ANSWER_MS)));
        let open = inside.open.iter().filter(|o| !o.ended).map(|o| o.number).collect();
        Some(Dial { reason, failures: inside.failures, status: inside.status, open })
    }

    /// Waits until one may be due; for ever if none will be.
    pub(crate) async fn wait(&self, clock: &dyn Clock) {
        loop {
            let next = {
                let mut inside = self.held();
                inside.look(clock);
                match (inside.dial.is_some() && inside.may_dial(), inside.given) {
                    (true, _) => Some(inside.not_before),
                    (false, Some((_, until))) if inside.attempt.is_none() => Some(Some(until)),
                    _ => None,
                }
            };
            let until = async {
                match next {
                    Some(Some(moment)) => moment.wait(clock).await,
                    Some(None) => {}
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until => return,
                () = self.changed.notified() => {}
            }
        }
    }

    /// The component asks for another connection.
    pub(crate) fn ask(&self) {
        let mut inside = self.held();
        if inside.attempt.is_none() {
            inside.dial.get_or_insert(DialReason::Asked);
        }
        drop(inside);
        self.changed.notify_one();
    }

    /// A dial led to nothing; it is given again, after a while.
    pub(crate) fn dial_failed(&self, clock: &dyn Clock, reason: DialReason, after_ms: Option<u64>, why: String) {
        let mut inside = self.held();
        inside.given = None;
        inside.failed(clock, reason, after_ms);
        inside.trouble(why);
        drop(inside);
        self.changed.notify_one();
    }

    /// A dial was not given after all.
    pub(crate) fn dial_again(&self, reason: DialReason) {
        let mut inside = self.held();
        inside.given = None;
        inside.dial.get_or_insert(reason);
        drop(inside);
        self.changed.notify_one();
    }

    /// The component has dealt with the end of a socket.
    pub(crate) fn forget(&self, clock: &dyn Clock, closed: &Closed) {
        let mut inside = self.held();
        let Some(at) = inside.open.iter().position(|o| o.number == closed.socket) else { return };
        let open = inside.open.remove(at);
        if inside.wanted && inside.none_open() && inside.attempt.is_none() {
            let good = open.since.passed(clock) >= GOOD_MS;
            inside.failures = if good { 0 } else { inside.failures.saturating_add(1) };
            let wait = match inside.failures {
                0 => below(SPREAD_MS),
                n => back_off(n, FIRST_MS, LONGEST_MS),
            };
            inside.not_before = inside.not_before.max(Some(Moment::after(clock, wait)));
            inside.dial.get_or_insert(DialReason::Closed);
            if !good && inside.trouble.is_none() {
                let code = closed.code.map(|c| format!(" ({c})")).unwrap_or_default();
                inside.trouble(format!("its socket ended soon{code}: {}", closed.reason));
            }
        }
        drop(inside);
        self.changed.notify_one();
    }

    /// What came, at most so much.
    pub(crate) fn take(&self, most: usize) -> Vec<Arrived> {
        let mut inside = self.held();
        let n = inside.arrived.len().min(most);
        inside.arrived.drain(..n).collect()
    }

    /// What was taken and not dealt with, in order.
    pub(crate) fn put_back(&self, arrived: Vec<Arrived>) {
        let mut inside = self.held();
        for one in arrived.into_iter().rev() {
            inside.arrived.push_front(one);
        }
    }

    /// Why there is none although one is wanted.
    pub(crate) fn trouble(&self) -> Option<String> {
        let inside = self.held();
        inside.trouble.clone().filter(|_| inside.wanted)
    }

    /// What one was told to send was refused.
    pub(crate) fn refused(&self, why: String) {
        self.held().trouble = Some(why);
    }

    /// The way to a socket that is open.
    pub(crate) fn commands(&self, number: u32) -> Option<mpsc::Sender<Command>> {
        self.held().open.iter().find(|o| o.number == number && !o.ended).map(|o| o.commands.clone())
    }

    pub(crate) fn statuses(&self) -> Vec<SocketStatus> {
        let inside = self.held();
        let open = inside.open.iter().filter(|o| !o.ended);
        let status = |o: &Open| SocketStatus {
            endpoint: o.endpoint.clone(),
            socket: o.number,
            since_ms: o.since_ms,
            last_frame_ms: o.last_frame_ms,
        };
        open.map(status).collect()
    }

    /// Something came through a socket.
    pub(crate) fn frame(
        &self,
        slot: &Slot,
        frame: Frame,
        endpoint: &EndpointName,
        room: OwnedSemaphorePermit,
        now_ms: u64,
    ) {
        let mut inside = self.held();
        if let Some(open) = inside.open.iter_mut().find(|o| o.number == frame.socket) {
            open.last_frame_ms = Some(now_ms);
        }
        inside.arrived.push_back(Arrived { event: Event::Frame(frame), endpoint: endpoint.clone(), room: Some(room) });
        drop(inside);
        slot.mail.notify_one();
    }

    /// A socket has ended.
    pub(crate) fn closed(&self, slot: &Slot, closed: Closed, endpoint: &EndpointName) {
        let mut inside = self.held();
        // Nobody waits for the end of one that was cut with everything else.
        let Some(open) = inside.open.iter_mut().find(|o| o.number == closed.socket) else { return };
        open.ended = true;
        inside.arrived.push_back(Arrived { event: Event::Closed(closed), endpoint: endpoint.clone(), room: None });
        gauge(&slot.instance, &inside);
        drop(inside);
        slot.mail.notify_one();
    }

    /// A socket is to be opened, in place of one that is being opened: the attempt's number, and what ends it.
    pub(crate) fn attempt(&self, instance: &InstanceId) -> Option<(u64, CancellationToken)> {
        let mut inside = self.held();
        let refused = if !inside.wanted {
            "its link is no socket"
        } else if inside.open.iter().filter(|o| !o.ended).count() >= MAX_SOCKETS {
            "it has two already"
        } else {
            ""
        };
        if !refused.is_empty() {
            tracing::warn!(%instance, why = refused, "a channel wants a socket and gets none");
            return None;
        }
        if let Some((_, before)) = inside.attempt.take() {
            before.cancel();
        }
        inside.dial = None;
        inside.given = None;
        inside.attempts += 1;
        let attempt = (inside.attempts, CancellationToken::new());
        inside.attempt = Some(attempt.clone());
        Some(attempt)
    }

    pub(crate) fn opened(&self, inner: &Arc<Inner>, slot: &Arc<Slot>, attempt: u64, new: New) {
        let New { socket, endpoint, info, ping_ms } = new;
        let mut inside = self.held();
        if inside.attempt.as_ref().is_none_or(|(n, _)| *n != attempt) {
            return;
        }
        inside.attempt = None;
        inside.status = None;
        inside.trouble = None;
        inside.numbers += 1;
        let number = inside.numbers;
        let (commands, queue) = mpsc::channel(pump::MOST_COMMANDS);
        let cut = CancellationToken::new();
        let clock = inner.clock.as_ref();
        inside.open.push(Open {
            number,
            endpoint: endpoint.clone(),
            since: Moment::after(clock, 0),
            since_ms: clock.now_ms(),
            last_frame_ms: None,
            ended: false,
            commands,
            cut: cut.clone(),
        });
        inside.arrived.push_back(Arrived { event: Event::Opened(number), endpoint: endpoint.clone(), room: None });
        gauge(&slot.instance, &inside);
        drop(inside);
        tracing::info!(instance = %slot.instance, %endpoint, socket = number, "a socket is open");
        slot.mail.notify_one();
        let pump =
            pump::Pump { inner: Arc::clone(inner), slot: Arc::clone(slot), number, endpoint, info, ping_ms, cut };
        inner.spawn(pump.run(socket, queue));
    }

    pub(crate) fn not_opened(&self, inner: &Inner, slot: &Slot, attempt: u64, failed: ConnectFailure) {
        let clock = inner.clock.as_ref();
        let mut inside = self.held();
        if inside.attempt.as_ref().is_none_or(|(n, _)| *n != attempt) {
            return;
        }
        inside.attempt = None;
        inside.status = failed.status;
        inside.failed(clock, DialReason::Failed, failed.failure.retry_after_ms);
        inside.trouble(format!("no socket could be opened: {}", failed.failure));
        if let Some(why) = inside.trouble.clone() {
            slot.stands(clock, ChannelState::Degraded, Some(why));
        } else {
            tracing::warn!(instance = %slot.instance, error = %failed.failure, "a second socket could not be opened");
        }
        drop(inside);
        self.changed.notify_one();
    }

    /// No dial before so much time has passed.
    pub(crate) fn hold(&self, clock: &dyn Clock, ms: u64) {
        let mut inside = self.held();
        inside.not_before = inside.not_before.max(Some(Moment::after(clock, ms)));
    }
}

fn gauge(instance: &InstanceId, inside: &Inside) {
    let open = u32::try_from(inside.open.iter().filter(|o| !o.ended).count()).unwrap_or_default();
    metrics::gauge!("carapace_channel_sockets", "instance" => instance.to_string()).set(f64::from(open));
}

impl Inside {
    fn none_open(&self) -> bool {
        self.open.iter().all(|o| o.ended)
    }

    /// Whether there is room for another, and nobody opens one.
    fn may_dial(&self) -> bool {
        let open = self.open.iter().filter(|o| !o.ended).count();
        // The end of the last one comes before the dial for the next.
        let told = open > 0 || self.open.is_empty();
        self.wanted && self.attempt.is_none() && open < MAX_SOCKETS && told
    }

    /// A dial that nobody answered is to be given again.
    fn look(&mut self, clock: &dyn Clock) {
        if let Some((reason, until)) = self.given
            && self.attempt.is_none()
            && until.left(clock) == 0
        {
            self.given = None;
            self.failed(clock, reason, None);
        }
    }

    fn failed(&mut self, clock: &dyn Clock, reason: DialReason, after_ms: Option<u64>) {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(self.failures, FIRST_MS, LONGEST_MS).max(after_ms.unwrap_or(0));
        self.not_before = self.not_before.max(Some(Moment::after(clock, wait)));
        self.dial = Some(reason);
    }

    /// One that is open goes on as if nothing were.
    fn trouble(&mut self, why: String) {
        if self.none_open() {
            self.trouble = Some(why);
        }
    }

    fn quiet(&mut self) {
        if let Some((_, attempt)) = self.attempt.take() {
            attempt.cancel();
        }
        (self.dial, self.given, self.not_before, self.status) = (None, None, None, None);
    }
}
