//! Errors in OpenAI's shape, so that its clients raise their own exceptions.

use crate::auth::Refused;
use crate::problem::{Problem, classify};
use ::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{HeaderValue, StatusCode};
use axum::Json;
use axum::response::{IntoResponse, Response};
use carapace_contract::turn::TurnError;
use serde_json::{Value, json};
use std::time::Duration;

/// `{ "error": { message, type, param, code } }` and its status.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    pub(crate) message: String,
    param: Option<String>,
    code: Option<String>,
    retry_after: Option<Duration>,
    retryable: Option<bool>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None, retryable: None }
    }

    /// 400, naming the field.
    pub(crate) fn bad(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut e = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        e.param = Some(param.into());
        e
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn refused(refused: Refused, token_hint: &str) -> Self {
        let unauthorized = |message: String, code: &str| {
            Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message).code(code)
        };
        match refused {
            Refused::Missing => unauthorized(
                format!("no token came with the request; send `Authorization: Bearer TOKEN`. To see it: {token_hint}"),
                "missing_api_key",
            ),
            Refused::Wrong => {
                unauthorized(format!("the token is not this gateway's. To see it: {token_hint}"), "invalid_api_key")
            }
            Refused::Throttled(wait) => {
                let seconds = wait.as_secs_f64().ceil();
                let mut e = Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    format!("too many wrong tokens from this address; try again in {seconds} s"),
                )
                .code("rate_limit_exceeded");
                e.retry_after = Some(wait);
                e
            }
        }
    }

    /// How a turn that was refused, or failed, looks to an HTTP client.
    pub(crate) fn turn(code: &str, message: &str, retryable: bool) -> Self {
        let (status, kind, code) = match classify(code) {
            Problem::UnknownModel => (StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found"),
            Problem::ContextLength => (StatusCode::BAD_REQUEST, "invalid_request_error", "context_length_exceeded"),
            Problem::Invalid => (StatusCode::BAD_REQUEST, "invalid_request_error", code),
            Problem::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code),
            Problem::Timeout => (StatusCode::GATEWAY_TIMEOUT, "server_error", code),
            _ if retryable => (StatusCode::SERVICE_UNAVAILABLE, "server_error", code),
            Problem::Provider => (StatusCode::BAD_GATEWAY, "server_error", code),
            Problem::Other => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", code),
        };
        let mut e = Self::new(status, kind, message).code(code);
        e.retryable = Some(retryable);
        e
    }

    /// A run that somebody stopped.
    pub(crate) fn stopped() -> Self {
        let mut e = Self::new(StatusCode::CONFLICT, "server_error", "the run was stopped").code("run_stopped");
        e.retryable = Some(false);
        e
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl From<TurnError> for ApiError {
    fn from(e: TurnError) -> Self {
        Self::turn(&e.code, &e.message, e.retryable)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"carapace\""));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from((wait.as_secs_f64().ceil() as u64).max(1)));
        }
        // OpenAI's clients retry 409 and 5xx by themselves unless told.
        if self.retryable == Some(false) {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}
