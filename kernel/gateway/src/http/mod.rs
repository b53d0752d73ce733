//! HTTP: the routes, and what holds for every request.

pub(crate) mod body;
pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod openai;
pub(crate) mod page;

use crate::auth::{bearer, host_is_local, origin_is_ours};
use crate::http::error::ApiError;
use crate::state::{Peer, Shared};
use crate::ws::{self, lines};
use ::http::header::{self, HeaderName, HeaderValue};
use ::http::request::Parts;
use ::http::{Method, StatusCode};
use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use carapace_contract::Ulid;
use std::sync::Arc;
use std::time::Instant;

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/ws", get(ws::upgrade))
        .route("/health", get(health::live))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/api/status", get(health::status))
        .route("/api/control", post(control::control))
        .route("/api/lines/{component}", get(lines::of_main))
        .route("/api/lines/{component}/{instance}", get(lines::of))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/chat/completions", post(openai::chat::chat))
        .route("/v1/responses", post(openai::responses::create))
        .route("/v1/responses/{id}", get(openai::responses::one))
        .route("/v1/responses/{id}/cancel", post(openai::responses::cancel))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&shared), edge))
        .with_state(shared)
}

async fn not_found(request: Request) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("there is no {}", request.uri().path()))
        .code("unknown_url")
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request_error",
        format!("{} does not take {}", request.uri().path(), request.method()),
    )
    .code("method_not_allowed")
}

/// Holds for every request: the host is this machine, a browser's page is ours, the answer carries its headers, and
/// it is counted.
async fn edge(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = Ulid::generate().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::OPTIONS => request.method().to_string(),
        _ => "OTHER".to_owned(),
    };
    let mut response = match admit(&shared, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    let status = response.status().as_u16();
    tracing::debug!(%id, %route, %method, status, "http");
    ::metrics::histogram!("carapace_http_request_seconds", "route" => route.clone())
        .record(began.elapsed().as_secs_f64());
    ::metrics::counter!(
        "carapace_http_requests_total", "route" => route, "method" => method, "status" => status.to_string()
    )
    .increment(1);
    response
}

const SECURITY: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

fn admit(shared: &Shared, request: &Request) -> Result<(), ApiError> {
    if let Err(named) = host_is_local(request.uri(), request.headers()) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            format!("the gateway answers to localhost, 127.0.0.1 and [::1], not to {named:?}: use one of those names"),
        )
        .code("E-GATE-006"));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrades = request.headers().contains_key(header::UPGRADE);
    if (changes || upgrades)
        && let Err(origin) = origin_is_ours(request.headers(), &shared.allowed_origins)
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            format!("pages of {origin:?} may not use the gateway; to allow it: gateway: {{ allowedOrigins: [{origin:?}] }} in carapace.json5"),
        )
        .code("E-GATE-007"));
    }
    Ok(())
}

/// Proof that the request carried the owner's token.
pub(crate) struct Authed;

impl FromRequestParts<Arc<Shared>> for Authed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        shared
            .auth
            .check(peer(parts)?.0.ip(), bearer(&parts.headers), "http")
            .map(|()| Self)
            .map_err(|refused| ApiError::refused(refused, &shared.page.token_hint))
    }
}

/// The peer of the request's connection.
pub(crate) fn peer(parts: &Parts) -> Result<Peer, ApiError> {
    parts.extensions.get::<Peer>().copied().ok_or_else(|| ApiError::internal("the request has no peer address"))
}
