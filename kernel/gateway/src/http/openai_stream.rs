//! The server-sent events of a streamed completion, in OpenAI's exact order: role, content, finish, usage, `[DONE]`.

use crate::http::error::ApiError;
use crate::http::openai::{Events, finish_reason, usage_json};
use crate::run::AbortOnDrop;
use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use carapace_contract::Ulid;
use carapace_contract::turn::TurnEventKind;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;

/// Events that go out in one write at most.
const BATCH: usize = 64;

/// What all chunks of an answer share.
pub(crate) struct Chunks {
    pub(crate) run: Ulid,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) include_usage: bool,
    pub(crate) shows_events: bool,
}

impl Chunks {
    pub(crate) fn id(&self) -> String {
        format!("chatcmpl-{}", self.run)
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "id": self.id(),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if self.include_usage
            && let Some(chunk) = chunk.as_object_mut()
        {
            chunk.insert("usage".into(), Value::Null);
        }
        chunk
    }

    fn delta(&self, delta: Value, finish: Option<&str>) -> Value {
        self.chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]))
    }
}

struct State {
    events: Events,
    chunks: Chunks,
    guard: AbortOnDrop,
    keep_alive: Duration,
    opened: bool,
    spoke: bool,
    done: bool,
}

pub(crate) fn stream(events: Events, chunks: Chunks, guard: AbortOnDrop, keep_alive: Duration) -> Response {
    let state = State { events, chunks, guard, keep_alive, opened: false, spoke: false, done: false };
    let body = futures::stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        let mut out = String::new();
        match tokio::time::timeout(state.keep_alive, state.events.next()).await {
            Err(_) => out.push_str(": keep-alive\n\n"),
            Ok(None) => state.done = true,
            Ok(Some(kind)) => state.write(kind, &mut out),
        }
        // What has come in the meantime leaves in the same write.
        for _ in 0..BATCH {
            let Some(kind) = state.events.now() else { break };
            state.write(kind, &mut out);
        }
        Some((Ok::<_, Infallible>(Bytes::from(out)), state))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

impl State {
    fn write(&mut self, kind: TurnEventKind, out: &mut String) {
        if !self.opened {
            self.opened = true;
            if let TurnEventKind::Started { model } = &kind {
                self.chunks.model.clone_from(model);
            }
            push(out, &self.chunks.delta(json!({"role": "assistant", "content": "", "refusal": null}), None));
        }
        match kind {
            TurnEventKind::Started { .. } | TurnEventKind::Reasoning { .. } => {}
            TurnEventKind::Text { delta } => {
                self.spoke = true;
                push(out, &self.chunks.delta(json!({"content": delta}), None));
            }
            shown @ (TurnEventKind::ToolCall { .. } | TurnEventKind::ToolResult { .. }) => {
                if self.chunks.shows_events {
                    let mut chunk = self.chunks.delta(json!({}), None);
                    if let Some(chunk) = chunk.as_object_mut() {
                        chunk.insert("x_carapace".into(), json!({"event": shown}));
                    }
                    push(out, &chunk);
                }
            }
            TurnEventKind::Completed { text, stop, usage, model } => {
                self.end();
                self.chunks.model = model;
                if !self.spoke && !text.is_empty() {
                    push(out, &self.chunks.delta(json!({"content": text}), None));
                }
                push(out, &self.chunks.delta(json!({}), Some(finish_reason(&stop))));
                if self.chunks.include_usage {
                    let mut chunk = self.chunks.chunk(json!([]));
                    if let Some(chunk) = chunk.as_object_mut() {
                        chunk.insert("usage".into(), usage_json(&usage));
                    }
                    push(out, &chunk);
                }
                out.push_str("data: [DONE]\n\n");
            }
            TurnEventKind::Failed { code, message, retryable } => {
                self.end();
                push(out, &ApiError::turn(&code, &message, retryable).body());
                out.push_str("data: [DONE]\n\n");
            }
            TurnEventKind::Cancelled { .. } => {
                self.end();
                push(out, &ApiError::stopped().body());
                out.push_str("data: [DONE]\n\n");
            }
        }
    }

    fn end(&mut self) {
        self.done = true;
        self.guard.disarm();
    }
}

fn push(out: &mut String, chunk: &Value) {
    out.push_str("data: ");
    out.push_str(&chunk.to_string());
    out.push_str("\n\n");
}
