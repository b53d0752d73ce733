//! Calls of a channel, in this process or of the built component.

use super::TestHost;
use super::fake::Entry;
use super::protocol::{Call, Outcome as Said};
use super::test_host::wrong;
use crate::channel::{
    Attachment, Closed, Content, Conversation, Description, Dial, Event, Failure, File, Frame, Item, Line, Outgoing,
    Part, PollResponse, Receipt,
};
use crate::glue::{AnyChannel, wit_channel as wit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is called of a channel.
#[allow(missing_docs, reason = "for the two ends of the test protocol")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChannelCall {
    Describe,
    Start { state: Vec<u8> },
    Event { state: Vec<u8>, event: wit::Event, attempt: u32 },
    Split(PollResponse),
    Render(Conversation, Content),
    Send(Outgoing),
    Edit(Outgoing, String),
    Typing(Conversation, bool),
    FetchMedia(Attachment),
}

/// What it answered.
#[allow(missing_docs, reason = "for the two ends of the test protocol")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChannelAnswer {
    Description(Description),
    Outcome(Box<Result<wit::Outcome, Failure>>),
    Items(Result<Vec<Item>, Failure>),
    Parts(Result<Vec<Part>, Failure>),
    Receipt(Result<Receipt, Failure>),
    Done(Result<(), Failure>),
    Media(Result<String, Failure>),
}

/// What a channel's event led to, as a test looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Led {
    /// As the kernel gets it.
    pub outcome: wit::Outcome,
}

impl Led {
    /// The state.
    ///
    /// # Panics
    /// It is not of that type.
    #[allow(clippy::panic, reason = "a test that looks at another state than there is must fail")]
    pub fn state<S: DeserializeOwned>(&self) -> S {
        serde_json::from_slice(&self.outcome.state).unwrap_or_else(|e| panic!("the state is of another type: {e}"))
    }

    /// The messages that came in, edits included.
    pub fn messages(&self) -> Vec<crate::channel::Message> {
        let message = |i: &wit::Inbound| match i {
            wit::Inbound::Message(m) | wit::Inbound::Edited(m) => Some(m.clone()),
            wit::Inbound::Other(_) => None,
        };
        self.outcome.inbound.iter().filter_map(message).collect()
    }

    /// Whether the n-th of them is an edit.
    pub fn is_edit(&self, n: usize) -> bool {
        matches!(self.outcome.inbound.get(n), Some(wit::Inbound::Edited(_)))
    }

    /// What is polled from now on: endpoint and path.
    pub fn polls(&self) -> Option<String> {
        match &self.outcome.link {
            Some(wit::Link::Poll(p)) => Some(shown(&p.request)),
            _ => None,
        }
    }

    /// Why it cannot go on.
    pub fn fatal(&self) -> Option<&str> {
        match &self.outcome.link {
            Some(wit::Link::Fatal(why)) => Some(why),
            _ => None,
        }
    }

    /// The requests that leave after the commit: method, endpoint and path, body as JSON.
    pub fn requests(&self) -> Vec<(String, String, Value)> {
        let one = |e: &wit::Effect| match e {
            wit::Effect::Request(r) => {
                let body = match &r.body {
                    crate::bindings::imports::carapace::plugin::http::Body::Bytes(b) => {
                        serde_json::from_slice(b).unwrap_or(Value::Null)
                    }
                    _ => Value::Null,
                };
                Some((r.method.clone(), shown(r), body))
            }
            _ => None,
        };
        self.outcome.effects.iter().filter_map(one).collect()
    }

    /// Whether a socket is kept open from now on, and how long the next connection waits at least, ms.
    pub fn keeps_a_socket(&self) -> Option<u32> {
        match self.outcome.link {
            Some(wit::Link::Socket(after_ms)) => Some(after_ms),
            _ => None,
        }
    }

    /// The socket that is opened: endpoint, and path, URL, or `a captured link`.
    pub fn connects(&self) -> Option<String> {
        self.outcome.effects.iter().find_map(|e| match e {
            wit::Effect::Connect(t) => Some(match &t.address {
                wit::SocketAddress::Path(to) | wit::SocketAddress::Url(to) => format!("{}:{to}", t.endpoint),
                wit::SocketAddress::Handle(_) => format!("{}:a captured link", t.endpoint),
            }),
            _ => None,
        })
    }

    /// Whether another connection is asked for.
    pub fn dials(&self) -> bool {
        self.outcome.effects.contains(&wit::Effect::Dial)
    }

    /// What is sent through sockets, in order: the socket's number, and the message as JSON, or as a string if it is none.
    pub fn frames(&self) -> Vec<(u32, Value)> {
        let one = |e: &wit::Effect| match e {
            wit::Effect::Frame(f) => {
                let text = || Value::String(String::from_utf8_lossy(&f.data).into_owned());
                Some((f.socket, serde_json::from_slice(&f.data).unwrap_or_else(|_| text())))
            }
            _ => None,
        };
        self.outcome.effects.iter().filter_map(one).collect()
    }

    /// The sockets that are ended, with their codes.
    pub fn closes(&self) -> Vec<(u32, u16)> {
        let one = |e: &wit::Effect| match e {
            wit::Effect::Close(c) => Some((c.socket, c.code)),
            _ => None,
        };
        self.outcome.effects.iter().filter_map(one).collect()
    }

    /// The timers that are set (with their time, ms) or cleared.
    pub fn timers(&self) -> Vec<(&str, Option<u32>)> {
        self.outcome.timers.iter().map(|t| (t.id.as_str(), t.after_ms)).collect()
    }
}

impl Event {
    /// A connection is wanted, and none is open: `start`, `closed`, `failed` or `asked`. For tests.
    pub fn dial(reason: &str) -> Self {
        Self::Dial(Dial { reason: reason.to_owned(), failures: 0, status: None, open: Vec::new() })
    }

    /// A text came through a socket. For tests.
    pub fn text(socket: u32, text: impl Into<String>) -> Self {
        Self::Frame(Frame { socket, text: true, data: text.into().into_bytes() })
    }

    /// A value came through a socket as JSON. For tests.
    pub fn json(socket: u32, value: &Value) -> Self {
        Self::text(socket, value.to_string())
    }

    /// A program wrote something. For tests.
    pub fn line(client: &str, id: &str, text: impl Into<String>) -> Self {
        Self::Line(Line { client: client.to_owned(), id: id.to_owned(), text: text.into() })
    }

    /// A socket has ended. For tests.
    pub fn closed(socket: u32, code: Option<u16>) -> Self {
        Self::Closed(Closed { socket, code, reason: String::new() })
    }
}

fn shown(r: &crate::bindings::imports::carapace::plugin::http::Request) -> String {
    use crate::bindings::imports::carapace::plugin::http::Target;
    match &r.target {
        Target::Endpoint((endpoint, path)) => format!("{endpoint}:{path}"),
        Target::Handle(_) => "a captured link".to_owned(),
        Target::Public(url) => url.clone(),
    }
}

fn perform(channel: &dyn AnyChannel, call: ChannelCall) -> ChannelAnswer {
    match call {
        ChannelCall::Describe => ChannelAnswer::Description(channel.describe()),
        ChannelCall::Start { state } => ChannelAnswer::Outcome(Box::new(channel.start(state))),
        ChannelCall::Event { state, event, attempt } => {
            ChannelAnswer::Outcome(Box::new(channel.on_event(state, event, attempt)))
        }
        ChannelCall::Split(response) => ChannelAnswer::Items(channel.split(response)),
        ChannelCall::Render(conversation, content) => ChannelAnswer::Parts(channel.render(&conversation, content)),
        ChannelCall::Send(outgoing) => ChannelAnswer::Receipt(channel.send(outgoing)),
        ChannelCall::Edit(outgoing, id) => ChannelAnswer::Done(channel.edit(outgoing, id)),
        ChannelCall::Typing(conversation, on) => ChannelAnswer::Done(channel.typing(&conversation, on)),
        ChannelCall::FetchMedia(attachment) => ChannelAnswer::Media(channel.fetch_media(attachment)),
    }
}

impl TestHost {
    fn channel(&mut self, call: ChannelCall) -> ChannelAnswer {
        match self.ask(|| Call::Channel(Box::new(call.clone()))) {
            Some(Said::Channel(answer)) => *answer,
            Some(other) => wrong(&other),
            None => {
                let channel = self.new_channel();
                self.enter(Entry::Channel, || perform(channel().as_ref(), call))
            }
        }
    }

    /// What the channel says about its platform.
    pub fn describe(&mut self) -> Description {
        match self.channel(ChannelCall::Describe) {
            ChannelAnswer::Description(d) => d,
            other => unexpected(&other),
        }
    }

    /// Starts the channel with a state; `None` = the first time.
    ///
    /// # Errors
    /// What it says.
    pub fn start_channel(&mut self, state: Option<&Value>) -> Result<Led, Failure> {
        let state = state.map(|s| s.to_string().into_bytes()).unwrap_or_default();
        self.led(ChannelCall::Start { state })
    }

    /// Gives it an event, for the first time.
    ///
    /// # Errors
    /// What it says.
    pub fn channel_event(&mut self, state: &Value, event: Event) -> Result<Led, Failure> {
        let event = match event {
            Event::Item(i) => wit::Event::Item(i),
            Event::PassedOver(cursor) => wit::Event::PassedOver(cursor),
            Event::Timer(id) => wit::Event::Timer(id),
            Event::Webhook(w) => wit::Event::Webhook(w),
            Event::Dial(d) => wit::Event::Dial(d),
            Event::Opened(socket) => wit::Event::Opened(socket),
            Event::Frame(f) => wit::Event::Frame(f),
            Event::Closed(c) => wit::Event::Closed(c),
            Event::Line(l) => wit::Event::Line(l),
            Event::Other(name, value) => wit::Event::Other((name, value)),
        };
        self.led(ChannelCall::Event { state: state.to_string().into_bytes(), event, attempt: 1 })
    }

    fn led(&mut self, call: ChannelCall) -> Result<Led, Failure> {
        match self.channel(call) {
            ChannelAnswer::Outcome(result) => (*result).map(|outcome| Led { outcome }),
            other => unexpected(&other),
        }
    }

    /// Splits what a poll brought.
    ///
    /// # Errors
    /// What it says.
    pub fn split(&mut self, status: u16, body: impl Into<Vec<u8>>) -> Result<Vec<Item>, Failure> {
        match self.channel(ChannelCall::Split(PollResponse { status, headers: Vec::new(), body: body.into() })) {
            ChannelAnswer::Items(result) => result,
            other => unexpected(&other),
        }
    }

    /// Fetches a file that came with a message: the id of a blob, whose bytes [`kept`](Self::kept) has.
    ///
    /// # Errors
    /// What it says.
    pub fn fetch_media(&mut self, attachment: Attachment) -> Result<String, Failure> {
        match self.channel(ChannelCall::FetchMedia(attachment)) {
            ChannelAnswer::Media(result) => result,
            other => unexpected(&other),
        }
    }

    /// Renders a text for a conversation.
    ///
    /// # Errors
    /// What it says.
    pub fn render(&mut self, conversation: &Conversation, text: &str) -> Result<Vec<Part>, Failure> {
        self.render_with(conversation, text, Vec::new())
    }

    /// Renders a text with files. [`blob`](Self::blob) makes them.
    ///
    /// # Errors
    /// What it says.
    pub fn render_with(
        &mut self,
        conversation: &Conversation,
        text: &str,
        files: Vec<File>,
    ) -> Result<Vec<Part>, Failure> {
        self.render_content(conversation, Content { text: text.to_owned(), reply_to: None, files, extra: Vec::new() })
    }

    /// Renders the answer to a message, with the platform's id of that.
    ///
    /// # Errors
    /// What it says.
    pub fn render_answer(
        &mut self,
        conversation: &Conversation,
        text: &str,
        message: &str,
    ) -> Result<Vec<Part>, Failure> {
        let extra = vec![("message".to_owned(), message.to_owned())];
        self.render_content(conversation, Content { text: text.to_owned(), reply_to: None, files: Vec::new(), extra })
    }

    fn render_content(&mut self, conversation: &Conversation, content: Content) -> Result<Vec<Part>, Failure> {
        match self.channel(ChannelCall::Render(conversation.clone(), content)) {
            ChannelAnswer::Parts(result) => result,
            other => unexpected(&other),
        }
    }

    /// Sends a part.
    ///
    /// # Errors
    /// What it says.
    pub fn send_part(&mut self, conversation: &Conversation, part: Part, key: &str) -> Result<Receipt, Failure> {
        let outgoing = Outgoing { conversation: conversation.clone(), part, key: key.to_owned(), attempt: 1 };
        match self.channel(ChannelCall::Send(outgoing)) {
            ChannelAnswer::Receipt(result) => result,
            other => unexpected(&other),
        }
    }

    /// Puts a part in the place of one that was sent.
    ///
    /// # Errors
    /// What it says.
    pub fn edit_part(&mut self, conversation: &Conversation, part: Part, key: &str, id: &str) -> Result<(), Failure> {
        let outgoing = Outgoing { conversation: conversation.clone(), part, key: key.to_owned(), attempt: 1 };
        match self.channel(ChannelCall::Edit(outgoing, id.to_owned())) {
            ChannelAnswer::Done(result) => result,
            other => unexpected(&other),
        }
    }

    /// Shows that somebody writes.
    ///
    /// # Errors
    /// What it says.
    pub fn typing(&mut self, conversation: &Conversation, on: bool) -> Result<(), Failure> {
        match self.channel(ChannelCall::Typing(conversation.clone(), on)) {
            ChannelAnswer::Done(result) => result,
            other => unexpected(&other),
        }
    }
}

#[allow(clippy::panic, reason = "the test cannot go on")]
fn unexpected(answer: &ChannelAnswer) -> ! {
    panic!("the test host gave another kind of answer than was asked for: {answer:?}")
}
