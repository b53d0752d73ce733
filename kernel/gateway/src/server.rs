//! The listening socket, its connections, and how all of it ends.

use crate::auth::Auth;
use crate::http;
use crate::http::page::Page;
use crate::listen::{Listening, accept};
use crate::options::GatewayOptions;
use crate::state::{Shared, now_ms};
use crate::ws::hub::{self, Hub};
use crate::ws::runs::Runs;
use carapace_contract::Denial;
use secrecy::ExposeSecret as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The shortest token that starts.
const TOKEN_CHARS: usize = 16;

/// Starts gateways.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that listens. Dropping it stops it at once.
pub struct RunningGateway {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Gateway {
    /// Binds and serves until [`RunningGateway::shutdown`].
    ///
    /// # Errors
    /// `E-GATE-001` a bind that is not loopback, `E-GATE-002` the address is taken or not ours, `E-GATE-003` a token
    /// that is too short, `E-GATE-005` no metrics recorder.
    pub async fn start(options: GatewayOptions) -> Result<RunningGateway, Denial> {
        let wanted = SocketAddr::new(options.bind, options.port);
        if !options.bind.is_loopback() {
            return Err(Denial::new(
                "E-GATE-001",
                format!(
                    "the gateway does not listen on {wanted}: that address is reachable from other machines, and it speaks no TLS"
                ),
                "gateway: { bind: \"127.0.0.1\" } in carapace.json5; to reach it from elsewhere, `ssh -L 18789:127.0.0.1:18789 HOST`",
            ));
        }
        let token = options.token.expose_secret();
        if token.chars().count() < TOKEN_CHARS {
            return Err(Denial::new(
                "E-GATE-003",
                format!("the gateway's token has fewer than {TOKEN_CHARS} characters"),
                "delete `gateway.token` in the state directory: the next start makes a new one",
            ));
        }
        let auth = Auth::new(token, &options.limits);
        let metrics = options.metrics.map_or_else(crate::metrics::install, Ok)?;
        let listener = TcpListener::bind(wanted).await.map_err(|e| bind_failed(wanted, &e))?;
        let addr = listener.local_addr().map_err(|e| bind_failed(wanted, &e))?;

        let shared = Arc::new(Shared {
            page: Page::new(&options.page, &options.version, addr),
            assistant: options.assistant,
            status: options.status,
            control: options.control,
            lines: options.lines,
            version: options.version,
            started: Instant::now(),
            started_ms: now_ms(),
            auth,
            hub: Hub::default(),
            runs: Arc::new(Runs::default()),
            limits: options.limits,
            allowed_origins: options.allowed_origins,
            metrics,
            stopping: CancellationToken::new(),
            dead: CancellationToken::new(),
            tracker: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        // Subscribed before the first client can submit anything.
        let events = shared.assistant.events();
        tokio::spawn(hub::pump(Arc::clone(&shared), events));
        tokio::spawn(upkeep(Arc::clone(&shared)));
        tokio::spawn(accept(listener, http::router(Arc::clone(&shared)), listening(&shared)));
        tracing::info!(%addr, "gateway listening");
        Ok(RunningGateway { addr, shared })
    }
}

/// Whether a gateway could listen there now. Binds, and lets go again.
///
/// # Errors
/// `E-GATE-002`, as [`Gateway::start`] would say it.
pub async fn can_listen(bind: IpAddr, port: u16) -> Result<(), Denial> {
    let wanted = SocketAddr::new(bind, port);
    TcpListener::bind(wanted).await.map(drop).map_err(|e| bind_failed(wanted, &e))
}

fn bind_failed(wanted: SocketAddr, e: &std::io::Error) -> Denial {
    let fix = match e.kind() {
        std::io::ErrorKind::AddrInUse => "stop the other program, or set gateway: { port: 18790 } in carapace.json5",
        std::io::ErrorKind::PermissionDenied => "set gateway: { port: 18789 } (1024 or above) in carapace.json5",
        _ => "set gateway: { bind: \"127.0.0.1\", port: 18789 } in carapace.json5",
    };
    Denial::new("E-GATE-002", format!("the gateway cannot listen on {wanted}: {e}"), fix)
}

impl RunningGateway {
    /// Accepts nothing more, tells WebSocket clients why, lets requests finish within `grace`, then ends the rest.
    pub async fn shutdown(self, reason: &str, grace: Duration) {
        let by = listening(&self.shared);
        by.stopping.cancel();
        self.shared.hub.announce_shutdown(reason);
        by.shutdown(grace).await;
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.dead.cancel();
    }
}

fn listening(shared: &Shared) -> Listening {
    Listening {
        connections: shared.limits.connections,
        head_timeout: shared.limits.head_timeout,
        stopping: shared.stopping.clone(),
        dead: shared.dead.clone(),
        tracker: shared.tracker.clone(),
    }
}

async fn upkeep(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = every.tick() => shared.metrics.run_upkeep(),
            () = shared.dead.cancelled() => return,
        }
    }
}
