//! Where chat platforms reach the channels: a port of its own, so that a tunnel to it exposes neither the API nor the page.
//!
//! Nothing here tells a stranger what is installed: an unknown address, a channel that is off and a method that is not taken answer alike,
//! without a body. Whether a request is authentic is for [`Webhooks`] to say, before any component sees it.

use crate::listen::{Listening, accept};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use axum::routing::any;
use carapace_contract::Denial;
use carapace_contract::channel::{HttpAnswer, WebhookRequest};
use carapace_contract::ports::Webhooks;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once.
const CONNECTIONS: usize = 256;
/// Time to send a request's head, and its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's body.
const BODY: usize = 1 << 20;
/// Headers of a request that a component may see, and the bytes of all of them.
const HEADERS: usize = 64;

/// The webhook port. Dropping it stops it at once.
#[derive(Debug)]
pub struct WebhookServer {
    /// Where it listens.
    pub addr: SocketAddr,
    by: Listening,
}

impl WebhookServer {
    /// Binds and serves.
    ///
    /// # Errors
    /// `E-GATE-001` a bind that is not loopback, `E-GATE-012` the address is taken or not ours.
    pub async fn start(bind: IpAddr, port: u16, webhooks: Arc<dyn Webhooks>) -> Result<Self, Denial> {
        let wanted = SocketAddr::new(bind, port);
        if !bind.is_loopback() {
            return Err(Denial::new(
                "E-GATE-001",
                format!(
                    "webhooks are not taken on {wanted}: that address is reachable from other machines, and it speaks no TLS"
                ),
                "webhooks: { bind: \"127.0.0.1\" } in carapace.json5; a tunnel or a reverse proxy in front of it brings requests from outside",
            ));
        }
        let failed = |e: std::io::Error| {
            Denial::new(
                "E-GATE-012",
                format!("webhooks cannot be taken on {wanted}: {e}"),
                "stop the other program, or set webhooks: { port: 18791 } in carapace.json5",
            )
        };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let by = Listening {
            connections: CONNECTIONS,
            head_timeout: PATIENCE,
            stopping: CancellationToken::new(),
            dead: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        let router = Router::new()
            .route("/channels/{component}/{webhook}", any(of_main))
            .route("/channels/{component}/{instance}/{webhook}", any(of_instance))
            .fallback(|| async { StatusCode::NOT_FOUND })
            .with_state(webhooks);
        tokio::spawn(accept(listener, router, by.clone()));
        tracing::info!(%addr, "webhooks are taken");
        Ok(Self { addr, by })
    }

    /// Accepts nothing more and lets requests finish within `grace`.
    pub async fn shutdown(self, grace: Duration) {
        self.by.shutdown(grace).await;
    }
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.by.stopping.cancel();
        self.by.dead.cancel();
    }
}

type To = State<Arc<dyn Webhooks>>;

async fn of_main(
    State(to): To,
    Path((component, webhook)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    handle(&*to, &component, "main", webhook, request).await
}

async fn of_instance(
    State(to): To,
    Path((component, instance, webhook)): Path<(String, String, String)>,
    request: Request<Body>,
) -> Response {
    handle(&*to, &component, &instance, webhook, request).await
}

async fn handle(
    to: &dyn Webhooks,
    component: &str,
    instance: &str,
    webhook: String,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    if head.headers.len() > HEADERS {
        return plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        // What is no text cannot be signed text either.
        let Ok(value) = value.to_str() else { return plain(StatusCode::BAD_REQUEST) };
        headers.push((name.as_str().to_owned(), value.to_owned()));
    }
    let body: Bytes = match tokio::time::timeout(PATIENCE, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT),
    };
    let request = WebhookRequest {
        webhook,
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
    };
    answer(to.webhook(component, instance, request).await)
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A component's answer, with what is no header left out; the framing is ours.
fn answer(a: HttpAnswer) -> Response {
    let status = StatusCode::from_u16(a.status).ok().filter(|s| s.as_u16() >= 200);
    let mut response = plain(status.unwrap_or(StatusCode::BAD_GATEWAY));
    for (name, value) in a.headers {
        let framing = ["content-length", "transfer-encoding", "connection", "upgrade", "trailer", "te"];
        if framing.iter().any(|f| name.eq_ignore_ascii_case(f)) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    *response.body_mut() = Body::from(a.body);
    response
}
