//! What a chat-completion request says, and the turn it asks for.
//!
//! Shapes: OpenAI's API reference, "Chat completions". Unknown fields are ignored; fields that ask for something the
//! assistant does not do are refused by name, never dropped.

use crate::http::error::ApiError;
use crate::http::models::wanted;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_contract::Ulid;
use carapace_contract::completion::ToolChoice;
use carapace_contract::decision::Origin;
use carapace_contract::message::{Message, Part, Role, ToolCall, ToolResult};
use carapace_contract::turn::{TurnOptions, TurnRequest};
use serde::Deserialize;
use serde_json::Value;

/// A request's body.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: Option<String>,
    messages: Vec<InMessage>,
    pub(crate) stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    user: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<Value>,
    response_format: Option<Value>,
    n: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    modalities: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct InMessage {
    role: String,
    content: Option<Value>,
    name: Option<String>,
    tool_calls: Option<Vec<InToolCall>>,
    tool_call_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InToolCall {
    id: String,
    function: InFunction,
}

#[derive(Debug, Deserialize)]
struct InFunction {
    name: String,
    arguments: String,
}

impl ChatRequest {
    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|o| o.include_usage).unwrap_or(false)
    }

    /// The turn. `session` is the header's; the body's `user` comes next; without either the client is stateless and
    /// the body's earlier messages are the history.
    pub(crate) fn turn(
        self,
        session: Option<String>,
        idempotency_key: Option<String>,
    ) -> Result<TurnRequest, ApiError> {
        self.refuse_what_is_not_done()?;
        let named = match session {
            Some(s) => Some(session_key("X-Carapace-Session-Key", s)?),
            None => self.user.clone().filter(|u| !u.is_empty()).map(|u| session_key("user", u)).transpose()?,
        };
        let options = self.options()?;
        let model = wanted(self.model.as_deref());

        let mut system = Vec::new();
        let mut said = Vec::new();
        for (i, m) in self.messages.into_iter().enumerate() {
            match m.role.as_str() {
                "system" | "developer" => system.push(text_of(&parts(m.content, i)?)),
                "user" => said.push((i, Message { role: Role::User, parts: parts(m.content, i)? })),
                "assistant" => said.push((i, assistant(m, i)?)),
                "tool" | "function" => said.push((i, tool_result(m, i)?)),
                other => {
                    return Err(ApiError::bad(
                        format!("messages[{i}].role"),
                        format!(
                            "messages[{i}].role is {other:?}; it must be system, developer, user, assistant or tool"
                        ),
                    ));
                }
            }
        }
        let last_answer = said.iter().rposition(|(_, m)| m.role == Role::Assistant).map_or(0, |at| at + 1);
        let new = said.split_off(last_answer);
        if let Some((i, _)) = new.iter().find(|(_, m)| m.role != Role::User) {
            return Err(ApiError::bad(
                format!("messages[{i}].role"),
                "the assistant runs its own tools and takes no results from the client; send a user message",
            ));
        }
        let parts: Vec<Part> = new.into_iter().flat_map(|(_, m)| m.parts).collect();
        if parts.is_empty() {
            return Err(ApiError::bad("messages", "nothing new is asked: the last message must come from the user"));
        }
        // With a session, the server's log is the history.
        let history = if named.is_some() { Vec::new() } else { said.into_iter().map(|(_, m)| m).collect() };
        Ok(TurnRequest {
            session: named.unwrap_or_else(|| format!("api-{}", Ulid::generate())),
            origin: Origin::ApiClient,
            parts,
            history,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            model,
            idempotency_key,
            options,
        })
    }

    fn refuse_what_is_not_done(&self) -> Result<(), ApiError> {
        let refuse = |param: &str, message: &str| Err(ApiError::bad(param, message).code("unsupported_parameter"));
        let own_tools = "the assistant uses its own tools, granted by its owner; a request cannot bring any";
        if self.tools.as_ref().is_some_and(|t| !t.is_empty()) {
            return refuse("tools", own_tools);
        }
        if self.functions.as_ref().is_some_and(|t| !t.is_empty()) {
            return refuse("functions", own_tools);
        }
        if self.n.is_some_and(|n| n != 1) {
            return refuse("n", "the assistant gives one answer: n must be 1");
        }
        if self.logprobs == Some(true) || self.top_logprobs.is_some_and(|n| n > 0) {
            return refuse("logprobs", "the assistant gives no log probabilities");
        }
        if self.modalities.as_ref().is_some_and(|m| m.iter().any(|m| m != "text")) {
            return refuse("modalities", "the assistant answers in text");
        }
        Ok(())
    }

    fn options(&self) -> Result<TurnOptions, ApiError> {
        let within = |param: &str, value: Option<f32>, max: f32| match value {
            Some(v) if !(0.0..=max).contains(&v) => {
                Err(ApiError::bad(param, format!("{param} is {v}; it must be from 0 to {max}")))
            }
            v => Ok(v),
        };
        let max_output = self.max_completion_tokens.or(self.max_tokens);
        if max_output == Some(0) {
            return Err(ApiError::bad("max_completion_tokens", "an answer needs at least one token"));
        }
        let stop = match &self.stop {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(s)) => vec![s.clone()],
            Some(Value::Array(a)) if a.len() <= 4 && a.iter().all(Value::is_string) => {
                a.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) => return Err(ApiError::bad("stop", "stop must be a string or an array of at most 4 strings")),
        };
        Ok(TurnOptions {
            max_output,
            temperature: within("temperature", self.temperature, 2.0)?,
            top_p: within("top_p", self.top_p, 1.0)?,
            seed: self.seed.map(i64::cast_unsigned),
            stop,
            json_schema: json_schema(self.response_format.as_ref())?,
            tool_choice: tool_choice(self.tool_choice.as_ref())?,
        })
    }
}

/// 1 to 256 printable characters, at most 512 bytes.
pub(crate) fn session_key(param: &str, key: String) -> Result<String, ApiError> {
    let count = key.chars().count();
    if count == 0 || count > 256 || key.len() > 512 || key.chars().any(char::is_control) {
        return Err(ApiError::bad(param, format!("{param} must be 1 to 256 printable characters, at most 512 bytes")));
    }
    Ok(key)
}

fn json_schema(format: Option<&Value>) -> Result<Option<String>, ApiError> {
    let Some(format) = format.filter(|f| !f.is_null()) else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(r#"{"type":"object"}"#.to_owned())),
        Some("json_schema") => match format.pointer("/json_schema/schema") {
            Some(schema @ Value::Object(_)) => Ok(Some(schema.to_string())),
            _ => Err(ApiError::bad("response_format.json_schema.schema", "a JSON Schema object must stand here")),
        },
        other => Err(ApiError::bad(
            "response_format.type",
            format!("response_format.type is {other:?}; it must be text, json_object or json_schema"),
        )),
    }
}

fn tool_choice(choice: Option<&Value>) -> Result<ToolChoice, ApiError> {
    match choice {
        None | Some(Value::Null) => Ok(ToolChoice::Auto),
        Some(Value::String(s)) if s == "auto" => Ok(ToolChoice::Auto),
        Some(Value::String(s)) if s == "none" => Ok(ToolChoice::None),
        Some(Value::String(s)) if s == "required" => Ok(ToolChoice::Required),
        Some(v) => match v.pointer("/function/name").and_then(Value::as_str) {
            Some(name) => Ok(ToolChoice::Named(name.to_owned())),
            None => Err(ApiError::bad(
                "tool_choice",
                "tool_choice must be auto, none, required or name a tool of the assistant",
            )),
        },
    }
}

fn text_of(parts: &[Part]) -> String {
    parts.iter().filter_map(|p| if let Part::Text { text } = p { Some(text.as_str()) } else { None }).collect()
}

fn assistant(m: InMessage, i: usize) -> Result<Message, ApiError> {
    let mut parts = parts(m.content, i)?;
    for call in m.tool_calls.unwrap_or_default() {
        let InToolCall { id, function: InFunction { name, arguments } } = call;
        parts.push(Part::ToolCall(ToolCall { id, name, arguments }));
    }
    Ok(Message { role: Role::Assistant, parts })
}

fn tool_result(m: InMessage, i: usize) -> Result<Message, ApiError> {
    let content = text_of(&parts(m.content, i)?);
    let name = m.name.unwrap_or_default();
    let call_id = m.tool_call_id.unwrap_or_else(|| name.clone());
    Ok(Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult(ToolResult { call_id, name, content, is_error: false })],
    })
}

fn parts(content: Option<Value>, i: usize) -> Result<Vec<Part>, ApiError> {
    match content {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(s)) if s.is_empty() => Ok(Vec::new()),
        Some(Value::String(s)) => Ok(vec![Part::text(s)]),
        Some(Value::Array(parts)) => {
            parts.iter().enumerate().map(|(k, p)| part(p, &format!("messages[{i}].content[{k}]"))).collect()
        }
        Some(_) => Err(ApiError::bad(
            format!("messages[{i}].content"),
            format!("messages[{i}].content must be a string or an array of parts"),
        )),
    }
}

fn part(p: &Value, at: &str) -> Result<Part, ApiError> {
    let text = |key: &str| p.get(key).and_then(Value::as_str);
    let missing = |key: &str| ApiError::bad(format!("{at}.{key}"), format!("{at}.{key} must be a string"));
    match text("type") {
        Some("text" | "input_text" | "output_text") => Ok(Part::text(text("text").ok_or_else(|| missing("text"))?)),
        Some("refusal") => Ok(Part::text(text("refusal").ok_or_else(|| missing("refusal"))?)),
        Some("image_url" | "input_image") => {
            let url = text("image_url").or_else(|| p.pointer("/image_url/url").and_then(Value::as_str));
            image(url.ok_or_else(|| missing("image_url.url"))?, &format!("{at}.image_url.url"))
        }
        other => Err(ApiError::bad(
            format!("{at}.type"),
            format!("{at}.type is {other:?}; the assistant takes text and image_url"),
        )),
    }
}

/// `data:image/png;base64,…`
pub(crate) fn image(url: &str, at: &str) -> Result<Part, ApiError> {
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return Err(ApiError::bad(
            at,
            "the gateway fetches no addresses on a client's behalf: send the image itself, as data:image/png;base64,…",
        ));
    };
    let Some(mime) = head.strip_suffix(";base64").filter(|m| m.starts_with("image/")) else {
        return Err(ApiError::bad(at, format!("{head:?} is not image/…;base64")));
    };
    let compact: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if let Err(e) = STANDARD.decode(&compact) {
        return Err(ApiError::bad(at, format!("the image is not padded standard base64: {e}")));
    }
    Ok(Part::Image { mime: mime.to_owned(), data: compact })
}

#[cfg(test)]
#[path = "openai_types_tests.rs"]
mod tests;
