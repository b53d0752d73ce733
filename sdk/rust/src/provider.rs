//! Providers: ways to language models.

use crate::Error;
pub use crate::bindings::imports::carapace::plugin::completion::{Event, StopReason, ToolCall, Usage};
pub use crate::bindings::imports::carapace::plugin::types::Image;
use crate::bindings::provider::exports::carapace::plugin::provider::Failure as Wit;
pub use crate::bindings::provider::exports::carapace::plugin::provider::{
    FailureKind, Message, Model, Part, Request, Role, ToolChoice, ToolResult, ToolSpec,
};
use crate::host;
use serde::{Deserialize, Serialize};

/// What a component with models implements.
///
/// The value is made by [`Default`] when an instance begins. A fresh instance (the rule) serves one call with it; one whose manifest
/// says `life = "warm"` keeps it from one completion to the next, which is where loaded weights may stay. State that belongs to one
/// conversation must not.
pub trait Provider: Default + 'static {
    /// What there is. Asked for at most every 5 minutes, and given up after 10 s.
    ///
    /// # Errors
    /// Why the list cannot be had.
    fn models(&self) -> Result<Vec<Model>, Failure>;

    /// Answers a request: pushes what the model says into `out` and returns when the answer is complete.
    ///
    /// # Errors
    /// Why there is no answer, or no whole one. The kernel decides what to do next, by the kind.
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure>;
}

/// Why a completion, or the list of models, failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, by which the kernel decides.
    pub kind: FailureKind,
    /// For the owner.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When it may, in milliseconds, if the server said so.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure; whether the same request may succeed later follows from its kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, FailureKind::RateLimited | FailureKind::Unavailable | FailureKind::Interrupted);
        Self { kind, message: message.into(), retryable, retry_after_ms: None }
    }

    /// The request itself is wrong; repeating it will not help.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, message)
    }

    /// The server failed or could not be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    /// The model does not exist there.
    pub fn unknown_model(message: impl Into<String>) -> Self {
        Self::new(FailureKind::UnknownModel, message)
    }

    /// The server sent something that cannot be read. Worth another try: it is usually a proxy's page.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(FailureKind::Other("malformed".to_owned()), message) }
    }

    pub(crate) fn of(e: Error, broken: FailureKind) -> Self {
        match e {
            Error::Denied(t) => Self::new(FailureKind::Other("denied".to_owned()), t),
            Error::Limit(t) => Self::new(FailureKind::Other("limit".to_owned()), t),
            Error::NotFound(t) | Error::Invalid(t) => Self::new(FailureKind::InvalidRequest, t),
            Error::Unavailable(t) | Error::Timeout(t) | Error::Other(t) => Self::new(broken, t),
            Error::Cancelled => Self::new(FailureKind::Cancelled, Error::Cancelled.to_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::of(e, FailureKind::Unavailable)
    }
}

impl From<Failure> for Wit {
    fn from(f: Failure) -> Self {
        Self { kind: f.kind, message: f.message, retryable: f.retryable, retry_after_ms: f.retry_after_ms }
    }
}

/// Where a provider pushes what the model says. Each call waits while the reader is slow; when nobody wants the answer any more,
/// it fails with the kind [`Cancelled`](FailureKind::Cancelled), and `?` ends the completion.
#[derive(Debug)]
#[non_exhaustive]
pub struct Completion {}

impl Completion {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Text of the answer, as it comes. An empty text is not sent.
    ///
    /// # Errors
    /// Cancelled, or a limit was reached; pass it on with `?`.
    pub fn text(&mut self, text: impl Into<String>) -> Result<(), Failure> {
        let text = text.into();
        if text.is_empty() { Ok(()) } else { self.emit(Event::Text(text)) }
    }

    /// The model's reasoning, as it comes. An empty text is not sent.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn reasoning(&mut self, text: impl Into<String>) -> Result<(), Failure> {
        let text = text.into();
        if text.is_empty() { Ok(()) } else { self.emit(Event::Reasoning(text)) }
    }

    /// A whole tool call: fragments are assembled here, in the provider. The kernel validates the arguments.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn tool_call(&mut self, call: ToolCall) -> Result<(), Failure> {
        self.emit(Event::ToolCall(call))
    }

    /// Tokens, as the provider counts them.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn usage(&mut self, usage: Usage) -> Result<(), Failure> {
        self.emit(Event::Usage(usage))
    }

    /// Why the model stopped. The last thing a completion says.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn stop(&mut self, reason: StopReason) -> Result<(), Failure> {
        self.emit(Event::Stop(reason))
    }

    /// Opaque state of the provider's, handed back with the next request as [`Part::Other`]: a signature, a response's id.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn other(&mut self, kind: impl Into<String>, data: impl Into<String>) -> Result<(), Failure> {
        self.emit(Event::Other((kind.into(), data.into())))
    }

    /// Any event.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn emit(&mut self, event: Event) -> Result<(), Failure> {
        host::emit(event).map_err(|e| Failure::of(e, FailureKind::Cancelled))
    }
}

impl Request {
    /// A request with only a model and a conversation.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            messages,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            max_output: None,
            temperature: None,
            top_p: None,
            seed: None,
            stop: Vec::new(),
            json_schema: None,
            extra: Vec::new(),
        }
    }
}

impl Message {
    /// A message of any role and parts.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts }
    }
    /// What the user says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, vec![Part::Text(text.into())])
    }
    /// What the system prompt says.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, vec![Part::Text(text.into())])
    }
    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, vec![Part::Text(text.into())])
    }
    /// Its text parts, joined by line feeds.
    pub fn text(&self) -> String {
        let texts: Vec<&str> =
            self.parts.iter().filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect();
        texts.join("\n")
    }
}

impl Model {
    /// A model of which only the id is known. It is taken to be able to call tools, and not to see images.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self { name: id.clone(), id, context: None, output: None, tools: true, images: false, extra: Vec::new() }
    }
}

impl ToolCall {
    /// A call. `arguments` is JSON text, as the model gave it.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), extra: Vec::new() }
    }
}

impl Usage {
    /// Tokens in and out; cached and reasoning ones are set on the fields.
    pub fn new(input: u64, output: u64) -> Self {
        Self { input, output, cached_input: 0, reasoning: 0, extra: Vec::new() }
    }
}
