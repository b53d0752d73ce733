//! `input`: a text, or the items of a conversation.

use crate::http::error::ApiError;
use crate::http::openai::content::{parts, text_of};
use carapace_contract::message::{Message, Part, Role, ToolCall, ToolResult};
use serde_json::Value;

/// Messages with the name of the field that says whose they are.
type Said = Vec<(String, Message)>;

/// Instructions among the items, and what was said. Calls of one answer become one message, as models know them.
pub(crate) fn items(input: Option<Value>) -> Result<(Vec<String>, Said), ApiError> {
    let items = match input {
        Some(Value::Array(items)) => items,
        Some(text @ Value::String(_)) => {
            let parts = parts(Some(text), "input")?;
            return Ok((Vec::new(), vec![("input".to_owned(), Message { role: Role::User, parts })]));
        }
        _ => return Err(ApiError::bad("input", "input must be a string or an array of items")),
    };
    let (mut instructions, mut said) = (Vec::new(), Said::new());
    for (i, mut item) in items.into_iter().enumerate() {
        let at = format!("input[{i}]");
        let kind = format!("{at}.type");
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                let content = item.get_mut("content").map(Value::take);
                let parts = parts(content, &format!("{at}.content"))?;
                let whose = format!("{at}.role");
                let role = match item.get("role").and_then(Value::as_str) {
                    Some("system" | "developer") => {
                        instructions.push(text_of(&parts));
                        continue;
                    }
                    Some("user") => Role::User,
                    Some("assistant") => Role::Assistant,
                    other => {
                        let must = "it must be system, developer, user or assistant";
                        return Err(ApiError::bad(&whose, format!("{whose} is {other:?}; {must}")));
                    }
                };
                said.push((whose, Message { role, parts }));
            }
            "function_call" => {
                let call = Part::ToolCall(ToolCall {
                    id: text(&item, &at, "call_id")?,
                    name: text(&item, &at, "name")?,
                    arguments: text(&item, &at, "arguments")?,
                });
                match said.last_mut() {
                    Some((_, last)) if last.role == Role::Assistant => last.parts.push(call),
                    _ => said.push((kind, Message { role: Role::Assistant, parts: vec![call] })),
                }
            }
            "function_call_output" => {
                let call_id = text(&item, &at, "call_id")?;
                let output = item.get_mut("output").map(Value::take);
                let content = text_of(&parts(output, &format!("{at}.output"))?);
                let name = name_of(&said, &call_id);
                let result = Part::ToolResult(ToolResult { call_id, name, content, is_error: false });
                said.push((kind, Message { role: Role::Tool, parts: vec![result] }));
            }
            // Another model's thought, as its client handed it back: nothing the assistant could read.
            "reasoning" => {}
            other => {
                let takes = "the assistant takes message, function_call, function_call_output and reasoning";
                return Err(ApiError::bad(&kind, format!("{kind} is {other:?}; {takes}")));
            }
        }
    }
    Ok((instructions, said))
}

fn text(item: &Value, at: &str, field: &str) -> Result<String, ApiError> {
    let text = item.get(field).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| ApiError::bad(format!("{at}.{field}"), format!("{at}.{field} must be a string")))
}

/// An output names its call only.
fn name_of(said: &Said, call_id: &str) -> String {
    let calls = said.iter().rev().flat_map(|(_, m)| &m.parts);
    let named = calls.filter_map(|p| if let Part::ToolCall(call) = p { Some(call) } else { None });
    named.into_iter().find(|call| call.id == call_id).map(|call| call.name.clone()).unwrap_or_default()
}
