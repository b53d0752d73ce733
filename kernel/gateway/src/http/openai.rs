//! `/v1/chat/completions`: runs the assistant; not a passthrough to a provider.

use crate::http::error::ApiError;
use crate::http::openai_stream::{Chunks, stream};
use crate::http::openai_types::ChatRequest;
use crate::http::{Authed, body};
use crate::run::{AbortOnDrop, submit};
use crate::state::Shared;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use carapace_contract::Ulid;
use carapace_contract::completion::{StopReason, Usage};
use carapace_contract::turn::{TurnEvent, TurnEventKind};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest idempotency key: with its edge's prefix it fits the assistant's 256 bytes.
const KEY_BYTES: usize = 250;

pub(crate) async fn chat(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: ChatRequest = body::json(&headers, body, &shared.limits).await?;
    let session = header(&headers, "x-carapace-session-key")?;
    let key = header(&headers, "idempotency-key")?;
    if key.as_ref().is_some_and(|k| k.len() > KEY_BYTES || k.is_empty()) {
        return Err(ApiError::bad("Idempotency-Key", format!("Idempotency-Key must be 1 to {KEY_BYTES} bytes")));
    }
    let shows_events = header(&headers, "x-carapace-events")?.is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let (streams, include_usage) = (request.stream.unwrap_or(false), request.include_usage());
    let asked = request.model.clone().unwrap_or_else(|| "carapace".into());
    // A client that sent a key may come back for the answer: its run goes on without it.
    let abandon = key.is_none();
    let turn = request.turn(session, key.map(|k| format!("http:{k}")))?;
    let session = turn.session.clone();

    let submitted = submit(&shared, turn, abandon).await?;
    let run = submitted.run;
    let guard = AbortOnDrop::new(&shared, (abandon && !submitted.duplicate).then_some(run));
    let mut events =
        Events { shared: Arc::clone(&shared), run, inner: submitted.events, ready: VecDeque::new(), over: false };
    let chunks = Chunks { run, created: crate::state::now_ms() / 1000, model: asked, include_usage, shows_events };

    let mut response = if streams {
        // The status line waits for the first thing that happens, so that a run that fails at once fails with its
        // own status; but not longer than a silent stream may last.
        match tokio::time::timeout(shared.limits.keep_alive, events.peek_past_start()).await {
            Ok(Some(TurnEventKind::Failed { code, message, retryable })) => {
                return Err(ApiError::turn(&code, &message, retryable));
            }
            Ok(Some(TurnEventKind::Cancelled { .. })) => return Err(ApiError::stopped()),
            _ => stream(events, chunks, guard, shared.limits.keep_alive),
        }
    } else {
        whole(events, &chunks, guard).await?
    };
    let headers = response.headers_mut();
    for (name, value) in [("x-carapace-session-key", session), ("x-carapace-run-id", run.to_string())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(|t| Some(t.trim().to_owned())).map_err(|_| ApiError::bad(name, format!("{name} is not UTF-8")))
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

async fn whole(mut events: Events, chunks: &Chunks, mut guard: AbortOnDrop) -> Result<Response, ApiError> {
    let mut seen = Vec::new();
    while let Some(kind) = events.next().await {
        match kind {
            TurnEventKind::Completed { text, stop, usage, model } => {
                guard.disarm();
                let mut body = json!({
                    "id": chunks.id(),
                    "object": "chat.completion",
                    "created": chunks.created,
                    "model": model,
                    "choices": [{
                        "index": 0,
                        "message": {"role": "assistant", "content": text, "refusal": null, "annotations": []},
                        "logprobs": null,
                        "finish_reason": finish_reason(&stop),
                    }],
                    "usage": usage_json(&usage),
                });
                if chunks.shows_events
                    && let Some(body) = body.as_object_mut()
                {
                    body.insert("x_carapace".into(), json!({"events": seen}));
                }
                return Ok(Json(body).into_response());
            }
            TurnEventKind::Failed { code, message, retryable } => {
                guard.disarm();
                return Err(ApiError::turn(&code, &message, retryable));
            }
            TurnEventKind::Cancelled { .. } => {
                guard.disarm();
                return Err(ApiError::stopped());
            }
            shown @ (TurnEventKind::ToolCall { .. } | TurnEventKind::ToolResult { .. }) if chunks.shows_events => {
                seen.push(shown);
            }
            _ => {}
        }
    }
    Err(ApiError::internal("the run ended without an outcome"))
}

/// OpenAI's words. Tools are the assistant's own, so `tool_calls` never reaches a client.
pub(crate) fn finish_reason(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::Length => "length",
        StopReason::ContentFilter => "content_filter",
        StopReason::End | StopReason::ToolCalls | StopReason::Other(_) => "stop",
    }
}

pub(crate) fn usage_json(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}
