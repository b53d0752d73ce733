//! The runtime against components that mean harm, and against ones that do not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may be blunt, also in their helpers"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod aot;
mod calls;
mod limits;
mod links;
mod support;
mod versions;
