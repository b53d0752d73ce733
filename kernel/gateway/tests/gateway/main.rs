//! The gateway on a real socket, in front of an assistant that follows a script.
#![allow(unreachable_pub, missing_docs, clippy::disallowed_methods, reason = "tests")]

mod client;
mod edge;
mod openai;
mod support;
mod ws_chat;
mod ws_edge;
