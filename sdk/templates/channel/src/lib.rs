//! A chat service with an API of JSON, by long poll.
//!
//! The kernel repeats the poll, hands over each update, and keeps what is answered: the state, and the message that came in. Only then is
//! the service told, by the next poll, that the update is done.

use carapace_sdk::channel::{
    Channel, Content, Conversation, Description, Event, Failure, Item, Message, Outcome, Outgoing, Part, PollResponse,
    Receipt, Sender, TextUnit, TypingSupport, pieces,
};
use carapace_sdk::http::{self, Response};
use carapace_sdk::serde_json::{self, Value, json};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Characters of one message.
const LIMIT: u32 = 4_000;
/// How long the service holds a poll open when there is nothing, s.
const HOLD: u64 = 25;

/// The component.
#[derive(Debug, Default)]
pub struct MyChannel;

carapace_sdk::component!(MyChannel: Channel);

/// What lasts from one event to the next. A later version must read what an earlier one wrote.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The last update that is done.
    after: u64,
    /// The account that speaks here.
    me: String,
}

impl State {
    fn poll(self) -> Outcome<Self> {
        let request = http::get("api", "/updates")
            .query("after", self.after.to_string())
            .query("wait", HOLD.to_string())
            .timeout(Duration::from_secs(HOLD + 10));
        Outcome::new(self).poll(request, Duration::from_millis(200))
    }

    fn past(self, update: u64) -> Self {
        Self { after: self.after.max(update), ..self }
    }
}

impl Channel for MyChannel {
    type State = State;

    fn describe(&self) -> Description {
        Description {
            text_limit: LIMIT,
            text_unit: TextUnit::Scalars,
            // The service drops a second message with the same key: what was in flight at a crash may be sent again.
            key_window_s: 600,
            file_limit: 0,
            typing: Some(TypingSupport { lasts_ms: 5_000, stops: false }),
            edits: None,
            extra: Vec::new(),
        }
    }

    fn start(&self, state: State) -> Result<Outcome<State>, Failure> {
        let me: Account = answered(http::get("api", "/me").send()?)?;
        Ok(State { me: me.id, ..state }.poll())
    }

    fn on_event(&self, state: State, event: Event, _attempt: u32) -> Result<Outcome<State>, Failure> {
        match event {
            Event::Item(item) => {
                let update: Update = read(&item.data)?;
                let me = state.me.clone();
                let outcome = state.past(update.id).poll();
                Ok(match update.message {
                    Some(m) if update.edited => outcome.edited(m.said(&me, format!("edit:{}", update.id))),
                    Some(m) => {
                        let key = m.id.clone();
                        outcome.message(m.said(&me, key))
                    }
                    // A kind of update that this version does not know.
                    None => outcome,
                })
            }
            Event::PassedOver(cursor) => {
                let update = cursor.parse().map_err(|_| Failure::last("the cursor is no update's number"))?;
                Ok(state.past(update).poll())
            }
            _ => Ok(Outcome::new(state)),
        }
    }

    fn split(&self, response: PollResponse) -> Result<Vec<Item>, Failure> {
        refused(response.status, header(&response.headers, "retry-after"), None, &response.body)?;
        let polled: Polled = read(&response.body)?;
        let item = |update: Value| {
            let cursor = update.get("id").map_or_else(String::new, Value::to_string);
            Item { cursor, data: update.to_string().into_bytes() }
        };
        Ok(polled.updates.into_iter().map(item).collect())
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        // The service takes Markdown as it is.
        let part = |text: &str| Part::json(text, &json!({ "text": text, "reply_to": content.reply_to }));
        Ok(pieces(content.text.trim(), LIMIT, TextUnit::Scalars).into_iter().map(part).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        let said: Value = outgoing.json()?;
        let Outgoing { conversation, key, .. } = outgoing;
        let body = json!({
            "room": conversation.id,
            "thread": conversation.thread,
            "text": said.get("text"),
            "reply_to": said.get("reply_to"),
            "key": key,
        });
        let sent: Sent = answered(http::post("api", "/messages").json(&body).send()?)?;
        Ok(Receipt::new(sent.id))
    }

    fn typing(&self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        if on {
            let body = json!({ "room": conversation.id, "thread": conversation.thread });
            answered::<Value>(http::post("api", "/typing").json(&body).send()?)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Account {
    id: String,
}

#[derive(Deserialize)]
struct Polled {
    updates: Vec<Value>,
}

#[derive(Deserialize)]
struct Update {
    id: u64,
    #[serde(default)]
    edited: bool,
    message: Option<Posted>,
}

#[derive(Deserialize)]
struct Posted {
    id: String,
    room: Room,
    thread: Option<String>,
    from: From,
    text: String,
    #[serde(default)]
    mentions: Vec<String>,
    reply_to: Option<Answered>,
    /// Seconds since the Unix epoch.
    at: Option<u64>,
}

#[derive(Deserialize)]
struct Room {
    id: String,
    /// None: two people's own.
    name: Option<String>,
}

#[derive(Deserialize)]
struct From {
    id: String,
    name: String,
    #[serde(default)]
    bot: bool,
}

#[derive(Deserialize)]
struct Answered {
    id: String,
    from: String,
}

#[derive(Deserialize)]
struct Sent {
    id: String,
}

impl Posted {
    fn said(self, me: &str, key: String) -> Message {
        let conversation = match self.room.name {
            Some(name) => Conversation::group(self.room.id, Some(name)),
            None => Conversation::direct(self.room.id),
        };
        let conversation = Conversation { thread: self.thread, ..conversation };
        let sender =
            Sender { is_me: self.from.id == me, is_bot: self.from.bot, ..Sender::person(self.from.id, self.from.name) };
        let answers_me = self.reply_to.as_ref().is_some_and(|r| r.from == me);
        Message {
            mentions_me: answers_me || self.mentions.iter().any(|id| id == me),
            reply_to: self.reply_to.map(|r| r.id),
            at_ms: self.at.map(|s| s.saturating_mul(1_000)),
            ..Message::new(key, self.id, conversation, sender, self.text)
        }
    }
}

/// What is no JSON of the expected form will be none the next time.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::last(format!("the service said what cannot be read: {e}")))
}

/// What a request brought.
fn answered<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Failure> {
    // From here on the request may have been carried out.
    let body = response.bytes(1 << 20)?;
    refused(response.status(), response.header("retry-after"), response.header("x-limit-scope"), &body)?;
    read(&body)
}

/// Why the service did not do it: what the kernel does next depends on that.
fn refused(status: u16, retry_after: Option<String>, scope: Option<String>, body: &[u8]) -> Result<(), Failure> {
    let after = retry_after.and_then(|s| s.trim().parse().ok()).map(Duration::from_secs);
    let text: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
    let said = format!("the service answered {status}: {text}");
    Err(match status {
        200..300 => return Ok(()),
        401 | 403 => Failure::last(format!("{said}; set the bot's token: carapace secrets set token")),
        // One room is full, or everything that this account sends has to wait.
        429 if scope.as_deref() == Some("room") => {
            let ms = after.and_then(|a| u64::try_from(a.as_millis()).ok());
            Failure { retry_after_ms: ms, ..Failure::retryable(said) }
        }
        429 => Failure::retryable(said).account_waits(after),
        500.. => Failure::retryable(said).uncertain(),
        _ => Failure::last(said),
    })
}

fn header(headers: &[(String, String)], name: &str) -> Option<String> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_sdk::channel::{ConversationKind, Scope};
    use carapace_sdk::testing::{Answer, TestHost};

    fn state() -> Value {
        json!({ "after": 10, "me": "bot" })
    }

    fn message(room: Value, more: Value) -> Value {
        let mut message = json!({ "id": "m1", "room": room, "from": { "id": "ann", "name": "Ann" }, "text": "Hello", "at": 1_700_000_000 });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    }

    fn update(id: u64, edited: bool, message: Value) -> Event {
        let data = json!({ "id": id, "edited": edited, "message": message }).to_string().into_bytes();
        Event::Item(Item { cursor: id.to_string(), data })
    }

    #[carapace_sdk::test]
    fn it_learns_who_it_is_and_polls_from_where_it_was(host: &mut TestHost) {
        host.answer(Answer::new(200).json(json!({ "id": "bot" })))
            .answer(Answer::new(200).json(json!({ "id": "bot" })));
        let led = host.start_channel(None).unwrap();
        assert_eq!(led.polls().unwrap(), "api:/updates?after=0&wait=25");
        assert_eq!(led.state::<Value>()["me"], "bot");
        assert_eq!(host.start_channel(Some(&state())).unwrap().polls().unwrap(), "api:/updates?after=10&wait=25");
    }

    #[carapace_sdk::test]
    fn a_wrong_token_is_told_with_what_to_do(host: &mut TestHost) {
        host.answer(Answer::new(401).chunk("unknown bot"));
        let failure = host.start_channel(None).unwrap_err();
        assert!(!failure.retryable && failure.message.contains("carapace secrets set token"), "{}", failure.message);
    }

    #[carapace_sdk::test]
    fn a_poll_is_split_into_updates_and_each_is_a_message(host: &mut TestHost) {
        let body =
            json!({ "updates": [{ "id": 11, "message": message(json!({ "id": "ann" }), json!({})) }, { "id": 12 }] });
        let mut items = host.split(200, body.to_string()).unwrap();
        assert_eq!(items.iter().map(|i| i.cursor.as_str()).collect::<Vec<_>>(), ["11", "12"]);
        let led = host.channel_event(&state(), Event::Item(items.remove(0))).unwrap();
        let said = led.messages().remove(0);
        assert_eq!((said.key.as_str(), said.text.as_str(), said.sender.id.as_str()), ("m1", "Hello", "ann"));
        assert_eq!((said.conversation.kind, said.at_ms), (ConversationKind::Direct, Some(1_700_000_000_000)));
        // The next poll tells the service that this one is done.
        assert_eq!(led.polls().unwrap(), "api:/updates?after=11&wait=25");
        // What this version does not know, and what the kernel gave up on, is passed.
        let led = host.channel_event(&state(), Event::Item(items.remove(0))).unwrap();
        assert!(led.messages().is_empty() && led.polls().unwrap().contains("after=12"));
        let led = host.channel_event(&state(), Event::PassedOver("13".to_owned())).unwrap();
        assert!(led.polls().unwrap().contains("after=13"));
    }

    #[carapace_sdk::test]
    fn in_a_group_it_knows_when_it_is_meant(host: &mut TestHost) {
        let group = json!({ "id": "team", "name": "The team" });
        for (more, meant) in [
            (json!({}), false),
            (json!({ "mentions": ["bo", "bot"] }), true),
            (json!({ "reply_to": { "id": "m0", "from": "bot" } }), true),
            (json!({ "reply_to": { "id": "m0", "from": "bo" } }), false),
        ] {
            let led = host.channel_event(&state(), update(11, false, message(group.clone(), more.clone()))).unwrap();
            let said = led.messages().remove(0);
            assert_eq!((said.conversation.kind, said.mentions_me), (ConversationKind::Group, meant), "{more}");
        }
        let own = message(group, json!({ "from": { "id": "bot", "name": "Bot", "bot": true } }));
        let said = host.channel_event(&state(), update(11, false, own)).unwrap().messages().remove(0);
        assert!(said.sender.is_me && said.sender.is_bot);
    }

    #[carapace_sdk::test]
    fn an_edit_is_the_same_message_with_a_key_of_its_own(host: &mut TestHost) {
        let edited = message(json!({ "id": "ann" }), json!({ "text": "Hello!" }));
        let led = host.channel_event(&state(), update(11, true, edited)).unwrap();
        let said = led.messages().remove(0);
        assert!(led.is_edit(0));
        assert_eq!((said.id.as_str(), said.key.as_str(), said.text.as_str()), ("m1", "edit:11", "Hello!"));
    }

    #[carapace_sdk::test]
    fn an_answer_goes_out_under_its_key_and_shows_that_somebody_writes(host: &mut TestHost) {
        let room = Conversation { thread: Some("t".to_owned()), ..Conversation::group("team", None) };
        host.on("POST", "api", "/typing", Answer::new(200).json(json!({})));
        host.on("POST", "api", "/messages", Answer::new(200).json(json!({ "id": "m9" })));
        host.typing(&room, true).unwrap();
        let part = host.render(&room, " **Yes.** ").unwrap().remove(0);
        assert_eq!(host.send_part(&room, part, "k-1").unwrap().id, "m9");
        let body = host.sent().remove(1).json();
        assert_eq!(body, json!({ "room": "team", "thread": "t", "text": "**Yes.**", "reply_to": null, "key": "k-1" }));
    }

    #[carapace_sdk::test]
    fn a_long_answer_is_several_messages(host: &mut TestHost) {
        let text = "line of text\n".repeat(1_000);
        let parts = host.render(&Conversation::direct("ann"), &text).unwrap();
        assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<String>(), text.trim());
        assert!(parts.len() == 4 && parts.iter().all(|p| p.text.chars().count() <= LIMIT as usize));
    }

    #[carapace_sdk::test]
    fn a_refusal_says_what_waits_and_for_how_long_and_whether_it_may_have_arrived(host: &mut TestHost) {
        let to = Conversation::direct("ann");
        let busy = Answer::new(429).header("retry-after", "3");
        for (answer, retryable, after, scope, uncertain) in [
            (busy.clone(), true, Some(3_000), Scope::Account, false),
            (busy.header("x-limit-scope", "room"), true, Some(3_000), Scope::Conversation, false),
            (Answer::new(503), true, None, Scope::Conversation, true),
            (Answer::unreachable(), true, None, Scope::Conversation, false),
            (Answer::new(400), false, None, Scope::Conversation, false),
        ] {
            host.fresh().on("POST", "api", "/messages", answer);
            let part = host.render(&to, "Hello").unwrap().remove(0);
            let f = host.send_part(&to, part, "k").unwrap_err();
            assert_eq!(
                (f.retryable, f.retry_after_ms, f.scope, f.uncertain),
                (retryable, after, scope, uncertain),
                "{}",
                f.message
            );
        }
    }
}
