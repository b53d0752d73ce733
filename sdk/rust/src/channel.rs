//! Channels: ways to people, on a chat platform.
//!
//! A channel is a reducer: the kernel says what happened ([`Event`]), the component answers with its new state and what follows
//! ([`Outcome`]). All of it is committed at once; only then do requests leave. Nothing is kept between two calls but the state.

mod pieces;
mod said;

use crate::bindings::channel::exports::carapace::plugin::channel as wit;
pub use crate::bindings::channel::exports::carapace::plugin::channel::{
    Attachment, Closed, Content, Conversation, ConversationKind, Description, Dial, EditSupport, Failure, File, Frame,
    Item, Line, Message, Outgoing, Part, PollResponse, Receipt, Scope, Sender, TextUnit, TypingSupport, WebhookRequest,
    WebhookResponse,
};
pub use pieces::pieces;

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

    /// Puts a part in the place of one that was sent; `id` is that of its receipt. Called only if [`describe`](Self::describe) says `edits`.
    ///
    /// # Errors
    /// Why it was not changed. That it says the same already is no failure.
    fn edit(&self, outgoing: Outgoing, id: &str) -> Result<(), Failure> {
        Err(Failure::last(format!("nothing is changed here: {id}, {}", outgoing.key)))
    }

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
    /// A connection is wanted: answer with [`Outcome::connect`].
    Dial(Dial),
    /// The socket that was asked for is there; this is its number.
    Opened(u32),
    /// Something came through a socket.
    Frame(Frame),
    /// A socket has ended.
    Closed(Closed),
    /// A program on this computer wrote something ([`lines`](crate::lines)).
    Line(Line),
    /// Of a kernel that knows more than this crate: its name and its value.
    Other(String, String),
}

/// A socket to be opened.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a socket is opened by an outcome"]
pub struct Connect(wit::SocketTarget);

impl Connect {
    fn new(endpoint: impl Into<String>, address: wit::SocketAddress) -> Self {
        let (endpoint, headers, extra) = (endpoint.into(), Vec::new(), Vec::new());
        Self(wit::SocketTarget { endpoint, address, headers, ping_ms: None, extra })
    }

    /// To a path (with query) under the `url` of a `[[socket]]`.
    pub fn path(endpoint: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(endpoint, wit::SocketAddress::Path(path.into()))
    }

    /// To an address that the `hosts` of a `[[socket]]` cover.
    pub fn url(endpoint: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(endpoint, wit::SocketAddress::Url(url.into()))
    }

    /// To what a `capture` rule hid, if the `hosts` of a `[[socket]]` cover it.
    pub fn handle(endpoint: impl Into<String>, handle: impl Into<String>) -> Self {
        Self::new(endpoint, wit::SocketAddress::Handle(handle.into()))
    }

    /// A header of the handshake.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The kernel pings as often, and ends a socket that was silent for two of them.
    pub fn ping(mut self, every: Duration) -> Self {
        self.0.ping_ms = Some(u32::try_from(every.as_millis()).unwrap_or(u32::MAX));
        self
    }
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

    /// A socket is kept open from now on: [`Event::Dial`] comes whenever there is none. The kernel waits longer from one failure to the next.
    pub fn socket(self) -> Self {
        self.socket_after(Duration::ZERO)
    }

    /// As [`socket`](Self::socket), and the next [`Event::Dial`] comes no sooner than after this. Whoever has said it once says it again
    /// only to wait.
    pub fn socket_after(mut self, wait: Duration) -> Self {
        self.wit.link = Some(wit::Link::Socket(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)));
        self
    }

    /// Opens a socket. [`Event::Opened`] follows, or [`Event::Dial`] with the reason `failed`.
    pub fn connect(mut self, socket: Connect) -> Self {
        self.wit.effects.push(wit::Effect::Connect(socket.0));
        self
    }

    /// Asks for [`Event::Dial`] although a socket is open, so that another takes over from it.
    pub fn dial(mut self) -> Self {
        self.wit.effects.push(wit::Effect::Dial);
        self
    }

    /// Sends a text through a socket, once all of this is durable.
    pub fn send_text(mut self, socket: u32, text: impl Into<String>) -> Self {
        self.wit.effects.push(wit::Effect::Frame(Frame { socket, text: true, data: text.into().into_bytes() }));
        self
    }

    /// Sends a value as JSON through a socket, once all of this is durable. Leave `null` where the manifest's `inject` sets a secret.
    pub fn send_json(mut self, socket: u32, value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) => self.send_text(socket, text),
            Err(e) => {
                self.wrong = Some(format!("a message for a socket cannot be written as JSON: {e}"));
                self
            }
        }
    }

    /// Sends bytes through a socket, once all of this is durable.
    pub fn send_bytes(mut self, socket: u32, data: impl Into<Vec<u8>>) -> Self {
        self.wit.effects.push(wit::Effect::Frame(Frame { socket, text: false, data: data.into() }));
        self
    }

    /// Ends a socket. What has come in already is still given, then [`Event::Closed`]. `code`: 1000, or from 3000 to 4999.
    pub fn close(mut self, socket: u32, code: u16, reason: impl Into<String>) -> Self {
        self.wit.effects.push(wit::Effect::Close(wit::Closing { socket, code, reason: reason.into() }));
        self
    }

    /// Nothing is polled, and no socket kept, from now on.
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

    /// A line is not taken; its program is told why.
    pub fn refuse_line(self, why: impl Into<String>) -> Self {
        self.respond(400, "text/plain; charset=utf-8", why.into())
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
        wit::Event::Dial(d) => Event::Dial(d),
        wit::Event::Opened(socket) => Event::Opened(socket),
        wit::Event::Frame(f) => Event::Frame(f),
        wit::Event::Closed(c) => Event::Closed(c),
        wit::Event::Line(l) => Event::Line(l),
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

impl Frame {
    /// What came, read as JSON.
    ///
    /// # Errors
    /// It is none, or of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.data)
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
