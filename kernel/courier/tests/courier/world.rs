//! A chat platform, its component, an assistant, and lives of a kernel between them.

use crate::sim::{Plug, SimClock};
use async_trait::async_trait;
use carapace_config::{Config, ConfigHandle, NoEnv};
use carapace_contract::channel::*;
use carapace_contract::completion::{ModelInfo, StopReason, Usage};
use carapace_contract::control::ChannelRequest;
use carapace_contract::decision::Origin;
use carapace_contract::ports::{Assistant, Channels, Webhooks};
use carapace_contract::turn::*;
use carapace_contract::{Digest, InstanceId, Ulid};
use carapace_courier::{Courier, Deps};
use carapace_store::{Batch, Clock as StoreClock, Store, StoreOptions, Unlocker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};

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
    /// What the component does with it: `trap`, `trap-twice`, `final`, `retry`, `not-now`, `timer:<ms>`, `fatal`, `effect`.
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
    /// What the next sends answer.
    pub(crate) sends: Mutex<VecDeque<ChannelFailure>>,
    /// What the next polls answer.
    pub(crate) polls: Mutex<VecDeque<ChannelFailure>>,
    pub(crate) starts: Mutex<VecDeque<ChannelFailure>>,
    pub(crate) renders: Mutex<VecDeque<ChannelFailure>>,
    /// `split` breaks so often.
    pub(crate) splits: Mutex<u32>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) attempts: Mutex<HashMap<String, u32>>,
    /// Sends per conversation now and at most.
    pub(crate) at_once: Mutex<(usize, usize)>,
    pub(crate) key_window_s: Mutex<u32>,
    pub(crate) spool: Mutex<bool>,
    pub(crate) typing: Mutex<Option<TypingSupport>>,
    pub(crate) digest: Mutex<Option<Digest>>,
    pub(crate) loaded: Mutex<bool>,
    pub(crate) changed: Mutex<Option<watch::Sender<u64>>>,
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
    changed: watch::Sender<u64>,
}

fn poll(cursor: u64) -> Link {
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
    fn outcome(cursor: u64) -> Outcome {
        Outcome { state: cursor.to_be_bytes().to_vec(), link: Some(poll(cursor)), ..Outcome::default() }
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

    fn take(&self, mut outcome: Outcome, update: &Update) -> Result<Outcome, ChannelFailure> {
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
            "retry" if times <= 10 => return Err(failure(ChannelFailureKind::Retryable)),
            "not-now" if times <= 50 => return Err(failure(ChannelFailureKind::NotNow)),
            "dies" => self.plug.pull_at(1),
            "fatal" => outcome.link = Some(Link::Fatal("the token was revoked; set another".into())),
            "effect" => {
                let Some(Link::Poll { request, .. }) = Some(poll(0)) else { unreachable!() };
                let target = KernelTarget::Endpoint("api".into(), format!("ack/{}", update.id));
                outcome.effects.push(KernelRequest { method: "POST".into(), target, ..request });
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
                typing: *self.platform.typing.lock().unwrap(),
            },
            webhooks: vec!["hook".into()],
            spool: *self.platform.spool.lock().unwrap(),
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
            None => Ok(Self::outcome(cursor_of(&state))),
        }
    }
    async fn event(
        &self,
        _: &InstanceId,
        state: Vec<u8>,
        event: &Event,
        attempt: u32,
    ) -> Result<Outcome, ChannelFailure> {
        self.plug.point().await;
        let cursor = cursor_of(&state);
        let outcome = match event {
            Event::Item(item) => {
                let update: Update = serde_json::from_slice(&item.data).unwrap();
                self.platform.says(format!("item {} attempt {attempt}", update.id));
                self.take(Self::outcome(update.id + 1), &update)
            }
            Event::PassedOver(at) => {
                self.platform.says(format!("passed {at}"));
                Ok(Self::outcome(at.parse::<u64>().unwrap() + 1))
            }
            Event::Timer(id) => {
                self.platform.says(format!("timer {id} at {}", self.clock.passed()));
                Ok(Self::outcome(cursor))
            }
            Event::Webhook(request) => {
                let update: Update = serde_json::from_slice(&request.body).unwrap();
                self.platform.says(format!("hook {} attempt {attempt}", update.id));
                let mut outcome = self.take(Self::outcome(cursor), &update)?;
                outcome.response = Some(HttpAnswer { status: 200, headers: vec![], body: b"taken".to_vec() });
                Ok(outcome)
            }
        };
        self.plug.point().await;
        outcome
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
        _: &Conversation,
        content: Content,
    ) -> Result<Vec<RenderedPart>, ChannelFailure> {
        self.plug.point().await;
        if let Some(f) = self.platform.renders.lock().unwrap().pop_front() {
            return Err(f);
        }
        let part = |text: &str| RenderedPart { text: text.to_owned(), data: text.as_bytes().to_vec() };
        Ok(content.text.split("\n\n").map(part).collect())
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
        self.plug.point().await;
        match scripted {
            Some(f) => Err(f),
            None => Ok(format!("sent-{}", outgoing.key)),
        }
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

/// An assistant that repeats what it hears. What it knows is durable, as the real one's is.
#[derive(Default)]
pub(crate) struct Parrot {
    pub(crate) runs: Mutex<BTreeMap<String, (Ulid, TurnEventKind)>>,
    /// Turns that were really run, in order: session, origin, text.
    pub(crate) turns: Mutex<Vec<(String, Origin, String)>>,
    pub(crate) refusals: Mutex<VecDeque<TurnError>>,
    /// Runs wait until this is set.
    pub(crate) slow: Mutex<Option<watch::Receiver<bool>>>,
}

impl Parrot {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.turns.lock().unwrap().iter().map(|(_, _, text)| text.clone()).collect()
    }
}

pub(crate) struct Ears {
    pub(crate) parrot: Arc<Parrot>,
    pub(crate) plug: Arc<Plug>,
}

#[async_trait]
impl Assistant for Ears {
    async fn submit(&self, request: TurnRequest) -> Result<Submitted, TurnError> {
        self.plug.point().await;
        if let Some(e) = self.parrot.refusals.lock().unwrap().pop_front() {
            return Err(e);
        }
        let key = request.idempotency_key.clone().unwrap();
        let said: String = request
            .parts
            .iter()
            .map(|p| serde_json::to_value(p).unwrap()["text"].as_str().unwrap().to_owned())
            .collect();
        let (run, last, duplicate) = {
            let mut runs = self.parrot.runs.lock().unwrap();
            let duplicate = runs.contains_key(&key);
            let (run, last) = runs
                .entry(key)
                .or_insert_with(|| {
                    self.parrot.turns.lock().unwrap().push((request.session.clone(), request.origin, said.clone()));
                    let last = match said.as_str() {
                        "fail" => TurnEventKind::Failed {
                            code: "E-MODEL-006".into(),
                            message: "secret internals".into(),
                            retryable: true,
                        },
                        "say nothing" => completed(" "),
                        text => completed(&format!("re: {text}")),
                    };
                    (Ulid::generate(), last)
                })
                .clone();
            (run, last, duplicate)
        };
        self.plug.point().await;
        let (sender, events) = mpsc::channel(8);
        let slow = self.parrot.slow.lock().unwrap().clone();
        let session: Arc<str> = request.session.into();
        tokio::spawn(async move {
            if let Some(mut slow) = slow {
                let _ = slow.wait_for(|go| *go).await;
            }
            let event = TurnEvent { run, session, seq: 0, at_ms: 0, kind: last };
            let _ = sender.send(Arc::new(event)).await;
        });
        Ok(Submitted { run, duplicate, events })
    }
    fn events(&self) -> broadcast::Receiver<Arc<TurnEvent>> {
        broadcast::channel(1).1
    }
    async fn abort(&self, _: Option<Ulid>, _: Option<&str>) -> Vec<Ulid> {
        vec![]
    }
    async fn wait(&self, _: Ulid, _: Duration) -> Option<RunState> {
        None
    }
    async fn sessions(&self, _: usize) -> Result<Vec<SessionInfo>, TurnError> {
        Ok(vec![])
    }
    async fn history(&self, _: &str, _: usize) -> Result<Vec<HistoryItem>, TurnError> {
        Ok(vec![])
    }
    async fn models(&self) -> Vec<ModelInfo> {
        vec![]
    }
    fn tools(&self) -> Arc<Vec<ToolInfo>> {
        Arc::default()
    }
    async fn drain(&self, _: Duration) {}
}

fn completed(text: &str) -> TurnEventKind {
    TurnEventKind::Completed {
        text: text.to_owned(),
        stop: StopReason::End,
        usage: Usage::default(),
        model: "m".into(),
    }
}

/// Everything that outlives a kernel.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) platform: Arc<Platform>,
    pub(crate) parrot: Arc<Parrot>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) plug: Arc<Plug>,
    pub(crate) config: String,
}

/// One life of a kernel.
pub(crate) struct Life {
    pub(crate) store: Store,
    pub(crate) courier: Arc<Courier>,
    pub(crate) config: Arc<ConfigHandle>,
    activity: Arc<AtomicU64>,
    /// Commits of the test's own.
    own: AtomicU64,
    clock: Arc<SimClock>,
    plug: Arc<Plug>,
}

/// The kernel died.
#[derive(Debug, PartialEq)]
pub(crate) struct Died;

pub(crate) const OWNER: &str = "{ instances: { chat: { channel: { owner: ['1'], allow: ['2', '3'] } } } }";

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let activity = Arc::new(AtomicU64::new(0));
        let platform = Arc::new(Platform::default());
        *platform.loaded.lock().unwrap() = true;
        Self {
            dir: tempfile::tempdir().unwrap(),
            platform,
            parrot: Arc::default(),
            clock: SimClock::new(Arc::clone(&activity)),
            plug: Plug::new(activity),
            config: config.to_owned(),
        }
    }

    pub(crate) fn store(&self) -> Store {
        self.store_of(None)
    }

    pub(crate) fn store_of(&self, max_bytes: Option<u64>) -> Store {
        let options = StoreOptions {
            unlocker: Unlocker::None,
            readers: 1,
            max_bytes,
            clock: StoreClock::manual(Arc::clone(&self.clock.wall)),
            ..StoreOptions::default()
        };
        // The last life's threads may still be giving the directory back.
        for _ in 0..10_000 {
            match Store::open(self.dir.path(), options.clone()) {
                Err(e) if e.is_held() => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
        panic!("the directory stays held");
    }

    pub(crate) async fn begin(&self) -> Life {
        self.begin_with(self.store(), Arc::new(Ears { parrot: Arc::clone(&self.parrot), plug: Arc::clone(&self.plug) }))
            .await
    }

    pub(crate) async fn begin_with(&self, store: Store, assistant: Arc<dyn Assistant>) -> Life {
        let config = Config::parse(&self.config, "carapace.json5".as_ref(), &NoEnv).unwrap();
        let config = Arc::new(ConfigHandle::holding(self.dir.path().join("carapace.json5"), Arc::new(NoEnv), config));
        let changed = watch::Sender::new(0);
        *self.platform.changed.lock().unwrap() = Some(changed.clone());
        let channels = Arc::new(Component {
            platform: Arc::clone(&self.platform),
            plug: Arc::clone(&self.plug),
            clock: Arc::clone(&self.clock),
            changed,
        });
        let courier = Courier::new(Deps {
            store: store.clone(),
            config: Arc::clone(&config),
            channels,
            assistant,
            clock: Arc::clone(&self.clock) as _,
        });
        courier.start().await.unwrap();
        let activity = Arc::clone(&self.plug.activity);
        let own = AtomicU64::new(0);
        Life { store, courier, config, activity, own, clock: Arc::clone(&self.clock), plug: Arc::clone(&self.plug) }
    }

    /// A life in a runtime of its own: what is left of it when `story` ends is gone like after a power cut.
    pub(crate) fn live<T>(&self, story: impl AsyncFnOnce(&Life) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(async {
            let life = self.begin().await;
            story(&life).await
        });
        drop(runtime);
        out
    }
}

impl Life {
    /// Transactions of the kernel's, roughly.
    pub(crate) fn commits(&self) -> u64 {
        self.store.stats().commits.saturating_sub(self.own.load(SeqCst))
    }

    /// Waits until nothing happens any more, whatever time it is.
    pub(crate) async fn idle(&self) {
        self.idle_or(&mut || false).await;
    }

    async fn idle_or(&self, done: &mut impl FnMut() -> bool) {
        let mut quiet = 0;
        let mut seen = (0, 0);
        // Reads are not counted: as many as follow each other without a write between them must fit in.
        while quiet < 8 && !done() && !self.plug.pulled.load(SeqCst) {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            self.store.commit(Batch::relaxed()).await.unwrap();
            let own = self.own.fetch_add(1, SeqCst) + 1;
            self.store.pairings().await.unwrap();
            let stats = self.store.stats();
            let now = (self.activity.load(SeqCst), stats.batches + stats.refused - own);
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    }

    /// Lets time pass until `done`.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Result<(), Died> {
        for _ in 0..5_000 {
            self.idle_or(&mut done).await;
            if self.plug.pulled.load(SeqCst) {
                return Err(Died);
            }
            if done() {
                return Ok(());
            }
            assert!(self.clock.advance(), "nobody waits for anything, and still not: {what}");
        }
        panic!("it never comes to: {what}");
    }

    pub(crate) fn clock_jumps(&self, by_ms: i64) {
        self.clock.jump(by_ms);
    }

    /// Lets so much time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        let until = self.clock.passed() + ms;
        self.until("time passes", || self.clock.passed() >= until).await.unwrap();
    }

    pub(crate) async fn ask(&self, request: ChannelRequest) -> Value {
        self.courier.control(request).await.unwrap()
    }

    pub(crate) async fn hook(&self, update: &Update) -> HttpAnswer {
        self.courier.webhook("chat", "main", request(update)).await
    }
}

pub(crate) fn request(update: &Update) -> WebhookRequest {
    WebhookRequest {
        webhook: "hook".into(),
        method: "POST".into(),
        query: String::new(),
        headers: vec![],
        body: serde_json::to_vec(&json!(update)).unwrap(),
    }
}
