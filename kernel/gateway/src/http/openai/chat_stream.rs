//! The server-sent events of a streamed completion, in OpenAI's exact order: role, content, finish, usage, `[DONE]`.

use crate::http::error::ApiError;
use crate::http::openai::chat::{finish_reason, usage_json};
use crate::http::openai::sse::Words;
use carapace_contract::Ulid;
use carapace_contract::turn::TurnEventKind;
use serde_json::{Value, json};

/// An answer in chunks, and what they all share.
pub(crate) struct Chunks {
    run: Ulid,
    pub(crate) created: u64,
    model: String,
    include_usage: bool,
    pub(crate) shows_events: bool,
    opened: bool,
    spoke: bool,
}

impl Chunks {
    pub(crate) fn new(run: Ulid, created: u64, model: String, include_usage: bool, shows_events: bool) -> Self {
        Self { run, created, model, include_usage, shows_events, opened: false, spoke: false }
    }

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

impl Words for Chunks {
    fn write(&mut self, kind: TurnEventKind, out: &mut String) {
        if !self.opened {
            self.opened = true;
            if let TurnEventKind::Started { model } = &kind {
                self.model.clone_from(model);
            }
            push(out, &self.delta(json!({"role": "assistant", "content": "", "refusal": null}), None));
        }
        match kind {
            TurnEventKind::Started { .. } | TurnEventKind::Reasoning { .. } => {}
            TurnEventKind::Text { delta } => {
                self.spoke = true;
                push(out, &self.delta(json!({"content": delta}), None));
            }
            shown @ (TurnEventKind::ToolCall { .. } | TurnEventKind::ToolResult { .. }) => {
                if self.shows_events {
                    let mut chunk = self.delta(json!({}), None);
                    if let Some(chunk) = chunk.as_object_mut() {
                        chunk.insert("x_carapace".into(), json!({"event": shown}));
                    }
                    push(out, &chunk);
                }
            }
            TurnEventKind::Completed { text, stop, usage, model, .. } => {
                self.model = model;
                if !self.spoke && !text.is_empty() {
                    push(out, &self.delta(json!({"content": text}), None));
                }
                push(out, &self.delta(json!({}), Some(finish_reason(&stop))));
                if self.include_usage {
                    let mut chunk = self.chunk(json!([]));
                    if let Some(chunk) = chunk.as_object_mut() {
                        chunk.insert("usage".into(), usage_json(&usage));
                    }
                    push(out, &chunk);
                }
                out.push_str("data: [DONE]\n\n");
            }
            TurnEventKind::Failed { code, message, retryable } => {
                push(out, &ApiError::turn(&code, &message, retryable).body());
                out.push_str("data: [DONE]\n\n");
            }
            TurnEventKind::Cancelled { .. } => {
                push(out, &ApiError::stopped().body());
                out.push_str("data: [DONE]\n\n");
            }
        }
    }
}

fn push(out: &mut String, chunk: &Value) {
    out.push_str("data: ");
    out.push_str(&chunk.to_string());
    out.push_str("\n\n");
}
