//! Channels: ways to people, on a chat platform.
//!
//! A channel is a reducer: the kernel says what happened ([`Event`]), the component answers with its new state and what follows
//! ([`Outcome`]). All of it is committed at once; only then do requests leave. Nothing is kept between two calls but the state.

use crate::bindings::channel::exports::carapace::plugin::channel as wit;
pub use crate::bindings::channel::exports::carapace::plugin::channel::{
    Attachment, Content, Conversation, ConversationKind, Description, Failure, Item, Message, Outgoing, Part,
    PollResponse, Receipt, Scope, Sender, TextUnit, TypingSupport, WebhookRequest, WebhookResponse,
};
use crate::{Error, http};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What a component that is a channel implements. A fresh value serves each call.
pub trait Channel: Default + 'static {
    /// What lasts from one event to the next; at most 64 KiB as JSON. A later version must read what an earlier one wrote.
    type State: Serialize + DeserializeOwned + Default;

    /// What the platform can do. Calls no import.
    fn describe(&self) -> Description;

    /// The first thing after a start, an update, or a change of the configuration.
    ///
    /// # Errors
    /// It cannot begin: later, if the failure says so, and else not before something changes.
    fn start(&self, state: Self::State) -> Result<Outcome<Self::State>, Failure>;

    /// Something happened. `attempt` counts from 1; an event on which it traps three times is put aside.
    ///
    /// # Errors
    /// The event is tried again later if the failure says so, and else put aside.
    fn on_event(&self, state: Self::State, event: Event, attempt: u32) -> Result<Outcome<Self::State>, Failure>;

    /// What a poll brought, in order. Calls no import.
    ///
    /// # Errors
    /// The poll is tried again later if the failure says so, and else the channel stops.
    fn split(&self, response: PollResponse) -> Result<Vec<Item>, Failure> {
        Err(Failure::last(format!("nothing is polled here, and yet an answer came: {}", response.status)))
    }

    /// Converts the markup and splits at the platform's limit. Calls no import.
    ///
    /// # Errors
    /// It cannot be said on this platform.
    fn render(&self, conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure>;

    /// Sends one message.
    ///
    /// # Errors
    /// Why it was not sent, or that nobody knows.
    fn send(&self, outgoing: Outgoing) -> Result<Receipt, Failure>;

    /// Shows that somebody is writing, or no longer.
    ///
    /// # Errors
    /// It could not be shown; nothing depends on it.
    fn typing(&self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        let _ = (conversation, on);
        Ok(())
    }

    /// Fetches a file that came with a message; the id of a blob (see [`Response::to_blob`](http::Response::to_blob)). Called only if `[blob]` was
    /// granted.
    ///
    /// # Errors
    /// It is tried again for a while if the failure says so.
    fn fetch_media(&self, attachment: Attachment) -> Result<String, Failure> {
        Err(Failure::last(format!("files are not fetched here: {}", attachment.reference)))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A poll brought this.
    Item(Item),
    /// The kernel gave up on the item of this cursor: move past it.
    PassedOver(String),
    /// A timer has run down.
    Timer(String),
    /// An authentic request to a webhook of the manifest's.
    Webhook(WebhookRequest),
    /// Of a kernel that knows more than this crate: its name and its value.
    Other(String, String),
}

/// What follows from an event: the state, and what has to happen once it is durable.
#[derive(Debug, Clone)]
#[must_use = "an outcome does nothing until it is returned"]
pub struct Outcome<S> {
    state: S,
    wit: wit::Outcome,
    wrong: Option<String>,
}

impl<S> Outcome<S> {
    /// The state, and nothing else.
    pub fn new(state: S) -> Self {
        let wit = wit::Outcome {
            state: Vec::new(),
            inbound: Vec::new(),
            effects: Vec::new(),
            timers: Vec::new(),
            link: None,
            response: None,
            extra: Vec::new(),
        };
        Self { state, wit, wrong: None }
    }

    /// A message came in.
    pub fn message(mut self, message: Message) -> Self {
        self.wit.inbound.push(wit::Inbound::Message(message));
        self
    }

    /// A message says something else now. Its key differs from the first one's.
    pub fn edited(mut self, message: Message) -> Self {
        self.wit.inbound.push(wit::Inbound::Edited(message));
        self
    }

    /// A request that leaves after the commit, in order; its response is not seen.
    pub fn request(mut self, request: http::Request) -> Self {
        match request.for_later() {
            Ok(request) => self.wit.effects.push(wit::Effect::Request(request)),
            Err(wrong) => self.wrong = Some(wrong),
        }
        self
    }

    /// A timer, in so long; at most `jitter` later, by chance. It replaces one of the same id, and outlives a restart.
    pub fn timer(mut self, id: impl Into<String>, after: Duration, jitter: Duration) -> Self {
        let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
        self.wit.timers.push(wit::Timer { id: id.into(), after_ms: Some(ms(after)), jitter_ms: ms(jitter) });
        self
    }

    /// A timer that is not wanted any more.
    pub fn without_timer(mut self, id: impl Into<String>) -> Self {
        self.wit.timers.push(wit::Timer { id: id.into(), after_ms: None, jitter_ms: 0 });
        self
    }

    /// The kernel repeats this request from now on; `rest` lies between two that brought nothing.
    pub fn poll(mut self, request: http::Request, rest: Duration) -> Self {
        match request.for_later() {
            Ok(request) => {
                let min_interval_ms = u32::try_from(rest.as_millis()).unwrap_or(u32::MAX);
                self.wit.link = Some(wit::Link::Poll(wit::Poll { request, min_interval_ms }));
            }
            Err(wrong) => self.wrong = Some(wrong),
        }
        self
    }

    /// Nothing is polled from now on.
    pub fn idle(mut self) -> Self {
        self.wit.link = Some(wit::Link::Idle);
        self
    }

    /// It cannot go on without the owner; `why` says what to do.
    pub fn fatal(mut self, why: impl Into<String>) -> Self {
        self.wit.link = Some(wit::Link::Fatal(why.into()));
        self
    }

    /// The answer to a webhook. Without it: 200 and no body.
    pub fn respond(mut self, status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        self.wit.response = Some(WebhookResponse { status, headers, body: body.into() });
        self
    }

    /// The state.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S: Serialize> Outcome<S> {
    pub(crate) fn into_wit(self) -> Result<wit::Outcome, Failure> {
        if let Some(wrong) = self.wrong {
            return Err(Failure::last(wrong));
        }
        let state = serde_json::to_vec(&self.state)
            .map_err(|e| Failure::last(format!("the state cannot be written as JSON: {e}")))?;
        Ok(wit::Outcome { state, ..self.wit })
    }
}

pub(crate) fn state<S: DeserializeOwned + Default>(bytes: &[u8]) -> Result<S, Failure> {
    if bytes.is_empty() {
        return Ok(S::default());
    }
    serde_json::from_slice(bytes).map_err(|e| Failure::last(format!("the state that was kept cannot be read: {e}")))
}

pub(crate) fn event(e: wit::Event) -> Event {
    match e {
        wit::Event::Item(i) => Event::Item(i),
        wit::Event::PassedOver(cursor) => Event::PassedOver(cursor),
        wit::Event::Timer(id) => Event::Timer(id),
        wit::Event::Webhook(w) => Event::Webhook(w),
        wit::Event::Other((name, value)) => Event::Other(name, value),
    }
}

impl Failure {
    /// Trying again will not help.
    pub fn last(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            scope: Scope::Conversation,
            uncertain: false,
        }
    }

    /// Trying again may help.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::last(message) }
    }

    /// After so long, and everything of this account waits.
    pub fn account_waits(self, retry_after: Option<Duration>) -> Self {
        let ms = retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        Self { scope: Scope::Account, retryable: true, retry_after_ms: ms, ..self }
    }

    /// It may have been done all the same.
    pub fn uncertain(self) -> Self {
        Self { uncertain: true, ..self }
    }
}

impl From<http::Error> for Failure {
    /// A request that may have reached the server may have been carried out.
    fn from(e: http::Error) -> Self {
        let sent = e.was_sent();
        let failure = Self::from(e.kind().clone());
        Self { message: e.to_string(), uncertain: sent, ..failure }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let retryable = matches!(e, Error::Unavailable(_) | Error::Timeout(_) | Error::Cancelled | Error::Limit(_));
        Self { retryable, ..Self::last(e.to_string()) }
    }
}

impl Conversation {
    /// One person and the assistant.
    pub fn direct(id: impl Into<String>) -> Self {
        Self { id: id.into(), kind: ConversationKind::Direct, thread: None, title: None }
    }

    /// Several people.
    pub fn group(id: impl Into<String>, title: Option<String>) -> Self {
        Self { id: id.into(), kind: ConversationKind::Group, thread: None, title }
    }
}

impl Sender {
    /// A person.
    pub fn person(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), is_bot: false, is_me: false }
    }
}

impl Message {
    /// A text that somebody wrote; `key` tells it from every other, `id` is the platform's for it.
    pub fn new(
        key: impl Into<String>,
        id: impl Into<String>,
        conversation: Conversation,
        sender: Sender,
        text: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            id: id.into(),
            conversation,
            sender,
            text: text.into(),
            mentions_me: false,
            reply_to: None,
            at_ms: None,
            attachments: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl Receipt {
    /// The platform's id of what was sent.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), extra: Vec::new() }
    }
}
