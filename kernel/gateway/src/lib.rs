//! What clients connect to: WebSocket, HTTP, the OpenAI-compatible API, health, metrics and the page.
//!
//! The gateway owns the listening socket and nothing else: every turn goes through the [`Assistant`] port and every
//! fact about the kernel comes from [`Status`]. It listens on loopback only, knows one owner token as a digest, and
//! never holds a provider's secret. Start from [`Gateway::start`] and [`GatewayOptions`].
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use carapace_contract::ports::{Assistant, Status};
//! use carapace_gateway::{Gateway, GatewayOptions};
//! # async fn run(assistant: Arc<dyn Assistant>, status: Arc<dyn Status>) -> Result<(), carapace_contract::Denial> {
//! let options = GatewayOptions::new("the-owner's-token".into(), "0.1.0", assistant, status);
//! let gateway = Gateway::start(options).await?;
//! println!("listening on http://{}", gateway.addr);
//! gateway.shutdown("stopping", std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
#![allow(clippy::disallowed_methods, reason = "this room owns the listeners")]

mod auth;
mod http;
mod listen;
mod metrics;
mod options;
mod problem;
mod run;
mod server;
mod state;
mod throttle;
mod webhooks;
mod ws;

pub use crate::metrics::install as install_metrics;
pub use crate::options::{GatewayLimits, GatewayOptions, PageInfo};
pub use crate::server::{Gateway, RunningGateway, can_listen};
pub use crate::webhooks::WebhookServer;
pub use carapace_contract::ports::{Assistant, Status};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use secrecy::SecretString;

/// What `fuzz/` reaches; no part of the interface.
#[doc(hidden)]
pub mod fuzzing {
    /// Parses a request frame as a socket does: its id, method and parameters, or what is wrong with it.
    ///
    /// # Errors
    /// It is not a request frame.
    pub fn frame(text: &str) -> Result<(String, String, serde_json::Value), String> {
        let depth = crate::GatewayLimits::default().body_depth;
        crate::ws::frame::Request::parse(text, depth).map(|r| (r.id, r.method, r.params))
    }
}
