//! An assistant that follows a script: what it does stands in the message it gets.
#![allow(dead_code, reason = "shared by the tests and the example")]

use async_trait::async_trait;
use carapace_contract::completion::{ModelInfo, ModelRef, StopReason, Usage};
use carapace_contract::decision::{Effect, Effects};
use carapace_contract::message::{Message, Part, Role};
use carapace_contract::meter::Meter;
use carapace_contract::ports::{Assistant, Status};
use carapace_contract::turn::{
    HistoryItem, InstanceStatus, KernelStatus, RunState, SessionInfo, Submitted, ToolInfo, TurnError, TurnEvent,
    TurnEventKind, TurnRequest,
};
use carapace_contract::{Digest, Ulid};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

struct Run {
    state: watch::Sender<RunState>,
    cancel: CancellationToken,
    events: Mutex<Vec<Arc<TurnEvent>>>,
}

pub struct Fake {
    pub requests: Mutex<Vec<TurnRequest>>,
    pub aborted: watch::Sender<Vec<Ulid>>,
    pub not_ready: Mutex<Vec<String>>,
    runs: Mutex<HashMap<Ulid, Arc<Run>>>,
    keys: Mutex<HashMap<String, Ulid>>,
    sessions: Mutex<HashMap<String, Vec<HistoryItem>>>,
    events: broadcast::Sender<Arc<TurnEvent>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Self::remembering(65_536)
    }

    /// Holds so many events for readers that are behind.
    pub fn remembering(events: usize) -> Arc<Self> {
        Arc::new(Self {
            requests: Mutex::default(),
            aborted: watch::Sender::new(Vec::new()),
            not_ready: Mutex::default(),
            runs: Mutex::default(),
            keys: Mutex::default(),
            sessions: Mutex::default(),
            events: broadcast::channel(events).0,
        })
    }

    pub fn last(&self) -> TurnRequest {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    /// Resolves when some run has been stopped.
    pub async fn some_abort(&self) -> Ulid {
        let mut aborted = self.aborted.subscribe();
        let seen = aborted.wait_for(|a| !a.is_empty()).await.unwrap();
        seen[0]
    }

    fn remember(&self, session: &str, message: Message) {
        let item =
            HistoryItem { id: Ulid::generate(), at_ms: 1, role: message.role, parts: message.parts, tainted: false };
        self.sessions.lock().unwrap().entry(session.to_owned()).or_default().push(item);
    }
}

fn text(delta: &str) -> TurnEventKind {
    TurnEventKind::Text { delta: delta.to_owned() }
}

fn completed(text: &str) -> TurnEventKind {
    TurnEventKind::Completed {
        text: text.to_owned(),
        stop: StopReason::End,
        usage: Usage { input: 7, output: 3, cached_input: 2, reasoning: 1 },
        model: "fake/one".into(),
        files: Vec::new(),
    }
}

/// What a run does; none where it waits until it is stopped.
fn script(said: &str) -> Vec<Option<TurnEventKind>> {
    let started = Some(TurnEventKind::Started { model: "fake/one".into() });
    let failed = |code: &str, retryable| TurnEventKind::Failed {
        code: code.to_owned(),
        message: "the provider said no".into(),
        retryable,
    };
    let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
    let mut all = vec![started];
    match word {
        "tool" => all.extend([
            Some(TurnEventKind::Reasoning { delta: "hm".into() }),
            Some(TurnEventKind::ToolCall {
                call_id: "c1".into(),
                name: "lookup".into(),
                arguments: serde_json::json!({"q": 1}),
            }),
            Some(TurnEventKind::ToolResult {
                call_id: "c1".into(),
                name: "lookup".into(),
                content: "found".into(),
                is_error: false,
            }),
            Some(text("done")),
            Some(completed("done")),
        ]),
        "fail" => all.push(Some(failed(rest, false))),
        "fail-later" => all.push(Some(failed(rest, true))),
        "break" => all.extend([Some(text("half")), Some(failed("E-TURN-009", false))]),
        "wait" => all.extend([Some(text("waiting")), None]),
        "silent" => all.push(None),
        "cut" => all.extend([
            Some(text("as far as")),
            Some(TurnEventKind::Completed {
                text: "as far as".into(),
                stop: StopReason::Length,
                usage: Usage::default(),
                model: "fake/one".into(),
                files: Vec::new(),
            }),
        ]),
        "quiet" => all.push(Some(completed("without deltas"))),
        "flood" => {
            let n: usize = rest.parse().unwrap();
            all.extend((0..n).map(|_| Some(text("0123456789"))));
            all.push(Some(completed("flooded")));
        }
        _ => {
            let whole = format!("You said: {said}");
            all.extend(whole.split_inclusive(' ').map(|w| Some(text(w))));
            all.push(Some(completed(&whole)));
        }
    }
    all
}

#[async_trait]
impl Assistant for Fake {
    async fn submit(&self, request: TurnRequest) -> Result<Submitted, TurnError> {
        if request.model.as_deref() == Some("nope") {
            return Err(TurnError {
                code: "E-ROUTE-002".into(),
                message: "there is no model `nope`".into(),
                retryable: false,
            });
        }
        self.requests.lock().unwrap().push(request.clone());
        let known = request.idempotency_key.as_ref().and_then(|k| self.keys.lock().unwrap().get(k).copied());
        if let Some(run) = known {
            let (tx, events) = mpsc::channel(1024);
            for e in self.runs.lock().unwrap()[&run].events.lock().unwrap().iter() {
                let _ = tx.try_send(Arc::clone(e));
            }
            return Ok(Submitted { run, duplicate: true, events });
        }
        let run = Ulid::generate();
        if let Some(key) = &request.idempotency_key {
            self.keys.lock().unwrap().insert(key.clone(), run);
        }
        let said = Message { role: Role::User, parts: request.parts.clone() };
        let said_text = said.plain_text();
        self.remember(&request.session, said);
        let session: Arc<str> = request.session.as_str().into();
        let note = request.options.note.clone();
        let first = RunState { run, session: request.session.clone(), note, last: None, started_ms: 5, ended_ms: None };
        let this = Arc::new(Run {
            state: watch::Sender::new(first),
            cancel: CancellationToken::new(),
            events: Mutex::default(),
        });
        self.runs.lock().unwrap().insert(run, Arc::clone(&this));
        let (tx, events) = mpsc::channel(16);
        let all = self.events.clone();
        let body = async move {
            let mut spoken = String::new();
            for (seq, step) in script(&said_text).into_iter().enumerate() {
                let kind = match step {
                    Some(kind) => kind,
                    None => {
                        this.cancel.cancelled().await;
                        TurnEventKind::Cancelled { text: spoken.clone() }
                    }
                };
                if let TurnEventKind::Text { delta } = &kind {
                    spoken.push_str(delta);
                }
                let event = Arc::new(TurnEvent { run, session: Arc::clone(&session), seq: seq as u64, at_ms: 6, kind });
                this.events.lock().unwrap().push(Arc::clone(&event));
                let _ = all.send(Arc::clone(&event));
                let _ = tx.send(Arc::clone(&event)).await;
                if event.kind.is_last() {
                    this.state.send_modify(|s| {
                        s.last = Some(event.kind.clone());
                        s.ended_ms = Some(9);
                    });
                }
            }
        };
        // Some events come before the turn's acceptance has been told, as they may.
        let mut body = Box::pin(body);
        let _ = futures::poll!(&mut body);
        tokio::spawn(body);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        Ok(Submitted { run, duplicate: false, events })
    }

    fn events(&self) -> broadcast::Receiver<Arc<TurnEvent>> {
        self.events.subscribe()
    }

    async fn abort(&self, run: Option<Ulid>, session: Option<&str>) -> Vec<Ulid> {
        let mut stopped = Vec::new();
        for (id, r) in self.runs.lock().unwrap().iter() {
            let state = r.state.borrow().clone();
            if state.last.is_none() && run.is_none_or(|x| x == *id) && session.is_none_or(|s| s == state.session) {
                r.cancel.cancel();
                stopped.push(*id);
            }
        }
        self.aborted.send_modify(|a| a.extend(&stopped));
        stopped
    }

    async fn wait(&self, run: Ulid, timeout: Duration) -> Option<RunState> {
        let mut state = self.runs.lock().unwrap().get(&run)?.state.subscribe();
        let _ = tokio::time::timeout(timeout, state.wait_for(|s| s.last.is_some())).await;
        let now = state.borrow().clone();
        Some(now)
    }

    async fn sessions(&self, limit: usize) -> Result<Vec<SessionInfo>, TurnError> {
        let sessions = self.sessions.lock().unwrap();
        let all = sessions.iter().map(|(key, items)| SessionInfo {
            key: key.clone(),
            created_ms: 1,
            updated_ms: 2,
            messages: items.len() as u64,
            title: items[0]
                .parts
                .iter()
                .find_map(|p| if let Part::Text { text } = p { Some(text.clone()) } else { None })
                .unwrap_or_default(),
            tainted: false,
        });
        Ok(all.take(limit).collect())
    }

    async fn history(&self, session: &str, limit: usize) -> Result<Vec<HistoryItem>, TurnError> {
        let sessions = self.sessions.lock().unwrap();
        let items = sessions.get(session).map(Vec::as_slice).unwrap_or_default();
        Ok(items[items.len().saturating_sub(limit)..].to_vec())
    }

    async fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            reference: ModelRef { instance: "carapace/fake/main".parse().unwrap(), model: "one".into() },
            name: "One".into(),
            context: Some(8192),
            output: Some(1024),
            tools: true,
            images: true,
        }]
    }

    fn tools(&self) -> Arc<Vec<ToolInfo>> {
        Arc::new(vec![ToolInfo {
            instance: "carapace/lookup/main".parse().unwrap(),
            digest: Digest::of(b"x"),
            name: "lookup".into(),
            description: "Looks things up.".into(),
            parameters: serde_json::json!({"type": "object"}),
            effects: Effects::NONE.with(Effect::Fetch),
            channel: None,
        }])
    }

    async fn drain(&self, _grace: Duration) {}
}

#[async_trait]
impl Status for Fake {
    async fn status(&self) -> KernelStatus {
        let not_ready = self.not_ready.lock().unwrap().clone();
        let mut meter = Meter { calls: 41, ..Meter::default() };
        meter.traps.insert("fuel".into(), 2);
        KernelStatus {
            version: "9.9.9".into(),
            started_ms: 1,
            instances: vec![InstanceStatus {
                instance: "carapace/fake/main".parse().unwrap(),
                digest: Digest::of(b"x"),
                version: "1.2.3".into(),
                kinds: vec!["provider".into()],
                state: "ready".into(),
                meter,
                previous: None,
                note: None,
            }],
            not_ready,
            route: vec!["fake/one".into()],
            models: self.models().await,
        }
    }
}
