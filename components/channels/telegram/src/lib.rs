//! Telegram bots, by long poll or webhook: <https://core.telegram.org/bots/api>.
//!
//! The state is the offset of the next update and who the bot is. Telegram repeats what was not confirmed, by a later offset or by the answer to a
//! webhook, so an update is gone there only after it was committed here. Text goes out as plain text with entities, counted in UTF-16 as Telegram does: nothing has
//! to be escaped, and nothing a model writes can break a message.

mod api;
mod incoming;
mod media;
mod outgoing;
mod tools;

use api::Account;
use carapace_sdk::channel::{
    Attachment, Channel, Content, Conversation, Description, EditSupport, Event, Failure, Item, Outcome, Outgoing,
    Part, PollResponse, Receipt, TextUnit, TypingSupport,
};
use carapace_sdk::{config, http, secrets};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// How long Telegram holds a poll open when there is nothing, s.
const HOLD: u64 = 25;

/// The component.
#[derive(Debug, Default)]
pub struct Telegram;

carapace_sdk::component!(Telegram: Channel, Tools);

/// What lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The first update that is not done.
    offset: Option<i64>,
    /// The bot.
    me: Account,
    /// Updates come by themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pushed: bool,
}

/// What the owner may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The public address at which Telegram reaches the webhook; without it, updates are polled.
    webhook: Option<String>,
}

/// What is asked for.
const KINDS: [&str; 4] = ["message", "edited_message", "channel_post", "callback_query"];

impl State {
    /// Waits for what comes next.
    fn go_on(self) -> Outcome<Self> {
        if self.pushed {
            return Outcome::new(self).idle();
        }
        let mut request = http::get("api", "/getUpdates")
            .query("timeout", HOLD.to_string())
            .query("allowed_updates", json!(KINDS).to_string())
            .timeout(Duration::from_secs(HOLD + 10));
        if let Some(offset) = self.offset {
            request = request.query("offset", offset.to_string());
        }
        Outcome::new(self).poll(request, Duration::from_millis(100))
    }

    /// Past this update; an older one than the last is none that counts.
    fn past(mut self, update: i64) -> Self {
        self.offset = Some(self.offset.map_or(update + 1, |o| o.max(update + 1)));
        self
    }
}

impl Channel for Telegram {
    type State = State;

    fn describe(&self) -> Description {
        Description {
            text_limit: u32::try_from(outgoing::LIMIT).unwrap_or(u32::MAX),
            text_unit: TextUnit::Utf16,
            // Telegram takes no key: what was in flight at a crash may be there.
            key_window_s: 0,
            file_limit: outgoing::FILE,
            typing: Some(TypingSupport { lasts_ms: 5_000, stops: false }),
            // About one message a second in a chat, twenty a minute in a group: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits
            edits: Some(EditSupport { direct_ms: 1_500, group_ms: 4_000 }),
            extra: Vec::new(),
        }
    }

    fn start(&self, state: State) -> Result<Outcome<State>, Failure> {
        let me: Account = api::call(http::get("api", "/getMe"))?;
        // Another bot's offset means nothing.
        let offset = state.offset.filter(|_| state.me.id == me.id || state.me.id == 0);
        let config: Config = config::get()?;
        let state = State { offset, me, pushed: config.webhook.is_some() };
        let request = match config.webhook {
            Some(url) => {
                if !url.starts_with("https://") {
                    return Err(Failure::last(
                        "`webhook` is the public https:// address at which Telegram reaches this assistant",
                    ));
                }
                if !secrets::exists("webhook-token")? {
                    return Err(Failure::last(
                        "there is no token by which Telegram's requests are known: carapace secrets set webhook-token --generate",
                    ));
                }
                // The kernel sets the token, and checks it in what comes.
                let body = json!({ "url": url, "secret_token": null, "allowed_updates": KINDS });
                http::post("api", "/setWebhook").json(&body)
            }
            // With a webhook set, Telegram refuses polls. What waits there stays.
            None => http::post("api", "/deleteWebhook").json(&json!({ "drop_pending_updates": false })),
        };
        api::call::<bool>(request)?;
        Ok(state.go_on())
    }

    fn on_event(&self, state: State, event: Event, _attempt: u32) -> Result<Outcome<State>, Failure> {
        match event {
            Event::Item(item) => incoming::update(state, &item.data),
            Event::Webhook(request) => incoming::update(state, &request.body),
            Event::PassedOver(cursor) => {
                let update = cursor.parse().map_err(|_| Failure::last("the cursor is no update's number"))?;
                Ok(state.past(update).go_on())
            }
            _ => Ok(Outcome::new(state)),
        }
    }

    fn split(&self, response: PollResponse) -> Result<Vec<Item>, Failure> {
        #[derive(Deserialize)]
        struct Numbered {
            update_id: i64,
        }
        let updates: Vec<Box<serde_json::value::RawValue>> = api::result(response.status, &response.body)?;
        let item = |raw: Box<serde_json::value::RawValue>| {
            let numbered: Numbered = serde_json::from_str(raw.get())
                .map_err(|e| Failure::retryable(format!("an update without a number: {e}")))?;
            Ok(Item { cursor: numbered.update_id.to_string(), data: raw.get().as_bytes().to_vec() })
        };
        updates.into_iter().map(item).collect()
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        Ok(outgoing::render(content))
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        outgoing::send(&outgoing)
    }

    fn edit(&self, outgoing: Outgoing, id: &str) -> Result<(), Failure> {
        outgoing::edit(&outgoing, id)
    }

    fn typing(&self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        if on {
            let mut body = outgoing::place(conversation);
            body.insert("action".to_owned(), "typing".into());
            api::call::<bool>(http::post("api", "/sendChatAction").json(&body))?;
        }
        Ok(())
    }

    fn fetch_media(&self, attachment: Attachment) -> Result<String, Failure> {
        media::fetch(&attachment)
    }
}

#[cfg(test)]
mod render_tests;
#[cfg(test)]
mod tests;
