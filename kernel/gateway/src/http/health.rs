//! Health, readiness, metrics and status.

use crate::auth::bearer;
use crate::http::Authed;
use crate::http::error::ApiError;
use crate::metrics::render;
use crate::state::{Peer, Shared};
use ::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, StatusCode};
use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// It runs: nothing else is said without the token.
pub(crate) async fn live(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"status": "ok", "version": shared.version, "uptimeSeconds": shared.started.elapsed().as_secs()}))
}

/// Whether it can answer. Without the token only how many things keep it from that.
pub(crate) async fn ready(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let details = match bearer(&headers) {
        None => false,
        presented => {
            let checked = shared.auth.check(peer.0.ip(), presented, "http");
            checked.map_err(|r| ApiError::refused(r, &shared.page.token_hint))?;
            true
        }
    };
    let mut reasons = shared.status.status().await.not_ready;
    if shared.stopping.is_cancelled() {
        reasons.push("the gateway is stopping".into());
    }
    let mut body = json!({"status": if reasons.is_empty() { "ready" } else { "not-ready" }, "reasons": reasons.len()});
    if details && let Some(body) = body.as_object_mut() {
        body.insert("details".into(), json!(reasons));
    }
    Ok(if reasons.is_empty() {
        Json(body).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], Json(body)).into_response()
    })
}

/// Prometheus text.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>, _: Authed) -> Response {
    let status = shared.status.status().await;
    let text = render(&shared.metrics, &status, &shared.version, shared.started.elapsed().as_secs());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What runs, whole.
pub(crate) async fn status(State(shared): State<Arc<Shared>>, _: Authed) -> Json<Value> {
    Json(status_json(&shared).await)
}

/// The kernel's status with names as people write them.
pub(crate) async fn status_json(shared: &Shared) -> Value {
    let status = shared.status.status().await;
    let models: Vec<Value> = status
        .models
        .iter()
        .map(|m| json!({"id": m.reference.to_string(), "name": m.name, "context": m.context, "output": m.output, "tools": m.tools, "images": m.images}))
        .collect();
    let tools: Vec<Value> = shared
        .assistant
        .tools()
        .iter()
        .map(|t| json!({"name": t.name, "description": t.description, "instance": t.instance, "effects": t.effects}))
        .collect();
    json!({
        "version": status.version,
        "startedMs": status.started_ms,
        "uptimeSeconds": shared.started.elapsed().as_secs(),
        "ready": status.not_ready.is_empty(),
        "notReady": status.not_ready,
        "route": status.route,
        "instances": status.instances,
        "models": models,
        "tools": tools,
        "wsConnections": shared.hub.count(),
    })
}
