//! Messages out: <https://core.telegram.org/bots/api#sendmessage>, with entities instead of markup.

use crate::api;
use carapace_chat_text::{Style, Text, Unit, parse, split, split_by};
use carapace_sdk::channel::{Content, Conversation, Failure, Outgoing, Part, Receipt};
use carapace_sdk::http;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// UTF-16 units of one message.
pub(crate) const LIMIT: usize = 4_096;
/// UTF-16 units under a photo or a document.
pub(crate) const CAPTION: usize = 1_024;
/// Entities of one message; Telegram ignores what is more.
const ENTITIES: usize = 100;

pub(crate) fn render(content: &Content) -> Vec<Part> {
    // So many styles fill a message as so many words.
    let length = |text: &Text| text.spans.len() * LIMIT / ENTITIES;
    let parts = split_by(&parse(&content.text), LIMIT, Unit::Utf16, length);
    let one = |(n, text): (usize, Text)| {
        let mut data = json!({ "text": text.plain, "entities": entities(&text) });
        // Only the first part answers; the others follow it.
        if let (0, Some(to), Value::Object(data)) = (n, &content.reply_to, &mut data) {
            data.insert("reply_to".to_owned(), to.as_str().into());
        }
        Part { text: text.plain, data: data.to_string().into_bytes() }
    };
    parts.into_iter().enumerate().map(one).collect()
}

/// A text that has to fit into one message, and its entities; none if it does not.
pub(crate) fn whole(content: &Content, most: usize) -> Option<(String, Vec<Value>)> {
    let mut parts = split(&parse(&content.text), most, Unit::Utf16);
    let text = parts.pop().filter(|t| parts.is_empty() && !t.plain.trim().is_empty())?;
    let entities = entities(&text);
    Some((text.plain, entities))
}

/// <https://core.telegram.org/bots/api#messageentity>
fn entities(text: &Text) -> Vec<Value> {
    let units = |to: usize| Unit::Utf16.len(text.plain.get(..to).unwrap_or_default());
    let entity = |s: &carapace_chat_text::Span| {
        let (start, end) = (units(s.range.start), units(s.range.end));
        let mut entity = json!({ "offset": start, "length": end - start });
        let (kind, more) = match &s.style {
            Style::Bold => ("bold", None),
            Style::Italic => ("italic", None),
            Style::Strike => ("strikethrough", None),
            Style::Code => ("code", None),
            Style::Quote => ("blockquote", None),
            Style::Block(language) => ("pre", language.as_ref().map(|l| ("language", l))),
            // What is no web address would make Telegram refuse the message.
            Style::Link(url) if url.starts_with("https://") || url.starts_with("http://") => {
                ("text_link", Some(("url", url)))
            }
            Style::Link(_) => return None,
        };
        if let Value::Object(map) = &mut entity {
            map.insert("type".to_owned(), kind.into());
            if let Some((key, value)) = more {
                map.insert(key.to_owned(), value.as_str().into());
            }
        }
        Some(entity)
    };
    text.spans.iter().filter_map(entity).take(ENTITIES).collect()
}

/// Where a message goes.
pub(crate) fn place(conversation: &Conversation) -> Map<String, Value> {
    let mut place = Map::new();
    let number = |id: &str| id.parse::<i64>().map_or_else(|_| Value::from(id), Value::from);
    place.insert("chat_id".to_owned(), number(&conversation.id));
    if let Some(thread) = &conversation.thread {
        place.insert("message_thread_id".to_owned(), number(thread));
    }
    place
}

pub(crate) fn send(outgoing: &Outgoing) -> Result<Receipt, Failure> {
    #[derive(Deserialize)]
    struct Rendered {
        text: String,
        entities: Vec<Value>,
        reply_to: Option<String>,
    }
    #[derive(Deserialize)]
    struct Sent {
        message_id: i64,
    }
    let rendered: Rendered = serde_json::from_slice(&outgoing.part.data).map_err(|e| Failure::last(e.to_string()))?;
    let mut body = place(&outgoing.conversation);
    body.insert("text".to_owned(), rendered.text.into());
    if !rendered.entities.is_empty() {
        body.insert("entities".to_owned(), rendered.entities.into());
    }
    if let Some(to) = rendered.reply_to.and_then(|r| r.parse::<i64>().ok()) {
        // The message may be gone by then; the answer is said all the same.
        body.insert("reply_parameters".to_owned(), json!({ "message_id": to, "allow_sending_without_reply": true }));
    }
    body.insert("link_preview_options".to_owned(), json!({ "is_disabled": true }));
    let sent: Sent = api::call(http::post("api", "/sendMessage").json(&body))?;
    Ok(Receipt::new(sent.message_id.to_string()))
}
