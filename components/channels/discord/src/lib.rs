//! Discord bots: <https://docs.discord.com/developers>. Messages come through the gateway, commands by webhook; answers go out by REST, each
//! with a nonce by which Discord drops a second one.

mod api;
mod embed;
mod gateway;
mod incoming;
mod interactions;
mod media;
mod places;
mod tools;

use carapace_chat_text::{discord, parse};
use carapace_sdk::channel::{
    Attachment, Channel, Content, Conversation, Description, EditSupport, Event, Failure, File, Outcome, Outgoing,
    Part, Receipt, TextUnit, TypingSupport,
};
use carapace_sdk::config;
use carapace_sdk::http::{self, Form};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The component.
#[derive(Debug, Default)]
pub struct Discord;

carapace_sdk::component!(Discord: Channel, Tools);

/// What lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The bot's id.
    me: String,
    /// None: the next login begins anew.
    session: Option<Session>,
    /// The connection.
    socket: Option<u32>,
    /// Between two heartbeats, ms.
    every_ms: u64,
    /// The last heartbeat was answered.
    acknowledged: bool,
}

/// What Discord keeps for a bot that goes away for a while.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    id: String,
    /// Where it is kept.
    url: String,
    /// The last event that was heard.
    heard: u64,
}

impl State {
    fn heard(&self) -> Option<u64> {
        self.session.as_ref().map(|s| s.heard)
    }

    fn every(&self) -> Duration {
        Duration::from_millis(self.every_ms)
    }
}

/// The instance's section of the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// Everything is read, not only what names the bot. Discord wants it turned on for the bot, too.
    message_content: bool,
    /// The application's, in hex: by it the kernel knows that an interaction is Discord's.
    public_key: Option<String>,
}

impl Channel for Discord {
    type State = State;

    fn describe(&self) -> Description {
        Description {
            text_limit: u32::try_from(discord::LIMIT).unwrap_or(u32::MAX),
            text_unit: TextUnit::Scalars,
            // "The past few minutes": https://docs.discord.com/developers/resources/message#create-message
            key_window_s: 120,
            // https://docs.discord.com/developers/reference#uploading-files
            file_limit: 10 << 20,
            typing: Some(TypingSupport { lasts_ms: 10_000, stops: false }),
            // Five in five seconds, with the other messages of the channel.
            edits: Some(EditSupport { direct_ms: 2_000, group_ms: 2_000 }),
            extra: Vec::new(),
        }
    }

    fn start(&self, state: State) -> Result<Outcome<State>, Failure> {
        #[derive(Deserialize)]
        struct Me {
            id: String,
        }
        let config: Config = config::get()?;
        let me: Me = api::call(http::get("api", "/users/@me"))?;
        // Another bot's session is none of this one's.
        let state = if state.me == me.id { state } else { State { me: me.id, ..State::default() } };
        let commands = format!("/applications/{}/commands", state.me);
        let outcome = Outcome::new(state).socket();
        Ok(match config.public_key {
            // One of the same name is replaced.
            Some(_) => outcome.request(http::post("api", commands).json(&interactions::command())),
            None => outcome,
        })
    }

    fn on_event(&self, state: State, event: Event, _attempt: u32) -> Result<Outcome<State>, Failure> {
        match event {
            Event::Dial(dial) => gateway::dial(state, &dial),
            Event::Opened(socket) => Ok(gateway::opened(state, socket)),
            Event::Frame(frame) => gateway::frame(state, &frame),
            Event::Closed(closed) => Ok(gateway::closed(state, &closed)),
            Event::Timer(id) => Ok(gateway::timer(state, &id)),
            Event::Webhook(request) => Ok(interactions::webhook(state, &request)),
            _ => Ok(Outcome::new(state)),
        }
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        let texts = discord::messages(&parse(&content.text)).into_iter().filter(|text| !text.trim().is_empty());
        let text = |content: String| Rendered { content, ..Rendered::default() };
        let file = |file: File| Rendered { file: Some(file), ..Rendered::default() };
        // The text first, so that it can take the place of its draft.
        let mut all: Vec<Rendered> = texts.map(text).chain(content.files.into_iter().map(file)).collect();
        // Only the first part answers; the others follow it.
        if let Some(first) = all.first_mut() {
            first.reply_to = content.reply_to;
        }
        Ok(all.into_iter().map(Rendered::part).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        #[derive(Deserialize)]
        struct Sent {
            id: String,
        }
        let part: Rendered = outgoing.json()?;
        // https://docs.discord.com/developers/resources/message#create-message
        let mut body = json!({
            "content": part.content,
            "nonce": nonce(&outgoing.key),
            "enforce_nonce": true,
            "allowed_mentions": { "parse": [] },
            // No previews: Discord would fetch what a link names, and an address that a model made up could carry something away.
            "flags": 4,
        });
        if let (Value::Object(body), Some(to)) = (&mut body, part.reply_to) {
            // The message may be gone by then; the answer is said all the same.
            body.insert("message_reference".to_owned(), json!({ "message_id": to, "fail_if_not_exists": false }));
        }
        let request = http::post("api", format!("/channels/{}/messages", place(&outgoing.conversation)));
        // https://docs.discord.com/developers/reference#uploading-files
        let request = match part.file {
            Some(f) => request
                .form(Form::new().text("payload_json", body.to_string()).file("files[0]", &f.blob, &f.name, &f.mime)),
            None => request.json(&body),
        };
        let sent: Sent = api::call(request)?;
        Ok(Receipt::new(sent.id))
    }

    /// <https://docs.discord.com/developers/resources/message#edit-message>
    fn edit(&self, outgoing: Outgoing, id: &str) -> Result<(), Failure> {
        let part: Rendered = outgoing.json()?;
        if part.file.is_some() {
            return Err(Failure::last("a text does not become a file"));
        }
        let body = json!({ "content": part.content, "allowed_mentions": { "parse": [] } });
        let path = format!("/channels/{}/messages/{id}", place(&outgoing.conversation));
        api::done(http::patch("api", path).json(&body)).map(|_| ())
    }

    fn typing(&self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        if on {
            api::done(http::post("api", format!("/channels/{}/typing", place(conversation))))?;
        }
        Ok(())
    }

    fn fetch_media(&self, attachment: Attachment) -> Result<String, Failure> {
        media::fetch(&attachment)
    }
}

/// One message, as it waits to be sent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Rendered {
    content: String,
    reply_to: Option<String>,
    file: Option<File>,
}

impl Rendered {
    fn part(self) -> Part {
        Part::json(self.file.as_ref().map_or_else(|| self.content.clone(), File::in_words), &self)
    }
}

/// Where a message goes: a thread is a channel.
fn place(conversation: &Conversation) -> &str {
    conversation.thread.as_deref().unwrap_or(&conversation.id)
}

/// A key in the 25 characters that Discord takes: 100 bits of FNV-1a, which are enough for two minutes.
fn nonce(key: &str) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let hash = key.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{:025x}", hash >> 28)
}

#[cfg(test)]
mod tests;
