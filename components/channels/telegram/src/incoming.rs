//! Updates: <https://core.telegram.org/bots/api#update>.

use crate::State;
use crate::api::Account;
use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Failure, Message as Said, Outcome, Sender};
use carapace_sdk::{http, log};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Update {
    update_id: i64,
    message: Option<Message>,
    edited_message: Option<Message>,
    channel_post: Option<Message>,
    callback_query: Option<Callback>,
}

#[derive(Deserialize)]
struct Callback {
    id: String,
    from: Account,
    message: Option<Message>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    message_id: i64,
    message_thread_id: Option<i64>,
    #[serde(default)]
    is_topic_message: bool,
    from: Option<Account>,
    sender_chat: Option<Chat>,
    chat: Chat,
    date: u64,
    text: Option<String>,
    caption: Option<String>,
    #[serde(default)]
    entities: Vec<Entity>,
    #[serde(default)]
    caption_entities: Vec<Entity>,
    reply_to_message: Option<Box<Self>>,
    #[serde(default)]
    photo: Vec<File>,
    document: Option<File>,
    audio: Option<File>,
    voice: Option<File>,
    video: Option<File>,
    animation: Option<File>,
    sticker: Option<File>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
    r#type: String,
    title: Option<String>,
}

#[derive(Deserialize)]
struct Entity {
    r#type: String,
    /// UTF-16 units.
    offset: usize,
    length: usize,
    user: Option<Account>,
}

#[derive(Deserialize)]
struct File {
    file_id: String,
    file_name: Option<String>,
    mime_type: Option<String>,
    file_size: Option<u64>,
}

#[derive(Deserialize)]
struct Location {
    latitude: f64,
    longitude: f64,
}

/// One update: what came in, and the offset past it.
pub(crate) fn update(state: State, data: &[u8]) -> Result<Outcome<State>, Failure> {
    let update: Update = match serde_json::from_slice(data) {
        Ok(update) => update,
        Err(e) => return Err(Failure::last(format!("an update that cannot be read: {e}"))),
    };
    let me = state.me.clone();
    let outcome = state.past(update.update_id).go_on();
    if let Some(edited) = update.edited_message {
        let key = format!("edit:{}", update.update_id);
        return Ok(outcome.edited(said(edited, &me, key)));
    }
    if let Some(callback) = update.callback_query {
        // Until it is answered, the button shows that it is working.
        let done = http::post("api", "/answerCallbackQuery").json(&json!({ "callback_query_id": callback.id }));
        let outcome = outcome.request(done);
        let (Some(message), Some(data)) = (callback.message, callback.data) else { return Ok(outcome) };
        let mut pressed = said(message, &me, format!("button:{}", callback.id));
        pressed.sender = sender(callback.from, &me);
        pressed.text = data;
        pressed.mentions_me = true;
        pressed.attachments.clear();
        return Ok(outcome.message(pressed));
    }
    match update.message.or(update.channel_post) {
        Some(message) => {
            let key = format!("{}:{}", message.chat.id, message.message_id);
            Ok(outcome.message(said(message, &me, key)))
        }
        None => {
            log::debug("an update of a kind that is not asked for");
            Ok(outcome)
        }
    }
}

fn sender(from: Account, me: &Account) -> Sender {
    let name = match from.last_name {
        Some(last) => format!("{} {last}", from.first_name),
        None => from.first_name,
    };
    Sender { is_me: from.id == me.id, is_bot: from.is_bot, id: from.id.to_string(), name }
}

fn said(m: Message, me: &Account, key: String) -> Said {
    let kind = match m.chat.r#type.as_str() {
        "private" => ConversationKind::Direct,
        "channel" => ConversationKind::Broadcast,
        _ => ConversationKind::Group,
    };
    let conversation = Conversation {
        id: m.chat.id.to_string(),
        kind,
        // In a group without topics, the thread is only the message that is answered.
        thread: m.message_thread_id.filter(|_| m.is_topic_message).map(|t| t.to_string()),
        title: m.chat.title,
    };
    let from = match (m.from, m.sender_chat) {
        (Some(from), _) => sender(from, me),
        // An anonymous administrator, or a channel: nobody who could be asked who they are.
        (None, Some(chat)) => {
            Sender { id: String::new(), name: chat.title.unwrap_or_default(), is_bot: false, is_me: false }
        }
        (None, None) => Sender { id: String::new(), name: String::new(), is_bot: false, is_me: false },
    };
    let (text, entities) = match m.text {
        Some(text) => (text, m.entities),
        None => (m.caption.unwrap_or_default(), m.caption_entities),
    };
    let answers_me = m.reply_to_message.as_ref().and_then(|r| r.from.as_ref()).is_some_and(|f| f.id == me.id);
    let mut attachments: Vec<Attachment> = Vec::new();
    // The last photo is the largest of the sizes.
    let photo = m.photo.into_iter().next_back().map(|f| File { mime_type: Some("image/jpeg".to_owned()), ..f });
    // An animation comes as a document, too.
    let document = if m.animation.is_some() { None } else { m.document };
    for file in [photo, document, m.audio, m.voice, m.video, m.animation, m.sticker].into_iter().flatten() {
        attachments.push(Attachment {
            reference: file.file_id,
            name: file.file_name,
            mime: file.mime_type,
            size: file.file_size,
            extra: Vec::new(),
        });
    }
    let text = match m.location {
        Some(at) if text.is_empty() => format!("[location {}, {}]", at.latitude, at.longitude),
        _ => text,
    };
    Said {
        mentions_me: answers_me || mentions(&text, &entities, me),
        key,
        id: m.message_id.to_string(),
        conversation,
        sender: from,
        text,
        reply_to: m.reply_to_message.map(|r| r.message_id.to_string()),
        at_ms: Some(m.date.saturating_mul(1_000)),
        attachments,
        extra: Vec::new(),
    }
}

/// `@name`, a mention without a name, or a command that is this bot's.
fn mentions(text: &str, entities: &[Entity], me: &Account) -> bool {
    let Some(name) = &me.username else { return false };
    let units: Vec<u16> = text.encode_utf16().collect();
    entities.iter().any(|e| {
        let part = units.get(e.offset..e.offset.saturating_add(e.length)).map(String::from_utf16_lossy);
        let part = part.unwrap_or_default();
        match e.r#type.as_str() {
            "mention" => part.strip_prefix('@').is_some_and(|m| m.eq_ignore_ascii_case(name)),
            "text_mention" => e.user.as_ref().is_some_and(|u| u.id == me.id),
            "bot_command" => part.split_once('@').is_some_and(|(_, m)| m.eq_ignore_ascii_case(name)),
            _ => false,
        }
    })
}
