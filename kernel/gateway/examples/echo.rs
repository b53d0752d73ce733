//! A gateway in front of an assistant that repeats what it hears, to try clients against:
//! `cargo run -p carapace-gateway --example echo -- 18789`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "an example"
)]

#[path = "../tests/gateway/support.rs"]
mod support;

use carapace_gateway::{Gateway, GatewayOptions};
use std::sync::Arc;
use std::time::Duration;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(18_789);
    let fake = support::Fake::new();
    let mut options =
        GatewayOptions::new("echo-token-for-trying-out".into(), "0.0.0-echo", Arc::clone(&fake) as _, fake as _);
    options.port = port;
    let gateway = Gateway::start(options).await.expect("the gateway starts");
    println!("listening on http://{} with the token echo-token-for-trying-out", gateway.addr);
    tokio::signal::ctrl_c().await.expect("a signal handler");
    gateway.shutdown("interrupted", Duration::from_secs(3)).await;
}
