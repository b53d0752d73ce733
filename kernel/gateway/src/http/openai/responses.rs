//! `/v1/responses`. A response is a run: its id is the run's, what it repeats of its request is kept with the run, and
//! what follows it is a turn of the same session that sees what led to it.

use crate::http::error::ApiError;
use crate::http::openai::content::unsupported;
use crate::http::openai::response_object::ResponseObject;
use crate::http::openai::response_request::{Echo, Previous, ResponseRequest};
use crate::http::openai::response_stream::Telling;
use crate::http::openai::{Begun, Headers, sse, with_names};
use crate::http::{Authed, body};
use crate::state::{Shared, now_ms};
use ::http::{HeaderMap, StatusCode, Uri};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use carapace_contract::turn::{RunState, TurnEventKind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a stopped run may take to end before its response is told as it stands.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: ResponseRequest = body::json(&headers, body, &shared.limits).await?;
    let Headers { session, key, shows_events } = Headers::read(&headers)?;
    let streams = request.stream.unwrap_or(false);
    let previous = match request.previous_response_id.as_deref() {
        None => None,
        Some(id) => {
            let (state, _) = find(&shared, id).await.ok_or_else(|| {
                not_found(format!("Previous response with id {id:?} not found"))
                    .code("previous_response_not_found")
                    .param("previous_response_id")
            })?;
            Some(Previous { run: state.run, session: state.session })
        }
    };
    let keyed = key.is_some();
    let (turn, echo) = request.turn(previous, session, key)?;
    // A client that sent a key, or wants its answer later, may come back for it: its run goes on without it.
    let background = echo.background;
    let mut begun = Begun::of(&shared, turn, !keyed && !background).await?;
    let names = begun.names();
    let mut object = ResponseObject::new(begun.run, echo);
    let response = if streams {
        begun.fails_at_once(shared.limits.keep_alive).await?;
        sse::stream(begun.events, Telling::new(object, shows_events), begun.guard, shared.limits.keep_alive)
    } else if background {
        let standing = match shared.assistant.wait(begun.run, Duration::ZERO).await {
            Some(state) => object.standing(&state),
            None => object.in_progress(),
        };
        Json(standing).into_response()
    } else {
        whole(begun, object, shows_events).await?
    };
    Ok(with_names(names, response))
}

async fn whole(mut begun: Begun, mut object: ResponseObject, shows_events: bool) -> Result<Response, ApiError> {
    let mut seen = Vec::new();
    let last = loop {
        match begun.events.next().await {
            Some(shown @ (TurnEventKind::ToolCall { .. } | TurnEventKind::ToolResult { .. })) => seen.push(shown),
            Some(last) if last.is_last() => break last,
            Some(_) => {}
            None => return Err(ApiError::internal("the run ended without an outcome")),
        }
    };
    begun.guard.disarm();
    match &last {
        TurnEventKind::Failed { code, message, retryable } => return Err(ApiError::turn(code, message, *retryable)),
        TurnEventKind::Cancelled { .. } => return Err(ApiError::stopped()),
        _ => {}
    }
    let mut response = object.ended(&last, "", now_ms());
    if shows_events && let Some(response) = response.as_object_mut() {
        response.insert("x_carapace".into(), json!({"events": seen}));
    }
    Ok(Json(response).into_response())
}

pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    if uri.query().is_some_and(|q| q.split('&').any(|pair| pair == "stream=true")) {
        return Err(unsupported("stream", "a response is streamed once, to the client that asked; get it whole"));
    }
    let (state, echo) = find(&shared, &id).await.ok_or_else(|| unknown(&id))?;
    Ok(Json(ResponseObject::new(state.run, echo).standing(&state)))
}

/// Stops its run; one that has ended stays as it is.
pub(crate) async fn cancel(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (mut state, echo) = find(&shared, &id).await.ok_or_else(|| unknown(&id))?;
    if state.last.is_none() {
        shared.assistant.abort(Some(state.run), None).await;
        state = shared.assistant.wait(state.run, CANCEL_WAIT).await.unwrap_or(state);
    }
    Ok(Json(ResponseObject::new(state.run, echo).standing(&state)))
}

/// A response that was stored.
async fn find(shared: &Shared, id: &str) -> Option<(RunState, Echo)> {
    let run = ResponseObject::run_of(id)?;
    let state = shared.assistant.wait(run, Duration::ZERO).await?;
    let echo = Echo::read(state.note.as_ref()?)?;
    Some((state, echo))
}

fn unknown(id: &str) -> ApiError {
    not_found(format!("Response with id {id:?} not found"))
}

fn not_found(what: String) -> ApiError {
    let kept = "; a response is kept unless it was asked for with store: false, or erased";
    ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", what + kept)
}
