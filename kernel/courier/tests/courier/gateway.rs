//! A platform's gateway made of data: it repeats what was not acknowledged to whoever connects.

use crate::platform::{Component, Platform, Update, failure};
use crate::sim::Plug;
use async_trait::async_trait;
use carapace_contract::channel::*;
use carapace_contract::ports::{ConnectFailure, Socket, SocketNews};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};

/// Outlives every kernel.
#[derive(Default)]
pub(crate) struct Gateway {
    /// What the kernel holds the socket to; none = the platform is polled.
    pub(crate) info: Mutex<Option<SocketInfo>>,
    /// What the next connections are answered.
    pub(crate) refusals: Mutex<VecDeque<ConnectFailure>>,
    /// What the component answers to the next dials.
    pub(crate) dials: Mutex<VecDeque<ChannelFailure>>,
    /// Connections, the last one last: the way to the kernel.
    pub(crate) lines: Mutex<Vec<mpsc::UnboundedSender<SocketNews>>>,
    /// Nothing that was sent is repeated.
    pub(crate) forgets: Mutex<bool>,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// How often the kernel pings.
    pub(crate) ping_ms: Mutex<Option<u32>>,
    /// Pings stay unanswered.
    pub(crate) deaf: Mutex<bool>,
    /// Messages that the kernel has read.
    pub(crate) read: Mutex<usize>,
    /// While there is one, the component does not come to an end with a message.
    pub(crate) stuck: Mutex<Option<Arc<Notify>>>,
}

impl Gateway {
    pub(crate) fn use_it(&self, info: SocketInfo) {
        *self.info.lock().unwrap() = Some(info);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.info.lock().unwrap().is_some()
    }

    pub(crate) fn infos(&self) -> BTreeMap<carapace_contract::EndpointName, SocketInfo> {
        self.info.lock().unwrap().map(|info| ("gateway".parse().unwrap(), info)).into_iter().collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Says something on the last connection.
    pub(crate) fn says(&self, text: impl Into<String>) {
        self.tells(SocketNews::Message { text: true, data: text.into().into_bytes() });
    }

    pub(crate) fn tells(&self, news: SocketNews) {
        let _ = self.lines.lock().unwrap().last().unwrap().send(news);
    }

    /// Ends the n-th connection, from 0.
    pub(crate) fn hangs_up(&self, n: usize) {
        let end = SocketNews::Closed { code: Some(1012), reason: "restart".into() };
        let _ = self.lines.lock().unwrap()[n].send(end);
    }

    /// Something happened: it is said to whoever is there, and to whoever comes while it is not acknowledged.
    pub(crate) fn serves(&self, platform: &Platform, update: Update) {
        let text = serde_json::to_string(&update).unwrap();
        if !*self.forgets.lock().unwrap() {
            platform.push(update);
        }
        if let Some(line) = self.lines.lock().unwrap().last() {
            let _ = line.send(SocketNews::Message { text: true, data: text.into_bytes() });
        }
    }

    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap().iter().copied().collect()
    }

    pub(crate) fn accept(
        &self,
        platform: &Arc<Platform>,
        plug: &Arc<Plug>,
        target: SocketTarget,
    ) -> Result<Box<dyn Socket>, ConnectFailure> {
        assert_eq!(target.endpoint, "gateway");
        if let Some(refusal) = self.refusals.lock().unwrap().pop_front() {
            platform.says("refused");
            return Err(refusal);
        }
        let (line, news) = mpsc::unbounded_channel();
        for update in platform.updates.lock().unwrap().iter() {
            if !self.acknowledged.lock().unwrap().contains(&update.id) {
                let data = serde_json::to_vec(update).unwrap();
                let _ = line.send(SocketNews::Message { text: true, data });
            }
        }
        let mut lines = self.lines.lock().unwrap();
        platform.says(format!("connected {}", lines.len()));
        lines.push(line);
        Ok(Box::new(Line {
            platform: Arc::clone(platform),
            plug: Arc::clone(plug),
            n: lines.len() - 1,
            news,
            next: None,
        }))
    }
}

/// The kernel's end.
struct Line {
    platform: Arc<Platform>,
    plug: Arc<Plug>,
    n: usize,
    news: mpsc::UnboundedReceiver<SocketNews>,
    /// Came, and was not fetched.
    next: Option<SocketNews>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.platform.says(format!("cut {}", self.n));
    }
}

#[async_trait]
impl Socket for Line {
    async fn next(&mut self) -> SocketNews {
        if self.next.is_none() {
            let lost = SocketNews::Closed { code: None, reason: "the line is dead".into() };
            self.next = Some(self.news.recv().await.unwrap_or(lost));
        }
        self.plug.point().await;
        *self.platform.gateway.read.lock().unwrap() += 1;
        self.next.take().unwrap()
    }

    fn is_login(&self, _: bool, data: &[u8]) -> bool {
        data.starts_with(b"hello")
    }

    async fn send(&mut self, _: bool, data: Vec<u8>) -> Result<(), ChannelFailure> {
        self.plug.point().await;
        let text = String::from_utf8(data).unwrap();
        self.platform.says(format!("sent {} {text}", self.n));
        if let Some(id) = text.strip_prefix("ack ") {
            let id = id.parse().unwrap();
            // Whoever acknowledges has it for good.
            self.platform.gateway.acknowledged.lock().unwrap().insert(id);
        }
        self.plug.point().await;
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), ChannelFailure> {
        self.plug.point().await;
        self.platform.says(format!("ping {}", self.n));
        if !*self.platform.gateway.deaf.lock().unwrap() {
            let _ = self.platform.gateway.lines.lock().unwrap()[self.n].send(SocketNews::Alive);
        }
        Ok(())
    }

    async fn close(&mut self, code: u16, _: &str) {
        self.platform.says(format!("close {} {code}", self.n));
        if !*self.platform.gateway.deaf.lock().unwrap() {
            let end = SocketNews::Closed { code: Some(code), reason: String::new() };
            let _ = self.platform.gateway.lines.lock().unwrap()[self.n].send(end);
        }
    }
}

impl Component {
    /// What the component does with what it is told about sockets. It takes over from the old one when a new one opens.
    pub(crate) async fn of_socket(
        &self,
        mut outcome: Outcome,
        event: &Event,
        attempt: u32,
    ) -> Result<Outcome, ChannelFailure> {
        let (platform, gateway) = (&self.platform, &self.platform.gateway);
        match event {
            Event::Dial(dial) => {
                let Dial { reason, failures, open, .. } = dial;
                platform.says(format!("dial {} {failures} {open:?} at {}", reason.as_str(), self.clock.passed()));
                if let Some(f) = gateway.dials.lock().unwrap().pop_front() {
                    return Err(f);
                }
                outcome.effects.push(Effect::Connect(SocketTarget {
                    endpoint: "gateway".into(),
                    address: SocketAddress::Path("/".into()),
                    headers: vec![],
                    ping_ms: *gateway.ping_ms.lock().unwrap(),
                }));
            }
            Event::Opened(socket) => {
                platform.says(format!("opened {socket}"));
                let data = format!("hello {socket}").into_bytes();
                outcome.effects.push(Effect::Frame(Frame { socket: *socket, text: true, data }));
                for old in 1..*socket {
                    let (code, reason) = (1000, String::new());
                    outcome.effects.push(Effect::Close(Closing { socket: old, code, reason }));
                }
            }
            Event::Closed(closed) => platform.says(format!("closed {} {:?}", closed.socket, closed.code)),
            Event::Frame(frame) => match frame.data.as_slice() {
                b"refresh" => outcome.effects.push(Effect::Dial),
                b"trap" => return Err(failure(ChannelFailureKind::Broken)),
                data => {
                    let update: Update = serde_json::from_slice(data).unwrap();
                    platform.says(format!("frame {} attempt {attempt}", update.id));
                    outcome = self.take(outcome, &update)?;
                    let data = format!("ack {}", update.id).into_bytes();
                    outcome.effects.push(Effect::Frame(Frame { socket: frame.socket, text: true, data }));
                    let stuck = gateway.stuck.lock().unwrap().clone();
                    if let Some(stuck) = stuck {
                        stuck.notified().await;
                    }
                }
            },
            _ => unreachable!(),
        }
        Ok(outcome)
    }
}
