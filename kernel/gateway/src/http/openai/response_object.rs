//! A response as its clients get it. Shape: OpenAI's API reference, "The response object".

use crate::http::openai::response_request::Echo;
use crate::problem::{Problem, classify};
use carapace_contract::Ulid;
use carapace_contract::completion::{StopReason, Usage};
use carapace_contract::turn::{RunState, TurnEventKind};
use serde_json::{Value, json};

/// A response of a run.
pub(crate) struct ResponseObject {
    pub(crate) run: Ulid,
    pub(crate) echo: Echo,
    /// The model that was asked for, until one answers.
    pub(crate) model: String,
}

/// What of a response changes while it comes.
struct Progress {
    status: &'static str,
    output: Vec<Value>,
    error: Value,
    incomplete: Option<&'static str>,
    usage: Option<Usage>,
    completed_ms: Option<u64>,
}

impl ResponseObject {
    pub(crate) fn new(run: Ulid, echo: Echo) -> Self {
        let model = echo.model.clone();
        Self { run, echo, model }
    }

    pub(crate) fn id(&self) -> String {
        format!("resp_{}", self.run)
    }

    /// The run behind an id.
    pub(crate) fn run_of(id: &str) -> Option<Ulid> {
        id.strip_prefix("resp_")?.parse().ok()
    }

    /// The only item there is: the answer. Calls of tools are the assistant's own.
    pub(crate) fn item_id(&self) -> String {
        format!("msg_{}", self.run)
    }

    pub(crate) fn message(&self, text: &str, status: &str) -> Value {
        let content = if status == "in_progress" { json!([]) } else { json!([text_part(text)]) };
        json!({"id": self.item_id(), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    /// While it runs.
    pub(crate) fn in_progress(&self) -> Value {
        self.object(Progress {
            status: "in_progress",
            output: Vec::new(),
            error: Value::Null,
            incomplete: None,
            usage: None,
            completed_ms: None,
        })
    }

    /// After its last event. `said` is what was said of an answer that failed.
    pub(crate) fn ended(&mut self, last: &TurnEventKind, said: &str, ended_ms: u64) -> Value {
        let status = status(last);
        let mut progress = Progress {
            status,
            output: Vec::new(),
            error: Value::Null,
            incomplete: None,
            usage: None,
            completed_ms: (status == "completed").then_some(ended_ms),
        };
        let partial = |text: &str| if text.is_empty() { Vec::new() } else { vec![self.message(text, "incomplete")] };
        match last {
            TurnEventKind::Completed { text, stop, usage, model, .. } => {
                progress.output = vec![self.message(text, status)];
                progress.incomplete = cut_by(stop);
                progress.usage = Some(*usage);
                self.model.clone_from(model);
            }
            TurnEventKind::Failed { code, message, .. } => {
                progress.output = partial(said);
                progress.error = json!({"code": error_code(code), "message": format!("{message} [{code}]")});
            }
            TurnEventKind::Cancelled { text } => progress.output = partial(text),
            _ => {}
        }
        self.object(progress)
    }

    /// As it stands.
    pub(crate) fn standing(&mut self, state: &RunState) -> Value {
        match &state.last {
            Some(last) => self.ended(last, "", state.ended_ms.unwrap_or(state.started_ms)),
            None => self.in_progress(),
        }
    }

    fn object(&self, progress: Progress) -> Value {
        let Echo { background, store, previous_response_id, instructions, max_output_tokens, .. } = &self.echo;
        let Echo { temperature, top_p, text, tool_choice, metadata, user, .. } = &self.echo;
        json!({
            "id": self.id(),
            "object": "response",
            "created_at": self.run.timestamp_ms() / 1000,
            "status": progress.status,
            "background": background,
            "completed_at": progress.completed_ms.map(|ms| ms / 1000),
            "error": progress.error,
            "incomplete_details": progress.incomplete.map(|reason| json!({"reason": reason})),
            "instructions": instructions,
            "max_output_tokens": max_output_tokens,
            "max_tool_calls": null,
            "model": self.model,
            "output": progress.output,
            "parallel_tool_calls": true,
            "previous_response_id": previous_response_id,
            "reasoning": {"effort": null, "summary": null},
            "service_tier": null,
            "store": store,
            "temperature": temperature,
            "text": text,
            "tool_choice": tool_choice,
            "tools": [],
            "top_logprobs": 0,
            "top_p": top_p,
            // What does not fit is left out, oldest first.
            "truncation": "auto",
            "usage": progress.usage.map(|usage| usage_json(&usage)),
            "user": user,
            "metadata": metadata,
        })
    }
}

/// The part that holds an answer's text.
pub(crate) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

/// How a run that ended stands, in OpenAI's words.
pub(crate) fn status(last: &TurnEventKind) -> &'static str {
    match last {
        TurnEventKind::Completed { stop, .. } if cut_by(stop).is_some() => "incomplete",
        TurnEventKind::Completed { .. } => "completed",
        TurnEventKind::Cancelled { .. } => "cancelled",
        _ => "failed",
    }
}

fn cut_by(stop: &StopReason) -> Option<&'static str> {
    match stop {
        StopReason::Length => Some("max_output_tokens"),
        StopReason::ContentFilter => Some("content_filter"),
        StopReason::End | StopReason::ToolCalls | StopReason::Other(_) => None,
    }
}

/// A response's error knows these words only; the stable code stands in its message.
fn error_code(code: &str) -> &'static str {
    match classify(code) {
        Problem::RateLimited => "rate_limit_exceeded",
        Problem::Invalid | Problem::ContextLength => "invalid_prompt",
        Problem::UnknownModel | Problem::Timeout | Problem::Provider | Problem::Other => "server_error",
    }
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}
