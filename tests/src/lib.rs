//! End to end: the real binary, real components, real peers.
//!
//! [`Kernel`] is a running `carapace` with a state directory of its own; [`peers`] are servers and clients that nobody here wrote.
//! A peer that cannot be had skips its test with a note, except with `CI=true`, where it fails.

#![allow(clippy::disallowed_methods, reason = "test harness: starts processes, reads and writes files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test harness")]

pub mod author;
pub mod cable;
pub mod chat;
pub mod components;
pub mod crowd;
pub mod discord;
pub mod foreign;
pub mod gadget;
pub mod keeper;
pub mod kernel;
pub mod mirror;
pub mod model;
pub mod moods;
pub mod obedient;
pub mod owner;
pub mod peers;
pub mod registries;
pub mod server;
pub mod signal;
pub mod slack;
pub mod socket;
pub mod turns;

pub use kernel::{Kernel, KernelOptions, binary, bundle};

/// A peer, or the end of the test: skipped with a note, or failed with `CI=true`.
#[macro_export]
macro_rules! peer {
    ($name:literal, $peer:expr) => {
        match $peer {
            Ok(peer) => peer,
            Err(why) => return $crate::peers::skip($name, &why),
        }
    };
}
