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

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug, Default)]
pub struct Ollama;

impl Provider for Ollama {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        models::models()
    }
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        complete::complete(&request, out)
    }
}

carapace_sdk::component!(Ollama: Provider);
