//! The gateway on a real socket, in front of an assistant that follows a script.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod client;
mod edge;
mod openai;
mod responses;
mod support;
mod ws_chat;
mod ws_edge;
