//! A house with a real store, a scripted model and scripted tools.

use async_trait::async_trait;
use carapace_agent::{Agent, Clock, Deps, Patience};
use carapace_config::{Config, ConfigHandle, NoEnv};
use carapace_contract::completion::{
    CompletionEvent, CompletionFailure, CompletionRequest, FailureKind, ModelInfo, ModelRef, StopReason, Usage,
};
use carapace_contract::decision::{Authorized, Effect, Effects, Origin, PlannedCall};
use carapace_contract::message::{Message, Part, ToolCall, ToolResult};
use carapace_contract::ports::{Assistant, Models, ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::{Submitted, ToolInfo, TurnError, TurnEvent, TurnEventKind, TurnOptions, TurnRequest};
use carapace_contract::{Denial, Digest};
use carapace_store::{Store, StoreOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub enum Say {
    Text(&'static str),
    Think(&'static str),
    Call(&'static str, &'static str, Value),
    Raw(&'static str, &'static str, &'static str),
    Used(u64, u64),
    Other(&'static str, &'static str),
    Stop(StopReason),
    Fail(FailureKind, bool, Option<u64>),
    Hang,
}

type Brain = Arc<dyn Fn(&ModelRef, &CompletionRequest, usize) -> Vec<Say> + Send + Sync>;
type Hands = Arc<dyn Fn(&PlannedCall) -> Result<ToolOutput, ToolFailure> + Send + Sync>;

/// Burns down with every step that is taken; when it is gone, the process "dies".
#[derive(Default)]
pub struct Fuse {
    left: AtomicUsize,
    pub gone: Notify,
}

impl Fuse {
    pub fn of(steps: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(steps), gone: Notify::new() })
    }
    pub fn never() -> Arc<Self> {
        Self::of(usize::MAX)
    }
    fn burn(&self) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return true;
        }
        self.left.store(left - 1, Ordering::SeqCst);
        if left == 1 {
            self.gone.notify_one();
        }
        left == 1
    }
    async fn step(&self) {
        if self.burn() {
            std::future::pending::<()>().await;
        }
    }
}

pub struct FakeModels {
    brain: Brain,
    fuse: Arc<Fuse>,
    pub route: Mutex<Vec<ModelRef>>,
    pub list: Mutex<Vec<ModelInfo>>,
    pub asked: Mutex<Vec<(String, CompletionRequest)>>,
    pub dropped: Arc<AtomicUsize>,
    pub hanging: Notify,
}

struct OnDrop(Arc<AtomicUsize>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn model(name: &str) -> ModelRef {
    ModelRef { instance: format!("local/{name}/main").parse().unwrap(), model: "m".into() }
}

#[async_trait]
impl Models for FakeModels {
    async fn list(&self) -> Vec<ModelInfo> {
        self.list.lock().unwrap().clone()
    }
    async fn route(&self, wanted: Option<&str>) -> Result<Vec<ModelRef>, Denial> {
        match wanted {
            None => Ok(self.route.lock().unwrap().clone()),
            Some(name) if name.contains("none") => {
                Err(Denial::new("E-ROUTE-001", format!("there is no model `{name}`"), "carapace models"))
            }
            Some(name) => Ok(vec![model(name)]),
        }
    }
    async fn complete(
        &self,
        model: &ModelRef,
        request: &CompletionRequest,
        sink: mpsc::Sender<CompletionEvent>,
        _cancel: CancellationToken,
    ) -> Result<(), CompletionFailure> {
        let _dropped = OnDrop(Arc::clone(&self.dropped));
        let nth = {
            let mut asked = self.asked.lock().unwrap();
            asked.push((model.to_string(), request.clone()));
            asked.len() - 1
        };
        self.fuse.step().await;
        for say in (self.brain)(model, request, nth) {
            let event = match say {
                Say::Text(t) => CompletionEvent::Text(t.into()),
                Say::Think(t) => CompletionEvent::Reasoning(t.into()),
                Say::Call(id, name, arguments) => CompletionEvent::ToolCall(ToolCall {
                    id: id.into(),
                    name: name.into(),
                    arguments: arguments.to_string(),
                }),
                Say::Raw(id, name, arguments) => CompletionEvent::ToolCall(ToolCall {
                    id: id.into(),
                    name: name.into(),
                    arguments: arguments.into(),
                }),
                Say::Used(input, output) => CompletionEvent::Usage(Usage { input, output, ..Usage::default() }),
                Say::Other(name, value) => CompletionEvent::Other { name: name.into(), value: value.into() },
                Say::Stop(reason) => CompletionEvent::Stop(reason),
                Say::Fail(kind, retryable, retry_after_ms) => {
                    return Err(CompletionFailure { kind, message: "it failed".into(), retryable, retry_after_ms });
                }
                Say::Hang => {
                    self.hanging.notify_one();
                    std::future::pending().await
                }
            };
            let _ = sink.send(event).await;
            self.fuse.step().await;
        }
        Ok(())
    }
}

pub struct FakeTools {
    pub catalog: Mutex<Arc<Vec<ToolInfo>>>,
    hands: Hands,
    fuse: Arc<Fuse>,
    pub made: Mutex<Vec<PlannedCall>>,
    pub dropped: Arc<AtomicUsize>,
    pub hanging: Notify,
    /// Calls of `slow` wait until so many of them are under way at once.
    pub together: Mutex<Arc<tokio::sync::Barrier>>,
}

pub fn tool(name: &str, effects: &[Effect]) -> ToolInfo {
    ToolInfo {
        instance: "local/tools/main".parse().unwrap(),
        digest: Digest::of(b"tools"),
        name: name.into(),
        description: "a tool".into(),
        parameters: json!({"type": "object", "properties": {"n": {"type": "integer"}}}),
        effects: Effects::from(effects.to_vec()),
        channel: None,
    }
}

pub fn says(text: &str) -> Result<ToolOutput, ToolFailure> {
    Ok(ToolOutput { content: vec![Part::text(text)], tainted: false })
}

#[async_trait]
impl Tools for FakeTools {
    fn catalog(&self) -> Arc<Vec<ToolInfo>> {
        self.catalog.lock().unwrap().clone()
    }
    async fn call(
        &self,
        call: &Authorized<PlannedCall>,
        _cancel: CancellationToken,
    ) -> Result<ToolOutput, ToolFailure> {
        let _dropped = OnDrop(Arc::clone(&self.dropped));
        let call = call.get();
        self.fuse.step().await;
        self.made.lock().unwrap().push(call.clone());
        match call.tool.as_str() {
            "hang" | "hang_send" => {
                self.hanging.notify_one();
                std::future::pending::<()>().await;
            }
            "slow" => {
                let barrier = self.together.lock().unwrap().clone();
                barrier.wait().await;
            }
            _ => {}
        }
        let out = (self.hands)(call);
        self.fuse.step().await;
        out
    }
}

pub struct FakeClock {
    pub now: AtomicU64,
    fuse: Arc<Fuse>,
}

impl Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.fuse.burn();
        self.now.fetch_add(1, Ordering::SeqCst)
    }
}

pub struct House {
    pub agent: Arc<Agent>,
    pub store: Store,
    pub models: Arc<FakeModels>,
    pub tools: Arc<FakeTools>,
    pub clock: Arc<FakeClock>,
}

pub struct Plan {
    pub config: &'static str,
    pub tools: Vec<ToolInfo>,
    pub brain: Brain,
    pub hands: Hands,
    pub fuse: Arc<Fuse>,
    pub patience: Patience,
}

impl Plan {
    pub fn new(brain: impl Fn(&ModelRef, &CompletionRequest, usize) -> Vec<Say> + Send + Sync + 'static) -> Self {
        Self {
            config: "{}",
            tools: vec![
                tool("compute", &[]),
                tool("look", &[Effect::Read]),
                tool("web_search", &[Effect::Fetch]),
                tool("web_fetch", &[Effect::Fetch]),
                tool("write", &[Effect::Write]),
                tool("send", &[Effect::Send]),
                tool("run", &[Effect::Execute]),
                tool("slow", &[]),
                tool("hang", &[]),
                tool("hang_send", &[Effect::Send]),
            ],
            brain: Arc::new(brain),
            hands: Arc::new(|call| says(&format!("{} done", call.tool))),
            fuse: Fuse::never(),
            patience: Patience { retries: 2, base: Duration::from_millis(1), most: Duration::from_millis(5) },
        }
    }
    pub fn config(mut self, json5: &'static str) -> Self {
        self.config = json5;
        self
    }
    pub fn hands(
        mut self,
        hands: impl Fn(&PlannedCall) -> Result<ToolOutput, ToolFailure> + Send + Sync + 'static,
    ) -> Self {
        self.hands = Arc::new(hands);
        self
    }
    pub fn fuse(mut self, fuse: &Arc<Fuse>) -> Self {
        self.fuse = Arc::clone(fuse);
        self
    }

    pub fn build(self, dir: &Path) -> House {
        let store = Store::open(dir, StoreOptions::default()).unwrap();
        let config = Config::parse(self.config, "carapace.json5".as_ref(), &NoEnv).unwrap();
        let models = Arc::new(FakeModels {
            brain: self.brain,
            fuse: Arc::clone(&self.fuse),
            route: Mutex::new(vec![model("p")]),
            list: Mutex::default(),
            asked: Mutex::default(),
            dropped: Arc::default(),
            hanging: Notify::new(),
        });
        let tools = Arc::new(FakeTools {
            catalog: Mutex::new(Arc::new(self.tools)),
            hands: self.hands,
            fuse: Arc::clone(&self.fuse),
            made: Mutex::default(),
            dropped: Arc::default(),
            hanging: Notify::new(),
            together: Mutex::new(Arc::new(tokio::sync::Barrier::new(1))),
        });
        let clock = Arc::new(FakeClock { now: AtomicU64::new(1_709_200_000_000), fuse: self.fuse });
        let agent = Agent::new(Deps {
            store: store.clone(),
            config: Arc::new(ConfigHandle::holding("carapace.json5", Arc::new(NoEnv), config)),
            tools: tools.clone(),
            models: models.clone(),
            clock: clock.clone(),
            patience: self.patience,
        });
        House { agent, store, models, tools, clock }
    }
}

pub fn ask(session: &str, text: &str) -> TurnRequest {
    ask_as(Origin::Owner, session, text)
}

pub fn ask_as(origin: Origin, session: &str, text: &str) -> TurnRequest {
    TurnRequest {
        session: session.into(),
        origin,
        parts: vec![Part::text(text)],
        history: vec![],
        system: None,
        model: None,
        idempotency_key: None,
        options: TurnOptions::default(),
        place: None,
    }
}

pub async fn all(mut submitted: Submitted) -> Vec<Arc<TurnEvent>> {
    let mut out = Vec::new();
    while let Some(event) = submitted.events.recv().await {
        out.push(event);
    }
    out
}

impl House {
    pub async fn turn(&self, request: TurnRequest) -> Vec<TurnEventKind> {
        let events = all(self.agent.submit(request).await.unwrap()).await;
        for (i, e) in events.iter().enumerate() {
            assert_eq!(e.seq, i as u64, "events are numbered without gaps");
        }
        events.iter().map(|e| e.kind.clone()).collect()
    }
    pub async fn refused(&self, request: TurnRequest) -> TurnError {
        self.agent.submit(request).await.unwrap_err()
    }
    pub fn request(&self, nth: usize) -> CompletionRequest {
        self.models.asked.lock().unwrap()[nth].1.clone()
    }
    pub fn asked(&self) -> Vec<String> {
        self.models.asked.lock().unwrap().iter().map(|(m, _)| m.clone()).collect()
    }
    pub fn made(&self) -> Vec<String> {
        self.tools.made.lock().unwrap().iter().map(|c| c.tool.clone()).collect()
    }
    pub async fn kinds(&self, session: &str) -> Vec<String> {
        self.store.session_rows(session, 1_000).await.unwrap().into_iter().map(|r| r.kind).collect()
    }
}

pub fn text_of(events: &[TurnEventKind]) -> String {
    events
        .iter()
        .filter_map(|e| match e {
            TurnEventKind::Text { delta } => Some(delta.as_str()),
            _ => None,
        })
        .collect()
}

pub fn completed(events: &[TurnEventKind]) -> String {
    match events.last() {
        Some(TurnEventKind::Completed { text, .. }) => text.clone(),
        other => panic!("not completed: {other:?}"),
    }
}

pub fn failed(events: &[TurnEventKind]) -> (String, String) {
    match events.last() {
        Some(TurnEventKind::Failed { code, message, .. }) => (code.clone(), message.clone()),
        other => panic!("not failed: {other:?}"),
    }
}

pub fn results(request: &CompletionRequest) -> Vec<ToolResult> {
    request.messages.iter().flat_map(results_in).collect()
}

fn results_in(message: &Message) -> Vec<ToolResult> {
    message
        .parts
        .iter()
        .filter_map(|p| match p {
            Part::ToolResult(r) => Some(r.clone()),
            _ => None,
        })
        .collect()
}

impl House {
    pub async fn agent_submit(&self, session: &str) -> Submitted {
        self.agent.submit(ask(session, "go")).await.unwrap()
    }
}
