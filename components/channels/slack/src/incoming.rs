//! Events: <https://docs.slack.dev/reference/events/message/>. What they say is told in one way, whichever way they came.

use crate::{Config, Me, State, media, mentions, mrkdwn, people};
use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Message, Outcome, Sender};
use carapace_sdk::{config, log};
use serde::Deserialize;

/// Of an `event_callback`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Callback {
    pub(crate) r#type: String,
    /// Of `url_verification`.
    pub(crate) challenge: String,
    event: Event,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    r#type: String,
    subtype: String,
    channel: String,
    channel_type: String,
    user: String,
    bot_id: Option<String>,
    username: Option<String>,
    text: String,
    ts: String,
    thread_ts: Option<String>,
    /// Who began the thread.
    parent_user_id: Option<String>,
    files: Vec<File>,
    edited: Option<Edited>,
    /// Of `message_changed`.
    message: Option<Box<Self>>,
    previous_message: Option<Box<Self>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Edited {
    ts: String,
}

/// <https://docs.slack.dev/reference/objects/file-object/>
#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    id: String,
    name: Option<String>,
    mimetype: Option<String>,
    size: Option<u64>,
    url_private_download: Option<String>,
}

/// What a callback brings.
pub(crate) fn callback(state: State, callback: Callback) -> Outcome<State> {
    let event = callback.event;
    match (event.r#type.as_str(), event.subtype.as_str()) {
        ("app_mention", _) => match said(event, &state.me) {
            Some(message) if message.attachments.is_empty() => mentions::hold(state, message),
            Some(message) => Outcome::new(state).message(message),
            None => Outcome::new(state),
        },
        ("message", "" | "file_share" | "thread_broadcast" | "me_message" | "bot_message") => {
            match said(event, &state.me) {
                Some(message) => mentions::said(state, message),
                None => Outcome::new(state),
            }
        }
        ("message", "message_changed") => match edited(event, &state.me) {
            Some(message) => Outcome::new(state).edited(message),
            None => Outcome::new(state),
        },
        (kind, subtype) => {
            log::debug(format!("passed over: {kind} {subtype}"));
            Outcome::new(state)
        }
    }
}

fn said(event: Event, me: &Me) -> Option<Message> {
    if event.ts.is_empty() || event.channel.is_empty() {
        return None;
    }
    let direct = match event.channel_type.as_str() {
        // Which `app_mention` does not say.
        "" => event.channel.starts_with('D'),
        kind => kind == "im",
    };
    let mentions_me = event.r#type == "app_mention"
        || mrkdwn::names(&event.text, &me.user)
        || event.parent_user_id.as_ref().is_some_and(|p| *p == me.user);
    let is_me = event.user == me.user || (event.bot_id.is_some() && event.bot_id == me.bot);
    let is_bot = event.bot_id.is_some() || event.subtype == "bot_message";
    let config: Config = config::get().unwrap_or_default();
    // The first message of a thread is in it.
    let thread = match event.thread_ts.filter(|t| *t != event.ts) {
        Some(thread) => Some(thread),
        None => (!direct && config.reply_in_thread).then(|| event.ts.clone()),
    };
    let id = if event.user.is_empty() { event.bot_id.unwrap_or_default() } else { event.user };
    let name = match event.username {
        Some(name) => name,
        None if is_bot || is_me || !(direct || mentions_me) => id.clone(),
        None => people::name(&id),
    };
    if mentions_me && !direct && !is_bot && !is_me {
        people::wrote(&event.channel, &event.ts, &id);
    }
    let file = |f: File| Attachment {
        reference: f.url_private_download.as_deref().and_then(media::path).unwrap_or(f.id),
        name: f.name,
        mime: f.mimetype,
        size: f.size,
        extra: Vec::new(),
    };
    Some(Message {
        key: format!("{}:{}", event.channel, event.ts),
        conversation: Conversation {
            id: event.channel,
            kind: if direct { ConversationKind::Direct } else { ConversationKind::Group },
            thread,
            title: None,
        },
        sender: Sender { id, name, is_bot, is_me },
        text: mrkdwn::plain(&event.text, &me.user, &me.name),
        mentions_me,
        reply_to: None,
        at_ms: milliseconds(&event.ts),
        id: event.ts,
        attachments: event.files.into_iter().map(file).collect(),
        extra: Vec::new(),
    })
}

/// What somebody changed. A preview of a link that Slack adds is no change of theirs.
fn edited(event: Event, me: &Me) -> Option<Message> {
    let now = *event.message?;
    let at = now.edited.as_ref()?.ts.clone();
    if event.previous_message.is_some_and(|before| before.text == now.text) {
        return None;
    }
    let (channel, channel_type) = (event.channel, event.channel_type);
    let message = said(Event { r#type: "message".to_owned(), channel, channel_type, ..now }, me)?;
    Some(Message { key: format!("edit:{}:{at}", message.key), ..message })
}

/// `1700000000.000123`
fn milliseconds(ts: &str) -> Option<u64> {
    let (seconds, micros) = ts.split_once('.')?;
    let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
    seconds.checked_mul(1_000)?.checked_add(micros / 1_000)
}
