//! What every provider component needs between the contract and an HTTP API.
//!
//! [`bindings`] are the contract's types for the world `model-provider`; [`Door`] is the kernel as a provider sees it, so that a
//! provider's logic runs in host tests against a fake one; [`sse`] and [`ndjson`] read streams, [`calls`] assembles tool calls from
//! fragments, [`failure`] turns HTTP statuses and vendors' error objects into the contract's failures, [`section`] reads an instance's
//! configuration.

pub mod calls;
pub mod door;
pub mod failure;
pub mod json;
pub mod ndjson;
pub mod section;
pub mod sse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Generated from `wit/`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "model-provider",
        pub_export_macro: true,
        export_macro_name: "export_provider",
        default_bindings_module: "carapace_provider_wire::bindings",
        additional_derives: [PartialEq, Clone],
        generate_all,
    });
}

pub use bindings::carapace::plugin::completion::{Event, StopReason, ToolCall, Usage};
pub use bindings::carapace::plugin::types::{Error, Image};
pub use bindings::exports::carapace::plugin::provider::{
    Failure, FailureKind, Guest, Message, Model, Part, Request, Role, ToolChoice, ToolResult, ToolSpec,
};
pub use door::{Door, Kernel, Reply};
