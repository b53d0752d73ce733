//! The built-in chat model: SmolLM2 with 135 million parameters, computed inside the component.
//!
//! It makes a first run answer without a key, a server or a network, and it is honest about what it is: greetings and simple facts in
//! English, no tools, no images, no long instructions. The weights are an asset of the package, pinned by digest.
//!
//! `prompt` turns a request into tokens, `chat` computes the answer, `options` reads the instance's section. The instance is kept
//! warm: weights, and the keys and values of the fixed beginning of every prompt, stay; of a conversation only what its own
//! continuation needs.

mod chat;
mod options;
mod prompt;

pub use chat::Chat;
pub use options::Options;

use carapace_llama::{Model as Weights, Source};
use carapace_sdk::prelude::*;
use carapace_sdk::{Error, assets};
use std::sync::Arc;

/// The model's only name.
pub const MODEL: &str = "smollm2-135m-instruct";
const ASSET: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The component.
#[derive(Debug, Default)]
pub struct Local {
    /// Loaded with the first request, and kept while the instance is warm.
    chat: Option<Chat>,
}

impl Provider for Local {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        Ok(vec![chat::describe(&Options::read(&config::text())?)])
    }

    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        let options = Options::read(&config::text())?;
        // Nobody asked for these choices to be repeatable, so they are not.
        let luck = random::bytes(8).ok().and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let chat = match &mut self.chat {
            Some(chat) => chat,
            none => none.insert(load()?),
        };
        chat.answer(&request, &options, luck, out)
    }
}

carapace_sdk::component!(Local: Provider);

fn load() -> Result<Chat, Failure> {
    let info = assets::describe(ASSET).map_err(|e| missing(&e))?;
    let weights = Weights::load(&mut Asset { size: info.size });
    let weights = weights.map_err(|e| unavailable(format!("The built-in model cannot be loaded: {e}")))?;
    Chat::new(Arc::new(weights))
}

/// The weights, read in ranges.
struct Asset {
    size: u64,
}

impl Source for Asset {
    fn size(&self) -> u64 {
        self.size
    }
    fn read(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, String> {
        assets::read(ASSET, offset, max).map_err(|e| e.to_string())
    }
}

fn missing(error: &Error) -> Failure {
    match error {
        Error::NotFound(_) => unavailable(
            "The built-in model's weights (98 MB) are not on this machine. In a checkout, `cargo xtask weights` puts them beside the \
             bundle for the next start; elsewhere `carapace assets add FILE` takes the file. Or use another model: `carapace setup`.",
        ),
        other => unavailable(format!("The built-in model's weights cannot be read: {other}")),
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
    failure(FailureKind::Unavailable, message)
}

/// None of them is worth the same request again: nothing here passes by itself.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retryable: false, retry_after_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[carapace_sdk::test]
    fn it_is_listed_as_what_it_is(host: &mut TestHost) {
        let listed = host.config(json!({ "answer-tokens": 100 })).models().unwrap();
        let [model] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((model.id.as_str(), model.tools, model.images), (MODEL, false, false));
        assert_eq!((model.context, model.output), (Some(2048), Some(100)));
    }

    #[carapace_sdk::test]
    fn without_its_weights_it_says_how_to_bring_them(host: &mut TestHost) {
        let question = || Request::new(MODEL, vec![Message::user("Hello!")]);
        let missing = host.complete(question()).unwrap_err();
        assert_eq!((missing.kind, missing.retryable), (FailureKind::Unavailable, false));
        assert!(missing.message.contains("`cargo xtask weights`"), "{}", missing.message);
        let garbled = host.asset(ASSET, "no weights").complete(question()).unwrap_err();
        assert!(garbled.message.starts_with("The built-in model cannot be loaded"), "{}", garbled.message);
        let refused = host.refuse("assets").complete(question()).unwrap_err();
        assert!(
            refused.message.contains("cannot be read") && refused.message.contains("granted"),
            "{}",
            refused.message
        );
    }
}
