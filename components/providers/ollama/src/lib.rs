//! Models that Ollama serves, over its own API, which knows more than the OpenAI-compatible one: context length, thinking, what a model can do.
//!
//! Source: <https://docs.ollama.com/api>.
//!
//! `options` reads the instance's section, `request` writes the body, `answer` reads the stream, `complete` is the way from one to the
//! other, `models` lists what is installed.

mod answer;
mod complete;
mod models;
mod options;
mod request;

use carapace_provider_wire::{Failure, Guest, Kernel, Model, Request};

/// The component.
#[derive(Debug)]
pub struct Ollama;

impl Guest for Ollama {
    fn models() -> Result<Vec<Model>, Failure> {
        models::models(&Kernel)
    }
    fn complete(request: Request) -> Result<(), Failure> {
        complete::complete(&Kernel, &request)
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
carapace_provider_wire::bindings::export_provider!(Ollama with_types_in carapace_provider_wire::bindings);
