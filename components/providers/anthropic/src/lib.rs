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

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug, Default)]
pub struct Anthropic;

impl Provider for Anthropic {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        models::models()
    }
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        complete::complete(&request, out)
    }
}

carapace_sdk::component!(Anthropic: Provider);
