//! A fake kernel for the tests of providers: answers that were written beforehand, and a record of what was asked and pushed.

use crate::bindings::carapace::plugin::http;
use crate::door::Outgoing;
use crate::{Door, Error, Event, Message, Part, Reply, Request, Role, ToolChoice};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// An answer, chunk by chunk.
#[derive(Debug, Clone)]
pub struct Canned {
    status: u16,
    headers: Vec<(String, String)>,
    /// What is left of its body.
    pub chunks: VecDeque<Vec<u8>>,
    /// How it breaks off after that, if it does.
    pub broken: Option<Error>,
}

impl Reply for Canned {
    fn status(&self) -> u16 {
        self.status
    }
    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }
    fn read(&mut self) -> Result<Vec<u8>, Error> {
        match (self.chunks.pop_front(), self.broken.take()) {
            (Some(chunk), broken) => {
                self.broken = broken;
                Ok(chunk)
            }
            (None, Some(e)) => Err(e),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// `headers`: `name: value` lines.
pub fn answer(status: u16, headers: &str, chunks: &[&str]) -> Canned {
    let headers =
        headers.lines().filter_map(|l| l.split_once(": ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let chunks = chunks.iter().filter(|c| !c.is_empty()).map(|c| c.as_bytes().to_vec()).collect();
    Canned { status, headers, chunks, broken: None }
}

/// `text` as a body that arrives in pieces of these sizes, over and over.
pub fn in_pieces(text: &str, sizes: &[usize]) -> Canned {
    let mut reply = answer(200, "", &[]);
    let (mut rest, mut sizes) = (text.as_bytes(), sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
        let (a, b) = rest.split_at(size);
        reply.chunks.push_back(a.to_vec());
        rest = b;
    }
    reply
}

/// The kernel, played.
#[derive(Debug)]
pub struct Fake {
    answers: RefCell<VecDeque<Canned>>,
    /// What was asked.
    pub sent: RefCell<Vec<Outgoing>>,
    /// What was pushed.
    pub events: RefCell<Vec<Event>>,
    section: String,
    unique: Cell<u32>,
    /// After so many events, nobody wants more.
    pub cancel_after: Option<usize>,
}

impl Fake {
    /// Answers in this order; afterwards every connection is refused.
    pub fn new(answers: Vec<Canned>) -> Self {
        Self {
            answers: RefCell::new(answers.into()),
            sent: RefCell::default(),
            events: RefCell::default(),
            section: "{}".into(),
            unique: Cell::new(0),
            cancel_after: None,
        }
    }
    /// With this section of the configuration.
    #[must_use]
    pub fn section(mut self, s: &str) -> Self {
        s.clone_into(&mut self.section);
        self
    }
    /// The body of a request, parsed; null if there is none.
    pub fn body(&self, i: usize) -> Value {
        let sent = self.sent.borrow();
        let body = sent.get(i).and_then(|o| o.body.as_deref()).unwrap_or_default();
        serde_json::from_slice(body).unwrap_or_default()
    }
}

impl Door for Fake {
    type Reply = Canned;
    fn send(&self, r: Outgoing) -> Result<Canned, http::Failure> {
        self.sent.borrow_mut().push(r);
        let refused = || http::Failure { error: Error::Unavailable("connection refused".into()), sent: false };
        self.answers.borrow_mut().pop_front().ok_or_else(refused)
    }
    fn emit(&self, event: Event) -> Result<(), Error> {
        if self.cancel_after == Some(self.events.borrow().len()) {
            return Err(Error::Cancelled);
        }
        self.events.borrow_mut().push(event);
        Ok(())
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn unique(&self) -> String {
        self.unique.set(self.unique.get() + 1);
        self.unique.get().to_string()
    }
    fn section(&self) -> String {
        self.section.clone()
    }
    fn note(&self, _: &str) {}
}

/// A request with these messages for the model `m`, and nothing else.
pub fn request(parts: Vec<(Role, Vec<Part>)>) -> Request {
    Request {
        model: "m".into(),
        messages: parts.into_iter().map(|(role, parts)| Message { role, parts }).collect(),
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

/// A question of one word.
pub fn question() -> Request {
    request(vec![(Role::User, vec![Part::Text("hi".into())])])
}
