//! Turn events as the protocol's `chat` and `agent` events.

use crate::problem::{Problem, classify};
use carapace_contract::completion::{StopReason, Usage};
use carapace_contract::turn::{TurnEvent, TurnEventKind};
use serde_json::{Value, json};

/// The events a connection can get.
pub(crate) const EVENTS: [&str; 6] = ["connect.challenge", "agent", "chat", "health", "shutdown", "tick"];

/// The payloads of one turn event, in order.
pub(crate) fn payloads(event: &TurnEvent, run: &str) -> Vec<(&'static str, Value)> {
    let agent = |stream: &str, mut data: Value| {
        if let Some(data) = data.as_object_mut() {
            data.insert("sessionKey".into(), json!(event.session));
        }
        ("agent", json!({"runId": run, "seq": event.seq, "stream": stream, "ts": event.at_ms, "data": data}))
    };
    let chat = |state: &str, more: Value| {
        let mut payload = json!({"runId": run, "sessionKey": event.session, "seq": event.seq, "state": state});
        if let (Some(payload), Value::Object(more)) = (payload.as_object_mut(), more) {
            payload.extend(more);
        }
        ("chat", payload)
    };
    match &event.kind {
        TurnEventKind::Started { model } => {
            vec![agent("lifecycle", json!({"phase": "start", "startedAt": event.at_ms, "model": model}))]
        }
        TurnEventKind::Text { delta } => {
            vec![chat("delta", json!({"deltaText": delta})), agent("assistant", json!({"delta": delta}))]
        }
        TurnEventKind::Reasoning { delta } => vec![agent("thinking", json!({"delta": delta}))],
        TurnEventKind::ToolCall { call_id, name, arguments } => {
            vec![agent("tool", json!({"phase": "start", "toolCallId": call_id, "name": name, "args": arguments}))]
        }
        TurnEventKind::ToolResult { call_id, name, content, is_error } => vec![agent(
            "tool",
            json!({"phase": "result", "toolCallId": call_id, "name": name, "result": content, "isError": is_error}),
        )],
        TurnEventKind::Completed { text, stop, usage, model, .. } => {
            let stop = stop_reason(stop);
            vec![
                agent("lifecycle", json!({"phase": "end", "endedAt": event.at_ms, "model": model})),
                chat(
                    "final",
                    json!({"message": answer(text, event.at_ms, stop), "usage": usage_json(usage), "stopReason": stop}),
                ),
            ]
        }
        TurnEventKind::Failed { code, message, retryable } => vec![
            agent(
                "lifecycle",
                json!({"phase": "error", "endedAt": event.at_ms, "error": message, "code": code, "retryable": retryable}),
            ),
            chat("error", json!({"errorMessage": format!("{message} [{code}]"), "errorKind": error_kind(code)})),
        ],
        TurnEventKind::Cancelled { text } => vec![
            agent("lifecycle", json!({"phase": "end", "endedAt": event.at_ms, "aborted": true})),
            chat("aborted", json!({"message": answer(text, event.at_ms, "aborted"), "stopReason": "aborted"})),
        ],
    }
}

/// An assistant's message.
fn answer(text: &str, at_ms: u64, stop: &str) -> Value {
    json!({
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "timestamp": at_ms,
        "stopReason": stop,
    })
}

/// The protocol's words.
pub(crate) fn stop_reason(stop: &StopReason) -> &str {
    match stop {
        StopReason::End => "stop",
        StopReason::ToolCalls => "toolUse",
        StopReason::Length => "length",
        StopReason::ContentFilter => "refusal",
        StopReason::Other(other) => other,
    }
}

/// Token counts as the protocol's clients read them.
pub(crate) fn usage_json(usage: &Usage) -> Value {
    json!({
        "input": usage.input,
        "output": usage.output,
        "cacheRead": usage.cached_input,
        "reasoning": usage.reasoning,
        "totalTokens": usage.input + usage.output,
    })
}

fn error_kind(code: &str) -> &'static str {
    match classify(code) {
        Problem::RateLimited => "rate_limit",
        Problem::ContextLength => "context_length",
        Problem::Timeout => "timeout",
        _ => "unknown",
    }
}
