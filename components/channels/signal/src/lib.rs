//! Signal, through signal-cli-rest-api (<https://github.com/bbernhard/signal-cli-rest-api>), which the owner runs beside the assistant. It hands
//! out each message once: what came is durable before it is looked at, and what nobody took is gone.

mod api;
mod incoming;
mod media;
mod receipts;
mod tools;

use carapace_chat_text::{Text, Unit, parse, split};
use carapace_sdk::channel::{
    Attachment, Channel, Connect, Content, Conversation, Description, Event, Failure, File, Item, Outcome, Outgoing,
    Part, PollResponse, Receipt, TextUnit, TypingSupport,
};
use carapace_sdk::{config, http};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of one message; Signal makes a file of the rest.
const LIMIT: usize = 2_000;
/// Bytes of a file: in base64, and with the rest, it has to fit into a request.
const FILE: u64 = 15 << 20;
/// Between two pings.
const PING: Duration = Duration::from_secs(30);
/// How long a poll is held open when there is nothing, s.
const HOLD: u64 = 10;

/// The component.
#[derive(Debug, Default)]
pub struct Signal;

carapace_sdk::component!(Signal: Channel, Tools);

/// The instance's section of the configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// The account's number, as `+49…`.
    number: String,
    /// Whoever is answered sees that their message was read.
    read_receipts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { number: String::new(), read_receipts: true }
    }
}

/// One message, as it waits to be sent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Rendered {
    text: String,
    reply_to: Option<String>,
    /// Whoever wrote this message sees that it was read.
    about: Option<String>,
    file: Option<File>,
}

/// Nothing lasts: what was handed out is not handed out again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {}

fn number() -> Result<String, Failure> {
    let config: Config = config::get()?;
    let number = config.number.trim().to_owned();
    let digits = number.strip_prefix('+').unwrap_or_default();
    if !number.is_empty() && (digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(Failure::last(format!(
            "config.number: `{number}` is no number; write it with the country's code, such as \"+4915112345678\""
        )));
    }
    Ok(number)
}

/// As part of a path.
fn account(number: &str) -> String {
    http::segment(number)
}

impl Channel for Signal {
    type State = State;

    fn describe(&self) -> Description {
        Description {
            text_limit: u32::try_from(LIMIT).unwrap_or(u32::MAX),
            text_unit: TextUnit::Bytes,
            // Signal takes no key: what was in flight at a crash may be there.
            key_window_s: 0,
            file_limit: FILE,
            typing: Some(TypingSupport { lasts_ms: 15_000, stops: true }),
            edits: None,
            extra: Vec::new(),
        }
    }

    fn start(&self, state: State) -> Result<Outcome<State>, Failure> {
        let number = number()?;
        if number.is_empty() {
            return Ok(Outcome::new(state).fatal(
                "no account is set: register or link one in signal-cli-rest-api, and name it in carapace.json5, \
                 instances: { signal: { config: { number: \"+4915112345678\" } } }",
            ));
        }
        let about = api::call(http::get("api", "/v1/about"))?;
        if about.get("mode").and_then(Value::as_str) == Some("json-rpc") {
            return Ok(Outcome::new(state).socket());
        }
        let request = http::get("api", format!("/v1/receive/{}", account(&number)))
            .query("timeout", HOLD.to_string())
            .timeout(Duration::from_secs(HOLD + 30));
        Ok(Outcome::new(state).poll(request, Duration::from_secs(1)))
    }

    fn on_event(&self, state: State, event: Event, _attempt: u32) -> Result<Outcome<State>, Failure> {
        let number = number()?;
        let outcome = Outcome::new(state);
        Ok(match event {
            Event::Dial(_) => {
                let path = format!("/v1/receive/{}", account(&number));
                outcome.connect(Connect::path("receive", path).ping(PING))
            }
            Event::Frame(frame) => incoming::envelope(outcome, &frame.data, &number),
            Event::Item(item) => incoming::envelope(outcome, &item.data, &number),
            _ => outcome,
        })
    }

    fn split(&self, response: PollResponse) -> Result<Vec<Item>, Failure> {
        let body: Value = serde_json::from_slice(&response.body)
            .map_err(|e| Failure::retryable(format!("signal-cli-rest-api's answer cannot be read: {e}")))?;
        if !(200..300).contains(&response.status) {
            let f = api::refusal(response.status, &body);
            // While a number is being registered, or Signal is not reached.
            return Err(Failure { retryable: true, ..f });
        }
        let Value::Array(all) = body else {
            return Err(Failure::retryable("signal-cli-rest-api answered no list of messages"));
        };
        let item = |data: Value| Item { cursor: incoming::cursor(&data), data: data.to_string().into_bytes() };
        Ok(all.into_iter().map(item).collect())
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        let about = content.about().map(str::to_owned);
        let parts = split(&parse(&content.text).with_links_in_words(|_, _| false), LIMIT, Unit::Bytes);
        // Styles are left out: words are words.
        let text = |text: Text| Rendered { text: text.plain, ..Rendered::default() };
        let file = |file: File| Rendered { file: Some(file), ..Rendered::default() };
        let texts = parts.into_iter().map(text).filter(|r| !r.text.trim().is_empty());
        let mut all: Vec<Rendered> = texts.chain(content.files.into_iter().map(file)).collect();
        // Only the first part answers; the others follow it.
        if let Some(first) = all.first_mut() {
            first.about = about;
            first.reply_to = content.reply_to;
        }
        let part = |r: Rendered| Part::json(r.file.as_ref().map_or_else(|| r.text.clone(), File::in_words), &r);
        Ok(all.into_iter().map(part).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        let part: Rendered = outgoing.json()?;
        let mut body = json!({
            "number": number()?,
            "recipients": [outgoing.conversation.id],
            "message": part.text,
            "text_mode": "normal",
        });
        if let Some(message) = part.about.as_deref().filter(|_| config::get::<Config>().is_ok_and(|c| c.read_receipts))
        {
            receipts::read(message);
        }
        let quoted = part.reply_to.as_deref().and_then(|to| to.split_once(':'));
        if let (Value::Object(body), Some((at, author))) = (&mut body, quoted)
            && let Ok(at) = at.parse::<u64>()
        {
            body.insert("quote_timestamp".to_owned(), at.into());
            body.insert("quote_author".to_owned(), author.into());
        }
        let request = match part.file {
            Some(file) => media::with_file(http::post("api", "/v2/send"), &body, &file),
            None => http::post("api", "/v2/send").json(&body),
        };
        let sent = api::call(request)?;
        // A list with one for each kind of recipient; older versions give that one, and write the time as a number.
        let sent = sent.get(0).unwrap_or(&sent);
        let at = match sent.get("timestamp") {
            Some(Value::String(at)) => at.clone(),
            Some(at) => at.to_string(),
            None => String::new(),
        };
        Ok(Receipt::new(at))
    }

    fn typing(&self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        let method = if on { "PUT" } else { "DELETE" };
        let path = format!("/v1/typing-indicator/{}", account(&number()?));
        api::call(http::request(method, "api", path).json(&json!({ "recipient": conversation.id })))?;
        Ok(())
    }

    fn fetch_media(&self, attachment: Attachment) -> Result<String, Failure> {
        media::fetch(&attachment)
    }
}

#[cfg(test)]
mod tests;
