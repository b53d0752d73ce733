//! One socket at work: reads as long as there is room for what comes, writes what it is told to, and looks whether somebody is there.

use crate::connect::used_up;
use crate::courier::Inner;
use crate::logins;
use crate::slot::Slot;
use crate::sockets::ROOM_KIB;
use carapace_contract::EndpointName;
use carapace_contract::channel::{ChannelFailureKind, Closed, Frame, SocketInfo};
use carapace_contract::ports::{Socket, SocketNews};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// Commands that wait; more make the session wait.
pub(crate) const MOST_COMMANDS: usize = 64;
/// Between two pings, at least, ms.
const LEAST_PING_MS: u64 = 1_000;
/// Until the other side has answered a farewell, ms.
const FAREWELL_MS: u64 = 5_000;

/// What a socket is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Send { text: bool, data: Vec<u8> },
    Close { code: u16, reason: String },
}

/// See the module.
pub(crate) struct Pump {
    pub(crate) inner: Arc<Inner>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) number: u32,
    pub(crate) endpoint: EndpointName,
    pub(crate) info: SocketInfo,
    pub(crate) ping_ms: Option<u32>,
    pub(crate) cut: CancellationToken,
}

enum Step {
    News(SocketNews),
    Room(Option<OwnedSemaphorePermit>),
    Command(Option<Command>),
    Time,
    Cut,
}

/// When it pings, and when it gives up, in ms of the steady clock.
struct Life {
    every: Option<u64>,
    /// The last sign of life.
    heard: u64,
    pinged: u64,
    /// It was told to end.
    closing: Option<u64>,
}

impl Life {
    /// Until it has to look again.
    fn next(&self, now: u64) -> Option<u64> {
        let silent = self.every.map(|every| (self.pinged + every).min(self.heard + 2 * every));
        let at = [silent, self.closing].into_iter().flatten().min()?;
        Some(at.saturating_sub(now))
    }
}

impl Pump {
    /// Until the socket ends.
    pub(crate) async fn run(self, mut socket: Box<dyn Socket>, mut queue: mpsc::Receiver<Command>) {
        let (code, reason) = tokio::select! {
            biased;
            // Cut without a farewell: what is not acknowledged comes again.
            () = self.inner.stopping.cancelled() => return,
            end = self.work(socket.as_mut(), &mut queue) => end,
        };
        drop(socket);
        tracing::info!(instance = %self.slot.instance, endpoint = %self.endpoint, socket = self.number, code, reason, "a socket has ended");
        let closed = Closed { socket: self.number, code, reason };
        self.slot.sockets.closed(&self.slot, closed, &self.endpoint);
    }

    async fn work(&self, socket: &mut dyn Socket, queue: &mut mpsc::Receiver<Command>) -> (Option<u16>, String) {
        let clock = self.inner.clock.as_ref();
        let now = clock.steady_ms();
        let every = self.ping_ms.map(|ms| u64::from(ms).max(LEAST_PING_MS));
        let mut life = Life { every, heard: now, pinged: now, closing: None };
        // What came, and waits for room.
        let mut held: Option<(bool, Vec<u8>)> = None;
        loop {
            let next = life.next(clock.steady_ms());
            let step = tokio::select! {
                biased;
                () = self.cut.cancelled() => Step::Cut,
                command = queue.recv() => Step::Command(command),
                step = self.listen(socket, held.as_ref()) => step,
                () = async {
                    match next {
                        Some(ms) => clock.sleep_ms(ms).await,
                        None => std::future::pending().await,
                    }
                } => Step::Time,
            };
            match step {
                Step::Cut => return (None, "it was cut by the kernel".to_owned()),
                Step::News(SocketNews::Closed { code, reason }) => return (code, reason),
                Step::News(SocketNews::Alive) => life.heard = clock.steady_ms(),
                Step::News(SocketNews::Message { text, data }) => {
                    life.heard = clock.steady_ms();
                    held = Some((text, data));
                }
                Step::Room(room) => {
                    // While nothing is read nobody can be heard.
                    life.heard = clock.steady_ms();
                    let (Some(room), Some((text, data))) = (room, held.take()) else {
                        return (None, "the kernel takes nothing more".to_owned());
                    };
                    self.count("in");
                    let frame = Frame { socket: self.number, text, data };
                    self.slot.sockets.frame(&self.slot, frame, &self.endpoint, room, clock.now_ms());
                }
                // Nobody holds it any more.
                Step::Command(None) => return (None, String::new()),
                Step::Command(Some(Command::Close { code, reason })) => {
                    socket.close(code, &reason).await;
                    life.closing.get_or_insert(clock.steady_ms() + FAREWELL_MS);
                }
                Step::Command(Some(Command::Send { .. })) if life.closing.is_some() => {}
                Step::Command(Some(Command::Send { text, data })) => {
                    if let Err(why) = self.send(socket, text, data).await {
                        return (None, why);
                    }
                }
                Step::Time => {
                    let now = clock.steady_ms();
                    if life.closing.is_some_and(|at| at <= now) {
                        return (None, "the farewell was not answered".to_owned());
                    }
                    let Some(every) = life.every else { continue };
                    if held.is_some() {
                        life.heard = now;
                    } else if life.heard + 2 * every <= now {
                        return (None, format!("nothing was heard for {} ms", now - life.heard));
                    }
                    if life.pinged + every <= now {
                        life.pinged = now;
                        if let Err(f) = socket.ping().await {
                            return (None, f.to_string());
                        }
                    }
                }
            }
        }
    }

    /// Reads, or waits for room for what was read.
    async fn listen(&self, socket: &mut dyn Socket, held: Option<&(bool, Vec<u8>)>) -> Step {
        let Some((_, data)) = held else { return Step::News(socket.next().await) };
        let size = u32::try_from(data.len().div_ceil(1 << 10)).unwrap_or(u32::MAX).clamp(1, ROOM_KIB);
        Step::Room(Arc::clone(self.slot.sockets.room()).acquire_many_owned(size).await.ok())
    }

    /// # Errors
    /// The socket cannot go on.
    async fn send(&self, socket: &mut dyn Socket, text: bool, data: Vec<u8>) -> Result<(), String> {
        let clock = self.inner.clock.as_ref();
        if let Some(most) = self.info.logins_per_day
            && self.info.login_frames
            && socket.is_login(text, &data)
        {
            match logins::take(&self.inner, &self.slot.instance, &self.endpoint, most).await {
                Ok(Ok(())) => {}
                Ok(Err(free_ms)) => {
                    let wait = free_ms.saturating_sub(clock.now_ms());
                    let why = used_up(&self.endpoint, most, wait).to_string();
                    self.slot.sockets.hold(clock, wait);
                    self.slot.sockets.refused(why.clone());
                    return Err(why);
                }
                Err(e) => return Err(format!("its logins could not be counted: {e}")),
            }
        }
        let sent = socket.send(text, data).await;
        let outcome = if sent.is_ok() { "out" } else { "refused" };
        self.count(outcome);
        match sent {
            Ok(()) => Ok(()),
            // It was refused, and the socket stands; but whoever waits for its answer waits in vain.
            Err(f) => {
                if f.kind == ChannelFailureKind::Final {
                    self.slot.sockets.refused(f.to_string());
                }
                Err(f.to_string())
            }
        }
    }

    fn count(&self, direction: &'static str) {
        let instance = self.slot.instance.to_string();
        metrics::counter!("carapace_channel_frames_total", "instance" => instance, "direction" => direction)
            .increment(1);
    }
}
