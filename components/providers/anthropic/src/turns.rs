//! The conversation as turns that alternate, with what the server insists on: a person speaks first, nothing is empty, and each call has its
//! result in the very next turn, before anything else there.

use crate::thoughts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_provider_wire::json;
use carapace_sdk::provider::{Image, Message, Part, Role, ToolCall, ToolResult};
use serde_json::{Value, json};

/// One turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) assistant: bool,
    pub(crate) blocks: Vec<Value>,
}

/// The media types that are taken. <https://platform.claude.com/docs/en/build-with-claude/vision>
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
/// The largest image: 10 MB in base64.
const MAX_IMAGE: usize = 7_500_000;

/// The turns. `thinker`: the model whose thoughts are given back, if any are.
pub(crate) fn turns(messages: &[Message], thinker: Option<&str>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in messages {
        let (assistant, blocks) = match message.role {
            // Instructions stand apart.
            Role::System => continue,
            Role::Assistant => (true, said(&message.parts, thinker)),
            Role::User | Role::Tool => (false, heard(message)),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.assistant == assistant => last.blocks.extend(blocks),
            _ => turns.push(Turn { assistant, blocks }),
        }
    }
    if turns.first().is_some_and(|first| first.assistant) {
        turns.insert(0, Turn { assistant: false, blocks: vec![text("[the beginning is not shown]")] });
    }
    let mut at = 0;
    while at < turns.len() {
        answer_calls(&mut turns, at);
        at += 1;
    }
    turns
}

/// Blank texts are refused.
fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn some_text(t: &str) -> Option<Value> {
    (!t.trim().is_empty()).then(|| text(t))
}

fn said(parts: &[Part], thinker: Option<&str>) -> Vec<Value> {
    let mut blocks = Vec::new();
    // Thought without its signature cannot be given back.
    let mut thought = String::new();
    for part in parts {
        match part {
            Part::Reasoning(t) => thought.push_str(t),
            Part::Other((name, value)) => {
                let thought = std::mem::take(&mut thought);
                blocks.extend(thinker.and_then(|model| thoughts::block(name, value, &thought, model)));
            }
            Part::Text(t) => blocks.extend(some_text(t)),
            Part::ToolCall(c) => blocks.push(call(c)),
            Part::Image(_) | Part::ToolResult(_) => {}
        }
    }
    blocks
}

fn call(c: &ToolCall) -> Value {
    json!({ "type": "tool_use", "id": id(&c.id), "name": c.name, "input": json::arguments(&c.arguments) })
}

/// Ids of other vendors may hold characters that are refused here.
fn id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// What a tool shows stands in its result; what a person shows stands by itself.
fn heard(message: &Message) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    for part in &message.parts {
        match part {
            Part::ToolResult(r) => blocks.push(result(r)),
            Part::Text(t) => blocks.extend(some_text(t)),
            Part::Image(i) => {
                let inside = (message.role == Role::Tool)
                    .then(|| blocks.last_mut().and_then(|b| b.get_mut("content")).and_then(Value::as_array_mut));
                match inside.flatten() {
                    Some(content) => content.push(image(i)),
                    None => blocks.push(image(i)),
                }
            }
            Part::Reasoning(_) | Part::ToolCall(_) | Part::Other(_) => {}
        }
    }
    blocks
}

fn result(r: &ToolResult) -> Value {
    let content: Vec<Value> = some_text(&r.content).into_iter().collect();
    let mut block = json!({ "type": "tool_result", "tool_use_id": id(&r.call_id), "content": content });
    if let (true, Some(fields)) = (r.is_error, block.as_object_mut()) {
        fields.insert("is_error".into(), true.into());
    }
    block
}

/// One image that the server refuses would make it refuse the whole conversation, now and later: it is said instead.
fn image(i: &Image) -> Value {
    // A common misnomer.
    let mime = if i.mime == "image/jpg" { "image/jpeg" } else { i.mime.as_str() };
    if !IMAGES.contains(&mime) {
        return text(&format!("[an image of type {mime}, which cannot be shown here]"));
    }
    if i.data.len() > MAX_IMAGE {
        return text(&format!("[an image of {} bytes, too large to be shown here]", i.data.len()));
    }
    json!({ "type": "image", "source": { "type": "base64", "media_type": mime, "data": STANDARD.encode(&i.data) } })
}

/// Brings calls and results of one turn and the next together.
fn answer_calls(turns: &mut Vec<Turn>, at: usize) {
    let of = |block: &Value, kind: &str, key: &str| -> Option<String> {
        let is = block.get("type").and_then(Value::as_str) == Some(kind);
        block.get(key).and_then(Value::as_str).filter(|_| is).map(str::to_owned)
    };
    let called: Vec<String> = match at.checked_sub(1).and_then(|before| turns.get(before)) {
        Some(before) if before.assistant => before.blocks.iter().filter_map(|b| of(b, "tool_use", "id")).collect(),
        _ => Vec::new(),
    };
    if let Some(turn) = turns.get_mut(at)
        && !turn.assistant
    {
        let mut results = Vec::new();
        let mut rest = Vec::new();
        for block in std::mem::take(&mut turn.blocks) {
            match of(&block, "tool_result", "tool_use_id") {
                None => rest.push(block),
                Some(id) if called.contains(&id) && !answers(&results, &id) => results.push(block),
                // The call is not shown, or was answered: what is left of it is a text.
                Some(id) => rest.push(text(&format!("[result of the call {id}: {}]", content(&block)))),
            }
        }
        for id in &called {
            if !answers(&results, id) {
                results.push(missing(id));
            }
        }
        results.extend(rest);
        turn.blocks = results;
    }
    let last = at + 1 == turns.len();
    let open: Vec<Value> = match turns.get(at) {
        Some(turn) if turn.assistant && last => {
            turn.blocks.iter().filter_map(|b| of(b, "tool_use", "id")).map(|id| missing(&id)).collect()
        }
        _ => Vec::new(),
    };
    if !open.is_empty() {
        turns.push(Turn { assistant: false, blocks: open });
    }
}

fn answers(results: &[Value], id: &str) -> bool {
    results.iter().any(|r| r.get("tool_use_id").and_then(Value::as_str) == Some(id))
}

fn missing(id: &str) -> Value {
    json!({ "type": "tool_result", "tool_use_id": id, "content": [text("no result")], "is_error": true })
}

fn content(result: &Value) -> String {
    let texts = result.get("content").and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(|b| b.get("text").and_then(Value::as_str)).collect()
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
