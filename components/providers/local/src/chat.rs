//! Answering.

use crate::options::Options;
use crate::prompt::Template;
use crate::{MODEL, failure, unavailable};
use carapace_llama::{Context, End, Model as Weights, ReadError, Sampling, Wish, generate};
use carapace_sdk::provider::{Completion, Failure, FailureKind, Model, Request, StopReason, ToolChoice, Usage};
use std::sync::Arc;

/// A loaded model, and the one conversation it may still hold.
#[derive(Debug)]
pub struct Chat {
    context: Context,
    template: Template,
    /// Tokens of the prompt that was answered last.
    answered: usize,
}

/// How the model is listed.
pub(crate) fn describe(options: &Options) -> Model {
    let count = |n: usize| u32::try_from(n).ok();
    Model {
        id: MODEL.to_owned(),
        name: "SmolLM2 135M (tiny built-in model; no tools, no images)".to_owned(),
        context: count(options.context),
        output: count(options.answer),
        tools: false,
        images: false,
        extra: Vec::new(),
    }
}

impl Chat {
    /// Ready for the first request.
    ///
    /// # Errors
    /// The file lacks the tokens that mark messages.
    pub fn new(weights: Arc<Weights>) -> Result<Self, Failure> {
        let template = Template::new(weights.tokeniser())?;
        // Each request brings its own bound.
        let context = Context::new(weights, usize::MAX);
        Ok(Self { context, template, answered: 0 })
    }

    /// Answers a request. `luck` is the seed when the request has none; text is pushed into `out` as it comes.
    ///
    /// # Errors
    /// What the model cannot do, what does not fit it, or the reader's cancelling.
    pub fn answer(
        &mut self,
        request: &Request,
        options: &Options,
        luck: u64,
        out: &mut Completion,
    ) -> Result<(), Failure> {
        refuse(request)?;
        let most = request.max_output.map_or(options.answer, |n| options.answer.min(n as usize)).max(1);
        let weights = Arc::clone(self.context.model());
        let prompt =
            self.template.prompt(weights.tokeniser(), &request.messages, options.context.saturating_sub(most))?;

        self.forget_unless_continued_by(&prompt);
        let kept = self.context.set(&prompt, &mut || true).map_err(|e| unread(&e))?;
        self.answered = prompt.len();
        let wish = Wish {
            sampling: Sampling {
                temperature: request.temperature.unwrap_or(0.0),
                top_k: 40,
                top_p: request.top_p.unwrap_or(0.95),
                repetition: 1.0,
                seed: request.seed.unwrap_or(luck),
            },
            most,
            stops: request.stop.clone(),
            ends: vec![self.template.end()],
        };
        let mut outcome = Ok(());
        let answer = generate(&mut self.context, wish, &mut |text| {
            outcome = out.text(text);
            outcome.is_ok()
        });
        outcome?;
        let answer = answer.map_err(|e| unread(&e))?;
        let usage = Usage {
            input: prompt.len() as u64,
            output: answer.tokens as u64,
            cached_input: kept as u64,
            reasoning: 0,
            extra: Vec::new(),
        };
        out.usage(usage)?;
        let reason = if answer.end == End::Length { StopReason::Length } else { StopReason::End };
        out.stop(reason)
    }

    /// Keys and values beyond the fixed beginning belong to one conversation. They serve a prompt that begins with all of the last one,
    /// and are gone before any other is read: what somebody said cannot be found out piece by piece, not even by the clock. (Who already
    /// has a whole conversation word for word can tell whether it was the last.)
    fn forget_unless_continued_by(&mut self, prompt: &[carapace_llama::Token]) {
        let held = self.context.tokens().get(..self.answered).unwrap_or_default();
        if !prompt.starts_with(held) {
            let common = self.template.beginning().len();
            self.context.truncate(common);
        }
    }
}

fn refuse(request: &Request) -> Result<(), Failure> {
    let invalid = |text: &str| Err(failure(FailureKind::InvalidRequest, text));
    if request.model != MODEL {
        let text = format!("There is no built-in model `{}`; there is `{MODEL}`.", request.model);
        return Err(failure(FailureKind::UnknownModel, text));
    }
    if request.json_schema.is_some() {
        return invalid("The built-in model is too small to follow a JSON schema.");
    }
    match request.tool_choice {
        // Tools that it may use, it does not use.
        ToolChoice::Auto | ToolChoice::None => Ok(()),
        ToolChoice::Required | ToolChoice::Named(_) => invalid("The built-in model is too small to call tools."),
    }
}

fn unread(error: &ReadError) -> Failure {
    match error {
        ReadError::Full { .. } => {
            failure(FailureKind::ContextLength, format!("The conversation is too long: {error}."))
        }
        other => unavailable(format!("The built-in model stopped: {other}.")),
    }
}
