//! What a component answers to an event: its state, and what follows from it.

use super::{ChannelFailure, Closing, Frame, HttpAnswer, Inbound, SocketTarget};

/// A timer that a component asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerChange {
    /// Which.
    pub id: String,
    /// From now, ms; none = it goes.
    pub after_ms: Option<u32>,
    /// At most so much later, ms.
    pub jitter_ms: u32,
}

/// An HTTP request of a component's that the kernel sends for it, under the same rules as one it sends itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRequest {
    /// Method.
    pub method: String,
    /// Where.
    pub target: KernelTarget,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body; none = without.
    pub body: Option<Vec<u8>>,
    /// Until the response's head, ms.
    pub timeout_ms: Option<u32>,
}

/// See [`KernelRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelTarget {
    /// An endpoint of its manifest, and a path with query under it.
    Endpoint(String, String),
    /// A handle that a `capture` rule made.
    Handle(String),
    /// Any public address.
    Public(String),
}

/// How a channel gets what is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The kernel repeats this.
    Poll {
        /// What.
        request: KernelRequest,
        /// From the end of one to the beginning of the next, when there was nothing, ms.
        min_interval_ms: u32,
    },
    /// Not at all: webhooks bring it.
    Idle,
    /// Through a socket.
    Socket {
        /// Until one is asked for, at least, ms.
        after_ms: u32,
    },
    /// It cannot go on without the owner.
    Fatal(String),
}

/// What a component answered to an event. Within the limits of the module above when it comes from the port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its state from now on.
    pub state: Vec<u8>,
    /// What came in.
    pub inbound: Vec<Inbound>,
    /// They leave after the commit, in order.
    pub effects: Vec<Effect>,
    /// Timers.
    pub timers: Vec<TimerChange>,
    /// None = as before.
    pub link: Option<Link>,
    /// To a webhook or a line; none = 200.
    pub response: Option<HttpAnswer>,
}

/// How far events came that were given one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of the first ones, in order.
    pub outcomes: Vec<Outcome>,
    /// Of the one after them; none = it was not given, or there is none.
    pub failure: Option<ChannelFailure>,
}

/// What leaves once an event is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// An HTTP request.
    Request(KernelRequest),
    /// A socket is opened.
    Connect(SocketTarget),
    /// Something is sent through one.
    Frame(Frame),
    /// One is ended.
    Close(Closing),
    /// One more is wanted.
    Dial,
}
