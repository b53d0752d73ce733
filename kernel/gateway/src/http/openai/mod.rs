//! OpenAI's API. What it runs is the assistant; nothing here is a passthrough to a provider.
//!
//! Here: what its dialects share, from a request's headers to the events of the run it began.

pub(crate) mod chat;
mod chat_request;
mod chat_stream;
pub(crate) mod content;
mod response_items;
mod response_object;
mod response_request;
mod response_stream;
pub(crate) mod responses;
mod sse;

use crate::http::error::ApiError;
use crate::run::{AbortOnDrop, submit};
use crate::state::Shared;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use carapace_contract::Ulid;
use carapace_contract::turn::{TurnEvent, TurnEventKind, TurnRequest};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest idempotency key: with its edge's prefix it fits the assistant's 256 bytes.
const KEY_BYTES: usize = 250;

/// What a request's headers ask for.
pub(crate) struct Headers {
    /// `X-Carapace-Session-Key`.
    pub(crate) session: Option<String>,
    /// `Idempotency-Key`, as the assistant gets it.
    pub(crate) key: Option<String>,
    /// `X-Carapace-Events`.
    pub(crate) shows_events: bool,
}

impl Headers {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let key = header(headers, "idempotency-key")?;
        if key.as_ref().is_some_and(|k| k.len() > KEY_BYTES || k.is_empty()) {
            return Err(ApiError::bad("Idempotency-Key", format!("Idempotency-Key must be 1 to {KEY_BYTES} bytes")));
        }
        Ok(Self {
            session: header(headers, "x-carapace-session-key")?,
            key: key.map(|k| format!("http:{k}")),
            shows_events: header(headers, "x-carapace-events")?.is_some_and(|v| v.eq_ignore_ascii_case("true")),
        })
    }
}

fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(|t| Some(t.trim().to_owned())).map_err(|_| ApiError::bad(name, format!("{name} is not UTF-8")))
}

/// A run that its client waits for.
pub(crate) struct Begun {
    pub(crate) run: Ulid,
    pub(crate) events: Events,
    /// Stops the run when the client goes, if it is the client's alone.
    pub(crate) guard: AbortOnDrop,
    session: String,
}

impl Begun {
    /// Submits; a run that nobody could come back for (`abandon`) is stopped when its client goes.
    pub(crate) async fn of(shared: &Arc<Shared>, turn: TurnRequest, abandon: bool) -> Result<Self, ApiError> {
        let session = turn.session.clone();
        let submitted = submit(shared, turn, abandon).await?;
        let run = submitted.run;
        let guard = AbortOnDrop::new(shared, (abandon && !submitted.duplicate).then_some(run));
        let events =
            Events { shared: Arc::clone(shared), run, inner: submitted.events, ready: VecDeque::new(), over: false };
        Ok(Self { run, events, guard, session })
    }

    /// A stream's status line waits for the first thing that happens, so that a run that fails at once fails with its
    /// own status; but not longer than a silent stream may last.
    pub(crate) async fn fails_at_once(&mut self, keep_alive: Duration) -> Result<(), ApiError> {
        match tokio::time::timeout(keep_alive, self.events.peek_past_start()).await {
            Ok(Some(TurnEventKind::Failed { code, message, retryable })) => {
                Err(ApiError::turn(&code, &message, retryable))
            }
            Ok(Some(TurnEventKind::Cancelled { .. })) => Err(ApiError::stopped()),
            _ => Ok(()),
        }
    }

    /// What names the run and its session in an answer's headers.
    pub(crate) fn names(&self) -> [(&'static str, String); 2] {
        [("x-carapace-session-key", self.session.clone()), ("x-carapace-run-id", self.run.to_string())]
    }
}

/// Puts them there.
pub(crate) fn with_names(names: [(&'static str, String); 2], mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in names {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A run's events, ended by exactly one last event.
pub(crate) struct Events {
    shared: Arc<Shared>,
    run: Ulid,
    inner: mpsc::Receiver<Arc<TurnEvent>>,
    ready: VecDeque<Arc<TurnEvent>>,
    over: bool,
}

impl Events {
    /// The next; none after the last.
    pub(crate) async fn next(&mut self) -> Option<TurnEventKind> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event.kind.clone());
        }
        if self.over {
            return None;
        }
        let kind = match self.inner.recv().await {
            Some(event) => event.kind.clone(),
            // The channel of a run from before a restart can end early; the log knows how it went.
            None => self.outcome().await,
        };
        self.over = kind.is_last();
        Some(kind)
    }

    /// What is there already.
    pub(crate) fn now(&mut self) -> Option<TurnEventKind> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event.kind.clone());
        }
        if self.over {
            return None;
        }
        let event = self.inner.try_recv().ok()?;
        self.over = event.kind.is_last();
        Some(event.kind.clone())
    }

    async fn peek_past_start(&mut self) -> Option<TurnEventKind> {
        loop {
            let event = self.inner.recv().await?;
            let kind = event.kind.clone();
            self.over = kind.is_last();
            self.ready.push_back(event);
            if !matches!(kind, TurnEventKind::Started { .. }) {
                return Some(kind);
            }
        }
    }

    async fn outcome(&self) -> TurnEventKind {
        loop {
            match self.shared.assistant.wait(self.run, Duration::from_secs(60)).await {
                Some(state) => {
                    if let Some(last) = state.last {
                        return last;
                    }
                }
                None => {
                    return TurnEventKind::Failed {
                        code: "E-GATE-011".into(),
                        message: "the run is not known any more".into(),
                        retryable: false,
                    };
                }
            }
        }
    }
}
