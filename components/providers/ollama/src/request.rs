//! The contract's request as a chat body. <https://docs.ollama.com/api/chat>

use crate::options::Options;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_provider_wire::json;
use carapace_sdk::provider::{Failure, FailureKind, Message, Part, Request, Role, ToolCall, ToolChoice, ToolResult};
use serde_json::{Map, Value, json};

/// Fields that only the contract may fill: `extra` and `extraBody` must not turn a stream into something else.
const OURS: [&str; 4] = ["messages", "stream", "tools", "options"];

/// What is left of a request when the server has refused a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) think: bool,
    pub(crate) tools: bool,
}

impl Shape {
    pub(crate) const WHOLE: Self = Self { think: true, tools: true };
}

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
    let mut body = Map::new();
    body.insert("model".into(), model(request, options)?.into());
    body.insert("messages".into(), Value::Array(messages(&request.messages)));
    body.insert("stream".into(), true.into());
    // What does not fit is an error, not a conversation whose beginning is silently forgotten.
    body.insert("truncate".into(), false.into());
    body.insert("shift".into(), false.into());
    let tools = tools(request)?;
    if !tools.is_empty() && shape.tools {
        body.insert("tools".into(), Value::Array(tools));
    }
    if let Some(text) = &request.json_schema {
        body.insert("format".into(), json::schema(text, "the schema of the answer")?);
    }
    if let Some(think) = options.think.as_ref().filter(|_| shape.think) {
        body.insert("think".into(), think.clone());
    }
    if let Some(time) = &options.keep_alive {
        body.insert("keep_alive".into(), time.clone());
    }
    body.insert("options".into(), Value::Object(parameters(request, options)));
    json::extend(&mut body, &options.extra_body, &request.extra, &OURS);
    serde_json::to_vec(&body).map_err(|e| Failure::invalid_request(e.to_string()))
}

/// The owner's own first; what a request says goes before them.
fn parameters(request: &Request, options: &Options) -> Map<String, Value> {
    let mut p = options.parameters.clone();
    let mut set = |key: &str, value: Option<Value>| p.extend(value.map(|v| (key.to_owned(), v)));
    set("num_ctx", options.context.map(Value::from));
    set("num_predict", request.max_output.map(Value::from));
    set("temperature", request.temperature.map(json::short));
    set("top_p", request.top_p.map(json::short));
    // A seed of theirs is a signed number.
    set("seed", request.seed.map(|seed| (seed & i64::MAX.unsigned_abs()).into()));
    set("stop", (!request.stop.is_empty()).then(|| request.stop.clone().into()));
    p
}

fn tools(request: &Request) -> Result<Vec<Value>, Failure> {
    match &request.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => return Ok(Vec::new()),
        ToolChoice::Required | ToolChoice::Named(_) => {
            return Err(Failure::new(
                FailureKind::InvalidRequest,
                "Ollama cannot make a model call a tool; leave the choice to the model, or ask another provider",
            ));
        }
    }
    let tool = |t: &carapace_sdk::provider::ToolSpec| {
        let schema = json::schema(&t.parameters, &format!("the schema of the tool `{}`", t.name))?;
        let function = json!({ "name": t.name, "description": t.description, "parameters": schema });
        Ok(json!({ "type": "function", "function": function }))
    };
    request.tools.iter().map(tool).collect()
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

/// The model's own thought goes back with its calls: some templates want to see it until the turn is over.
fn assistant(parts: &[Part]) -> Value {
    let thought: String =
        parts.iter().filter_map(|p| if let Part::Reasoning(t) = p { Some(t.as_str()) } else { None }).collect();
    let calls: Vec<Value> =
        parts.iter().filter_map(|p| if let Part::ToolCall(c) = p { Some(call(c)) } else { None }).collect();
    let mut message = json!({ "role": "assistant", "content": text(parts) });
    if let Some(fields) = message.as_object_mut() {
        if !thought.is_empty() {
            fields.insert("thinking".into(), thought.into());
        }
        if !calls.is_empty() {
            fields.insert("tool_calls".into(), Value::Array(calls));
        }
    }
    message
}

fn call(c: &ToolCall) -> Value {
    json!({ "id": c.id, "function": { "name": c.name, "arguments": json::arguments(&c.arguments) } })
}

/// A message from outside the model. Each tool result is a message of its own; images follow as the user's.
fn outside(m: &Message, out: &mut Vec<Value>) {
    let mut images: Vec<Value> = Vec::new();
    for part in &m.parts {
        match part {
            Part::ToolResult(r) => out.push(result(r)),
            Part::Image(i) => images.push(STANDARD.encode(&i.data).into()),
            Part::Text(_) | Part::Reasoning(_) | Part::ToolCall(_) | Part::Other(_) => {}
        }
    }
    let text = text(&m.parts);
    let had_results = m.parts.iter().any(|p| matches!(p, Part::ToolResult(_)));
    if had_results && text.is_empty() && images.is_empty() {
        return;
    }
    let mut message = json!({ "role": "user", "content": text });
    if let (false, Some(fields)) = (images.is_empty(), message.as_object_mut()) {
        fields.insert("images".into(), Value::Array(images));
    }
    out.push(message);
}

fn result(r: &ToolResult) -> Value {
    let content = if r.is_error { format!("Error: {}", r.content) } else { r.content.clone() };
    json!({ "role": "tool", "content": content, "tool_name": r.name, "tool_call_id": r.call_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_provider_wire::testing::{question, request};
    use carapace_sdk::provider::{Image, ToolSpec};

    fn try_written(section: &str, r: &Request, shape: Shape) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&body(r, &Options::parse(section)?, shape)?).unwrap())
    }
    fn written(section: &str, r: &Request) -> Value {
        try_written(section, r, Shape::WHOLE).unwrap()
    }

    #[test]
    fn a_plain_question_is_a_small_body() {
        let r = request(vec![
            (Role::System, vec![Part::Text("s".into())]),
            (Role::User, vec![Part::Text("a".into()), Part::Text("b".into())]),
        ]);
        assert_eq!(
            written("{}", &r),
            json!({ "model": "m", "stream": true, "truncate": false, "shift": false, "options": { "num_ctx": 16_384 },
                "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "a\nb" }] })
        );
    }

    #[test]
    fn calls_results_thoughts_and_images_find_their_places() {
        let call = ToolCall { id: "1".into(), name: "f".into(), arguments: "{\"x\":1}".into(), extra: vec![] };
        let garbled = ToolCall { id: "2".into(), name: "g".into(), arguments: "{".into(), extra: vec![] };
        let result = |id: &str, is_error| {
            Part::ToolResult(ToolResult { call_id: id.into(), name: "f".into(), content: "c".into(), is_error })
        };
        let image = || Part::Image(Image { mime: "image/png".into(), data: b"x".to_vec() });
        let r = request(vec![
            (Role::User, vec![Part::Text("q".into()), image()]),
            (Role::Assistant, vec![Part::Reasoning("hm".into()), Part::ToolCall(call), Part::ToolCall(garbled)]),
            (Role::Tool, vec![result("1", false), image(), result("2", true)]),
        ]);
        assert_eq!(
            written("{}", &r)["messages"],
            json!([
                { "role": "user", "content": "q", "images": ["eA=="] },
                { "role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                    { "id": "1", "function": { "name": "f", "arguments": { "x": 1 } } },
                    { "id": "2", "function": { "name": "g", "arguments": {} } }] },
                { "role": "tool", "content": "c", "tool_name": "f", "tool_call_id": "1" },
                { "role": "tool", "content": "Error: c", "tool_name": "f", "tool_call_id": "2" },
                { "role": "user", "content": "", "images": ["eA=="] },
            ])
        );
    }

    #[test]
    fn every_option_finds_its_field() {
        let mut r = question();
        (r.max_output, r.temperature, r.top_p, r.seed) = (Some(9), Some(0.2), Some(0.9), Some(u64::MAX));
        r.stop = vec!["x".into()];
        r.json_schema = Some("{\"type\":\"object\"}".into());
        r.tools =
            vec![ToolSpec { name: "f".into(), description: "d".into(), parameters: "{\"type\":\"object\"}".into() }];
        r.extra = vec![("logprobs".into(), "true".into()), ("stream".into(), "false".into())];
        let section = r#"{"think":true,"keepAlive":"10m","contextTokens":1024,"options":{"top_k":3,"temperature":1},"extraBody":{"raw":1}}"#;
        let w = written(section, &r);
        assert_eq!(
            w["options"],
            json!({ "num_ctx": 1024, "num_predict": 9, "temperature": 0.2, "top_p": 0.9, "seed": i64::MAX, "stop": ["x"], "top_k": 3 })
        );
        assert_eq!(
            (&w["think"], &w["keep_alive"], &w["format"]),
            (&json!(true), &json!("10m"), &json!({ "type": "object" }))
        );
        let function = json!({ "name": "f", "description": "d", "parameters": { "type": "object" } });
        assert_eq!(w["tools"], json!([{ "type": "function", "function": function }]));
        assert_eq!((&w["raw"], &w["logprobs"], &w["stream"]), (&json!(1), &json!(true), &json!(true)));
        let bare = try_written(section, &r, Shape { think: false, tools: false }).unwrap();
        assert!(bare.get("think").is_none() && bare.get("tools").is_none());
        assert_eq!(written(r#"{"contextTokens":"server"}"#, &r)["options"].get("num_ctx"), None);
    }

    #[test]
    fn a_choice_that_cannot_be_made_is_refused() {
        let mut r = question();
        r.tools = vec![ToolSpec { name: "f".into(), description: "d".into(), parameters: "{}".into() }];
        r.tool_choice = ToolChoice::None;
        assert_eq!(written("{}", &r).get("tools"), None);
        for choice in [ToolChoice::Required, ToolChoice::Named("f".into())] {
            r.tool_choice = choice;
            assert_eq!(try_written("{}", &r, Shape::WHOLE).unwrap_err().kind, FailureKind::InvalidRequest);
        }
    }

    #[test]
    fn a_request_without_a_model_takes_the_configured_one_or_says_so() {
        let mut r = question();
        r.model.clear();
        assert!(try_written("{}", &r, Shape::WHOLE).unwrap_err().message.contains("no model"));
        assert_eq!(written(r#"{"model":"own"}"#, &r)["model"], "own");
    }
}
