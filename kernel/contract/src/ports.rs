//! The traits by which rooms call each other.

use crate::channel::{
    Attachment, ChannelFailure, ChannelInfo, Content, Conversation, Event, HttpAnswer, Item, KernelRequest, Outcome,
    Outgoing, Progress, RenderedPart, SocketTarget, WebhookRequest,
};
use crate::completion::{CompletionEvent, CompletionFailure, CompletionRequest, ModelInfo, ModelRef};
use crate::control::ControlRequest;
use crate::decision::{Authorized, PlannedCall};
use crate::denial::Denial;
use crate::media::Media;
use crate::message::Part;
use crate::name::InstanceId;
use crate::turn::{
    HistoryItem, KernelStatus, RunState, SessionInfo, Submitted, ToolInfo, TurnError, TurnEvent, TurnRequest,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// What a tool answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// Text, images and files that are kept apart, and `Other { name: "structured" | "other", .. }`.
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

/// Channels, as `courier` reaches them. Every call but `channels` and `verify` runs the component in a fresh store (`events` in one for each); dropping the future stops it.
#[async_trait]
pub trait Channels: Send + Sync {
    /// Everything granted and loaded that is a channel.
    fn channels(&self) -> Vec<ChannelInfo>;
    /// Counts up whenever [`Self::channels`] may have changed: a load, a swap, a grant, a secret.
    fn changed(&self) -> watch::Receiver<u64>;
    /// `start`.
    async fn start(&self, instance: &InstanceId, state: Vec<u8>) -> Result<Outcome, ChannelFailure>;
    /// `on-event` for one event after the other, each with its attempt (from 1) and with the state that the one before it left. Ends with the
    /// first that fails, and with the first that ends after `within` has passed.
    async fn events(
        &self,
        instance: &InstanceId,
        state: Vec<u8>,
        events: &[(&Event, u32)],
        within: Duration,
    ) -> Progress;
    /// Sends a request of a component's outside any call of it: a poll, an effect. The body is read whole, within its limits.
    async fn request(&self, instance: &InstanceId, request: KernelRequest) -> Result<HttpAnswer, ChannelFailure>;
    /// Opens a socket for it, under the same rules. Gives up by itself after a while.
    async fn connect(&self, instance: &InstanceId, target: SocketTarget) -> Result<Box<dyn Socket>, ConnectFailure>;
    /// `split`.
    async fn split(&self, instance: &InstanceId, response: HttpAnswer) -> Result<Vec<Item>, ChannelFailure>;
    /// `render`.
    async fn render(
        &self,
        instance: &InstanceId,
        conversation: &Conversation,
        content: Content,
    ) -> Result<Vec<RenderedPart>, ChannelFailure>;
    /// `send`: the platform's id of what was sent.
    async fn send(&self, instance: &InstanceId, outgoing: Outgoing) -> Result<String, ChannelFailure>;
    /// `edit`: `id` is what [`Self::send`] gave.
    async fn edit(&self, instance: &InstanceId, outgoing: Outgoing, id: String) -> Result<(), ChannelFailure>;
    /// `typing`.
    async fn typing(&self, instance: &InstanceId, conversation: &Conversation, on: bool) -> Result<(), ChannelFailure>;
    /// `fetch-media`: what is kept then.
    async fn fetch_media(&self, instance: &InstanceId, attachment: Attachment) -> Result<Media, ChannelFailure>;
    /// Whether a request to a webhook is authentic, by the recipe of the component's manifest; what the component may see of it.
    ///
    /// # Errors
    /// Status and text of the answer. It tells a stranger nothing.
    async fn verify(&self, instance: &InstanceId, request: WebhookRequest) -> Result<WebhookRequest, HttpAnswer>;
}

/// A WebSocket that is open, whole and in one hand. Dropping it cuts the connection.
#[async_trait]
pub trait Socket: Send {
    /// What comes next; after an end nothing does. May be dropped and called again: nothing is lost by it.
    async fn next(&mut self) -> SocketNews;
    /// Whether this message, sent, would be a login: a secret would be set in it by a rule that says so.
    fn is_login(&self, text: bool, data: &[u8]) -> bool;
    /// Sends a message.
    ///
    /// # Errors
    /// It did not leave; the socket is of no use any more, unless the message itself was refused (`Final`).
    async fn send(&mut self, text: bool, data: Vec<u8>) -> Result<(), ChannelFailure>;
    /// Asks whether somebody is there; a sign of life follows.
    ///
    /// # Errors
    /// The socket is of no use any more.
    async fn ping(&mut self) -> Result<(), ChannelFailure>;
    /// Says that it is to end; what was under way still comes, and then its end.
    async fn close(&mut self, code: u16, reason: &str);
}

/// What comes through a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketNews {
    /// A whole message.
    Message {
        /// Else binary.
        text: bool,
        /// What.
        data: Vec<u8>,
    },
    /// A sign of life.
    Alive,
    /// Its end.
    Closed {
        /// The other side's code.
        code: Option<u16>,
        /// Why; holds no secret.
        reason: String,
    },
}

/// Why a socket did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// Why.
    pub failure: ChannelFailure,
    /// What the server answered instead.
    pub status: Option<u16>,
}

/// Why a message was not put on its way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// There is no such target; the text names those there are.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be said there.
    #[error("{0}")]
    Invalid(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Messages to targets that the owner named, as `host` hands them on for tools.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Puts a text on its way: durable when it returns. The same `key` is the same message. Gives where it goes, for a person.
    async fn send(&self, target: &str, text: String, key: &str) -> Result<String, Unsendable>;
}

/// The target that needs no configuration.
pub const OWNER_TARGET: &str = "owner";

/// Programs on this computer that talk line by line. The gateway brings them, each with the owner's token; components write to them.
#[async_trait]
pub trait Lines: Send + Sync {
    /// A program takes its place under a name at the channel `component/instance`, until what it is given is dropped. What waits for it is
    /// tried at once. Several may have one name.
    async fn attach(&self, component: &str, instance: &str, client: &str) -> Result<Seated, Denial>;
    /// Writes to whoever is attached under this name; returns when one of them has said that it has it.
    async fn write(&self, instance: &InstanceId, client: &str, key: &str, text: String) -> Result<(), Unattached>;
}

/// A program's place.
pub struct Seated {
    /// What it can say.
    pub program: Arc<dyn Program>,
    /// What is written to it; ends when its channel is gone.
    pub written: mpsc::Receiver<Written>,
}

/// A program that is attached.
#[async_trait]
pub trait Program: Send + Sync {
    /// A line of its: durable when it returns. The same `id` is the same line. A denial with the code [`LATER`] says that the same may be
    /// taken later.
    async fn line(&self, id: String, text: String) -> Result<(), Denial>;
    /// Whether everything that it wrote was dealt with, and everything that is for it was sent.
    async fn is_quiet(&self) -> Result<bool, Denial>;
}

/// See [`Program::line`].
pub const LATER: &str = "E-CHANNEL-015";

/// Something for a program.
#[derive(Debug)]
pub struct Written {
    /// The same is the same.
    pub key: String,
    /// What.
    pub text: String,
    /// To be told when the program has it; dropped if it will not.
    pub got: oneshot::Sender<()>,
}

/// Nobody is attached under this name, or none of them said that it had what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody is attached under that name, or went before it had this")]
pub struct Unattached;

/// Webhooks, as the gateway hands them on.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// A request to `/channels/<component>/<instance>/<webhook>` (or `/channels/<component>/<webhook>` for the instance `main`).
    /// Answers once what it brought is durable, or with 503 after 2.5 s.
    async fn webhook(&self, component: &str, instance: &str, request: WebhookRequest) -> HttpAnswer;
}
