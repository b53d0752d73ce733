//! What the owner tells the kernel: the CLI's door.

use crate::http::error::ApiError;
use crate::http::{Authed, body};
use crate::state::Shared;
use ::http::{HeaderMap, StatusCode};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use carapace_contract::Denial;
use carapace_contract::control::ControlRequest;
use serde_json::json;
use std::sync::Arc;

/// Carries out one request. A refusal keeps its code and its fix.
pub(crate) async fn control(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: ControlRequest = body::json(&headers, body, &shared.limits).await?;
    let Some(control) = &shared.control else {
        return Err(ApiError::internal("this gateway takes no orders"));
    };
    Ok(match control.control(request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(denial) => refused(&denial),
    })
}

/// A refusal, with its code and its fix.
pub(crate) fn refused(denial: &Denial) -> Response {
    let error = json!({ "type": "refused", "code": denial.code, "message": denial.message, "fix": denial.fix });
    (StatusCode::FORBIDDEN, Json(json!({ "error": error }))).into_response()
}
