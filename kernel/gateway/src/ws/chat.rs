//! `chat.send`, `chat.abort`, `agent` and `agent.wait`.

use crate::http::openai::content::{image, session_key};
use crate::run::submit;
use crate::state::{Shared, now_ms};
use crate::ws::events::{stop_reason, usage_json};
use crate::ws::frame::{Failure, Request, response};
use crate::ws::methods::{Answer, Context, params};
use crate::ws::runs::Pending;
use carapace_contract::Ulid;
use carapace_contract::decision::Origin;
use carapace_contract::message::Part;
use carapace_contract::turn::{RunState, TurnEventKind, TurnOptions, TurnRequest};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The session of a client that names none.
const MAIN: &str = "main";
/// The only agent.
const AGENT: &str = "main";
/// The longest idempotency key: with its edge's prefix it fits the assistant's 256 bytes.
const KEY_BYTES: usize = 250;
/// The longest time one `agent.wait` waits.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    #[serde(rename = "type")]
    kind: Option<String>,
    mime_type: Option<String>,
    content: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendParams {
    session_key: String,
    agent_id: Option<String>,
    message: String,
    attachments: Option<Vec<Attachment>>,
    timeout_ms: Option<u64>,
    idempotency_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentParams {
    message: String,
    agent_id: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    session_key: Option<String>,
    session_id: Option<String>,
    attachments: Option<Vec<Attachment>>,
    timeout: Option<u64>,
    extra_system_prompt: Option<String>,
    idempotency_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortParams {
    session_key: String,
    agent_id: Option<String>,
    run_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitParams {
    run_id: String,
    timeout_ms: Option<u64>,
}

/// There is one agent.
pub(crate) fn check_agent(agent: &Option<String>) -> Result<(), Failure> {
    match agent.as_deref() {
        None | Some(AGENT) => Ok(()),
        Some(other) => Err(Failure::invalid(format!("unknown agent id {other:?}; the only agent is \"main\""))
            .details(json!({"code": "UNKNOWN_AGENT_ID", "agentId": other}))),
    }
}

/// A session key from a client.
pub(crate) fn check_session(key: String) -> Result<String, Failure> {
    session_key("sessionKey", key).map_err(|e| Failure::invalid(format!("invalid params: {}", e.message)))
}

fn check_key(key: &str) -> Result<(), Failure> {
    if key.is_empty() || key.len() > KEY_BYTES || key.chars().any(char::is_control) {
        let message = format!("invalid params: idempotencyKey must be 1 to {KEY_BYTES} printable characters");
        return Err(Failure::invalid(message));
    }
    Ok(())
}

fn content(message: String, attachments: Option<Vec<Attachment>>) -> Result<Vec<Part>, Failure> {
    let mut parts = if message.trim().is_empty() { Vec::new() } else { vec![Part::text(message)] };
    for (i, a) in attachments.unwrap_or_default().into_iter().enumerate() {
        let mime = a.mime_type.unwrap_or_default();
        if a.kind.as_deref() != Some("image") && !mime.starts_with("image/") {
            return Err(Failure::invalid(format!("attachments[{i}]: the assistant takes images, not {mime:?}")));
        }
        let Some(Value::String(data)) = a.content else {
            return Err(Failure::invalid(format!("attachments[{i}].content must be base64")));
        };
        let url = if data.starts_with("data:") { data } else { format!("data:{mime};base64,{data}") };
        parts.push(image(&url, &format!("attachments[{i}].content")).map_err(|e| Failure::invalid(e.message))?);
    }
    if parts.is_empty() {
        return Err(Failure::invalid("invalid params: message is empty and nothing is attached"));
    }
    Ok(parts)
}

struct Accepted {
    run: Ulid,
    duplicate: bool,
}

async fn accept(shared: &Arc<Shared>, mut pending: Pending, turn: TurnRequest) -> Result<Accepted, Failure> {
    pending.turn().await;
    let submitted = submit(shared, turn, false).await?;
    pending.settle(submitted.run);
    // The hub hands out the run's events; this reader is not needed.
    Ok(Accepted { run: submitted.run, duplicate: submitted.duplicate })
}

fn stop_after(shared: &Arc<Shared>, run: Ulid, after: Option<Duration>) {
    let Some(after) = after.filter(|a| !a.is_zero()) else { return };
    let shared = Arc::clone(shared);
    let tracker = shared.tracker.clone();
    tracker.spawn(async move {
        tokio::select! {
            state = shared.assistant.wait(run, after) => {
                if state.is_some_and(|s| s.last.is_none()) {
                    shared.assistant.abort(Some(run), None).await;
                }
            }
            () = shared.stopping.cancelled() => {}
        }
    });
}

/// `chat.send`: the run's id is the client's idempotency key.
pub(crate) fn send(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: SendParams = params(given)?;
    check_agent(&p.agent_id)?;
    check_key(&p.idempotency_key)?;
    let session = check_session(p.session_key)?;
    let turn = TurnRequest {
        session: session.clone(),
        origin: Origin::Owner,
        parts: content(p.message, p.attachments)?,
        history: Vec::new(),
        system: None,
        model: None,
        idempotency_key: Some(format!("ws:{}", p.idempotency_key)),
        options: TurnOptions::default(),
        place: None,
    };
    let pending = shared.runs.begin(&p.idempotency_key, &session);
    let (key, limit) = (p.idempotency_key, p.timeout_ms.map(Duration::from_millis));
    Ok(Box::pin(async move {
        let accepted = accept(&shared, pending, turn).await?;
        let status = if accepted.duplicate {
            match shared.assistant.wait(accepted.run, Duration::ZERO).await.and_then(|s| s.last) {
                None => "in_flight",
                Some(TurnEventKind::Failed { .. }) => "error",
                Some(_) => "ok",
            }
        } else {
            stop_after(&shared, accepted.run, limit);
            "started"
        };
        Ok(json!({"runId": key, "status": status}))
    }))
}

/// `agent`: answered twice with the request's id, `accepted` at once and the outcome at the end.
pub(crate) fn agent(context: &Context, request: &Request) -> Result<Answer, Failure> {
    let p: AgentParams = params(&request.params)?;
    check_agent(&p.agent_id)?;
    check_key(&p.idempotency_key)?;
    let session = check_session(p.session_key.or(p.session_id).unwrap_or_else(|| MAIN.to_owned()))?;
    let named = |s: Option<String>| s.filter(|s| !s.trim().is_empty());
    let model = named(p.model).map(|model| match named(p.provider) {
        Some(provider) => format!("{provider}/{model}"),
        None => model,
    });
    let turn = TurnRequest {
        session: session.clone(),
        origin: Origin::Owner,
        parts: content(p.message, p.attachments)?,
        history: Vec::new(),
        system: named(p.extra_system_prompt),
        model: model.and_then(|m| crate::http::models::wanted(Some(&m))),
        idempotency_key: Some(format!("ws:{}", p.idempotency_key)),
        options: TurnOptions::default(),
        place: None,
    };
    let shared = Arc::clone(&context.shared);
    let pending = shared.runs.begin(&p.idempotency_key, &session);
    let (queue, id) = (Arc::clone(&context.queue), request.id.clone());
    let (key, limit) = (p.idempotency_key, p.timeout.map(Duration::from_secs));
    Ok(Box::pin(async move {
        let accepted = accept(&shared, pending, turn).await?;
        if !accepted.duplicate {
            stop_after(&shared, accepted.run, limit);
        }
        let ack = json!({"runId": key, "status": "accepted", "acceptedAt": now_ms(), "sessionKey": session});
        queue.text(response(&id, &Ok(ack)));
        loop {
            let state = tokio::select! {
                state = shared.assistant.wait(accepted.run, Duration::from_secs(60)) => state,
                () = shared.stopping.cancelled() => {
                    return Err(Failure::unavailable("the gateway is stopping; the run goes on after the next start")
                        .retryable(None));
                }
            };
            match state {
                Some(RunState { last: Some(last), started_ms, ended_ms, .. }) => {
                    let duration = ended_ms.unwrap_or(started_ms).saturating_sub(started_ms);
                    return Ok(result(&key, &last, duration));
                }
                Some(_) => {}
                None => return Err(Failure::unavailable("the run is not known any more")),
            }
        }
    }))
}

fn result(key: &str, last: &TurnEventKind, duration_ms: u64) -> Value {
    let payloads = |text: &str| json!([{"text": text, "mediaUrl": null}]);
    match last {
        TurnEventKind::Completed { text, stop, usage, model, .. } => json!({
            "runId": key, "status": "ok", "summary": "completed",
            "result": {
                "payloads": payloads(text),
                "meta": {
                    "durationMs": duration_ms, "stopReason": stop_reason(stop),
                    "agentMeta": {"model": model, "usage": usage_json(usage)},
                },
            },
        }),
        TurnEventKind::Cancelled { text } => json!({
            "runId": key, "status": "ok", "summary": "aborted",
            "result": {"payloads": payloads(text), "meta": {"durationMs": duration_ms, "aborted": true}},
        }),
        TurnEventKind::Failed { code, message, retryable } => json!({
            "runId": key, "status": "error", "summary": message,
            "error": {"code": code, "message": message, "retryable": retryable},
        }),
        _ => json!({"runId": key, "status": "error", "summary": "the run ended without an outcome"}),
    }
}

/// `chat.abort`.
pub(crate) fn abort(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: AbortParams = params(given)?;
    check_agent(&p.agent_id)?;
    let session = check_session(p.session_key)?;
    Ok(Box::pin(async move {
        let stopped = match p.run_id {
            None => shared.assistant.abort(None, Some(&session)).await,
            Some(name) => match shared.runs.find(&name).await {
                None => Vec::new(),
                Some(run) if shared.runs.session(run).is_some_and(|s| *s != *session) => {
                    return Err(Failure::invalid("runId does not belong to sessionKey"));
                }
                Some(run) => shared.assistant.abort(Some(run), None).await,
            },
        };
        let names: Vec<Arc<str>> = stopped.into_iter().map(|run| shared.runs.name(run)).collect();
        Ok(json!({"ok": true, "aborted": !names.is_empty(), "runIds": names}))
    }))
}

/// `agent.wait`.
pub(crate) fn wait(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: WaitParams = params(given)?;
    let limit = p.timeout_ms.map_or(Duration::from_secs(30), Duration::from_millis).min(LONGEST_WAIT);
    Ok(Box::pin(async move {
        let unknown = || {
            Failure::invalid(format!("unknown runId {:?}", p.run_id))
                .details(json!({"code": "UNKNOWN_RUN", "runId": p.run_id}))
        };
        let run = shared.runs.find(&p.run_id).await.ok_or_else(unknown)?;
        let state = tokio::select! {
            state = shared.assistant.wait(run, limit) => state.ok_or_else(unknown)?,
            () = shared.stopping.cancelled() => {
                return Err(Failure::unavailable("the gateway is stopping").retryable(None));
            }
        };
        let mut out = json!({"runId": p.run_id, "startedAt": state.started_ms});
        if let Some(out) = out.as_object_mut() {
            if let Some(ended) = state.ended_ms {
                out.insert("endedAt".into(), json!(ended));
            }
            let status = match state.last {
                None => "timeout",
                Some(TurnEventKind::Failed { code, message, .. }) => {
                    out.insert("error".into(), json!(format!("{message} [{code}]")));
                    "error"
                }
                Some(TurnEventKind::Cancelled { .. }) => {
                    out.insert("stopReason".into(), json!("aborted"));
                    "error"
                }
                Some(_) => "ok",
            };
            out.insert("status".into(), json!(status));
        }
        Ok(out)
    }))
}
