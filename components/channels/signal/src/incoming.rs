//! Envelopes, as signal-cli writes them. They are read as values: some versions repeat a field, and the last one counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_sdk::channel::{Attachment, Conversation, Message, Outcome, Sender};
use carapace_sdk::log;
use serde_json::Value;

/// What an envelope brings. Receipts, reactions, typing, and what other devices of the account sent are none of ours.
pub(crate) fn envelope<S>(outcome: Outcome<S>, data: &[u8], number: &str) -> Outcome<S> {
    let Ok(whole) = serde_json::from_slice::<Value>(data) else {
        log::warn("passed over, for it is no JSON");
        return outcome;
    };
    if let Some(error) = text(&whole, "error") {
        log::warn(format!("signal-cli could not read a message: {error}"));
        return outcome;
    }
    let envelope = whole.get("envelope").unwrap_or(&whole);
    if let Some(edit) = envelope.get("editMessage").filter(|e| e.is_object()) {
        let target = edit.get("targetSentTimestamp").and_then(Value::as_u64);
        let said = edit.get("dataMessage").and_then(|d| said(envelope, d, number));
        return match (target, said) {
            (Some(target), Some(said)) => {
                let key = format!("edit:{}", said.key);
                outcome.edited(Message { key, id: id(target, &said.sender.id), ..said })
            }
            _ => outcome,
        };
    }
    match envelope.get("dataMessage").and_then(|d| said(envelope, d, number)) {
        Some(said) => outcome.message(said),
        None => outcome,
    }
}

/// What tells a message from its neighbours.
pub(crate) fn cursor(data: &Value) -> String {
    let envelope = data.get("envelope").unwrap_or(data);
    let at = envelope.get("timestamp").and_then(Value::as_u64).unwrap_or(0);
    format!("{}:{at}", who(envelope).unwrap_or_default())
}

/// When a message was written, and by whom: what a quotation names it by.
fn id(at: u64, who: &str) -> String {
    format!("{at}:{who}")
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// Whom an envelope is of: an account's id stays when its number changes, or is hidden.
fn who(envelope: &Value) -> Option<&str> {
    ["sourceUuid", "sourceNumber", "source"].into_iter().find_map(|key| text(envelope, key))
}

fn said(envelope: &Value, data: &Value, number: &str) -> Option<Message> {
    let at = data.get("timestamp").or_else(|| envelope.get("timestamp")).and_then(Value::as_u64)?;
    let who = who(envelope)?;
    let words = text(data, "message").unwrap_or_default();
    let files: Vec<Attachment> = list(data, "attachments").iter().filter_map(file).collect();
    let sticker = data.get("sticker").is_some_and(Value::is_object);
    if words.is_empty() && files.is_empty() && !sticker {
        // A reaction, a deletion, a change of the group.
        return None;
    }
    let conversation = match data.get("groupInfo").and_then(|g| text(g, "groupId").map(|id| (id, g))) {
        // As the interface names it: https://github.com/bbernhard/signal-cli-rest-api
        Some((group, info)) => {
            Conversation::group(format!("group.{}", STANDARD.encode(group)), text(info, "groupName").map(str::to_owned))
        }
        None => Conversation::direct(who),
    };
    let is_mine = |account: &Value, key: &str| text(account, key) == Some(number);
    let mentions = list(data, "mentions");
    let quote = data.get("quote").filter(|q| q.is_object());
    let quotes_me = quote.is_some_and(|q| is_mine(q, "authorNumber") || is_mine(q, "author"));
    let sender = Sender {
        id: who.to_owned(),
        name: text(envelope, "sourceName").unwrap_or(who).to_owned(),
        is_bot: false,
        is_me: is_mine(envelope, "sourceNumber"),
    };
    let words = if words.is_empty() && sticker { "[a sticker]".to_owned() } else { named(words, mentions) };
    let key = id(at, who);
    let mut message = Message::new(key.clone(), key, conversation, sender, words);
    message.mentions_me = quotes_me || mentions.iter().any(|m| is_mine(m, "number"));
    message.at_ms = Some(at);
    message.attachments = files;
    message.reply_to = quote.and_then(|q| {
        let author = ["authorUuid", "authorNumber", "author"].into_iter().find_map(|key| text(q, key))?;
        Some(id(q.get("id").and_then(Value::as_u64)?, author))
    });
    Some(message)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn file(file: &Value) -> Option<Attachment> {
    Some(Attachment {
        reference: text(file, "id")?.to_owned(),
        name: text(file, "filename").map(str::to_owned),
        mime: text(file, "contentType").map(str::to_owned),
        size: file.get("size").and_then(Value::as_u64),
        extra: Vec::new(),
    })
}

/// Mentions stand in the text as a sign each, in UTF-16 places.
fn named(words: &str, mentions: &[Value]) -> String {
    let mut units: Vec<u16> = words.encode_utf16().collect();
    let mut places: Vec<(usize, usize, &str)> = mentions
        .iter()
        .filter_map(|m| {
            let place = |key: &str| m.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            Some((place("start")?, place("length")?, text(m, "name").or_else(|| text(m, "number"))?))
        })
        .collect();
    // From behind, so that those before stay where they are.
    places.sort_by_key(|(start, ..)| std::cmp::Reverse(*start));
    for (start, length, name) in places {
        let Some(end) = start.checked_add(length).filter(|end| *end <= units.len()) else { continue };
        let name: Vec<u16> = format!("@{name}").encode_utf16().collect();
        units.splice(start..end, name);
    }
    String::from_utf16_lossy(&units)
}
