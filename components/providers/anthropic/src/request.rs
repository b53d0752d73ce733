//! The contract's request as a Messages body. <https://platform.claude.com/docs/en/api/messages>

use crate::options::{Cache, Options, Thinking};
use crate::rules::{Rules, Sampling};
use crate::shape::Shape;
use crate::thoughts;
use crate::turns::{Turn, turns};
use carapace_provider_wire::json;
use carapace_sdk::provider::{Failure, FailureKind, Part, Request, Role, ToolChoice};
use serde_json::{Map, Value, json};

/// Fields that only the contract may fill: `extra` and `extraBody` must not turn a stream into something else.
const OURS: [&str; 5] = ["messages", "stream", "tools", "system", "max_tokens"];

/// The tool by which a model answers that follows no schema by itself.
pub(crate) const ANSWER: &str = "answer";

/// The model that is asked.
pub(crate) fn model<'a>(request: &'a Request, options: &'a Options) -> Result<&'a str, Failure> {
    let own = options.model.as_deref().unwrap_or_default();
    let model = if request.model.is_empty() { own } else { &request.model };
    if model.is_empty() {
        return Err(Failure::new(
            FailureKind::InvalidRequest,
            "no model was named; name one, or set `model` in the instance's config",
        ));
    }
    Ok(model)
}

pub(crate) fn body(request: &Request, options: &Options, shape: Shape) -> Result<Vec<u8>, Failure> {
    let model = model(request, options)?;
    let mut turns = turns(&request.messages, shape.thoughts.then_some(model));
    let shape = settled(shape, &turns);
    let mut system = system(request);
    let mut tools = tools(request)?;
    let mut output = Map::new();
    let mut choice = choice(request);
    if let Some(text) = &request.json_schema {
        let schema = json::schema(text, "the schema of the answer")?;
        if shape.schema {
            output.insert("format".into(), json!({ "type": "json_schema", "schema": closed(schema) }));
        } else if tools.is_empty() {
            tools.push(json!({ "name": ANSWER, "description": "Gives the answer.", "input_schema": schema }));
            choice = Some(json!({ "type": "tool", "name": ANSWER }));
        } else {
            return Err(Failure::new(
                FailureKind::InvalidRequest,
                format!(
                    "`{model}` can follow a schema only in a request without tools; leave one of them out, or name a later model"
                ),
            ));
        }
    }
    if let Some(effort) = shape.effort {
        output.insert("effort".into(), effort.into());
    }
    mark(shape.cache, &mut tools, &mut system, &mut turns);

    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("max_tokens".into(), max_tokens(request, options, shape, model).into());
    body.insert("stream".into(), true.into());
    if !system.is_empty() {
        body.insert("system".into(), Value::Array(system));
    }
    body.insert("messages".into(), turns.into_iter().map(message).collect());
    if !tools.is_empty() {
        body.insert("tools".into(), Value::Array(tools));
        body.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    }
    body.extend(thinking(shape).map(|thinking| ("thinking".to_owned(), thinking)));
    if !output.is_empty() {
        body.insert("output_config".into(), Value::Object(output));
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), request.stop.clone().into());
    }
    sampling(request, shape, &mut body);
    json::extend(&mut body, &options.extra_body, &request.extra, &OURS);
    serde_json::to_vec(&body).map_err(|e| Failure::invalid_request(e.to_string()))
}

/// A turn of tool calls that began without thinking goes on without a budget for it: the server insists that one begins with a thought.
fn settled(shape: Shape, turns: &[Turn]) -> Shape {
    let is = |b: &Value, kind: &str| b.get("type").and_then(Value::as_str) == Some(kind);
    let open = turns.last().is_some_and(|t| t.blocks.iter().any(|b| is(b, "tool_result")));
    let begins = turns.iter().rev().find(|t| t.assistant).and_then(|t| t.blocks.first());
    let torn = open && begins.is_some_and(|b| !thoughts::is_thought(b));
    let thinking = shape.thinking.filter(|t| !(torn && matches!(t, Thinking::Budget(_))));
    Shape { thinking, ..shape }
}

fn system(request: &Request) -> Vec<Value> {
    let parts = request.messages.iter().filter(|m| m.role == Role::System).flat_map(|m| &m.parts);
    parts
        .filter_map(|p| match p {
            Part::Text(t) if !t.trim().is_empty() => Some(json!({ "type": "text", "text": t })),
            _ => None,
        })
        .collect()
}

fn tools(request: &Request) -> Result<Vec<Value>, Failure> {
    let tool = |t: &carapace_sdk::provider::ToolSpec| {
        let schema = json::schema(&t.parameters, &format!("the schema of the tool `{}`", t.name))?;
        Ok(json!({ "name": t.name, "description": t.description, "input_schema": schema }))
    };
    request.tools.iter().map(tool).collect()
}

fn choice(request: &Request) -> Option<Value> {
    match &request.tool_choice {
        // The default.
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!({ "type": "none" })),
        ToolChoice::Required => Some(json!({ "type": "any" })),
        ToolChoice::Named(name) => Some(json!({ "type": "tool", "name": name })),
    }
}

/// A budget for thinking comes on top of the answer's length, because the server counts both.
fn max_tokens(request: &Request, options: &Options, shape: Shape, model: &str) -> u32 {
    let answer = request.max_output.or(options.max_tokens).unwrap_or_else(|| Rules::of(model).max_tokens);
    match shape.thinking {
        Some(Thinking::Budget(tokens)) => answer.saturating_add(tokens),
        _ => answer,
    }
}

fn thinking(shape: Shape) -> Option<Value> {
    let mut value = match shape.thinking? {
        Thinking::Off => return Some(json!({ "type": "disabled" })),
        Thinking::Adaptive => json!({ "type": "adaptive" }),
        Thinking::Budget(tokens) => json!({ "type": "enabled", "budget_tokens": tokens }),
    };
    if let (Some(display), Some(fields)) = (shape.display, value.as_object_mut()) {
        fields.insert("display".into(), display.into());
    }
    Some(value)
}

/// Thinking forbids both; some models take one of them; the server's scale for temperature ends at 1.
fn sampling(request: &Request, shape: Shape, body: &mut Map<String, Value>) {
    if shape.thinks() || shape.sampling == Sampling::None {
        return;
    }
    if let Some(t) = request.temperature {
        body.insert("temperature".into(), json::short(t.min(1.0)));
    }
    if let Some(p) = request.top_p.filter(|_| shape.sampling == Sampling::Both || request.temperature.is_none()) {
        body.insert("top_p".into(), json::short(p));
    }
}

/// The server takes only objects that name all their fields.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            let is_object =
                fields.get("type").and_then(Value::as_str) == Some("object") || fields.contains_key("properties");
            for value in fields.values_mut() {
                *value = closed(value.take());
            }
            if is_object {
                fields.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = closed(item.take());
            }
        }
        _ => {}
    }
    schema
}

fn message(turn: Turn) -> Value {
    json!({ "role": if turn.assistant { "assistant" } else { "user" }, "content": turn.blocks })
}

/// Marks where the server may keep what it has read: after the tools, after the instructions, and at the end of the last two turns of the
/// person's side, so that the next request finds the one before. Four marks are what there may be.
/// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>
fn mark(cache: Cache, tools: &mut [Value], system: &mut [Value], turns: &mut [Turn]) {
    let control = match cache {
        Cache::Off => return,
        Cache::Minutes => json!({ "type": "ephemeral" }),
        Cache::Hour => json!({ "type": "ephemeral", "ttl": "1h" }),
    };
    let heard = turns.iter_mut().rev().filter(|t| !t.assistant).take(2).filter_map(|t| t.blocks.last_mut());
    for block in tools.last_mut().into_iter().chain(system.last_mut()).chain(heard) {
        if let Some(fields) = block.as_object_mut() {
            fields.insert("cache_control".into(), control.clone());
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
