//! Estimates. Providers count differently; a third too many is better than one too few.

use carapace_contract::completion::{ToolSpec, Usage};
use carapace_contract::message::{Message, Part};

/// What a message costs beside its parts.
const PER_MESSAGE: usize = 8;
/// An image, whatever its size.
const IMAGE: usize = 1_200;
/// The longest note the kernel adds.
pub(crate) const NOTE: usize = 48;

/// Characters by 3.5; scripts with several bytes per character cost about a token per character.
pub(crate) fn of_text(text: &str) -> usize {
    let chars = text.chars().count();
    let by_chars = (chars * 2).div_ceil(7);
    by_chars.max(text.len().div_ceil(4))
}

/// One message.
pub(crate) fn of_message(message: &Message) -> usize {
    PER_MESSAGE + message.parts.iter().map(of_part).sum::<usize>()
}

fn of_part(part: &Part) -> usize {
    match part {
        Part::Text { text } | Part::Reasoning { text } => of_text(text),
        Part::Image { .. } => IMAGE,
        Part::Media(media) => {
            if media.is_showable() {
                IMAGE
            } else {
                PER_MESSAGE
            }
        }
        Part::ToolCall(call) => PER_MESSAGE + of_text(&call.name) + of_text(&call.arguments),
        Part::ToolResult(result) => PER_MESSAGE + of_text(&result.content),
        Part::Other { value, .. } => of_text(value),
    }
}

/// The tools on offer.
pub(crate) fn of_tools(tools: &[ToolSpec]) -> usize {
    tools
        .iter()
        .map(|t| PER_MESSAGE + of_text(&t.name) + of_text(&t.description) + of_text(&t.parameters.to_string()))
        .sum()
}

/// What a completion used: what the provider said, or an estimate where it said nothing, so that a cap cannot be slept past.
pub(crate) fn used(reported: Option<Usage>, prompt: usize, said: &[Part]) -> Usage {
    reported.unwrap_or_else(|| Usage {
        input: prompt as u64,
        output: said.iter().map(of_part).sum::<usize>() as u64,
        ..Usage::default()
    })
}

/// Tokens there are for messages: the owner's budget, and the model's own length where it is known.
pub(crate) fn room(budget: u32, model_context: Option<u32>, max_output: u32, tools: &[ToolSpec]) -> usize {
    let length = model_context.map_or(budget, |c| c.saturating_sub(max_output.min(c / 2)).min(budget));
    (length as usize).saturating_sub(of_tools(tools))
}
