//! Any program as a chat partner: it sends messages to a webhook and gets the answers as Standard Webhooks.
//!
//! Where in a request the message stands is configured; see [`Fields`]. An answer is a POST of JSON to the endpoint `out`, signed with
//! the secret `signing-secret` if there is one.

mod fields;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_sdk::channel::{
    Channel, Content, Conversation, Description, Event, Failure, Message, Outcome, Outgoing, Part, Receipt, Sender,
    TextUnit, WebhookRequest, pieces,
};
use carapace_sdk::{clock, config, http, secrets};
use fields::Config;
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of one message out.
const LIMIT: u32 = 32 << 10;

/// The component.
#[derive(Debug, Default)]
pub struct Webhook;

carapace_sdk::component!(Webhook: Channel);

impl Channel for Webhook {
    type State = ();

    fn describe(&self) -> Description {
        // What is wrong with the configuration is said at the start.
        let config: Config = config::get().unwrap_or_default();
        Description {
            text_limit: LIMIT,
            text_unit: TextUnit::Bytes,
            key_window_s: config.dedupe_seconds,
            file_limit: 0,
            typing: None,
            edits: None,
            extra: Vec::new(),
        }
    }

    fn start(&self, (): ()) -> Result<Outcome<()>, Failure> {
        config::get::<Config>()?.check().map_err(Failure::last)?;
        Ok(Outcome::new(()).idle())
    }

    fn on_event(&self, (): (), event: Event, _attempt: u32) -> Result<Outcome<()>, Failure> {
        let Event::Webhook(request) = event else { return Ok(Outcome::new(())) };
        let config: Config = config::get()?;
        let told = |status, body: &Value| Outcome::new(()).respond(status, "application/json", body.to_string());
        Ok(match message(&config, &request) {
            Ok(message) => {
                let body = json!({ "accepted": true, "key": message.key });
                told(202, &body).message(message)
            }
            // To whoever sends: it is authentic, and can be told what is wrong with it.
            Err(why) => told(422, &json!({ "error": why })),
        })
    }

    fn render(&self, _conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        let part = |text: &str| Part::json(text, &json!({ "text": text, "replyTo": content.reply_to }));
        Ok(pieces(content.text.trim(), LIMIT, TextUnit::Bytes).into_iter().map(part).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        let said: Value = outgoing.json()?;
        let Outgoing { conversation, key, .. } = outgoing;
        let body = json!({
            "type": "message",
            "id": key,
            "conversation": conversation.id,
            "thread": conversation.thread,
            "text": said.get("text"),
            "replyTo": said.get("replyTo"),
        })
        .to_string();
        let seconds = (clock::now_ms() / 1_000).to_string();
        let mut request = http::post("out", "/")
            .header("content-type", "application/json")
            .header("webhook-id", key.as_str())
            .header("webhook-timestamp", seconds.as_str());
        if secrets::exists("signing-secret").unwrap_or(false) {
            let signature = secrets::hmac_sha256("signing-secret", format!("{key}.{seconds}.{body}").as_bytes())?;
            request = request.header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)));
        }
        let response = request.body(body).send()?;
        let status = response.status();
        if (200..300).contains(&status) {
            // What it answers is its own affair; an id is useful in lists.
            let answer: Value = response.json().unwrap_or_default();
            let id = answer.get("id").and_then(Value::as_str).unwrap_or(&key);
            return Ok(Receipt::new(id));
        }
        let message = format!("the receiver answered {status}");
        Err(match status {
            408 | 425 | 429 | 500..600 => {
                Failure { retry_after_ms: retry_after(&response), ..Failure::retryable(message) }
            }
            410 => Failure::last(format!("{message}: it wants nothing more")),
            _ => Failure::last(message),
        })
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(response: &http::Response) -> Option<u64> {
    let value = response.header("retry-after")?;
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(&value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(u64::try_from(at.as_millis()).ok()?.saturating_sub(clock::now_ms()))
}

fn message(config: &Config, request: &WebhookRequest) -> Result<Message, String> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|e| format!("the body is not JSON: {e}"))?;
    let fields = &config.fields;
    let find = |source: &str| fields::find(source, request, &body);
    let text = find(&fields.text).ok_or_else(|| format!("there is no text at `{}`", fields.text))?;
    let sender = find(&fields.sender).ok_or_else(|| format!("there is no sender at `{}`", fields.sender))?;
    let conversation = find(&fields.conversation).unwrap_or_else(|| sender.clone());
    // Without a key of the sender's, the signed time and the text are what is the same when it is sent again.
    let key = find(&fields.key).or_else(|| find("header:webhook-id")).ok_or_else(|| {
        format!("there is no key at `{}`: without one, a repeated message could not be told from a new one", fields.key)
    })?;
    let name = find(&fields.name).unwrap_or_else(|| sender.clone());
    let mut message =
        Message::new(key.clone(), key, Conversation::direct(conversation), Sender::person(sender, name), text);
    message.conversation.thread = find(&fields.thread);
    Ok(message)
}

/// How long a receiver remembers a `webhook-id`, if the owner does not say.
pub(crate) const DEDUPE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_sdk::testing::{Answer, TestHost};

    fn webhook(body: &Value) -> Event {
        Event::Webhook(WebhookRequest {
            webhook: "token".to_owned(),
            method: "POST".to_owned(),
            query: "room=blue".to_owned(),
            headers: vec![("x-message".to_owned(), "m-1".to_owned())],
            body: body.to_string().into_bytes(),
        })
    }

    #[carapace_sdk::test]
    fn a_message_is_read_where_the_configuration_says(host: &mut TestHost) {
        host.config(json!({ "fields": {
            "text": "/data/0/body", "sender": "/user/id", "name": "/user/name", "conversation": "query:room", "key": "header:X-Message",
        } }));
        let led = host
            .channel_event(
                &json!(null),
                webhook(&json!({ "data": [{ "body": "hi" }], "user": { "id": 7, "name": "Ann" } })),
            )
            .unwrap();
        let message = &led.messages()[0];
        assert_eq!(
            (message.text.as_str(), message.key.as_str(), message.conversation.id.as_str()),
            ("hi", "m-1", "blue")
        );
        assert_eq!((message.sender.id.as_str(), message.sender.name.as_str()), ("7", "Ann"));
        assert_eq!(led.outcome.response.unwrap().status, 202);
    }

    #[carapace_sdk::test]
    fn what_is_missing_is_named_to_the_sender(host: &mut TestHost) {
        for (body, what) in [
            (json!({ "from": "a", "id": "1" }), "no text at `/text`"),
            (json!({ "text": "x", "id": "1" }), "no sender at `/from`"),
            (json!({ "text": "x", "from": "a" }), "no key at `/id`"),
        ] {
            let led = host.fresh().channel_event(&json!(null), webhook(&body)).unwrap();
            assert!(led.messages().is_empty());
            let response = led.outcome.response.unwrap();
            assert_eq!(response.status, 422);
            assert!(String::from_utf8_lossy(&response.body).contains(what), "{body}");
        }
    }

    #[carapace_sdk::test]
    fn an_answer_is_signed_as_the_standard_says(host: &mut TestHost) {
        // The example of the specification's own tests: its secret, id, time and body are in the end-to-end test against its library.
        host.secret("signing-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").on(
            "POST",
            "out",
            "/",
            Answer::new(200),
        );
        let to = Conversation::direct("ann");
        let part = host.render(&to, "Hello").unwrap().remove(0);
        host.send_part(&to, part, "key-1").unwrap();
        let sent = host.sent().remove(0);
        let header = |name: &str| sent.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
        assert_eq!(header("webhook-id"), "key-1");
        assert!(header("webhook-signature").starts_with("v1,"));
    }

    #[carapace_sdk::test]
    fn a_receiver_that_is_busy_is_asked_again_and_one_that_refuses_is_not(host: &mut TestHost) {
        let to = Conversation::direct("ann");
        for (answer, retryable, after) in [
            (Answer::new(503).header("retry-after", "7"), true, Some(7_000)),
            (Answer::new(429), true, None),
            (Answer::new(404), false, None),
            (Answer::new(410), false, None),
        ] {
            host.fresh().on("POST", "out", "/", answer);
            let part = host.render(&to, "Hello").unwrap().remove(0);
            let failure = host.send_part(&to, part, "k").unwrap_err();
            assert_eq!((failure.retryable, failure.retry_after_ms), (retryable, after), "{}", failure.message);
        }
    }

    #[carapace_sdk::test]
    fn a_long_text_is_cut_at_its_lines(host: &mut TestHost) {
        let text = "line of text\n".repeat(4_000);
        let parts = host.render(&Conversation::direct("a"), &text).unwrap();
        assert!(parts.len() > 1 && parts.iter().all(|p| p.text.len() <= LIMIT as usize));
        assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<String>(), text.trim());
    }

    #[carapace_sdk::test]
    fn a_wrong_configuration_is_said_at_the_start(host: &mut TestHost) {
        host.config(json!({ "fields": { "text": "text" } }));
        assert!(host.start_channel(None).unwrap_err().message.contains("`text`"));
        host.config(json!({ "field": {} }));
        assert!(host.start_channel(None).unwrap_err().message.contains("field"));
    }
}
