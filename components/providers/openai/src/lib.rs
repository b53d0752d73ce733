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

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug, Default)]
pub struct OpenAi;

impl Provider for OpenAi {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        models::models()
    }
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        complete::complete(&request, out)
    }
}

carapace_sdk::component!(OpenAi: Provider);
