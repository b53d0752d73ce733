//! A host with real stores, a real door and components made from text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may be blunt, also in their helpers"
)]

#[path = "../../../runtime/tests/fixtures/mod.rs"]
mod fixtures;

mod assets;
mod eviction;
mod grants;
mod models;
mod owners;
mod route;
mod secrets;
mod swap;
mod world;
