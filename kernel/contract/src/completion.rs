//! What is asked of a model and what it answers.

use crate::message::{Message, ToolCall};
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};

/// A model of an instance, written `<component>/<model>` or `<component>:<instance>/<model>` by people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelRef {
    /// The provider instance.
    pub instance: InstanceId,
    /// The provider's model id.
    pub model: String,
}

impl std::fmt::Display for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, id) = (self.instance.name(), self.instance.id());
        if id.as_str() == "main" { write!(f, "{name}/{}", self.model) } else { write!(f, "{name}:{id}/{}", self.model) }
    }
}

/// A model that a provider offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Where.
    pub reference: ModelRef,
    /// For people.
    pub name: String,
    /// Context length, tokens.
    pub context: Option<u32>,
    /// Longest answer, tokens.
    pub output: Option<u32>,
    /// Takes tools.
    pub tools: bool,
    /// Takes images.
    pub images: bool,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Name.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: serde_json::Value,
}

/// Which tools the model may or must call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Vec<ToolSpec>,
    /// Which may be called.
    pub tool_choice: ToolChoice,
    /// Longest answer, tokens.
    pub max_output: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// Nucleus sampling.
    pub top_p: Option<f32>,
    /// Sampling seed.
    pub seed: Option<u64>,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// JSON Schema the answer must follow.
    pub json_schema: Option<String>,
    /// Provider-specific options.
    pub extra: Vec<(String, String)>,
}

/// What a provider pushes.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionEvent {
    /// A piece of text.
    Text(String),
    /// A piece of thought.
    Reasoning(String),
    /// A whole tool call.
    ToolCall(ToolCall),
    /// Token counts so far (the last one counts).
    Usage(Usage),
    /// Why it ended.
    Stop(StopReason),
    /// Opaque provider state.
    Other {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Prompt tokens read from a cache.
    pub cached_input: u64,
    /// Of `output`, tokens of thought.
    pub reasoning: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, o: Self) {
        self.input += o.input;
        self.output += o.output;
        self.cached_input += o.cached_input;
        self.reasoning += o.reasoning;
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// It was done.
    End,
    /// It wants tools.
    ToolCalls,
    /// It reached the length limit.
    Length,
    /// The provider's filter.
    ContentFilter,
    /// Something else.
    Other(String),
}

/// What kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The credential is missing or refused.
    Authentication,
    /// Too many requests.
    RateLimited,
    /// The request is wrong.
    InvalidRequest,
    /// The conversation does not fit.
    ContextLength,
    /// No such model.
    UnknownModel,
    /// Server failed or unreachable.
    Unavailable,
    /// The stream broke off.
    Interrupted,
    /// Cancelled by us.
    Cancelled,
    /// The component trapped or hit a limit.
    Component,
    /// Something else.
    Other(String),
}

/// A failed completion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CompletionFailure {
    /// Kind.
    pub kind: FailureKind,
    /// For a person; holds no secret.
    pub message: String,
    /// Trying again, or elsewhere, may help.
    pub retryable: bool,
    /// Not before, ms.
    pub retry_after_ms: Option<u64>,
}
