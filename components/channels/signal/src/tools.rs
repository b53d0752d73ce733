//! What the assistant can do in a conversation besides answering. In the one that it is called in, no tool needs to be told which that is; in
//! another one, it is the kernel that decides whether it may.

use crate::{Signal, account, api, number};
use carapace_sdk::http;
use carapace_sdk::prelude::{Context, ToolError, ToolSet, Tools};
use serde_json::{Value, json};

const REACT: &str = "Puts an emoji on a message in this Signal conversation, in place of the one you have there.";
const REACT_SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false, "required": ["emoji"], "properties": {
    "emoji": { "type": "string", "minLength": 1, "description": "one emoji, such as 👍" },
    "message": { "type": ["string", "null"], "description": "its id: when it was written (ms), a colon, and who wrote it; without it: the present message" },
    "conversation": { "type": ["string", "null"], "description": "another conversation: a person's number or id, or group.…; only when the owner asks" } } }"#;
/// Bytes of an emoji, with all that may be joined to it.
const LONGEST: usize = 64;

impl Tools for Signal {
    fn tools(set: &mut ToolSet) {
        set.add_with_schema("signal_react", REACT, REACT_SCHEMA, react);
    }
}

fn argument<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty())
}

/// `POST /v1/reactions/{number}`: <https://bbernhard.github.io/signal-cli-rest-api/#/Reactions>
fn react(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = context.place_or(argument(&arguments, "conversation"));
    let place =
        place.ok_or_else(|| ToolError::invalid("this is no Signal conversation; name one by `conversation`"))?;
    let emoji = argument(&arguments, "emoji").filter(|e| !e.is_ascii() && e.len() <= LONGEST);
    let emoji = emoji.ok_or_else(|| ToolError::invalid("`emoji` is one emoji itself, such as 👍"))?;
    let number = number().map_err(|f| ToolError::Failed(f.message))?;
    let known = place.message.as_deref().or(place.last_sent.as_deref());
    let message = argument(&arguments, "message")
        .or(known)
        .ok_or_else(|| ToolError::invalid("no message is known here that could be meant; name it by `message`"))?;
    // What was sent is known by its time alone.
    let (at, author) = message.split_once(':').unwrap_or((message, number.as_str()));
    let at: u64 = at.parse().map_err(|_| {
        ToolError::invalid(format!("`{message}` is no message's id, such as 1700000000000:+4915112345678"))
    })?;
    let body =
        json!({ "reaction": emoji, "recipient": place.conversation.id, "target_author": author, "timestamp": at });
    match api::call(http::post("actions", format!("/v1/reactions/{}", account(&number))).json(&body)) {
        Ok(_) => Ok(message.to_owned()),
        Err(f) if f.retryable => Err(ToolError::Unavailable(f.message)),
        Err(f) => Err(ToolError::Failed(f.message)),
    }
}
