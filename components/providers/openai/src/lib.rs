//! Chat models behind the OpenAI chat-completions API: OpenAI itself, and every server that speaks it.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat>. Servers differ in what they leave out and what they add; this
//! component is strict in what it sends and lenient in what it takes, and never guesses where a stream broke off.
//!
//! `options` reads the instance's section, `request` writes the body, `answer` reads the stream, `complete` is the way
//! from one to the other with its fall-backs, `models` lists what a server offers.

mod answer;
mod complete;
mod models;
mod options;
mod request;

use carapace_provider_wire::{Failure, Guest, Kernel, Model, Request};

/// The component.
#[derive(Debug)]
pub struct OpenAi;

impl Guest for OpenAi {
    fn models() -> Result<Vec<Model>, Failure> {
        models::models(&Kernel)
    }
    fn complete(request: Request) -> Result<(), Failure> {
        complete::complete(&Kernel, &request)
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
carapace_provider_wire::bindings::export_provider!(OpenAi with_types_in carapace_provider_wire::bindings);
