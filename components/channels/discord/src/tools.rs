//! What the assistant can do in a channel besides answering. In the one that it is called in, no tool needs to be told which that is; in
//! another one, it is the kernel that decides whether it may.

use crate::{Discord, api, embed};
use carapace_chat_text::{discord, parse};
use carapace_sdk::channel::{ConversationKind, Failure};
use carapace_sdk::http;
use carapace_sdk::prelude::{Context, ToolError, ToolSet, Tools};
use carapace_sdk::tools::Place;
use serde_json::{Value, json};

macro_rules! schema {
    ($required:literal, $($own:literal),+) => {
        concat!(
            r#"{ "type": "object", "additionalProperties": false, "required": ["#, $required, r#"], "properties": { "#, $($own, ", ",)+
            r#""channel_id": { "type": ["string", "null"], "description": "another channel or thread; only when the owner asks" } } }"#
        )
    };
}

const REACT: &str = "Puts an emoji under a message in this Discord channel.";
const REACT_SCHEMA: &str = schema!(
    r#""emoji""#,
    r#""emoji": { "type": "string", "minLength": 1, "description": "the emoji itself, such as 👍, or name:id for one of the server's own" }"#,
    r#""message_id": { "type": ["string", "null"], "description": "without it: the present message" }"#
);
const EMBED: &str =
    "Sends an embed (a card with title, text and fields) into this Discord channel. For plain answers, just answer.";
const EMBED_SCHEMA: &str = schema!(
    "",
    r#""title": { "type": ["string", "null"], "description": "at most 256 characters" }"#,
    r#""description": { "type": ["string", "null"], "description": "in Markdown; at most 4096 characters" }"#,
    r#""url": { "type": ["string", "null"], "description": "a web address that the title leads to" }"#,
    r#""color": { "type": ["string", "null"], "description": "of its edge, as #RRGGBB" }"#,
    r#""fields": { "type": ["array", "null"], "maxItems": 25, "items": { "type": "object", "additionalProperties": false, "required": ["name", "value"], "properties": { "name": { "type": "string", "description": "at most 256 characters" }, "value": { "type": "string", "description": "in Markdown; at most 1024 characters" }, "inline": { "type": ["boolean", "null"], "description": "beside the others" } } } }"#,
    r#""footer": { "type": ["string", "null"], "description": "at most 2048 characters" }"#
);
const THREAD: &str = "Begins a thread at a message in this Discord channel.";
const THREAD_SCHEMA: &str = schema!(
    r#""name""#,
    r#""name": { "type": "string", "minLength": 1, "maxLength": 100, "description": "what it is called" }"#,
    r#""message_id": { "type": ["string", "null"], "description": "without it: the present message" }"#,
    r#""auto_archive_minutes": { "enum": [60, 1440, 4320, 10080, null], "description": "of silence, until it is put away; without it: 1440" }"#
);
const EDIT: &str = "Changes a message that you sent in this Discord channel.";
const EDIT_SCHEMA: &str = schema!(
    r#""content""#,
    r#""content": { "type": "string", "minLength": 1, "description": "what it says from now on, in Markdown; at most 2000 characters" }"#,
    r#""message_id": { "type": ["string", "null"], "description": "without it: the last message you sent here" }"#
);
const DELETE: &str = "Deletes a message in this Discord channel.";
const DELETE_SCHEMA: &str = schema!(
    "",
    r#""message_id": { "type": ["string", "null"], "description": "without it: the last message you sent here" }"#
);

impl Tools for Discord {
    fn tools(set: &mut ToolSet) {
        set.add_with_schema("discord_add_reaction", REACT, REACT_SCHEMA, react)
            .add_with_schema("discord_send_embed", EMBED, EMBED_SCHEMA, send_embed)
            .add_with_schema("discord_create_thread", THREAD, THREAD_SCHEMA, create_thread)
            .add_with_schema("discord_edit_message", EDIT, EDIT_SCHEMA, edit)
            .add_with_schema("discord_delete_message", DELETE, DELETE_SCHEMA, delete);
    }
}

fn argument<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty())
}

/// The id that an argument names. It becomes part of a path.
fn id<'a>(arguments: &'a Value, name: &str) -> Result<Option<&'a str>, ToolError> {
    let id = argument(arguments, name);
    match id.filter(|id| !id.bytes().all(|b| b.is_ascii_digit())) {
        Some(id) => Err(ToolError::invalid(format!("`{name}` is a number such as 175928847299117063, and not `{id}`"))),
        None => Ok(id),
    }
}

/// The channel that is meant, and what is known of it.
fn place(arguments: &Value, context: &Context) -> Result<Place, ToolError> {
    let place = context.place_or(id(arguments, "channel_id")?);
    place.ok_or_else(|| ToolError::invalid("this is no Discord channel; name one by `channel_id`"))
}

/// The path of the message that is meant: the one that was named, else the one that stands to reason; and its id.
fn message(arguments: &Value, place: &Place, known: Option<&String>) -> Result<(String, String), ToolError> {
    let id = id(arguments, "message_id")?
        .or(known.map(String::as_str))
        .ok_or_else(|| ToolError::invalid("no message is known here that could be meant; name it by `message_id`"))?;
    Ok((format!("/channels/{}/messages/{id}", crate::place(&place.conversation)), id.to_owned()))
}

fn call(request: http::Request) -> Result<Value, ToolError> {
    match api::done(request) {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap_or_default()),
        Err(Failure { retryable: true, message, .. }) => Err(ToolError::Unavailable(message)),
        Err(f) => Err(ToolError::Failed(f.message)),
    }
}

/// The id of what was made.
fn made(answer: &Value) -> String {
    answer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An emoji as a part of a path: <https://docs.discord.com/developers/resources/message#create-reaction>.
fn emoji(written: &str) -> Result<String, ToolError> {
    // `<:name:id>` and `<a:name:id>` are how the server's own stand in a text.
    let own = written.strip_prefix('<').and_then(|w| w.strip_suffix('>')).unwrap_or(written);
    let own = own.strip_prefix("a:").unwrap_or(own).trim_start_matches(':');
    let named = own.split_once(':').is_some_and(|(name, id)| {
        let number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        number && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    if named {
        return Ok(http::segment(own));
    }
    if written.is_ascii() || written.len() > 64 {
        return Err(ToolError::invalid(format!(
            "`{written}` is no emoji; write the emoji itself, such as 👍, or name:id for one of the server's own"
        )));
    }
    Ok(http::segment(written))
}

fn react(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let (path, message) = message(&arguments, &place, place.message.as_ref().or(place.last_sent.as_ref()))?;
    let emoji = emoji(argument(&arguments, "emoji").unwrap_or_default())?;
    call(http::put("actions", format!("{path}/reactions/{emoji}/@me"))).map(|_| message)
}

fn send_embed(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let body = json!({ "embeds": [embed::of(&arguments)?], "allowed_mentions": { "parse": [] } });
    let request = http::post("actions", format!("/channels/{}/messages", crate::place(&place.conversation)));
    call(request.json(&body)).map(|sent| made(&sent))
}

/// <https://docs.discord.com/developers/resources/channel#start-thread-from-message>
fn create_thread(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    if place.conversation.kind == ConversationKind::Direct {
        return Err(ToolError::invalid(
            "there are no threads in direct messages; name a server's channel by `channel_id`",
        ));
    }
    if place.conversation.thread.is_some() {
        return Err(ToolError::invalid(
            "this is a thread already, and there are none within; name a channel by `channel_id`",
        ));
    }
    let (path, _) = message(&arguments, &place, place.message.as_ref().or(place.last_sent.as_ref()))?;
    let name = argument(&arguments, "name").filter(|n| n.chars().count() <= 100);
    let name = name.ok_or_else(|| ToolError::invalid("`name` has 1 to 100 characters"))?;
    let minutes = arguments.get("auto_archive_minutes").and_then(Value::as_u64).unwrap_or(1_440);
    let body = json!({ "name": name, "auto_archive_duration": minutes });
    call(http::post("actions", format!("{path}/threads")).json(&body)).map(|thread| made(&thread))
}

/// <https://docs.discord.com/developers/resources/message#edit-message>
fn edit(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let (path, message) = message(&arguments, &place, place.last_sent.as_ref())?;
    let mut parts = discord::messages(&parse(argument(&arguments, "content").unwrap_or_default()));
    let content = parts.pop().filter(|c| parts.is_empty() && !c.trim().is_empty()).ok_or_else(|| {
        ToolError::invalid(format!("`content` says nothing, or is longer than {} characters", discord::LIMIT))
    })?;
    let body = json!({ "content": content, "allowed_mentions": { "parse": [] } });
    call(http::patch("actions", path).json(&body)).map(|_| message)
}

/// <https://docs.discord.com/developers/resources/message#delete-message>
fn delete(arguments: Value, context: &Context) -> Result<String, ToolError> {
    let place = place(&arguments, context)?;
    let (path, message) = message(&arguments, &place, place.last_sent.as_ref())?;
    call(http::delete("actions", path)).map(|_| message)
}
