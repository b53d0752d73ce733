//! The host that a test is given.

use super::answer::{Answer, Exchange};
use super::fake::{Asset, Entry, FakeHost};
use super::journal::{LogLine, Sent};
use super::output::Output;
use super::protocol::{Call, Outcome};
use super::remote::Remote;
use crate::glue::{AnyChannel, AnyProvider, Component};
use crate::provider::{Completion, Event, Failure, Model, Request};
use crate::tools::{Context, ToolError, set};
use crate::{Error, sessions};
use serde_json::Value;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

/// A host for one test: what the component may find is set first, then it is called, then one looks at what it did.
///
/// As in the kernel, a tool reaches only what the manifest asks for and its `uses` name.
pub struct TestHost {
    component: Component,
    /// The built component; without it, the code of this process is called.
    remote: Option<Remote>,
    fake: Rc<RefCell<FakeHost>>,
    /// Kept from one completion to the next if the manifest says `life = "warm"`.
    provider: Option<Box<dyn AnyProvider>>,
    context: Context,
    calls: u32,
}

impl std::fmt::Debug for TestHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestHost").field("component", &self.component).finish_non_exhaustive()
    }
}

impl TestHost {
    #[allow(clippy::panic, reason = "a test that cannot run must say so")]
    pub(crate) fn new(component: Component) -> Self {
        let remote = Remote::from_environment(component.manifest.name).unwrap_or_else(|e| panic!("{e}"));
        Self {
            component,
            remote,
            fake: Rc::new(RefCell::new(FakeHost::of(component.manifest))),
            provider: None,
            context: Context {
                call_id: String::new(),
                session: "session".to_owned(),
                timezone: None,
                extra: Vec::new(),
            },
            calls: 0,
        }
    }

    pub(crate) fn fake(&self) -> Rc<RefCell<FakeHost>> {
        self.fake.clone()
    }

    /// As at the test's beginning: nothing is there, nothing was done. For tests with many cases.
    pub fn fresh(&mut self) -> &mut Self {
        let (fake, new) = (self.fake.clone(), Self::new(self.component));
        fake.swap(&new.fake);
        *self = Self { fake, ..new };
        self
    }

    fn set(&mut self, change: impl FnOnce(&mut FakeHost)) -> &mut Self {
        change(&mut self.fake.borrow_mut());
        self
    }

    // What the component finds.

    /// The time, milliseconds since the Unix epoch. Without this: 2026-07-01 12:34:56.789 UTC, a Wednesday.
    pub fn now_ms(&mut self, now: u64) -> &mut Self {
        self.set(|f| f.now_ms = now)
    }

    /// The next random bytes. After them, and without this, a sequence that is the same in every run.
    pub fn random(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.set(|f| f.random.extend(bytes.as_ref()))
    }

    /// The instance's section of the configuration.
    pub fn config(&mut self, section: Value) -> &mut Self {
        self.set(|f| f.config = section)
    }

    /// A stored pair.
    pub fn pair(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.set(|f| {
            f.store(key, value.as_ref(), None);
        })
    }

    /// The stored pairs are in the form of an earlier version with this `[kv] schema`.
    pub fn pairs_of_schema(&mut self, schema: u32) -> &mut Self {
        self.set(|f| f.schema = Some(schema))
    }

    /// A secret's value. The component never sees it.
    pub fn secret(&mut self, name: &str, value: &str) -> &mut Self {
        self.set(|f| {
            f.secrets.insert(name.to_owned(), value.to_owned());
        })
    }

    /// A note in the memory.
    pub fn note(&mut self, key: &str, text: &str) -> &mut Self {
        self.set(|f| f.note(key, text, false))
    }

    /// A note in whose text something from outside had a hand.
    pub fn note_from_outside(&mut self, key: &str, text: &str) -> &mut Self {
        self.set(|f| f.note(key, text, true))
    }

    /// A conversation, with all that the kernel would know of it.
    pub fn recorded(&mut self, session: sessions::Session, messages: Vec<sessions::Entry>) -> &mut Self {
        self.set(|f| f.sessions.push((session, messages)))
    }

    /// A conversation, with its messages as role and text.
    pub fn conversation(&mut self, id: &str, messages: &[(&str, &str)]) -> &mut Self {
        self.set(|f| {
            let at_ms = f.now_ms;
            let entry = |(role, text): &(&str, &str)| sessions::Entry {
                role: (*role).to_owned(),
                text: (*text).to_owned(),
                at_ms,
                tainted: false,
                extra: Vec::new(),
            };
            let session = sessions::Session {
                id: id.to_owned(),
                title: messages.first().map(|(_, t)| (*t).to_owned()).unwrap_or_default(),
                messages: messages.len() as u64,
                updated_ms: at_ms,
                extra: Vec::new(),
            };
            f.sessions.push((session, messages.iter().map(entry).collect()));
        })
    }

    /// The owner's configuration.
    pub fn settings(&mut self, settings: Value) -> &mut Self {
        self.set(|f| f.settings = settings)
    }

    /// A blob that was given to the component; its id.
    #[allow(clippy::panic, reason = "a test without its blob is wrong, and must say so")]
    pub fn blob(&mut self, data: impl AsRef<[u8]>) -> String {
        self.fake.borrow_mut().blob_put(data.as_ref()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Somebody who can be written to, beside `owner`.
    pub fn target(&mut self, name: &str) -> &mut Self {
        self.set(|f| {
            f.targets.insert(name.to_owned());
        })
    }

    /// An asset's bytes.
    pub fn asset(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.set(|f| {
            f.assets.insert(name.to_owned(), Asset::Bytes(bytes.into()));
        })
    }

    /// An asset's file.
    pub fn asset_file(&mut self, name: &str, path: impl Into<PathBuf>) -> &mut Self {
        self.set(|f| {
            f.assets.insert(name.to_owned(), Asset::File(path.into()));
        })
    }

    /// The owner's time zone.
    pub fn timezone(&mut self, zone: &str) -> &mut Self {
        self.context.timezone = Some(zone.to_owned());
        self
    }

    /// The conversation in which tools are called.
    pub fn session(&mut self, session: &str) -> &mut Self {
        session.clone_into(&mut self.context.session);
        self
    }

    /// The conversation of the component's own channel in which tools are called, and what is known of it: `message`, `reply-to`, `last-sent`.
    pub fn place(&mut self, conversation: &crate::channel::Conversation, known: &[(&str, &str)]) -> &mut Self {
        self.context.extra = crate::tools::place::told(conversation, known);
        self
    }

    /// A program is attached under this name.
    pub fn attached(&mut self, client: &str) -> &mut Self {
        self.set(|f| {
            f.programs.insert(client.to_owned());
        })
    }

    /// The answer to the next request that nothing else answers. Answers are used in order, each once.
    pub fn answer(&mut self, answer: Answer) -> &mut Self {
        self.set(|f| f.exchanges.push(Exchange { method: None, target: None, answer }))
    }

    /// The answers to the next requests that nothing else answers, in order.
    pub fn answers(&mut self, answers: impl IntoIterator<Item = Answer>) -> &mut Self {
        answers.into_iter().fold(self, Self::answer)
    }

    /// The answers that a recording has, each to the request to which it was given: `include_str!("recordings/find.jsonl")`, which
    /// `carapace plugin record` wrote. The rest of the recording counts for nothing here.
    #[allow(clippy::panic, reason = "a test without its answers is wrong, and must say so")]
    pub fn replies(&mut self, recording: &str) -> &mut Self {
        let exchanges = super::recording::exchanges(recording).unwrap_or_else(|e| panic!("{e}"));
        self.set(|f| f.exchanges.extend(exchanges))
    }

    /// The answer to the next request of this method to this path of this endpoint, whatever its query.
    pub fn on(&mut self, method: &str, endpoint: &str, path: &str, answer: Answer) -> &mut Self {
        let (method, target) = (Some(method.to_owned()), Some(format!("{endpoint}:{path}")));
        self.set(|f| f.exchanges.push(Exchange { method, target, answer }))
    }

    /// The answer to the next request to this public address.
    pub fn on_public(&mut self, url: &str, answer: Answer) -> &mut Self {
        let target = Some(url.to_owned());
        self.set(|f| f.exchanges.push(Exchange { method: None, target, answer }))
    }

    /// The owner refused a capability: `kv`, `http:<endpoint>`, `http:public`, `secrets`, `memory` …
    pub fn refuse(&mut self, capability: &str) -> &mut Self {
        self.set(|f| {
            f.refused.insert(capability.to_owned());
        })
    }

    /// Each use of a capability (as in [`refuse`](Self::refuse)) fails so from now on.
    pub fn fail(&mut self, capability: &str, error: Error) -> &mut Self {
        self.set(|f| {
            f.failing.insert(capability.to_owned(), error);
        })
    }

    /// After that many events of a completion nobody wants the answer any more.
    pub fn cancel_after(&mut self, events: usize) -> &mut Self {
        self.set(|f| f.cancel_after = Some(events))
    }

    // Calls.

    /// The names of the tools that the component lists.
    pub fn tools(&mut self) -> Vec<String> {
        let Some(tools) = self.component.tools else { return Vec::new() };
        if let Some(outcome) = self.ask(|| Call::List) {
            return match outcome {
                Outcome::List(names) => names,
                other => wrong(&other),
            };
        }
        self.enter(Entry::List, || set::list(tools).into_iter().map(|t| t.name).collect())
    }

    /// Calls a tool, in an instance of its own.
    ///
    /// # Errors
    /// What the tool says.
    pub fn call_tool(&mut self, name: &str, arguments: Value) -> Result<Output, ToolError> {
        self.calls += 1;
        let context = Context { call_id: format!("call-{}", self.calls), ..self.context.clone() };
        let Some(tools) = self.component.tools else {
            return Err(ToolError::NotFound("the component exports no tools".to_owned()));
        };
        let (name, arguments) = (name.to_owned(), arguments.to_string());
        let ask = || Call::Tool { name: name.clone(), arguments: arguments.clone(), context: context.clone() };
        let content = match self.ask(ask) {
            Some(Outcome::Tool(result)) => result?,
            Some(other) => wrong(&other),
            None => self.enter(Entry::Tool(name.clone()), || set::call(tools, &name, &arguments, &context))?,
        };
        Ok(Output { content })
    }

    /// The models that the component lists.
    ///
    /// # Errors
    /// What the provider says.
    pub fn models(&mut self) -> Result<Vec<Model>, Failure> {
        let provider = self.new_provider()?;
        match self.ask(|| Call::Models) {
            Some(Outcome::Models(result)) => result,
            Some(other) => wrong(&other),
            None => self.enter(Entry::Provider, || provider.models()),
        }
    }

    /// A completion: what was pushed. Also if it failed, [`emitted`](Self::emitted) has what had been pushed until then.
    ///
    /// # Errors
    /// What the provider says.
    pub fn complete(&mut self, request: Request) -> Result<Vec<Event>, Failure> {
        let mut provider = match self.provider.take() {
            Some(warm) => warm,
            None => self.new_provider()?,
        };
        self.fake.borrow_mut().emitted.clear();
        let result = match self.ask(|| Call::Complete(request.clone())) {
            Some(Outcome::Complete(result)) => result,
            Some(other) => wrong(&other),
            None => self.enter(Entry::Provider, || provider.complete(request, &mut Completion::new())),
        };
        if self.component.manifest.warm {
            self.provider = Some(provider);
        }
        result.map(|()| self.emitted())
    }

    fn new_provider(&self) -> Result<Box<dyn AnyProvider>, Failure> {
        let new = self.component.provider;
        new.map(|new| new())
            .ok_or_else(|| Failure::from(Error::NotFound("the component exports no provider".to_owned())))
    }

    #[allow(clippy::panic, reason = "a test of a channel that is none must say so")]
    pub(super) fn new_channel(&self) -> fn() -> Box<dyn AnyChannel> {
        self.component.channel.unwrap_or_else(|| panic!("the component exports no channel"))
    }

    /// Calls the built component, if that is what is tested.
    #[allow(clippy::panic, reason = "a call without an answer fails the test, as a panic in this process does")]
    pub(super) fn ask(&self, call: impl FnOnce() -> Call) -> Option<Outcome> {
        let remote = self.remote.as_ref()?;
        let call = call();
        let logged = self.fake.borrow().logged.len();
        self.fake.borrow_mut().entry = Some(call.entry());
        let result = remote.call(&mut self.fake.borrow_mut(), call);
        self.fake.borrow_mut().entry = None;
        match result {
            Ok(Outcome::Ended(why)) => {
                let lines = self.fake.borrow().logged.iter().skip(logged).fold(String::new(), |mut all, line| {
                    let _ = write!(all, "\n  logged: {}", line.message);
                    all
                });
                panic!("{why}{lines}")
            }
            Ok(outcome) => Some(outcome),
            Err(e) => panic!("{e}"),
        }
    }

    pub(super) fn enter<R>(&self, entry: Entry, call: impl FnOnce() -> R) -> R {
        self.fake.borrow_mut().entry = Some(entry);
        let result = call();
        self.fake.borrow_mut().entry = None;
        result
    }

    // What it did.

    /// The requests that were sent, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.fake.borrow().sent.clone()
    }

    /// The bytes of a blob that the component kept.
    pub fn kept(&self, id: &str) -> Option<Vec<u8>> {
        self.fake.borrow().blobs.get(id).cloned()
    }

    /// What was said elsewhere: target and text, in order.
    pub fn messages(&self) -> Vec<(String, String)> {
        self.fake.borrow().messages.clone()
    }

    /// What was written to programs: client, key and text, in order.
    pub fn written(&self) -> Vec<(String, String, String)> {
        self.fake.borrow().written.clone()
    }

    /// The lines that were logged, in order.
    pub fn logged(&self) -> Vec<LogLine> {
        self.fake.borrow().logged.clone()
    }

    /// What the last completion pushed, in order.
    pub fn emitted(&self) -> Vec<Event> {
        self.fake.borrow().emitted.clone()
    }

    /// The text that the last completion pushed.
    pub fn answered(&self) -> String {
        let text = |e: &Event| if let Event::Text(t) = e { Some(t.clone()) } else { None };
        self.fake.borrow().emitted.iter().filter_map(text).collect()
    }

    /// How long the component slept, milliseconds.
    pub fn slept_ms(&self) -> u64 {
        self.fake.borrow().slept_ms
    }

    /// What is stored under a key.
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.fake.borrow().stored(key)
    }

    /// The text of a note.
    pub fn noted(&self, key: &str) -> Option<String> {
        self.fake.borrow().memory.iter().find(|n| n.key == key).map(|n| n.text.clone())
    }

    /// How many pieces of answers' bodies were not read to their end.
    pub fn unread(&self) -> usize {
        self.fake.borrow().open.iter().map(|a| a.chunks.len()).sum()
    }

    /// How many answers were not asked for.
    pub fn unasked(&self) -> usize {
        self.fake.borrow().exchanges.len()
    }
}

/// The host answered another call than the one that was made.
#[allow(clippy::panic, reason = "the test cannot go on")]
pub(super) fn wrong(outcome: &Outcome) -> ! {
    panic!("the test host gave another kind of answer than was asked for: {outcome:?}")
}
