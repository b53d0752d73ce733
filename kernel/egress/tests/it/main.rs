//! The door against real servers on loopback. Public names are played by a resolver and a dialler of the test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests, outside of test functions"
)]
#![allow(clippy::disallowed_methods, reason = "the servers that the door talks to are started here")]

mod addresses;
mod audit;
mod bodies;
mod capture;
mod credentials;
mod failures;
mod local;
mod opened;
mod redirects;
mod sockets;
mod support;
