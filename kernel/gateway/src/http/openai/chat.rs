//! `/v1/chat/completions`.

use crate::http::error::ApiError;
use crate::http::openai::chat_request::ChatRequest;
use crate::http::openai::chat_stream::Chunks;
use crate::http::openai::{Begun, Events, Headers, sse, with_names};
use crate::http::{Authed, body};
use crate::run::AbortOnDrop;
use crate::state::Shared;
use ::http::HeaderMap;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use carapace_contract::completion::{StopReason, Usage};
use carapace_contract::turn::TurnEventKind;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn chat(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: ChatRequest = body::json(&headers, body, &shared.limits).await?;
    let Headers { session, key, shows_events } = Headers::read(&headers)?;
    let (streams, include_usage) = (request.stream.unwrap_or(false), request.include_usage());
    let asked = request.model.clone().unwrap_or_else(|| "carapace".into());
    // A client that sent a key may come back for the answer: its run goes on without it.
    let abandon = key.is_none();
    let turn = request.turn(session, key)?;

    let mut begun = Begun::of(&shared, turn, abandon).await?;
    let names = begun.names();
    let chunks = Chunks::new(begun.run, crate::state::now_ms() / 1000, asked, include_usage, shows_events);
    let response = if streams {
        begun.fails_at_once(shared.limits.keep_alive).await?;
        sse::stream(begun.events, chunks, begun.guard, shared.limits.keep_alive)
    } else {
        whole(begun.events, &chunks, begun.guard).await?
    };
    Ok(with_names(names, response))
}

async fn whole(mut events: Events, chunks: &Chunks, mut guard: AbortOnDrop) -> Result<Response, ApiError> {
    let mut seen = Vec::new();
    while let Some(kind) = events.next().await {
        match kind {
            TurnEventKind::Completed { text, stop, usage, model, .. } => {
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
