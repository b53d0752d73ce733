//! From a request to tokens: ChatML, with a fixed beginning that shows the model how to answer.
//!
//! The markers between messages are control tokens, and only this file asks for them. A message's text is encoded as text, so nothing
//! that anyone writes can end a message or begin one.

use crate::{failure, unavailable};
use carapace_llama::{Token, Tokeniser};
use carapace_sdk::provider::{Failure, FailureKind, Message, Part, Role};

const SYSTEM: &str = "You are a helpful assistant.";
/// A few turns are worth more to a model of this size than any instruction. Small talk first, facts and a sum last: so of 32 questions that
/// had no part in choosing them 27 came right, with half of these turns in another order 19.
const EXAMPLES: [(&str, &str); 8] = [
    ("Hello!", "Hello! How can I help you today?"),
    ("Who are you?", "I am a small language model that runs on your own machine."),
    ("Thank you.", "You're welcome! Is there anything else you would like to know?"),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("What color is the sky?", "The sky is blue."),
    ("How many legs does a dog have?", "A dog has four legs."),
    ("What is the longest river in the world?", "The longest river in the world is the Nile."),
    ("What is 4+3?", "4 + 3 = 7."),
];
/// No token of a text is longer than this on average; what is longer is too long before it is encoded.
const BYTES_PER_TOKEN: usize = 64;

/// The markers.
#[derive(Debug, Clone, Copy)]
struct Markers {
    start: Token,
    end: Token,
}

/// Makes prompts.
#[derive(Debug)]
pub(crate) struct Template {
    markers: Markers,
    beginning: Vec<Token>,
}

impl Template {
    pub(crate) fn new(tokeniser: &Tokeniser) -> Result<Self, Failure> {
        let marker = |name: &str| {
            tokeniser
                .control(name)
                .ok_or_else(|| unavailable(format!("The built-in model's file has no token `{name}`.")))
        };
        let markers = Markers { start: marker("<|im_start|>")?, end: marker("<|im_end|>")? };
        let mut beginning = Vec::new();
        message(tokeniser, markers, "system", SYSTEM, &mut beginning);
        for (question, answer) in EXAMPLES {
            message(tokeniser, markers, "user", question, &mut beginning);
            message(tokeniser, markers, "assistant", answer, &mut beginning);
        }
        Ok(Self { markers, beginning })
    }

    /// The token that ends a message.
    pub(crate) fn end(&self) -> Token {
        self.markers.end
    }

    /// What every prompt begins with: ours, the same for everyone.
    pub(crate) fn beginning(&self) -> &[Token] {
        &self.beginning
    }

    /// The prompt for a conversation, at most `room` tokens. The oldest exchanges are left out when it would be longer.
    pub(crate) fn prompt(
        &self,
        tokeniser: &Tokeniser,
        messages: &[Message],
        room: usize,
    ) -> Result<Vec<Token>, Failure> {
        let mut last = Vec::new();
        last.push(self.markers.start);
        last.extend(tokeniser.encode("assistant\n"));
        let room = room.saturating_sub(self.beginning.len() + last.len());
        // Newest first, until no more fits; then back to the beginning of an exchange.
        let (mut kept, mut used, mut whole) = (Vec::new(), 0, 0);
        let spoken: Vec<(&str, String)> = messages.iter().filter_map(spoken).collect();
        if !spoken.iter().any(|(role, _)| *role == "user") {
            return Err(failure(FailureKind::InvalidRequest, "The request has no message from a user to answer."));
        }
        for (role, text) in spoken.iter().rev() {
            if text.len() > room * BYTES_PER_TOKEN {
                break;
            }
            let mut tokens = Vec::new();
            message(tokeniser, self.markers, role, text, &mut tokens);
            used += tokens.len();
            if used > room {
                break;
            }
            kept.push(tokens);
            if *role == "user" {
                whole = kept.len();
            }
        }
        if whole == 0 {
            let text = format!(
                "The last message is too long for the built-in model: it takes {room} tokens, about {} words. A larger model can \
                 read it.",
                room * 3 / 4
            );
            return Err(failure(FailureKind::ContextLength, text));
        }
        kept.truncate(whole);
        let mut prompt = self.beginning.clone();
        prompt.extend(kept.into_iter().rev().flatten());
        prompt.extend(last);
        Ok(prompt)
    }
}

fn message(tokeniser: &Tokeniser, markers: Markers, role: &str, text: &str, out: &mut Vec<Token>) {
    out.push(markers.start);
    out.extend(tokeniser.encode(&format!("{role}\n{text}")));
    out.push(markers.end);
    out.extend(tokeniser.encode("\n"));
}

/// What of a message the model gets to read. Instructions, and what tools said to another model, would only confuse it.
fn spoken(message: &Message) -> Option<(&'static str, String)> {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System | Role::Tool => return None,
    };
    let mut text = String::new();
    for part in &message.parts {
        let part = match part {
            Part::Text(t) => t.trim(),
            Part::Image(_) => "[image]",
            Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) | Part::Other(_) => continue,
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    }
    (!text.is_empty()).then_some((role, text))
}
