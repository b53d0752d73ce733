//! The contract's request as a chat-completions body.

use crate::options::{Options, TokensField};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_provider_wire::json;
use carapace_sdk::provider::{Failure, FailureKind};
use carapace_sdk::provider::{Image, Message, Part, Request, Role, ToolCall, ToolChoice, ToolResult};
use serde_json::{Map, Value, json};

/// Fields that only the contract may fill: `extra` and `extraBody` must not turn a stream into something else.
const OURS: [&str; 5] = ["messages", "stream", "n", "tools", "functions"];

/// What is changed in the body after a server refused a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) tokens_field: TokensField,
    pub(crate) stream_options: bool,
    pub(crate) temperature: bool,
}

pub(crate) fn body(request: &Request, options: &Options, shape: Shape) -> Result<Vec<u8>, Failure> {
    let mut body = Map::new();
    let model = if request.model.is_empty() { options.model.as_deref().unwrap_or_default() } else { &request.model };
    if model.is_empty() {
        return Err(Failure::new(
            FailureKind::InvalidRequest,
            "no model was named; name one, or set `model` in the instance's config",
        ));
    }
    body.insert("model".into(), model.into());
    body.insert("messages".into(), Value::Array(messages(&request.messages)));
    body.insert("stream".into(), true.into());
    if shape.stream_options {
        body.insert("stream_options".into(), json!({ "include_usage": true }));
    }
    if let Some(n) = request.max_output {
        body.insert(shape.tokens_field.name().into(), n.into());
    }
    if let Some(t) = request.temperature.filter(|_| shape.temperature) {
        body.insert("temperature".into(), json::short(t));
    }
    if let Some(p) = request.top_p {
        body.insert("top_p".into(), json::short(p));
    }
    if let Some(seed) = request.seed {
        body.insert("seed".into(), seed.into());
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), request.stop.clone().into());
    }
    if !request.tools.is_empty() {
        let mut tools = Vec::with_capacity(request.tools.len());
        for t in &request.tools {
            let parameters = json::schema(&t.parameters, &format!("the schema of the tool `{}`", t.name))?;
            tools.push(json!({ "type": "function", "function": { "name": t.name, "description": t.description, "parameters": parameters } }));
        }
        body.insert("tools".into(), Value::Array(tools));
        let choice = match &request.tool_choice {
            // The default everywhere; some small servers refuse the field.
            ToolChoice::Auto => None,
            ToolChoice::None => Some("none".into()),
            ToolChoice::Required => Some("required".into()),
            ToolChoice::Named(name) => Some(json!({ "type": "function", "function": { "name": name } })),
        };
        if let Some(choice) = choice {
            body.insert("tool_choice".into(), choice);
        }
    }
    if let Some(text) = &request.json_schema {
        let schema = json::schema(text, "the schema of the answer")?;
        body.insert(
            "response_format".into(),
            json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": true } }),
        );
    }
    json::extend(&mut body, &options.extra_body, &request.extra, &OURS);
    serde_json::to_vec(&body).map_err(|e| Failure::new(FailureKind::InvalidRequest, e.to_string()))
}

fn messages(messages: &[Message]) -> Vec<Value> {
    let mut out = Vec::with_capacity(messages.len());
    for m in messages {
        match m.role {
            Role::System => out.push(json!({ "role": "system", "content": text(&m.parts) })),
            Role::Assistant => out.push(assistant(&m.parts)),
            Role::User | Role::Tool => outside(m, &mut out),
        }
    }
    out
}

fn text(parts: &[Part]) -> String {
    let texts: Vec<&str> =
        parts.iter().filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect();
    texts.join("\n")
}

/// Reasoning is not sent back: no chat-completions server wants it, and some refuse it.
fn assistant(parts: &[Part]) -> Value {
    let text = text(parts);
    let calls: Vec<Value> =
        parts.iter().filter_map(|p| if let Part::ToolCall(c) = p { Some(call(c)) } else { None }).collect();
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
    let mut m = json!({ "role": "assistant", "content": content });
    if let (false, Some(fields)) = (calls.is_empty(), m.as_object_mut()) {
        fields.insert("tool_calls".into(), Value::Array(calls));
    }
    m
}

fn call(c: &ToolCall) -> Value {
    // What a model once garbled would make a strict server refuse the whole conversation.
    let arguments = match serde_json::from_str::<Value>(&c.arguments) {
        Ok(Value::Object(_)) => c.arguments.as_str(),
        _ => "{}",
    };
    json!({ "id": c.id, "type": "function", "function": { "name": c.name, "arguments": arguments } })
}

/// A message from outside the model. Each tool result is a message of its own, right after the calls; images cannot stand
/// in one and follow as the user's.
fn outside(m: &Message, out: &mut Vec<Value>) {
    let mut content = Vec::new();
    for part in &m.parts {
        match part {
            Part::ToolResult(r) => out.push(result(r)),
            Part::Text(t) => content.push(json!({ "type": "text", "text": t })),
            Part::Image(i) => content.push(image(i)),
            Part::Reasoning(_) | Part::ToolCall(_) | Part::Other(_) => {}
        }
    }
    let only_text = content.iter().all(|c| c.get("image_url").is_none());
    let had_results = m.parts.iter().any(|p| matches!(p, Part::ToolResult(_)));
    if content.is_empty() && had_results {
        return;
    }
    // Plain text where plain text will do: not every server takes parts.
    let content = if only_text { text(&m.parts).into() } else { Value::Array(content) };
    out.push(json!({ "role": "user", "content": content }));
}

fn result(r: &ToolResult) -> Value {
    let content = if r.is_error { format!("Error: {}", r.content) } else { r.content.clone() };
    json!({ "role": "tool", "tool_call_id": r.call_id, "content": content })
}

fn image(i: &Image) -> Value {
    json!({ "type": "image_url", "image_url": { "url": format!("data:{};base64,{}", i.mime, STANDARD.encode(&i.data)) } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_provider_wire::testing::request;
    use carapace_sdk::provider::ToolSpec;

    const SHAPE: Shape = Shape { tokens_field: TokensField::MaxTokens, stream_options: true, temperature: true };

    fn written(r: &Request) -> Value {
        serde_json::from_slice(&body(r, &Options::default(), SHAPE).unwrap()).unwrap()
    }

    #[test]
    fn a_plain_question_is_a_small_body() {
        let r = request(vec![
            (Role::System, vec![Part::Text("s".into())]),
            (Role::User, vec![Part::Text("a".into()), Part::Text("b".into())]),
        ]);
        assert_eq!(
            written(&r),
            json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true },
                "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "a\nb" }] })
        );
    }

    #[test]
    fn calls_and_results_keep_their_ids_and_order() {
        let call = |id: &str, arguments: &str| {
            Part::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into(), extra: vec![] })
        };
        let result = |id: &str, is_error| {
            Part::ToolResult(ToolResult { call_id: id.into(), name: "f".into(), content: "r".into(), is_error })
        };
        let picture = Part::Image(Image { mime: "image/png".into(), data: vec![1, 2, 3] });
        let r = request(vec![
            (Role::Assistant, vec![Part::Reasoning("hm".into()), call("a", "{\"x\": 1}"), call("b", "{\"x\":")]),
            (Role::Tool, vec![result("a", false), picture.clone(), result("b", true)]),
            (Role::User, vec![Part::Text("look".into()), picture]),
        ]);
        let url = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AQID" } });
        assert_eq!(
            written(&r)["messages"],
            json!([
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
                    { "id": "b", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                ] },
                { "role": "tool", "tool_call_id": "a", "content": "r" },
                { "role": "tool", "tool_call_id": "b", "content": "Error: r" },
                { "role": "user", "content": [url] },
                { "role": "user", "content": [{ "type": "text", "text": "look" }, url] },
            ])
        );
    }

    #[test]
    fn every_option_finds_its_field() {
        let mut r = request(vec![]);
        r.tools =
            vec![ToolSpec { name: "f".into(), description: "d".into(), parameters: "{\"type\":\"object\"}".into() }];
        r.tool_choice = ToolChoice::Named("f".into());
        (r.max_output, r.temperature, r.top_p, r.seed) = (Some(9), Some(0.2), Some(0.9), Some(7));
        r.stop = vec!["x".into()];
        r.json_schema = Some("{\"type\":\"object\"}".into());
        r.extra = vec![
            ("reasoning_effort".into(), "low".into()),
            ("top_k".into(), "3".into()),
            ("stream".into(), "false".into()),
        ];
        let w = written(&r);
        assert_eq!(
            (&w["max_tokens"], &w["temperature"], &w["top_p"], &w["seed"]),
            (&json!(9), &json!(0.2), &json!(0.9), &json!(7))
        );
        assert_eq!(w["tool_choice"], json!({ "type": "function", "function": { "name": "f" } }));
        assert_eq!(w["tools"][0]["function"]["parameters"], json!({ "type": "object" }));
        assert_eq!(w["response_format"]["json_schema"]["schema"], json!({ "type": "object" }));
        assert_eq!((&w["reasoning_effort"], &w["top_k"], &w["stream"]), (&json!("low"), &json!(3), &json!(true)));
        let options = Options {
            extra_body: json!({ "messages": [], "user": "u" }).as_object().unwrap().clone(),
            ..Options::default()
        };
        let shape = Shape { tokens_field: TokensField::MaxCompletionTokens, stream_options: false, temperature: false };
        let w: Value = serde_json::from_slice(&body(&r, &options, shape).unwrap()).unwrap();
        assert_eq!((&w["max_completion_tokens"], &w["user"]), (&json!(9), &json!("u")));
        assert!(w.get("max_tokens").is_none() && w.get("stream_options").is_none() && w.get("temperature").is_none());
    }

    #[test]
    fn a_request_without_a_model_takes_the_configured_one_or_says_so() {
        let mut r = request(vec![]);
        r.model.clear();
        assert!(body(&r, &Options::default(), SHAPE).unwrap_err().message.contains("no model"));
        let o = Options { model: Some("own".into()), ..Options::default() };
        let w: Value = serde_json::from_slice(&body(&r, &o, SHAPE).unwrap()).unwrap();
        assert_eq!(w["model"], "own");
    }
}
