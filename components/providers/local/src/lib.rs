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
use carapace_provider_wire::bindings::carapace::plugin::{assets, completion, config, random};
use carapace_provider_wire::{Error, Failure, FailureKind, Guest, Model, Request};
use std::cell::RefCell;
use std::sync::Arc;

/// The model's only name.
pub const MODEL: &str = "smollm2-135m-instruct";
const ASSET: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The component.
#[derive(Debug)]
pub struct Local;

impl Guest for Local {
    fn models() -> Result<Vec<Model>, Failure> {
        Ok(vec![chat::describe(&Options::read(&config::get())?)])
    }

    fn complete(request: Request) -> Result<(), Failure> {
        thread_local! {
            static CHAT: RefCell<Option<Chat>> = const { RefCell::new(None) };
        }
        let options = Options::read(&config::get())?;
        // Nobody asked for these choices to be repeatable, so they are not.
        let luck = random::bytes(8).ok().and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        CHAT.with_borrow_mut(|kept| {
            let chat = match kept {
                Some(chat) => chat,
                None => kept.insert(load()?),
            };
            chat.answer(&request, &options, luck, &mut |event| completion::emit(&event))
        })
    }
}

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
        assets::read(ASSET, offset, u32::try_from(max).unwrap_or(u32::MAX)).map_err(|e| words(&e))
    }
}

fn missing(error: &Error) -> Failure {
    match error {
        Error::NotFound(_) => unavailable(
            "The built-in model's weights (98 MB) are not on this machine. In a checkout, `cargo xtask weights` puts them beside the \
             bundle for the next start; elsewhere `carapace assets add FILE` takes the file. Or use another model: `carapace setup`.",
        ),
        other => unavailable(format!("The built-in model's weights cannot be read: {}", words(other))),
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::Denied(t) | Error::Limit(t) | Error::NotFound(t) | Error::Invalid(t) => t.clone(),
        Error::Unavailable(t) | Error::Timeout(t) | Error::Other(t) => t.clone(),
        Error::Cancelled => "cancelled".to_owned(),
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
    failure(FailureKind::Unavailable, message)
}

pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retryable: false, retry_after_ms: None }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
carapace_provider_wire::bindings::export_provider!(Local with_types_in carapace_provider_wire::bindings);
