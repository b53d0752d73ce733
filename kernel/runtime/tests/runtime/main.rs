//! The runtime against components that mean harm, and against ones that do not.

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod aot;
mod calls;
mod limits;
mod links;
mod support;
