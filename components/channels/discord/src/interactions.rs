//! Commands and buttons, by webhook: <https://docs.discord.com/developers/interactions/receiving-and-responding>.

use crate::State;
use crate::incoming::{Member, User};
use crate::places::{self, Place};
use carapace_sdk::channel::{Message, Outcome, WebhookRequest};
use carapace_sdk::log;
use serde::Deserialize;
use serde_json::{Value, json};

/// The command that is put up for people.
pub(crate) const COMMAND: &str = "ask";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Interaction {
    id: String,
    r#type: u32,
    guild_id: Option<String>,
    channel_id: String,
    channel: Option<Place>,
    user: Option<User>,
    member: Option<Member>,
    data: Data,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data {
    options: Vec<Choice>,
    custom_id: String,
    values: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Choice {
    value: Value,
}

/// The command, as Discord shows it: <https://docs.discord.com/developers/interactions/application-commands>.
pub(crate) fn command() -> Value {
    json!({
        "name": COMMAND,
        "type": 1,
        "description": "Ask the assistant",
        "options": [{ "type": 3, "name": "text", "description": "What to ask", "required": true }],
    })
}

/// Answered within three seconds; what the assistant says follows as a message.
pub(crate) fn webhook(state: State, request: &WebhookRequest) -> Outcome<State> {
    let me = state.me.clone();
    let outcome = Outcome::new(state);
    let respond = |o: Outcome<State>, body: &Value| o.respond(200, "application/json", body.to_string());
    let interaction: Interaction = match serde_json::from_slice(&request.body) {
        Ok(interaction) => interaction,
        Err(e) => {
            log::warn(format!("an interaction cannot be read: {e}"));
            return outcome.respond(400, "text/plain", "not understood");
        }
    };
    match interaction.r#type {
        1 => respond(outcome, &json!({ "type": 1 })),
        2 => {
            let words: Vec<&str> = interaction.data.options.iter().filter_map(|o| o.value.as_str()).collect();
            let text = words.join(" ");
            // Only whoever asked sees this; nobody is called.
            let told = json!({ "type": 4, "data": {
                "content": "Passed on to the assistant.", "flags": 64, "allowed_mentions": { "parse": [] },
            } });
            with(respond(outcome, &told), interaction, text, &me)
        }
        3 => {
            let data = &interaction.data;
            let text = if data.values.is_empty() { data.custom_id.clone() } else { data.values.join(", ") };
            with(respond(outcome, &json!({ "type": 6 })), interaction, text, &me)
        }
        4 => respond(outcome, &json!({ "type": 8, "data": { "choices": [] } })),
        _ => outcome.respond(400, "text/plain", "not understood"),
    }
}

fn with(outcome: Outcome<State>, i: Interaction, text: String, me: &str) -> Outcome<State> {
    let (nick, user) = match (i.member, i.user) {
        (Some(member), _) if member.user.is_some() => (member.nick, member.user),
        (_, user) => (None, user),
    };
    let Some(user) = user.filter(|_| !text.trim().is_empty()) else { return outcome };
    let conversation = match (i.guild_id, i.channel) {
        (None, _) => places::plain(&i.channel_id, true),
        (Some(_), Some(place)) => place.conversation(&i.channel_id),
        (Some(_), None) => places::plain(&i.channel_id, false),
    };
    // There is no message of theirs that could be answered.
    let mut message = Message::new(format!("interaction:{}", i.id), "", conversation, user.sender(nick, me), text);
    message.mentions_me = true;
    outcome.message(message)
}
