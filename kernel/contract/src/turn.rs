//! A turn as its clients see it.

use crate::channel::Place;
use crate::completion::{ModelInfo, StopReason, ToolChoice, Usage};
use crate::decision::{Effects, Origin};
use crate::digest::Digest;
use crate::media::Media;
use crate::message::{Message, Part, Role};
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use ulid::Ulid;

/// A message for the assistant.
#[derive(Debug, Clone)]
pub struct TurnRequest {
    /// The conversation: 1 to 256 printable characters.
    pub session: String,
    /// Who is behind it.
    pub origin: Origin,
    /// What they say.
    pub parts: Vec<Part>,
    /// Earlier messages of a conversation the session's log does not hold (stateless API clients).
    pub history: Vec<Message>,
    /// Instructions that go after the assistant's own.
    pub system: Option<String>,
    /// Model as people write it (`openai/gpt-5`, `gpt-5`); none = the configured route.
    pub model: Option<String>,
    /// The same key twice is the same run.
    pub idempotency_key: Option<String>,
    /// Options of the completion.
    pub options: TurnOptions,
    /// Where it takes place, if on a chat platform.
    pub place: Option<Place>,
}

/// What a client may choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnOptions {
    /// See `CompletionRequest`.
    pub max_output: Option<u32>,
    /// See `CompletionRequest`.
    pub temperature: Option<f32>,
    /// See `CompletionRequest`.
    pub top_p: Option<f32>,
    /// See `CompletionRequest`.
    pub seed: Option<u64>,
    /// See `CompletionRequest`.
    pub stop: Vec<String>,
    /// See `CompletionRequest`.
    pub json_schema: Option<String>,
    /// Tools on offer in this turn.
    pub tool_choice: ToolChoice,
    /// A run of the same session: the turn follows its answer and sees nothing that was said beside it.
    /// None = it follows everything the session holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Ulid>,
    /// What a client wants back with the run's state; nobody else reads it. At most 1 MiB as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<serde_json::Value>,
}

/// What happens in a run, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurnEvent {
    /// The run.
    pub run: Ulid,
    /// Its session.
    pub session: Arc<str>,
    /// From 0, without gaps.
    pub seq: u64,
    /// ms since the epoch.
    pub at_ms: u64,
    /// What.
    pub kind: TurnEventKind,
}

/// See [`TurnEvent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum TurnEventKind {
    /// It began.
    Started {
        /// The model that will be asked first.
        model: String,
    },
    /// The answer's next piece.
    Text {
        /// The piece.
        delta: String,
    },
    /// The next piece of thought.
    Reasoning {
        /// The piece.
        delta: String,
    },
    /// A tool is about to run.
    ToolCall {
        /// The call's id.
        call_id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: serde_json::Value,
    },
    /// A tool answered, failed or was denied.
    ToolResult {
        /// The call's id.
        call_id: String,
        /// The tool.
        name: String,
        /// What the model gets.
        content: String,
        /// It failed or was denied.
        is_error: bool,
    },
    /// The last event of a run that ended well.
    Completed {
        /// The whole answer.
        text: String,
        /// Why it ended.
        stop: StopReason,
        /// Tokens of all completions of the run.
        usage: Usage,
        /// The model that answered.
        model: String,
        /// What its tools made, for whoever reads the answer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<Media>,
    },
    /// The last event of a run that failed.
    Failed {
        /// Stable code.
        code: String,
        /// For a person.
        message: String,
        /// Trying again may help.
        retryable: bool,
    },
    /// The last event of a run that was stopped.
    Cancelled {
        /// What had been said.
        text: String,
    },
}

impl TurnEventKind {
    /// Nothing follows it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }
}

/// An accepted turn.
#[derive(Debug)]
pub struct Submitted {
    /// The run.
    pub run: Ulid,
    /// The idempotency key was known: this is the earlier run.
    pub duplicate: bool,
    /// The run's events from the first on. A slow reader slows the run; a dropped one does not stop it.
    pub events: tokio::sync::mpsc::Receiver<Arc<TurnEvent>>,
}

/// Why a turn was not accepted, or what stopped it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{message}")]
pub struct TurnError {
    /// Stable: `E-TURN-…`.
    pub code: String,
    /// For a person, with what to do.
    pub message: String,
    /// Trying again may help.
    pub retryable: bool,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunState {
    /// The run.
    pub run: Ulid,
    /// Its session.
    pub session: String,
    /// What its client left in [`TurnOptions::note`].
    pub note: Option<serde_json::Value>,
    /// Its last event, when it has ended.
    pub last: Option<TurnEventKind>,
    /// ms since the epoch.
    pub started_ms: u64,
    /// ms since the epoch.
    pub ended_ms: Option<u64>,
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionInfo {
    /// Its key.
    pub key: String,
    /// ms since the epoch.
    pub created_ms: u64,
    /// ms since the epoch.
    pub updated_ms: u64,
    /// Messages in it.
    pub messages: u64,
    /// The first words of its first message.
    pub title: String,
    /// It holds tainted text.
    pub tainted: bool,
}

/// A message in a history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryItem {
    /// Row id.
    pub id: Ulid,
    /// ms since the epoch.
    pub at_ms: u64,
    /// Who speaks.
    pub role: Role,
    /// What.
    pub parts: Vec<Part>,
    /// It came from outside.
    pub tainted: bool,
}

/// A tool on offer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolInfo {
    /// The instance that runs it.
    pub instance: InstanceId,
    /// The package.
    pub digest: Digest,
    /// Name.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: serde_json::Value,
    /// What it can do.
    pub effects: Effects,
    /// It is one of a channel's: on offer in the conversations of that instance, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelTool>,
}

impl ToolInfo {
    /// Whether it is on offer in a turn that takes place there.
    pub fn is_for(&self, place: Option<&Place>) -> bool {
        self.channel.is_none() || place.is_some_and(|p| p.instance == self.instance)
    }

    /// Whether these arguments have it act in another conversation than `place`.
    pub fn acts_elsewhere(&self, arguments: &serde_json::Value, place: Option<&Place>) -> bool {
        let Some(argument) = self.channel.as_ref().and_then(|c| c.conversation.as_ref()) else { return false };
        match arguments.get(argument) {
            None | Some(serde_json::Value::Null) => false,
            Some(serde_json::Value::String(id)) => place.is_none_or(|p| p.conversation.id != *id),
            Some(id) => {
                let id = id.to_string();
                place.is_none_or(|p| p.conversation.id != id)
            }
        }
    }
}

/// See [`ToolInfo::channel`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChannelTool {
    /// The argument by which it can act in another conversation than the turn's own.
    pub conversation: Option<String>,
}

/// An installed instance, for status pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceStatus {
    /// Which.
    pub instance: InstanceId,
    /// Its package.
    pub digest: Digest,
    /// Version.
    pub version: String,
    /// `tool`, `provider`.
    pub kinds: Vec<String>,
    /// `ready`, or why not.
    pub state: String,
    /// What it used.
    pub meter: crate::meter::Meter,
    /// The version that a rollback would go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What the owner should know and has not looked at: why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelStatus {
    /// The kernel's version.
    pub version: String,
    /// ms since the epoch.
    pub started_ms: u64,
    /// Installed instances.
    pub instances: Vec<InstanceStatus>,
    /// What keeps it from being ready; empty = ready.
    pub not_ready: Vec<String>,
    /// The route's models, first choice first.
    pub route: Vec<String>,
    /// Known models (cached).
    pub models: Vec<ModelInfo>,
}
