//! Turns with fakes for models and tools, and a real store.
#![allow(missing_docs, unreachable_pub, reason = "tests are named as sentences; nothing here is seen from outside")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected should stop there"
)]

mod checkpoint;
mod crash;
mod models;
mod stopping;
mod threads;
mod tools;
mod turns;
mod world;
