//! Claude models behind the Anthropic Messages API, and every server that speaks it.
//!
//! Source: <https://platform.claude.com/docs/en/api/messages>, API version 2023-06-01. What a model refuses changes from one to the next;
//! this component knows what their names tell (`rules`), and asks again without a part that the server refuses by name (`shape`).
//!
//! `options` reads the instance's section, `request` writes the body and `turns` the conversation in it, `answer` reads the stream,
//! `complete` is the way from one to the other, `thoughts` are how the model's thinking travels through the kernel and back, `models`
//! lists what there is.

mod answer;
mod complete;
mod models;
mod options;
mod request;
mod rules;
mod shape;
mod thoughts;
mod turns;

use carapace_provider_wire::{Failure, Guest, Kernel, Model, Request};

/// The component.
#[derive(Debug)]
pub struct Anthropic;

impl Guest for Anthropic {
    fn models() -> Result<Vec<Model>, Failure> {
        models::models(&Kernel)
    }
    fn complete(request: Request) -> Result<(), Failure> {
        complete::complete(&Kernel, &request)
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
carapace_provider_wire::bindings::export_provider!(Anthropic with_types_in carapace_provider_wire::bindings);
