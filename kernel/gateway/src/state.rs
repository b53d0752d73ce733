//! What all connections share.

use crate::auth::Auth;
use crate::http::page::Page;
use crate::options::GatewayLimits;
use crate::ws::hub::Hub;
use crate::ws::runs::Runs;
use carapace_contract::ports::{Assistant, Control, Lines, Status};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by every request.
pub(crate) struct Shared {
    pub(crate) assistant: Arc<dyn Assistant>,
    pub(crate) status: Arc<dyn Status>,
    pub(crate) control: Option<Arc<dyn Control>>,
    pub(crate) lines: Option<Arc<dyn Lines>>,
    pub(crate) version: String,
    pub(crate) started: Instant,
    pub(crate) started_ms: u64,
    pub(crate) auth: Auth,
    pub(crate) limits: GatewayLimits,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) page: Page,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) hub: Hub,
    pub(crate) runs: Arc<Runs>,
    /// Nothing new is accepted.
    pub(crate) stopping: CancellationToken,
    /// The grace is over.
    pub(crate) dead: CancellationToken,
    pub(crate) tracker: TaskTracker,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
