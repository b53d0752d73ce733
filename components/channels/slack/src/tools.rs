//! What the assistant can do in a conversation besides answering. In the one that it is called in, no tool needs to be told which that is; in
//! another one, it is the kernel that decides whether it may.

use crate::{Slack, addressed, api, blocks, people, posted, rich};
use carapace_sdk::prelude::*;
use carapace_sdk::tools::Place;
use serde_json::{Value, json};

macro_rules! schema {
    ($required:literal, $($own:literal),+) => {
        concat!(
            r#"{ "type": "object", "additionalProperties": false, "required": ["#, $required, r#"], "properties": { "#, $($own, ", ",)+
            r#""channel": { "type": ["string", "null"], "description": "another conversation, such as C0123; only when the owner asks" } } }"#
        )
    };
}

const BLOCKS: &str = "Sends a message of Block Kit blocks (header, section, divider, context, image, rich_text) into this Slack conversation. \
                      For plain answers, just answer.";
const BLOCKS_SCHEMA: &str = schema!(
    r#""blocks""#,
    r#""blocks": { "type": "array", "minItems": 1, "maxItems": 50, "items": { "type": "object" }, "description": "as Slack's Block Kit has them; nothing that calls people, no buttons" }"#
);
const EPHEMERAL: &str = "Shows something in this Slack channel to one person alone, until they look away.";
const EPHEMERAL_SCHEMA: &str = schema!(
    r#""text""#,
    r#""text": { "type": "string", "minLength": 1, "description": "in Markdown; at most 4000 characters" }"#,
    r#""user": { "type": ["string", "null"], "description": "whose id, such as U0123; without it: whoever wrote the present message" }"#
);
const REACT: &str = "Puts an emoji under a message in this Slack conversation.";
const REACT_SCHEMA: &str = schema!(
    r#""emoji""#,
    r#""emoji": { "type": "string", "minLength": 1, "description": "its name in Slack, such as thumbsup" }"#,
    r#""timestamp": { "type": ["string", "null"], "description": "of the message, such as 1700000000.000123; without it: the present message" }"#
);
const UPDATE: &str = "Changes a message that you sent in this Slack conversation.";
const UPDATE_SCHEMA: &str = schema!(
    r#""text""#,
    r#""text": { "type": "string", "minLength": 1, "description": "what it says from now on, in Markdown; at most 4000 characters" }"#,
    r#""timestamp": { "type": ["string", "null"], "description": "of the message, such as 1700000000.000123; without it: the last one you sent here" }"#
);
const DELETE: &str = "Deletes a message that you sent in this Slack conversation.";
const DELETE_SCHEMA: &str = schema!(
    "",
    r#""timestamp": { "type": ["string", "null"], "description": "of the message, such as 1700000000.000123; without it: the last one you sent here" }"#
);

impl Tools for Slack {
    fn tools(set: &mut ToolSet) {
        set.add_with_schema("slack_send_blocks", BLOCKS, BLOCKS_SCHEMA, send_blocks)
            .add_with_schema("slack_send_ephemeral", EPHEMERAL, EPHEMERAL_SCHEMA, send_ephemeral)
            .add_with_schema("slack_add_reaction", REACT, REACT_SCHEMA, react)
            .add_with_schema("slack_update_message", UPDATE, UPDATE_SCHEMA, update)
            .add_with_schema("slack_delete_message", DELETE, DELETE_SCHEMA, delete);
    }
}

fn argument<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty())
}

/// The conversation that is meant, and what is known of it.
fn place(arguments: &Value, context: &Context) -> Result<Place, ToolError> {
    let place = context.place_or(argument(arguments, "channel"));
    place.ok_or_else(|| ToolError::invalid("this is no Slack conversation; name one by `channel`"))
}

/// The message that is meant: the one that was named, else the one that stands to reason.
fn message(arguments: &Value, known: Option<&String>) -> Result<String, ToolError> {
    let named = argument(arguments, "timestamp").map(str::to_owned);
    let ts = named
        .or_else(|| known.cloned())
        .ok_or_else(|| ToolError::invalid("no message is known here that could be meant; name it by `timestamp`"))?;
    if !ts.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(ToolError::invalid(format!("`{ts}` is no message's timestamp, such as 1700000000.000123")));
    }
    Ok(ts)
}

/// A text in one message: what a person reads, and its blocks.
fn said(arguments: &Value) -> Result<(String, Value), ToolError> {
    let text = argument(arguments, "text").unwrap_or_default();
    let mut parts = rich::render(&carapace_chat_text::parse(text));
    parts
        .pop()
        .filter(|(plain, _)| parts.is_empty() && !plain.trim().is_empty())
        .ok_or_else(|| ToolError::invalid(format!("`text` says nothing, or is longer than {} characters", rich::LIMIT)))
}

/// Calls a method; the value of a field of its answer.
fn call(method: &str, body: &Value, field: &str) -> Result<String, ToolError> {
    let answer: Value = api::call(api::json("actions", method, body), "bot-token")
        .map_err(|f| if f.retryable { ToolError::Unavailable(f.message) } else { ToolError::Failed(f.message) })?;
    Ok(answer.get(field).and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn send_blocks(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let (blocks, text) = blocks::checked(arguments.get("blocks").unwrap_or(&Value::Null))?;
    call("/chat.postMessage", &posted(&place.conversation, &text, blocks), "ts")
}

/// <https://docs.slack.dev/reference/methods/chat.postEphemeral/>
fn send_ephemeral(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let (text, blocks) = said(&arguments)?;
    let wrote = || people::who_wrote(&place.conversation.id, place.message.as_deref()?);
    let user = argument(&arguments, "user").map(str::to_owned).or_else(wrote).ok_or_else(|| {
        ToolError::invalid("it is not known who wrote here; name the person by `user`, whose id begins with U")
    })?;
    let mut body = addressed(&place.conversation, &text, blocks);
    body.insert("user".to_owned(), user.into());
    call("/chat.postEphemeral", &body.into(), "message_ts")
}

/// <https://docs.slack.dev/reference/methods/reactions.add/>
fn react(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let ts = message(&arguments, place.message.as_ref().or(place.last_sent.as_ref()))?;
    let name = argument(&arguments, "emoji").unwrap_or_default().trim_matches(':');
    // `thumbsup::skin-tone-2` is one, too.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-:'".contains(&b)) {
        return Err(ToolError::invalid(format!("`{name}` is no emoji's name in Slack; use one such as thumbsup")));
    }
    let body = json!({ "channel": place.conversation.id, "timestamp": ts, "name": name.to_ascii_lowercase() });
    match call("/reactions.add", &body, "") {
        // As it was wanted.
        Err(e) if e.text().contains("already_reacted") => Ok(ts),
        done => done.map(|_| ts),
    }
}

/// <https://docs.slack.dev/reference/methods/chat.update/>
fn update(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let ts = message(&arguments, place.last_sent.as_ref())?;
    let (text, blocks) = said(&arguments)?;
    let body = json!({ "channel": place.conversation.id, "ts": ts, "text": rich::escaped(&text), "blocks": blocks });
    call("/chat.update", &body, "ts")
}

/// <https://docs.slack.dev/reference/methods/chat.delete/>
fn delete(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let ts = message(&arguments, place.last_sent.as_ref())?;
    call("/chat.delete", &json!({ "channel": place.conversation.id, "ts": ts }), "ts")
}
