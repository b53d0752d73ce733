//! What a chat-completion request says, and the turn it asks for.
//!
//! Shapes: OpenAI's API reference, "Chat completions". Unknown fields are ignored; fields that ask for something the
//! assistant does not do are refused by name, never dropped.

use crate::http::error::ApiError;
use crate::http::models::wanted;
use crate::http::openai::content::{
    OWN_TOOLS, json_schema, named, parts, question, text_of, tool_choice, unsupported, within,
};
use carapace_contract::Ulid;
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
        let named = named(session, self.user.clone())?;
        let options = self.options()?;
        let model = wanted(self.model.as_deref());

        let mut system = Vec::new();
        let mut said = Vec::new();
        for (i, m) in self.messages.into_iter().enumerate() {
            let (role, content) = (format!("messages[{i}].role"), format!("messages[{i}].content"));
            match m.role.as_str() {
                "system" | "developer" => system.push(text_of(&parts(m.content, &content)?)),
                "user" => said.push((role, Message { role: Role::User, parts: parts(m.content, &content)? })),
                "assistant" => said.push((role, assistant(m, &content)?)),
                "tool" | "function" => said.push((role, tool_result(m, &content)?)),
                other => {
                    let must = "it must be system, developer, user, assistant or tool";
                    return Err(ApiError::bad(&role, format!("{role} is {other:?}; {must}")));
                }
            }
        }
        let (said, parts) = question(said, "messages")?;
        // With a session, the server's log is the history.
        let history = if named.is_some() { Vec::new() } else { said };
        Ok(TurnRequest {
            session: named.unwrap_or_else(|| format!("api-{}", Ulid::generate())),
            origin: Origin::ApiClient,
            parts,
            history,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            model,
            idempotency_key,
            options,
            place: None,
        })
    }

    fn refuse_what_is_not_done(&self) -> Result<(), ApiError> {
        let refuse = |param: &str, message: &str| Err(unsupported(param, message));
        if self.tools.as_ref().is_some_and(|t| !t.is_empty()) {
            return refuse("tools", OWN_TOOLS);
        }
        if self.functions.as_ref().is_some_and(|t| !t.is_empty()) {
            return refuse("functions", OWN_TOOLS);
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
            json_schema: json_schema(self.response_format.as_ref(), "response_format", "json_schema.schema")?,
            tool_choice: tool_choice(self.tool_choice.as_ref(), "/function/name")?,
            ..TurnOptions::default()
        })
    }
}

fn assistant(m: InMessage, content: &str) -> Result<Message, ApiError> {
    let mut parts = parts(m.content, content)?;
    for call in m.tool_calls.unwrap_or_default() {
        let InToolCall { id, function: InFunction { name, arguments } } = call;
        parts.push(Part::ToolCall(ToolCall { id, name, arguments }));
    }
    Ok(Message { role: Role::Assistant, parts })
}

fn tool_result(m: InMessage, content: &str) -> Result<Message, ApiError> {
    let content = text_of(&parts(m.content, content)?);
    let name = m.name.unwrap_or_default();
    let call_id = m.tool_call_id.unwrap_or_else(|| name.clone());
    Ok(Message {
        role: Role::Tool,
        parts: vec![Part::ToolResult(ToolResult { call_id, name, content, is_error: false })],
    })
}

#[cfg(test)]
#[path = "chat_request_tests.rs"]
mod tests;
