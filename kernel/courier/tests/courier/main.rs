//! The courier between a platform made of data and an assistant made of data, over a real store. Time moves only when everything is idle.
#![allow(clippy::disallowed_methods, reason = "a test owns its files")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may be blunt"
)]

mod anything;
mod control;
mod drafts;
mod faults;
mod gateway;
mod ingress;
mod lines;
mod outbox;
mod parrot;
mod platform;
mod policy;
mod sim;
mod sockets;
mod turns;
mod webhooks;
mod world;
