//! What the assistant can do in a chat besides answering. In the chat that it is called in, no tool needs to be told which one that is; in
//! another one, it is the kernel that decides whether it may.

use crate::{Telegram, api, outgoing};
use carapace_sdk::channel::{Content, Conversation, Failure};
use carapace_sdk::prelude::*;
use carapace_sdk::tools::Place;
use carapace_sdk::{http, schemars};
use serde_json::{Map, Value, json};

const EDIT: &str = "Changes the text of a message that you sent in this Telegram chat.";
const DELETE: &str = "Deletes a message in this Telegram chat.";
const PIN: &str = "Pins a message in this Telegram chat, or takes a pin away.";
const BUTTONS: &str = "Puts buttons under a message that you sent in this Telegram chat, in place of those it has. Whoever presses one sends you its data.";
const PHOTO: &str = "Sends a photo into this Telegram chat.";

impl Tools for Telegram {
    fn tools(set: &mut ToolSet) {
        set.add("telegram_edit_message", EDIT, edit)
            .add("telegram_delete_message", DELETE, delete)
            .add("telegram_pin_message", PIN, pin)
            .add("telegram_reply_markup", BUTTONS, buttons)
            .add("telegram_send_photo", PHOTO, photo);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// what it says from now on, in Markdown; at most 4096 characters
    #[schemars(length(min = 1))]
    text: String,
    /// without it: the last message you sent here
    message_id: Option<i64>,
    /// another chat; only when the owner asks
    chat_id: Option<i64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// without it: the last message you sent here
    message_id: Option<i64>,
    /// another chat; only when the owner asks
    chat_id: Option<i64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pin {
    /// without it: the message that the present one answers, or else the last one you sent here
    message_id: Option<i64>,
    /// take the pin away
    #[serde(default)]
    unpin: bool,
    /// tell everybody about it
    #[serde(default)]
    notify: bool,
    /// another chat; only when the owner asks
    chat_id: Option<i64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Buttons {
    /// rows of buttons; no row takes the buttons away
    #[schemars(length(max = 20))]
    rows: Vec<Vec<Button>>,
    /// without it: the last message you sent here
    message_id: Option<i64>,
    /// another chat; only when the owner asks
    chat_id: Option<i64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Button {
    /// what stands on it
    #[schemars(length(min = 1, max = 64))]
    text: String,
    /// what you are sent when it is pressed, at most 64 bytes; without it, its text
    data: Option<String>,
    /// a web address that it opens instead
    url: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Photo {
    /// its address on the web; Telegram fetches it
    url: String,
    /// what stands under it, in Markdown; at most 1024 characters
    caption: Option<String>,
    /// another chat; only when the owner asks
    chat_id: Option<i64>,
}

/// The chat that is meant, and what is known of it.
fn chat(context: &Context, named: Option<i64>) -> Result<Place, ToolError> {
    let place = context.place_or(named.map(|id| id.to_string()).as_deref());
    place.ok_or_else(|| ToolError::invalid("this is no Telegram chat; name one by `chat_id`"))
}

fn number(id: Option<&String>) -> Option<i64> {
    id.and_then(|id| id.parse().ok())
}

/// The message that is meant: the one that was named, else the last one that was sent here.
fn message(named: Option<i64>, place: &Place) -> Result<i64, ToolError> {
    named
        .or_else(|| number(place.last_sent.as_ref()))
        .ok_or_else(|| ToolError::invalid("nothing is known to have been sent here; name the message by `message_id`"))
}

/// The chat and a message in it, as the Bot API wants them.
fn at(chat: &Conversation, message: i64) -> Map<String, Value> {
    let mut body = outgoing::place(chat);
    // A message's id says which topic it is in.
    body.remove("message_thread_id");
    body.insert("message_id".to_owned(), message.into());
    body
}

fn call(method: &str, body: &Map<String, Value>) -> Result<Value, ToolError> {
    api::call(http::post("actions", method).json(body)).map_err(|f: Failure| {
        if f.retryable { ToolError::Unavailable(f.message) } else { ToolError::Failed(f.message) }
    })
}

/// A text in one message, with its entities.
fn styled(text: &str, most: usize, name: &str) -> Result<(String, Vec<Value>), ToolError> {
    let content = Content { text: text.to_owned(), reply_to: None, files: Vec::new(), extra: Vec::new() };
    outgoing::whole(&content, most)
        .ok_or_else(|| ToolError::invalid(format!("`{name}` says nothing, or is longer than {most} characters")))
}

fn edit(Edit { text, message_id, chat_id }: Edit, context: &Context) -> Result<String, ToolError> {
    let place = chat(context, chat_id)?;
    let message = message(message_id, &place)?;
    let (text, entities) = styled(&text, outgoing::LIMIT, "text")?;
    let mut body = at(&place.conversation, message);
    body.insert("text".to_owned(), text.into());
    body.insert("entities".to_owned(), entities.into());
    body.insert("link_preview_options".to_owned(), json!({ "is_disabled": true }));
    call("/editMessageText", &body).map(|_| message.to_string())
}

fn delete(Delete { message_id, chat_id }: Delete, context: &Context) -> Result<String, ToolError> {
    let place = chat(context, chat_id)?;
    let message = message(message_id, &place)?;
    call("/deleteMessage", &at(&place.conversation, message)).map(|_| message.to_string())
}

fn pin(Pin { message_id, unpin, notify, chat_id }: Pin, context: &Context) -> Result<String, ToolError> {
    let place = chat(context, chat_id)?;
    let message = message(message_id.or_else(|| number(place.reply_to.as_ref())), &place)?;
    let mut body = at(&place.conversation, message);
    if unpin {
        return call("/unpinChatMessage", &body).map(|_| message.to_string());
    }
    body.insert("disable_notification".to_owned(), (!notify).into());
    call("/pinChatMessage", &body).map(|_| message.to_string())
}

fn buttons(Buttons { rows, message_id, chat_id }: Buttons, context: &Context) -> Result<String, ToolError> {
    let place = chat(context, chat_id)?;
    let message = message(message_id, &place)?;
    let button = |b: Button| -> Result<Value, ToolError> {
        if let Some(url) = b.url {
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                return Err(ToolError::invalid(format!("`{url}` is no web address")));
            }
            return Ok(json!({ "text": b.text, "url": url }));
        }
        let data = b.data.unwrap_or_else(|| b.text.clone());
        if !(1..=64).contains(&data.len()) {
            return Err(ToolError::invalid(format!(
                "a button's data has 1 to 64 bytes, that of `{}` has {}",
                b.text,
                data.len()
            )));
        }
        Ok(json!({ "text": b.text, "callback_data": data }))
    };
    let row = |row: Vec<Button>| row.into_iter().map(button).collect::<Result<Vec<_>, _>>();
    let rows = rows.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let mut body = at(&place.conversation, message);
    body.insert("reply_markup".to_owned(), json!({ "inline_keyboard": rows }));
    call("/editMessageReplyMarkup", &body).map(|_| message.to_string())
}

fn photo(Photo { url, caption, chat_id }: Photo, context: &Context) -> Result<String, ToolError> {
    let place = chat(context, chat_id)?;
    // Anything else would be the id of a file that somebody sent.
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(ToolError::invalid("`url` is no web address"));
    }
    let mut body = outgoing::place(&place.conversation);
    body.insert("photo".to_owned(), url.into());
    if let Some(caption) = caption.filter(|c| !c.trim().is_empty()) {
        let (caption, entities) = styled(&caption, outgoing::CAPTION, "caption")?;
        body.insert("caption".to_owned(), caption.into());
        body.insert("caption_entities".to_owned(), entities.into());
    }
    let sent = call("/sendPhoto", &body)?;
    Ok(sent.get("message_id").map(ToString::to_string).unwrap_or_default())
}
