//! Programs on this computer as chat partners: a line in is a message of the owner's, an answer is a line out.
//!
//! A line is the text itself, or with `format: "json"` an object, in both directions; see [`Said`] and [`Answer`].

use carapace_sdk::channel::{
    Channel, Content, Conversation, Description, Event, Failure, Line, Message, Outcome, Outgoing, Part, Receipt,
    Sender, TextUnit, pieces,
};
use carapace_sdk::{config, lines};
use serde::{Deserialize, Serialize};

/// Bytes of one line out.
const LIMIT: u32 = 64 << 10;
/// For so long a program knows what it has seen, s: a line that is written twice has the same key, and is shown once.
const KNOWN_S: u32 = 86_400;

/// The component.
#[derive(Debug, Default)]
pub struct Console;

carapace_sdk::component!(Console: Channel);

/// The instance's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    format: Format,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The line is the text.
    #[default]
    Text,
    /// The line is an object.
    Json,
}

/// What a program says with `format: "json"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    text: String,
    /// Told with the answer; the line's own if it is missing.
    id: Option<String>,
    /// Another conversation of the same program's.
    thread: Option<String>,
}

/// What a program gets with `format: "json"`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    text: &'a str,
    /// The `id` of what is answered; nothing if nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<&'a str>,
    /// A long answer is several lines; more follow.
    more: bool,
}

impl Channel for Console {
    type State = ();

    fn describe(&self) -> Description {
        Description {
            text_limit: LIMIT,
            text_unit: TextUnit::Bytes,
            key_window_s: KNOWN_S,
            file_limit: 0,
            typing: None,
            edits: None,
            extra: Vec::new(),
        }
    }

    fn start(&self, (): ()) -> Result<Outcome<()>, Failure> {
        config::get::<Config>()?;
        Ok(Outcome::new(()).idle())
    }

    fn on_event(&self, (): (), event: Event, _attempt: u32) -> Result<Outcome<()>, Failure> {
        let Event::Line(line) = event else { return Ok(Outcome::new(())) };
        let outcome = Outcome::new(());
        Ok(match message(config::get::<Config>()?.format, line) {
            Ok(message) => outcome.message(message),
            Err(why) => outcome.refuse_line(why),
        })
    }

    fn render(&self, conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        let texts = pieces(content.text.trim(), LIMIT, TextUnit::Bytes);
        let last = texts.len();
        // How it is written is decided when it is: the configuration is no part of what was said.
        let part = |(n, text): (usize, &str)| {
            let thread = conversation.thread.as_deref();
            Part::json(text, &Answer { text, answers: content.about(), thread, more: n + 1 < last })
        };
        Ok(texts.into_iter().enumerate().map(part).collect())
    }

    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure> {
        let Outgoing { conversation, part, key, .. } = outgoing;
        let text = match config::get::<Config>()?.format {
            Format::Text => part.text,
            Format::Json => String::from_utf8(part.data).map_err(|e| Failure::last(e.to_string()))?,
        };
        // If it is not there: the kernel tries again, and at once when it comes back.
        lines::write(&conversation.id, &key, &text)?;
        Ok(Receipt::new(key))
    }
}

/// What a line says. What is wrong with it is for whoever wrote it.
fn message(format: Format, line: Line) -> Result<Message, String> {
    let Line { client, id: key, text } = line;
    let (text, id, thread) = match format {
        Format::Text => (text, key.clone(), None),
        Format::Json => {
            let said: Said = serde_json::from_str(&text).map_err(|e| {
                format!(
                    "this console takes JSON, such as {{\"text\": \"hello\", \"id\": \"1\", \"thread\": \"work\"}}: {e}"
                )
            })?;
            (said.text, said.id.unwrap_or_else(|| key.clone()), said.thread)
        }
    };
    for (what, id) in [("id", Some(&id)), ("thread", thread.as_ref())] {
        if id.is_some_and(|id| id.is_empty() || id.len() > 256 || id.contains(char::is_control)) {
            return Err(format!("`{what}` has 1 to 256 bytes and no control characters"));
        }
    }
    // What the kernel takes for the owner's own: the conversation and its only partner are the program.
    let mut conversation = Conversation::direct(client.clone());
    conversation.thread = thread;
    Ok(Message::new(key, id, conversation, Sender::person(client.clone(), client), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_sdk::testing::TestHost;
    use serde_json::{Value, json};

    const NOTHING: Value = Value::Null;

    #[carapace_sdk::test]
    fn a_line_is_a_message_of_its_programs(host: &mut TestHost) {
        let led = host.channel_event(&NOTHING, Event::line("editor", "7", "What is\nnew?")).unwrap();
        let [message] = &led.messages()[..] else { panic!("{led:?}") };
        assert_eq!((message.text.as_str(), message.key.as_str(), message.id.as_str()), ("What is\nnew?", "7", "7"));
        assert_eq!((message.conversation.id.as_str(), message.sender.id.as_str()), ("editor", "editor"));
    }

    #[carapace_sdk::test]
    fn an_object_names_itself_and_its_thread(host: &mut TestHost) {
        host.config(json!({ "format": "json" }));
        let line = json!({ "text": "hi", "id": "q-1", "thread": "work" }).to_string();
        let led = host.channel_event(&NOTHING, Event::line("editor", "7", line)).unwrap();
        let [message] = &led.messages()[..] else { panic!("{led:?}") };
        assert_eq!((message.text.as_str(), message.key.as_str(), message.id.as_str()), ("hi", "7", "q-1"));
        assert_eq!(message.conversation.thread.as_deref(), Some("work"));
    }

    #[carapace_sdk::test]
    fn whoever_writes_something_else_is_told_what_is_wrong(host: &mut TestHost) {
        host.config(json!({ "format": "json" }));
        for (line, what) in [
            ("hello", "takes JSON"),
            (r#"{"txt": "hello"}"#, "txt"),
            (r#"{"text": "hello", "id": ""}"#, "`id`"),
            (r#"{"text": "hello", "thread": "a\nb"}"#, "`thread`"),
        ] {
            let led = host.channel_event(&NOTHING, Event::line("editor", "7", line)).unwrap();
            let answer = led.outcome.response.clone().unwrap();
            assert!(led.messages().is_empty() && answer.status == 400, "{line}");
            assert!(String::from_utf8_lossy(&answer.body).contains(what), "{line}: {answer:?}");
        }
    }

    #[carapace_sdk::test]
    fn an_answer_waits_until_its_program_is_there(host: &mut TestHost) {
        let to = Conversation::direct("editor");
        let part = host.render(&to, "Hello.").unwrap().remove(0);
        assert!(host.send_part(&to, part.clone(), "k").unwrap_err().retryable);
        host.attached("editor");
        host.send_part(&to, part.clone(), "k").unwrap();
        host.config(json!({ "format": "json" }));
        host.send_part(&to, part, "l").unwrap();
        let answer = host.render_answer(&to, "Yes.", "q-1").unwrap().remove(0);
        host.send_part(&to, answer, "m").unwrap();
        let said = |key: &str, text: &str| ("editor".to_owned(), key.to_owned(), text.to_owned());
        assert_eq!(
            host.written(),
            [
                said("k", "Hello."),
                said("l", r#"{"text":"Hello.","more":false}"#),
                said("m", r#"{"text":"Yes.","answers":"q-1","more":false}"#),
            ]
        );
    }

    #[carapace_sdk::test]
    fn a_long_answer_says_that_more_follows(host: &mut TestHost) {
        let text = "a line of text\n".repeat(10_000);
        let parts = host.render(&Conversation::direct("a"), &text).unwrap();
        assert!(parts.iter().all(|p| p.text.len() <= LIMIT as usize));
        assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<String>(), text.trim());
        let more = |p: &Part| serde_json::from_slice::<Value>(&p.data).unwrap()["more"] == true;
        assert_eq!(parts.iter().map(more).collect::<Vec<_>>(), [true, true, false]);
    }

    #[carapace_sdk::test]
    fn a_wrong_configuration_is_said_at_the_start(host: &mut TestHost) {
        host.config(json!({ "format": "xml" }));
        assert!(host.start_channel(None).unwrap_err().message.contains("xml"));
    }
}
