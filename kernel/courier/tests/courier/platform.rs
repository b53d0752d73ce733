//! A chat platform made of data, and its component as the host would run it.

use crate::gateway::Gateway;
use crate::sim::{Plug, SimClock};
use async_trait::async_trait;
use carapace_contract::channel::*;
use carapace_contract::media::Media;
use carapace_contract::ports::{Channels, ConnectFailure, Lines, Socket};
use carapace_contract::{Digest, InstanceId};
use carapace_courier::Clock;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) fn chat() -> InstanceId {
    "local/chat/main".parse().unwrap()
}

/// What the platform's server says happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Update {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) conversation: String,
    pub(crate) kind: ConversationKind,
    pub(crate) sender: String,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) message_id: Option<String>,
    #[serde(default)]
    pub(crate) edited: bool,
    #[serde(default)]
    pub(crate) mention: bool,
    /// What the component does with it: `trap`, `trap-twice`, `final`, `retry`, `not-now`, `timer:<ms>`, `fatal`, `effect`,
    /// `slow:<ms>`.
    #[serde(default)]
    pub(crate) does: String,
}

pub(crate) fn from_owner(n: u64, conversation: &str, text: &str) -> Update {
    Update {
        id: n,
        key: format!("k{n}"),
        conversation: conversation.into(),
        kind: ConversationKind::Direct,
        sender: "1".into(),
        text: text.into(),
        message_id: None,
        edited: false,
        mention: false,
        does: String::new(),
    }
}

/// A message that reached the platform.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) conversation: String,
    pub(crate) text: String,
    pub(crate) key: String,
    pub(crate) at_ms: u64,
}

/// Outlives every kernel.
#[derive(Default)]
pub(crate) struct Platform {
    pub(crate) updates: Mutex<Vec<Update>>,
    pub(crate) delivered: Mutex<Vec<Delivered>>,
    /// Told of each message that reached it.
    pub(crate) news: tokio::sync::Notify,
    /// What the next sends answer.
    pub(crate) sends: Mutex<VecDeque<ChannelFailure>>,
    /// What the next polls answer.
    pub(crate) polls: Mutex<VecDeque<ChannelFailure>>,
    pub(crate) starts: Mutex<VecDeque<ChannelFailure>>,
    pub(crate) renders: Mutex<VecDeque<ChannelFailure>>,
    /// Nothing can be rendered for conversations that begin so.
    pub(crate) gone: Mutex<Option<String>>,
    /// `split` breaks so often.
    pub(crate) splits: Mutex<u32>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) attempts: Mutex<HashMap<String, u32>>,
    /// Sends per conversation now and at most.
    pub(crate) at_once: Mutex<(usize, usize)>,
    pub(crate) key_window_s: Mutex<u32>,
    pub(crate) spool: Mutex<bool>,
    pub(crate) typing: Mutex<Option<TypingSupport>>,
    pub(crate) edits: Mutex<Option<EditSupport>>,
    /// What the next changes answer.
    pub(crate) changes: Mutex<VecDeque<ChannelFailure>>,
    pub(crate) digest: Mutex<Option<Digest>>,
    pub(crate) loaded: Mutex<bool>,
    /// Its sockets, if it has any.
    pub(crate) gateway: Gateway,
    pub(crate) changed: Mutex<Option<watch::Sender<u64>>>,
    /// Through which programs are written to; conversations that begin with `program` are theirs.
    pub(crate) programs: Mutex<Option<Weak<dyn Lines>>>,
}

impl Platform {
    pub(crate) fn push(&self, update: Update) {
        self.updates.lock().unwrap().push(update);
    }
    pub(crate) fn says(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }
    pub(crate) fn lines(&self, prefix: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|l| l.starts_with(prefix)).cloned().collect()
    }
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap().clone()
    }
    pub(crate) fn texts(&self) -> Vec<String> {
        self.delivered().into_iter().map(|d| d.text).collect()
    }
    pub(crate) fn tell_change(&self) {
        if let Some(sender) = &*self.changed.lock().unwrap() {
            sender.send_modify(|n| *n += 1);
        }
    }
}

pub(crate) fn failure(kind: ChannelFailureKind) -> ChannelFailure {
    ChannelFailure {
        kind,
        message: format!("{kind:?}"),
        retry_after_ms: None,
        scope: FailureScope::Conversation,
        uncertain: false,
    }
}

/// The component, as the host would run it.
pub(crate) struct Component {
    pub(crate) platform: Arc<Platform>,
    pub(crate) plug: Arc<Plug>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) changed: watch::Sender<u64>,
}

pub(crate) fn poll(cursor: u64) -> Link {
    Link::Poll {
        request: KernelRequest {
            method: "GET".into(),
            target: KernelTarget::Endpoint("api".into(), format!("updates?from={cursor}")),
            headers: vec![],
            body: None,
            timeout_ms: None,
        },
        min_interval_ms: 5_000,
    }
}

fn cursor_of(state: &[u8]) -> u64 {
    state.try_into().map_or(0, u64::from_be_bytes)
}

impl Component {
    fn outcome(&self, cursor: u64) -> Outcome {
        let link = if self.platform.gateway.is_used() { Link::Socket { after_ms: 0 } } else { poll(cursor) };
        Outcome { state: cursor.to_be_bytes().to_vec(), link: Some(link), ..Outcome::default() }
    }

    fn message(update: &Update) -> ChannelMessage {
        ChannelMessage {
            key: update.key.clone(),
            id: update.message_id.clone().unwrap_or_else(|| update.id.to_string()),
            conversation: Conversation {
                id: update.conversation.clone(),
                kind: update.kind,
                thread: None,
                title: None,
            },
            sender: Sender {
                id: update.sender.clone(),
                name: format!("N{}", update.sender),
                is_bot: update.sender == "bot",
                is_me: update.sender == "me",
            },
            text: update.text.clone(),
            mentions_me: update.mention,
            reply_to: None,
            at_ms: None,
            attachments: vec![],
        }
    }

    pub(crate) fn take(&self, mut outcome: Outcome, update: &Update) -> Result<Outcome, ChannelFailure> {
        let times = {
            let mut attempts = self.platform.attempts.lock().unwrap();
            let times = attempts.entry(update.key.clone()).or_default();
            *times += 1;
            *times
        };
        match update.does.as_str() {
            "trap" => return Err(failure(ChannelFailureKind::Broken)),
            "trap-twice" if times <= 2 => return Err(failure(ChannelFailureKind::Broken)),
            "final" => return Err(failure(ChannelFailureKind::Final)),
            "gone" if times <= 20 => return Err(failure(ChannelFailureKind::Gone)),
            "retry" if times <= 10 => return Err(failure(ChannelFailureKind::Retryable)),
            "not-now" if times <= 50 => return Err(failure(ChannelFailureKind::NotNow)),
            "dies" => self.plug.pull_at(1),
            "fatal" => outcome.link = Some(Link::Fatal("the token was revoked; set another".into())),
            "effect" => {
                let Some(Link::Poll { request, .. }) = Some(poll(0)) else { unreachable!() };
                let target = KernelTarget::Endpoint("api".into(), format!("ack/{}", update.id));
                outcome.effects.push(Effect::Request(KernelRequest { method: "POST".into(), target, ..request }));
            }
            timer if timer.starts_with("timer:") => outcome.timers.push(TimerChange {
                id: format!("t{}", update.id),
                after_ms: Some(timer["timer:".len()..].parse().unwrap()),
                jitter_ms: 0,
            }),
            _ => {}
        }
        let message = Self::message(update);
        outcome.inbound.push(if update.edited { Inbound::Edited(message) } else { Inbound::Message(message) });
        Ok(outcome)
    }

    async fn event(&self, state: &[u8], event: &Event, attempt: u32) -> Result<Outcome, ChannelFailure> {
        self.plug.point().await;
        let cursor = cursor_of(state);
        let outcome = match event {
            Event::Item(item) => {
                let update: Update = serde_json::from_slice(&item.data).unwrap();
                self.platform.says(format!("item {} attempt {attempt}", update.id));
                if let Some(ms) = update.does.strip_prefix("slow:") {
                    self.clock.sleep_ms(ms.parse().unwrap()).await;
                }
                self.take(self.outcome(update.id + 1), &update)
            }
            Event::PassedOver(at) => {
                self.platform.says(format!("passed {at}"));
                Ok(self.outcome(at.parse::<u64>().unwrap() + 1))
            }
            Event::Timer(id) => {
                self.platform.says(format!("timer {id} at {}", self.clock.passed()));
                Ok(self.outcome(cursor))
            }
            Event::Webhook(request) => {
                let update: Update = serde_json::from_slice(&request.body).unwrap();
                self.platform.says(format!("hook {} attempt {attempt}", update.id));
                let mut outcome = self.take(self.outcome(cursor), &update)?;
                outcome.response = Some(HttpAnswer { status: 200, headers: vec![], body: b"taken".to_vec() });
                Ok(outcome)
            }
            Event::Line(line) => {
                self.platform.says(format!("line {} attempt {attempt}", line.id));
                match serde_json::from_str::<Update>(&line.text) {
                    Ok(update) => self.take(self.outcome(cursor), &update),
                    Err(e) => {
                        let response = HttpAnswer { status: 400, headers: vec![], body: e.to_string().into_bytes() };
                        Ok(Outcome { response: Some(response), ..self.outcome(cursor) })
                    }
                }
            }
            socket => self.of_socket(self.outcome(cursor), socket, attempt).await,
        };
        self.plug.point().await;
        outcome
    }
}

#[async_trait]
impl Channels for Component {
    fn channels(&self) -> Vec<ChannelInfo> {
        if !*self.platform.loaded.lock().unwrap() {
            return vec![];
        }
        vec![ChannelInfo {
            instance: chat(),
            digest: self.platform.digest.lock().unwrap().unwrap_or(Digest::of(b"1")),
            description: Description {
                text_limit: 100,
                text_unit: "scalars".into(),
                key_window_s: *self.platform.key_window_s.lock().unwrap(),
                file_limit: 0,
                typing: *self.platform.typing.lock().unwrap(),
                edits: *self.platform.edits.lock().unwrap(),
            },
            webhooks: vec!["hook".into()],
            spool: *self.platform.spool.lock().unwrap(),
            sockets: self.platform.gateway.infos(),
            media: false,
            lines: true,
        }]
    }
    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
    async fn start(&self, _: &InstanceId, state: Vec<u8>) -> Result<Outcome, ChannelFailure> {
        self.plug.point().await;
        self.platform.says(format!("start {}", cursor_of(&state)));
        match self.platform.starts.lock().unwrap().pop_front() {
            Some(f) => Err(f),
            None => Ok(self.outcome(cursor_of(&state))),
        }
    }
    async fn events(&self, _: &InstanceId, state: Vec<u8>, events: &[(&Event, u32)], within: Duration) -> Progress {
        let (mut state, mut progress) = (state, Progress::default());
        let until = self.clock.passed() + u64::try_from(within.as_millis()).unwrap();
        for (event, attempt) in events {
            match self.event(&state, event, *attempt).await {
                Ok(outcome) => {
                    state.clone_from(&outcome.state);
                    progress.outcomes.push(outcome);
                }
                Err(f) => {
                    progress.failure = Some(f);
                    break;
                }
            }
            if self.clock.passed() >= until {
                break;
            }
        }
        progress
    }
    async fn request(&self, _: &InstanceId, request: KernelRequest) -> Result<HttpAnswer, ChannelFailure> {
        self.plug.point().await;
        let KernelTarget::Endpoint(_, path) = &request.target else { unreachable!() };
        let Some(from) = path.strip_prefix("updates?from=") else {
            self.platform.says(format!("effect {path}"));
            return Ok(HttpAnswer { status: 200, ..HttpAnswer::default() });
        };
        if let Some(f) = self.platform.polls.lock().unwrap().pop_front() {
            return Err(f);
        }
        let from: u64 = from.parse().unwrap();
        let updates: Vec<Update> =
            self.platform.updates.lock().unwrap().iter().filter(|u| u.id >= from).take(100).cloned().collect();
        if *self.platform.spool.lock().unwrap() {
            // At most once: what was handed out is gone.
            self.platform.updates.lock().unwrap().retain(|u| !updates.iter().any(|o| o.id == u.id));
        }
        Ok(HttpAnswer { status: 200, headers: vec![], body: serde_json::to_vec(&updates).unwrap() })
    }
    async fn connect(&self, _: &InstanceId, target: SocketTarget) -> Result<Box<dyn Socket>, ConnectFailure> {
        self.plug.point().await;
        let socket = self.platform.gateway.accept(&self.platform, &self.plug, target);
        self.plug.point().await;
        socket
    }
    async fn split(&self, _: &InstanceId, response: HttpAnswer) -> Result<Vec<Item>, ChannelFailure> {
        {
            let mut splits = self.platform.splits.lock().unwrap();
            if *splits > 0 {
                *splits -= 1;
                return Err(failure(ChannelFailureKind::Broken));
            }
        }
        let updates: Vec<Update> = serde_json::from_slice(&response.body).unwrap();
        let item = |u: Update| Item { cursor: u.id.to_string(), data: serde_json::to_vec(&u).unwrap() };
        Ok(updates.into_iter().map(item).collect())
    }
    async fn render(
        &self,
        _: &InstanceId,
        conversation: &Conversation,
        content: Content,
    ) -> Result<Vec<RenderedPart>, ChannelFailure> {
        self.plug.point().await;
        if self.platform.gone.lock().unwrap().as_ref().is_some_and(|p| conversation.id.starts_with(p)) {
            return Err(failure(ChannelFailureKind::Gone));
        }
        if let Some(f) = self.platform.renders.lock().unwrap().pop_front() {
            return Err(f);
        }
        self.platform.says(format!("about {:?}: {}", content.about, content.text));
        let part = |text: &str| RenderedPart { text: text.to_owned(), data: text.as_bytes().to_vec() };
        Ok(content.text.split("\n\n").map(part).collect())
    }
    async fn fetch_media(&self, _: &InstanceId, _: Attachment) -> Result<Media, ChannelFailure> {
        Err(failure(ChannelFailureKind::Final))
    }
    async fn send(&self, _: &InstanceId, outgoing: Outgoing) -> Result<String, ChannelFailure> {
        {
            let mut now = self.platform.at_once.lock().unwrap();
            now.0 += 1;
            now.1 = now.1.max(now.0);
        }
        // Others may be sent meanwhile.
        tokio::task::yield_now().await;
        self.plug.point().await;
        self.platform.at_once.lock().unwrap().0 -= 1;
        let scripted = self.platform.sends.lock().unwrap().pop_front();
        if let Some(f) = &scripted
            && !f.uncertain
        {
            return Err(f.clone());
        }
        if outgoing.conversation.id.starts_with("program") {
            let programs = self.platform.programs.lock().unwrap().as_ref().and_then(Weak::upgrade);
            let (to, text) = (&outgoing.conversation.id, outgoing.part.text);
            let written = programs.unwrap().write(&chat(), to, &outgoing.key, text).await;
            self.plug.point().await;
            return written.map(|()| "written".to_owned()).map_err(|_| failure(ChannelFailureKind::Retryable));
        }
        let delivered = Delivered {
            conversation: outgoing.conversation.id.clone(),
            text: outgoing.part.text.clone(),
            key: outgoing.key.clone(),
            at_ms: self.clock.passed(),
        };
        {
            let mut all = self.platform.delivered.lock().unwrap();
            let window = *self.platform.key_window_s.lock().unwrap();
            if window == 0 || !all.iter().any(|d| d.key == outgoing.key) {
                all.push(delivered);
            }
        }
        self.platform.news.notify_one();
        self.plug.point().await;
        match scripted {
            Some(f) => Err(f),
            None => Ok(format!("sent-{}", outgoing.key)),
        }
    }
    async fn edit(&self, _: &InstanceId, outgoing: Outgoing, id: String) -> Result<(), ChannelFailure> {
        self.plug.point().await;
        if let Some(f) = self.platform.changes.lock().unwrap().pop_front() {
            return Err(f);
        }
        {
            let mut all = self.platform.delivered.lock().unwrap();
            all.iter_mut().find(|d| format!("sent-{}", d.key) == id).unwrap().text = outgoing.part.text;
        }
        self.platform.says(format!("edit at {}", self.clock.passed()));
        self.plug.point().await;
        Ok(())
    }
    async fn typing(&self, _: &InstanceId, conversation: &Conversation, on: bool) -> Result<(), ChannelFailure> {
        self.plug.point().await;
        self.platform.says(format!("typing {} {on} at {}", conversation.id, self.clock.passed()));
        Ok(())
    }
    async fn verify(&self, _: &InstanceId, request: WebhookRequest) -> Result<WebhookRequest, HttpAnswer> {
        self.plug.point().await;
        if request.headers.iter().any(|(name, _)| name == "forged") {
            return Err(HttpAnswer { status: 401, ..HttpAnswer::default() });
        }
        Ok(request)
    }
}
