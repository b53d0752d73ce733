//! The traits by which rooms call each other.

use crate::completion::{CompletionEvent, CompletionFailure, CompletionRequest, ModelInfo, ModelRef};
use crate::control::ControlRequest;
use crate::decision::{Authorized, PlannedCall};
use crate::denial::Denial;
use crate::message::Part;
use crate::turn::{
    HistoryItem, KernelStatus, RunState, SessionInfo, Submitted, ToolInfo, TurnError, TurnEvent, TurnRequest,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// What a tool answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// Text, images and `Other { name: "structured" | "file", .. }`.
    pub content: Vec<Part>,
    /// It came from outside.
    pub tainted: bool,
}

/// How a tool call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolFailure {
    /// `invalid-arguments`, `not-found`, `denied`, `unavailable`, `failed`, `limit`, `trap`, `timeout`, `cancelled`.
    pub kind: String,
    /// For the model and the owner; holds no secret.
    pub message: String,
    /// The message may hold text from outside.
    pub tainted: bool,
}

/// Tools, as the agent reaches them.
#[async_trait]
pub trait Tools: Send + Sync {
    /// Everything granted and loaded.
    fn catalog(&self) -> Arc<Vec<ToolInfo>>;
    /// Runs an authorized call in a fresh store. Dropping the future or cancelling stops the guest.
    async fn call(&self, call: &Authorized<PlannedCall>, cancel: CancellationToken) -> Result<ToolOutput, ToolFailure>;
}

/// Models, as the agent reaches them.
#[async_trait]
pub trait Models: Send + Sync {
    /// Every model of every granted provider (cached for a while).
    async fn list(&self) -> Vec<ModelInfo>;
    /// The models to try, in order, for what a person wrote (none = the configured route). Never empty.
    async fn route(&self, wanted: Option<&str>) -> Result<Vec<ModelRef>, Denial>;
    /// Completes. Events are pushed with back-pressure; a closed `sink` counts as cancelled.
    async fn complete(
        &self,
        model: &ModelRef,
        request: &CompletionRequest,
        sink: mpsc::Sender<CompletionEvent>,
        cancel: CancellationToken,
    ) -> Result<(), CompletionFailure>;
}

/// The assistant, as the gateway and the CLI reach it.
#[async_trait]
pub trait Assistant: Send + Sync {
    /// Accepts a turn: after `Ok` it is durable and will be run to an end, crash or not.
    async fn submit(&self, request: TurnRequest) -> Result<Submitted, TurnError>;
    /// All events of all runs. A reader that lags loses the oldest.
    fn events(&self) -> broadcast::Receiver<Arc<TurnEvent>>;
    /// Stops a run (and everything below it), or every run of a session. Returns what was stopped.
    async fn abort(&self, run: Option<Ulid>, session: Option<&str>) -> Vec<Ulid>;
    /// How a run stands, after waiting for its end at most `timeout`; `None` if unknown.
    async fn wait(&self, run: Ulid, timeout: Duration) -> Option<RunState>;
    /// Newest first.
    async fn sessions(&self, limit: usize) -> Result<Vec<SessionInfo>, TurnError>;
    /// The last `limit` messages, oldest first; empty if there is no such session.
    async fn history(&self, session: &str, limit: usize) -> Result<Vec<HistoryItem>, TurnError>;
    /// Models on offer.
    async fn models(&self) -> Vec<ModelInfo>;
    /// Tools on offer.
    fn tools(&self) -> Arc<Vec<ToolInfo>>;
    /// Accepts nothing more, waits for running turns at most `grace`, then stops them; they resume after the next start.
    async fn drain(&self, grace: Duration);
}

/// What the gateway asks about the kernel itself.
#[async_trait]
pub trait Status: Send + Sync {
    /// A snapshot; cheap.
    async fn status(&self) -> KernelStatus;
}

/// What an authenticated owner may tell a running kernel.
#[async_trait]
pub trait Control: Send + Sync {
    /// Carries it out.
    async fn control(&self, request: ControlRequest) -> Result<serde_json::Value, Denial>;
}
