//! What a gateway is started with.

use carapace_contract::ports::{Assistant, Control, Lines, Status};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Everything [`crate::Gateway::start`] needs.
pub struct GatewayOptions {
    /// Address to listen on. Only loopback addresses start.
    pub bind: IpAddr,
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// The owner's token, at least 16 characters.
    pub token: SecretString,
    /// The kernel's version, as clients see it.
    pub version: String,
    /// Runs turns.
    pub assistant: Arc<dyn Assistant>,
    /// Tells what runs.
    pub status: Arc<dyn Status>,
    /// Carries out what the owner asks (`POST /api/control`); none = nothing can be asked.
    pub control: Option<Arc<dyn Control>>,
    /// Where programs attach that talk line by line (`GET /api/lines/…`); none = nowhere.
    pub lines: Option<Arc<dyn Lines>>,
    /// Where `/metrics` reads; none = the recorder that [`crate::install_metrics`] installs.
    pub metrics: Option<PrometheusHandle>,
    /// Limits.
    pub limits: GatewayLimits,
    /// Words on the page.
    pub page: PageInfo,
    /// Browser origins that may connect besides the gateway's own (`https://host[:port]`).
    pub allowed_origins: Vec<String>,
}

impl GatewayOptions {
    /// `127.0.0.1:18789` and default limits.
    pub fn new(
        token: SecretString,
        version: impl Into<String>,
        assistant: Arc<dyn Assistant>,
        status: Arc<dyn Status>,
    ) -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 18_789,
            token,
            version: version.into(),
            assistant,
            status,
            control: None,
            lines: None,
            metrics: None,
            limits: GatewayLimits::default(),
            page: PageInfo::default(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Words on the page at `/`.
#[derive(Debug, Clone)]
pub struct PageInfo {
    /// Its heading.
    pub title: String,
    /// How the owner gets at the token: a command, never the token.
    pub token_hint: String,
}

impl Default for PageInfo {
    fn default() -> Self {
        Self { title: "Carapace".into(), token_hint: "cat \"$CARAPACE_STATE_DIR/gateway.token\"".into() }
    }
}

/// Every limit of the edges in one place.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// TCP connections at once.
    pub connections: usize,
    /// Time to send a request's head.
    pub head_timeout: Duration,
    /// Time to send a request's body.
    pub body_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Nesting of a request's JSON.
    pub body_depth: usize,
    /// A silent event stream gets a comment after this time.
    pub keep_alive: Duration,
    /// Wrong tokens an address may send at once before it has to wait.
    pub auth_burst: u32,
    /// Wrong tokens per minute an address may send in the long run.
    pub auth_per_minute: u32,
    /// WebSocket connections at once.
    pub ws_connections: usize,
    /// WebSocket connections at once of one address.
    pub ws_connections_per_address: usize,
    /// Time to send `connect`.
    pub ws_handshake: Duration,
    /// Bytes of an inbound frame.
    pub ws_frame_bytes: usize,
    /// Bytes of an inbound frame before `connect` was accepted.
    pub ws_preauth_frame_bytes: usize,
    /// Nesting of an inbound frame's JSON.
    pub ws_depth: usize,
    /// Frames waiting for a slow client.
    pub ws_queue_frames: usize,
    /// Bytes waiting for a slow client.
    pub ws_queue_bytes: usize,
    /// Requests of one connection in flight.
    pub ws_in_flight: usize,
    /// Messages per second of one connection.
    pub ws_messages_per_second: u32,
    /// Messages of one connection at once.
    pub ws_message_burst: u32,
    /// Between two `tick` events.
    pub ws_tick: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_bytes: 4 << 20,
            body_depth: 64,
            keep_alive: Duration::from_secs(15),
            auth_burst: 10,
            auth_per_minute: 30,
            ws_connections: 1_024,
            ws_connections_per_address: 64,
            ws_handshake: Duration::from_secs(15),
            ws_frame_bytes: 512 << 10,
            ws_preauth_frame_bytes: 64 << 10,
            ws_depth: 32,
            ws_queue_frames: 8_192,
            ws_queue_bytes: 4 << 20,
            ws_in_flight: 32,
            ws_messages_per_second: 60,
            ws_message_burst: 120,
            ws_tick: Duration::from_secs(30),
        }
    }
}
