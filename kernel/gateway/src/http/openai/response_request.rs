//! What a request for a response says, and the turn it asks for.
//!
//! Shapes: OpenAI's API reference, "Responses". Unknown fields are ignored; fields that ask for something the assistant
//! does not do are refused by name, never dropped.

use crate::http::error::ApiError;
use crate::http::models::wanted;
use crate::http::openai::content::{
    OWN_TOOLS, json_schema, named, question, session_key, tool_choice, unsupported, within,
};
use crate::http::openai::response_items::items;
use carapace_contract::Ulid;
use carapace_contract::decision::Origin;
use carapace_contract::message::{Message, Role};
use carapace_contract::turn::{TurnOptions, TurnRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most pairs of `metadata`.
const METADATA_PAIRS: usize = 16;
/// Longest key of `metadata`, characters.
const METADATA_KEY: usize = 64;
/// Longest value of `metadata`, characters.
const METADATA_VALUE: usize = 512;

/// A request's body.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseRequest {
    model: Option<String>,
    input: Option<Value>,
    pub(crate) stream: Option<bool>,
    background: Option<bool>,
    store: Option<bool>,
    pub(crate) previous_response_id: Option<String>,
    instructions: Option<String>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    text: Option<Value>,
    tool_choice: Option<Value>,
    metadata: Option<Map<String, Value>>,
    user: Option<String>,
    tools: Option<Vec<Value>>,
    top_logprobs: Option<u32>,
    include: Option<Vec<String>>,
    max_tool_calls: Option<u32>,
    conversation: Option<Value>,
    prompt: Option<Value>,
}

/// What a response repeats of its request. It is kept with the run, so that the response can be had again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Echo {
    pub(crate) model: String,
    pub(crate) background: bool,
    /// The response may be had again, and followed, by its id.
    pub(crate) store: bool,
    pub(crate) previous_response_id: Option<String>,
    pub(crate) instructions: Option<String>,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) text: Value,
    pub(crate) tool_choice: Value,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) user: Option<String>,
}

impl Echo {
    /// As it is kept.
    fn note(&self) -> Value {
        json!({"response": self})
    }

    /// From what was kept; none if the run is no response.
    pub(crate) fn read(note: &Value) -> Option<Self> {
        Self::deserialize(note.get("response")?).ok()
    }
}

/// The response that a request follows.
#[derive(Debug)]
pub(crate) struct Previous {
    pub(crate) run: Ulid,
    pub(crate) session: String,
}

impl ResponseRequest {
    /// The turn, and what its response repeats. Its session is that of the response it follows; else `session`, the
    /// header's; else the body's `user`; else a new one.
    pub(crate) fn turn(
        self,
        previous: Option<Previous>,
        session: Option<String>,
        idempotency_key: Option<String>,
    ) -> Result<(TurnRequest, Echo), ApiError> {
        self.refuse_what_is_not_done()?;
        let (named, after) = match previous {
            None => (named(session, self.user.clone())?, None),
            Some(previous) => {
                let session = session.map(|s| session_key("X-Carapace-Session-Key", s)).transpose()?;
                if session.is_some_and(|s| s != previous.session) {
                    let message =
                        "previous_response_id is of another session than X-Carapace-Session-Key; send one of them";
                    return Err(ApiError::bad("previous_response_id", message));
                }
                (Some(previous.session), Some(previous.run))
            }
        };
        let echo = self.echo()?;
        let mut options = self.options()?;
        options.after = after;
        options.note = echo.store.then(|| echo.note());

        let (instructions, said) = items(self.input)?;
        let (mut history, parts) = question(said, "input")?;
        let mut system: Vec<String> = self.instructions.filter(|i| !i.is_empty()).into_iter().collect();
        if named.is_some() && after.is_none() {
            // In a session that the client named, the server's log is the history, and instructions are the request's.
            history.clear();
            system.extend(instructions);
        } else {
            // Instructions among the input are part of the conversation, and hold for what follows.
            history.splice(0..0, instructions.into_iter().map(|i| Message::text(Role::System, i)));
        }
        let turn = TurnRequest {
            session: named.unwrap_or_else(|| format!("api-{}", Ulid::generate())),
            origin: Origin::ApiClient,
            parts,
            history,
            system: (!system.is_empty()).then(|| system.join("\n\n")),
            model: wanted(self.model.as_deref()),
            idempotency_key,
            options,
            place: None,
        };
        Ok((turn, echo))
    }

    fn refuse_what_is_not_done(&self) -> Result<(), ApiError> {
        let refuse = |param: &str, message: &str| Err(unsupported(param, message));
        let given = |value: &Option<Value>| value.as_ref().is_some_and(|v| !v.is_null());
        if self.tools.as_ref().is_some_and(|t| !t.is_empty()) {
            return refuse("tools", OWN_TOOLS);
        }
        if self.max_tool_calls.is_some() {
            return refuse("max_tool_calls", "how often tools are called is the owner's to limit: agent.maxTurns");
        }
        if given(&self.conversation) {
            let instead = "there are no conversations by id: send previous_response_id or X-Carapace-Session-Key";
            return refuse("conversation", instead);
        }
        if given(&self.prompt) {
            return refuse("prompt", "there are no stored prompts; send instructions and input");
        }
        if self.top_logprobs.is_some_and(|n| n > 0) {
            return refuse("top_logprobs", "the assistant gives no log probabilities");
        }
        if self.include.as_ref().is_some_and(|i| i.iter().any(|i| i == "message.output_text.logprobs")) {
            return refuse("include", "the assistant gives no log probabilities");
        }
        if self.background == Some(true) && self.store == Some(false) {
            return Err(ApiError::bad("background", "a response in the background must be stored to be had later"));
        }
        Ok(())
    }

    fn echo(&self) -> Result<Echo, ApiError> {
        let metadata = self.metadata.clone().unwrap_or_default();
        let fits = |(key, value): (&String, &Value)| {
            key.chars().count() <= METADATA_KEY && value.as_str().is_some_and(|v| v.chars().count() <= METADATA_VALUE)
        };
        if metadata.len() > METADATA_PAIRS || !metadata.iter().all(fits) {
            let must = format!(
                "metadata is at most {METADATA_PAIRS} pairs of strings, keys of {METADATA_KEY} and values of {METADATA_VALUE} characters"
            );
            return Err(ApiError::bad("metadata", must));
        }
        let format = self.format().filter(|f| !f.is_null()).cloned().unwrap_or_else(|| json!({"type": "text"}));
        let choice = self.tool_choice.clone().filter(|c| !c.is_null()).unwrap_or_else(|| "auto".into());
        Ok(Echo {
            model: self.model.clone().filter(|m| !m.trim().is_empty()).unwrap_or_else(|| "carapace".into()),
            background: self.background.unwrap_or(false),
            store: self.store.unwrap_or(true),
            previous_response_id: self.previous_response_id.clone(),
            instructions: self.instructions.clone(),
            max_output_tokens: self.max_output_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            text: json!({"format": format}),
            tool_choice: choice,
            metadata,
            user: self.user.clone(),
        })
    }

    fn format(&self) -> Option<&Value> {
        self.text.as_ref().and_then(|text| text.get("format"))
    }

    fn options(&self) -> Result<TurnOptions, ApiError> {
        if self.max_output_tokens == Some(0) {
            return Err(ApiError::bad("max_output_tokens", "an answer needs at least one token"));
        }
        Ok(TurnOptions {
            max_output: self.max_output_tokens,
            temperature: within("temperature", self.temperature.map(|t| t as f32), 2.0)?,
            top_p: within("top_p", self.top_p.map(|p| p as f32), 1.0)?,
            json_schema: json_schema(self.format(), "text.format", "schema")?,
            tool_choice: tool_choice(self.tool_choice.as_ref(), "/name")?,
            ..TurnOptions::default()
        })
    }
}

#[cfg(test)]
#[path = "response_request_tests.rs"]
mod tests;
