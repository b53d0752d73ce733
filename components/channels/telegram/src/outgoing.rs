//! Messages out: <https://core.telegram.org/bots/api#sendmessage>, with entities instead of markup; files as
//! <https://core.telegram.org/bots/api#sending-files> says.

use crate::api;
use carapace_chat_text::{Style, Text, Unit, parse, split, split_by};
use carapace_sdk::channel::{Content, Conversation, Failure, File, Outgoing, Part, Receipt};
use carapace_sdk::http::{self, Form};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// UTF-16 units of one message.
pub(crate) const LIMIT: usize = 4_096;
/// UTF-16 units under a photo or a document.
pub(crate) const CAPTION: usize = 1_024;
/// Bytes of a file that is sent: Telegram takes 50 MB, the kernel keeps 20 MiB.
pub(crate) const FILE: u64 = 20 << 20;
/// Bytes of what is shown as a photo.
const PHOTO: u64 = 10 << 20;
/// Entities of one message; Telegram ignores what is more.
const ENTITIES: usize = 100;

/// One message, as it waits to be sent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Rendered {
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entities: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<File>,
}

impl Rendered {
    fn part(self) -> Part {
        Part::json(self.file.as_ref().map_or_else(|| self.text.clone(), File::in_words), &self)
    }

    /// The message that it answers. That may be gone by then; the answer is said all the same.
    fn reply(&self) -> Option<Value> {
        let to: i64 = self.reply_to.as_ref()?.parse().ok()?;
        Some(json!({ "message_id": to, "allow_sending_without_reply": true }))
    }
}

/// The text first, then the files, so that the text can take the place of its draft.
pub(crate) fn render(content: Content) -> Vec<Part> {
    // So many styles fill a message as so many words.
    let length = |text: &Text| text.spans.len() * LIMIT / ENTITIES;
    let texts = if content.text.trim().is_empty() {
        Vec::new()
    } else {
        split_by(&parse(&content.text), LIMIT, Unit::Utf16, length)
    };
    let text = |text: Text| Rendered { entities: entities(&text), text: text.plain, ..Rendered::default() };
    let file = |file: File| Rendered { file: Some(file), ..Rendered::default() };
    let mut all: Vec<Rendered> = texts.into_iter().map(text).chain(content.files.into_iter().map(file)).collect();
    // Only the first part answers; the others follow it.
    if let Some(first) = all.first_mut() {
        first.reply_to = content.reply_to;
    }
    all.into_iter().map(Rendered::part).collect()
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

#[derive(Deserialize)]
struct Sent {
    message_id: i64,
}

pub(crate) fn send(outgoing: &Outgoing) -> Result<Receipt, Failure> {
    let rendered: Rendered = outgoing.json()?;
    let sent: Sent = match &rendered.file {
        Some(file) => send_file(outgoing, &rendered, file)?,
        None => {
            let mut body = place(&outgoing.conversation);
            if let Some(reply) = rendered.reply() {
                body.insert("reply_parameters".to_owned(), reply);
            }
            text_into(&mut body, rendered);
            api::call(http::post("api", "/sendMessage").json(&body))?
        }
    };
    Ok(Receipt::new(sent.message_id.to_string()))
}

fn text_into(body: &mut Map<String, Value>, rendered: Rendered) {
    body.insert("text".to_owned(), rendered.text.into());
    if !rendered.entities.is_empty() {
        body.insert("entities".to_owned(), rendered.entities.into());
    }
    body.insert("link_preview_options".to_owned(), json!({ "is_disabled": true }));
}

/// As a photo where it can be one, and else as a document.
fn send_file(outgoing: &Outgoing, rendered: &Rendered, file: &File) -> Result<Sent, Failure> {
    let form = |field: &str| {
        let mut form = Form::new();
        for (name, value) in place(&outgoing.conversation) {
            form = form.text(&name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Some(reply) = rendered.reply() {
            form = form.text("reply_parameters", reply.to_string());
        }
        form.file(field, &file.blob, &file.name, &file.mime)
    };
    let is_photo = matches!(file.mime.as_str(), "image/jpeg" | "image/png" | "image/webp") && file.size <= PHOTO;
    if is_photo {
        match api::call(http::post("api", "/sendPhoto").form(form("photo"))) {
            // Too long, too narrow, no image after all.
            Err(f) if !f.retryable && !f.uncertain => {}
            other => return other,
        }
    }
    api::call(http::post("api", "/sendDocument").form(form("document")))
}

/// <https://core.telegram.org/bots/api#editmessagetext>
pub(crate) fn edit(outgoing: &Outgoing, id: &str) -> Result<(), Failure> {
    let rendered: Rendered = outgoing.json()?;
    if rendered.file.is_some() {
        return Err(Failure::last("a text does not become a file"));
    }
    let id: i64 = id.parse().map_err(|_| Failure::last("this is no message's number"))?;
    let mut body = Map::new();
    // A message is found by its chat; its topic does not matter.
    body.insert("chat_id".to_owned(), place(&outgoing.conversation).remove("chat_id").unwrap_or_default());
    body.insert("message_id".to_owned(), id.into());
    text_into(&mut body, rendered);
    match api::call::<Value>(http::post("api", "/editMessageText").json(&body)) {
        Err(f) if f.message.contains("message is not modified") => Ok(()),
        other => other.map(|_| ()),
    }
}
