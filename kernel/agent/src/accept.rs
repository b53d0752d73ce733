//! What a turn must look like to be accepted.

use crate::problem::turn;
use carapace_contract::decision::Origin;
use carapace_contract::message::{Message, Part};
use carapace_contract::turn::{TurnError, TurnRequest};

/// Bytes of a message's text.
const MOST_TEXT: usize = 1 << 20;
/// Bytes of a message's images, in Base64.
const MOST_IMAGES: usize = 32 << 20;
/// Messages of a history.
const MOST_HISTORY: usize = 4_096;
/// Bytes of a history.
const MOST_HISTORY_BYTES: usize = 32 << 20;

/// Refuses what cannot be run, saying what to change.
pub(crate) fn check(request: &TurnRequest) -> Result<(), TurnError> {
    let refuse = |what: String| Err(turn("E-TURN-001", what, false));
    let length = request.session.chars().count();
    if length == 0 || length > 256 || request.session.len() > 512 || request.session.chars().any(char::is_control) {
        return refuse(format!(
            "a session key is 1 to 256 printable characters (at most 512 bytes), this one has {length} or holds control characters"
        ));
    }
    if let Some(key) = &request.idempotency_key
        && (key.is_empty() || key.len() > 256 || key.chars().any(char::is_control))
    {
        return refuse("an idempotency key is 1 to 256 printable bytes".to_owned());
    }
    let (mut text, mut images) = (0, 0);
    for part in &request.parts {
        match part {
            Part::Text { text: t } => text += t.len(),
            Part::Image { data, .. } => images += data.len(),
            // Kept apart, within bounds of its own.
            Part::Media(_) => {}
            Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) | Part::Other { .. } => {
                return refuse("a message holds text and images only".to_owned());
            }
        }
    }
    if text + images == 0 {
        return refuse("the message is empty; write something".to_owned());
    }
    if text > MOST_TEXT || images > MOST_IMAGES {
        return refuse(format!(
            "the message holds {text} bytes of text and {images} of images; at most {MOST_TEXT} and {MOST_IMAGES} are taken"
        ));
    }
    let bytes: usize = request.history.iter().map(bytes_of).sum();
    if request.history.len() > MOST_HISTORY || bytes > MOST_HISTORY_BYTES {
        return refuse(format!(
            "the history holds {} messages and {bytes} bytes; at most {MOST_HISTORY} and {MOST_HISTORY_BYTES} are taken",
            request.history.len()
        ));
    }
    let trusted = request.origin.acts_for_owner();
    if !trusted && (request.system.is_some() || !request.history.is_empty() || request.model.is_some()) {
        return refuse("instructions, a history and the choice of a model are the owner's; leave them out".to_owned());
    }
    if request.system.as_ref().is_some_and(|s| s.len() > MOST_TEXT) {
        return refuse(format!("the instructions are longer than {MOST_TEXT} bytes"));
    }
    let o = &request.options;
    if o.stop.len() > 16 || o.stop.iter().any(|s| s.is_empty() || s.len() > 1_024) {
        return refuse("at most 16 stop sequences of 1 to 1024 bytes are taken".to_owned());
    }
    if [o.temperature, o.top_p].into_iter().flatten().any(|v| !(0.0..=2.0).contains(&v)) {
        return refuse("`temperature` and `top_p` lie between 0 and 2".to_owned());
    }
    if o.note.as_ref().is_some_and(|note| note.to_string().len() > MOST_TEXT) {
        return refuse(format!("what is to be kept beside the run is longer than {MOST_TEXT} bytes"));
    }
    if let Some(schema) = &o.json_schema
        && (schema.len() > MOST_TEXT || serde_json::from_str::<serde_json::Value>(schema).is_err())
    {
        return refuse("`json_schema` is not JSON, or longer than 1 MiB".to_owned());
    }
    Ok(())
}

fn bytes_of(message: &Message) -> usize {
    let of_part = |p: &Part| match p {
        Part::Text { text } | Part::Reasoning { text } => text.len(),
        Part::Image { data, .. } => data.len(),
        Part::Media(_) => 0,
        Part::ToolCall(c) => c.arguments.len() + c.name.len(),
        Part::ToolResult(r) => r.content.len(),
        Part::Other { value, .. } => value.len(),
    };
    message.parts.iter().map(of_part).sum()
}

/// Text that nobody the owner knows has written.
pub(crate) fn from_outside(origin: Origin) -> bool {
    matches!(origin, Origin::UnknownSender | Origin::Webhook)
}
