//! Slack: <https://docs.slack.dev>. Events come by Socket Mode if there is an app token, and by webhook if there is a signing secret; both at
//! once do no harm, because a message is known by its channel and time. Answers go out as rich text, whose words are words.

mod api;
mod blocks;
mod files;
mod incoming;
mod media;
mod mentions;
mod mrkdwn;
mod people;
mod rich;
mod socket;
mod tools;

use carapace_sdk::channel::{
    Attachment, Channel, Content, Conversation, Description, EditSupport, Event, Failure, Message, Outcome, Outgoing,
    Part, Receipt, TextUnit, WebhookRequest,
};
use carapace_sdk::{config, http, log, secrets};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The component.
#[derive(Debug, Default)]
pub struct Slack;

carapace_sdk::component!(Slack: Channel, Tools);

/// What lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    me: Me,
    /// The open sockets, older first.
    sockets: Vec<u32>,
    /// Mentions that wait for what else is told of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<Message>,
}

/// The account that the bot token speaks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Me {
    user: String,
    bot: Option<String>,
    name: String,
}

/// The instance's section of the configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// What is said in a channel is answered in a thread of its own, which is a conversation of its own.
    reply_in_thread: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { reply_in_thread: true }
    }
}

/// <https://docs.slack.dev/reference/methods/auth.test/>
#[derive(Deserialize)]
struct Identity {
    user_id: String,
    #[serde(default)]
    user: String,
    bot_id: Option<String>,
}

impl Channel for Slack {
    type State = State;

    fn describe(&self) -> Description {
        Description {
            text_limit: u32::try_from(rich::LIMIT).unwrap_or(u32::MAX),
            text_unit: TextUnit::Utf16,
            // Slack takes no key: what was in flight at a crash may be there.
            key_window_s: 0,
            file_limit: files::LIMIT,
            // A bot cannot show that it writes.
            typing: None,
            // Some fifty a minute: https://docs.slack.dev/reference/methods/chat.update/
            edits: Some(EditSupport { direct_ms: 1_500, group_ms: 2_500 }),
            extra: Vec::new(),
        }
    }

    fn start(&self, state: State) -> Result<Outcome<State>, Failure> {
        config::get::<Config>()?;
        let me: Identity = api::call(http::post("api", "/auth.test"), "bot-token")?;
        let state = State { me: Me { user: me.user_id, bot: me.bot_id, name: me.user }, ..state };
        if secrets::exists("app-token")? {
            return Ok(Outcome::new(state).socket());
        }
        if secrets::exists("signing-secret")? {
            return Ok(Outcome::new(state).idle());
        }
        Ok(Outcome::new(state).fatal(
            "nothing can come in: set the app token for Socket Mode (carapace secrets set app-token) or, for the Events API by \
             webhook, the signing secret (carapace secrets set signing-secret)",
        ))
    }

    fn on_event(&self, state: State, event: Event, _attempt: u32) -> Result<Outcome<State>, Failure> {
        match event {
            Event::Webhook(request) => Ok(webhook(state, &request)),
            Event::Dial(dial) => socket::dial(state, &dial),
            Event::Opened(socket) => Ok(socket::opened(state, socket)),
            Event::Closed(closed) => Ok(socket::closed(state, closed.socket)),
            Event::Frame(frame) => Ok(socket::frame(state, &frame)),
            Event::Timer(id) => Ok(match id.strip_prefix(mentions::TIMER) {
                Some(key) => mentions::over(state, key),
                None => socket::timer(state, &id),
            }),
            _ => Ok(Outcome::new(state)),
        }
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        let parts = rich::render(&carapace_chat_text::parse(&content.text));
        let part = |(text, blocks): (String, Value)| Part::json(text, &blocks);
        // The text first, so that it can take the place of its draft.
        let parts = parts.into_iter().filter(|(text, _)| !text.trim().is_empty()).map(part);
        Ok(parts.chain(content.files.into_iter().map(files::part)).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        #[derive(Deserialize)]
        struct Sent {
            ts: String,
        }
        let blocks = match outgoing.json()? {
            files::Rendered::Blocks(blocks) => blocks,
            files::Rendered::File { file } => return files::send(&outgoing.conversation, &file),
        };
        let body = posted(&outgoing.conversation, &outgoing.part.text, blocks);
        let sent: Sent = api::call(api::json("api", "/chat.postMessage", &body), "bot-token")?;
        Ok(Receipt::new(sent.ts))
    }

    /// <https://docs.slack.dev/reference/methods/chat.update/>
    fn edit(&self, outgoing: Outgoing, id: &str) -> Result<(), Failure> {
        let files::Rendered::Blocks(blocks) = outgoing.json()? else {
            return Err(Failure::last("a text does not become a file"));
        };
        let mut body = addressed(&outgoing.conversation, &outgoing.part.text, blocks);
        // A message is found by its channel and time.
        body.remove("thread_ts");
        body.insert("ts".to_owned(), id.into());
        api::call::<Value>(api::json("api", "/chat.update", &body.into()), "bot-token").map(|_| ())
    }

    fn fetch_media(&self, attachment: Attachment) -> Result<String, Failure> {
        media::fetch(&attachment)
    }
}

/// A message, and where it goes: <https://docs.slack.dev/reference/methods/chat.postMessage/>.
fn posted(conversation: &Conversation, text: &str, blocks: Value) -> Value {
    let mut body = addressed(conversation, text, blocks);
    // Slack would fetch what a link names: an address that a model made up could carry something away.
    body.insert("unfurl_links".to_owned(), false.into());
    body.insert("unfurl_media".to_owned(), false.into());
    body.into()
}

fn addressed(conversation: &Conversation, text: &str, blocks: Value) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("channel".to_owned(), conversation.id.as_str().into());
    body.extend(conversation.thread.as_deref().map(|thread| ("thread_ts".to_owned(), thread.into())));
    // For notifications, and where blocks are not shown.
    body.insert("text".to_owned(), rich::escaped(text).into());
    body.insert("blocks".to_owned(), blocks);
    body
}

/// The Events API: <https://docs.slack.dev/apis/events-api/using-http-request-urls/>. What is repeated is known by its message's key.
fn webhook(state: State, request: &WebhookRequest) -> Outcome<State> {
    let callback: incoming::Callback = match serde_json::from_slice(&request.body) {
        Ok(callback) => callback,
        Err(e) => {
            // It is Slack's, and would be no better the next time.
            log::warn(format!("passed over, for it cannot be read: {e}"));
            return Outcome::new(state);
        }
    };
    match callback.r#type.as_str() {
        "url_verification" => Outcome::new(state).respond(200, "text/plain", callback.challenge),
        "event_callback" => incoming::callback(state, callback),
        "app_rate_limited" => {
            log::warn("Slack delivers no more events for now: there were more than 30,000 within an hour");
            Outcome::new(state)
        }
        _ => Outcome::new(state),
    }
}

#[cfg(test)]
mod tests;
