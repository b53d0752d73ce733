//! `/v1/models`: the assistant itself, and every model it can be asked to use.

use crate::http::Authed;
use crate::http::error::ApiError;
use crate::state::Shared;
use ::http::StatusCode;
use axum::Json;
use axum::extract::{Path, State};
use carapace_contract::completion::ModelInfo;
use serde_json::{Value, json};
use std::sync::Arc;

/// Names that mean "the assistant, with its configured route".
const ASSISTANT: [&str; 3] = ["carapace", "assistant", "default"];

/// What a client's `model` asks for: nothing = the configured route.
pub(crate) fn wanted(model: Option<&str>) -> Option<String> {
    let model = model.map(str::trim).filter(|m| !m.is_empty())?;
    (!ASSISTANT.iter().any(|a| a.eq_ignore_ascii_case(model))).then(|| model.to_owned())
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, _: Authed) -> Json<Value> {
    Json(json!({"object": "list", "data": all(&shared).await}))
}

pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = all(&shared).await.into_iter().find(|m| m.get("id").and_then(Value::as_str) == Some(&id));
    found.map(Json).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            format!("there is no model {id:?}; GET /v1/models lists them"),
        )
        .code("model_not_found")
    })
}

async fn all(shared: &Shared) -> Vec<Value> {
    let created = shared.started_ms / 1000;
    let mut data = vec![json!({"id": "carapace", "object": "model", "created": created, "owned_by": "carapace"})];
    data.extend(shared.assistant.models().await.iter().map(|m| model(m, created)));
    data
}

fn model(m: &ModelInfo, created: u64) -> Value {
    json!({
        "id": m.reference.to_string(),
        "object": "model",
        "created": created,
        "owned_by": m.reference.instance.to_string(),
        "name": m.name,
        "context_window": m.context,
        "max_output_tokens": m.output,
    })
}
