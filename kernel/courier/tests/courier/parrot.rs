//! An assistant made of data.

use crate::sim::Plug;
use async_trait::async_trait;
use carapace_contract::Ulid;
use carapace_contract::completion::{ModelInfo, StopReason, Usage};
use carapace_contract::decision::Origin;
use carapace_contract::ports::Assistant;
use carapace_contract::turn::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};

/// An assistant that repeats what it hears. What it knows is durable, as the real one's is.
#[derive(Default)]
pub(crate) struct Parrot {
    pub(crate) runs: Mutex<BTreeMap<String, (Ulid, TurnEventKind)>>,
    /// Turns that were really run, in order: session, origin, text.
    pub(crate) turns: Mutex<Vec<(String, Origin, String)>>,
    pub(crate) refusals: Mutex<VecDeque<TurnError>>,
    /// Runs wait until this is set.
    pub(crate) slow: Mutex<Option<watch::Receiver<bool>>>,
    /// How many words of an answer may be said; the last event comes with `u32::MAX`.
    pub(crate) pace: Mutex<Option<watch::Receiver<u32>>>,
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
        let pace = self.parrot.pace.lock().unwrap().clone();
        tokio::spawn(async move {
            if let (Some(mut pace), TurnEventKind::Completed { text, .. }) = (pace, &last) {
                for (n, word) in (1..).zip(text.split_inclusive(' ')).filter(|_| !duplicate) {
                    let _ = pace.wait_for(|most| *most >= n).await;
                    let kind = TurnEventKind::Text { delta: word.to_owned() };
                    let _ = sender
                        .send(Arc::new(TurnEvent { run, session: session.clone(), seq: 0, at_ms: 0, kind }))
                        .await;
                }
                let _ = pace.wait_for(|most| *most == u32::MAX).await;
            }
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
        files: Vec::new(),
    }
}
