//! A store whose kernel is a recording.

use super::value;
use crate::bindings::{provider, tools};
use crate::call::CallError;
use crate::instance::Loaded;
use crate::linker::{Entry, LinkPlan};
use crate::permits::{Admission, Class};
use crate::state::{Core, Instance};
use crate::warm::Warm;
use carapace_contract::recording::{Event, Recording};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The first thing that a component did otherwise than the recording says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// In which call.
    pub call: u64,
    /// Where the recording says otherwise: a line of its file.
    pub line: usize,
    /// What stands there.
    pub expected: Value,
    /// What the component did.
    pub got: Value,
}

/// One call of a recording, as it is played.
#[derive(Debug, Default)]
pub struct Script {
    call: u64,
    asked: VecDeque<Asked>,
    /// The last line that was reached.
    line: usize,
    /// How it ended there, with its line.
    end: Option<(usize, Event)>,
    difference: Option<Difference>,
}

#[derive(Debug)]
struct Asked {
    line: usize,
    import: String,
    arguments: Value,
    result: Value,
}

/// Ends the guest; why stands in the script.
#[derive(Debug, thiserror::Error)]
#[error("it does otherwise than the recording says")]
struct Differs;

/// The same script in the store and in the responses' bodies.
#[derive(Clone)]
pub(super) struct Tape(Arc<Mutex<Script>>);

impl Tape {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the recording answers here, if the component asks what it asked then.
    pub(super) fn answer<T: DeserializeOwned>(&self, import: &str, arguments: &Value) -> wasmtime::Result<T> {
        let mut script = self.script();
        if script.difference.is_some() {
            return Err(Differs.into());
        }
        if let Some(result) = script.next(import, arguments) {
            match value::from(&result) {
                Ok(answer) => return Ok(answer),
                Err(e) => script.differs(
                    json!({ "import": import, "result": result }),
                    json!(format!("this answer is none of this contract: {e}")),
                ),
            }
        }
        Err(Differs.into())
    }
}

const LOG: &str = "log.write";

impl Script {
    fn new(recording: &Recording, call: u64) -> Self {
        let mut script = Self { call, ..Self::default() };
        for (line, at) in recording.of(call) {
            match &at.event {
                Event::Called { .. } => script.line = *line,
                Event::Asked { import, arguments, result, .. } => {
                    let (import, arguments, result) = (import.clone(), arguments.clone(), result.clone());
                    script.asked.push_back(Asked { line: *line, import, arguments, result });
                }
                other => script.end = Some((*line, other.clone())),
            }
        }
        script
    }

    /// Log lines are for people: they are written down, and nobody is held to them.
    fn skip_log(&mut self) {
        while self.asked.front().is_some_and(|a| a.import == LOG) {
            self.asked.pop_front();
        }
    }

    fn next(&mut self, import: &str, arguments: &Value) -> Option<Value> {
        if import == LOG {
            return Some(Value::Null);
        }
        self.skip_log();
        let got = json!({ "import": import, "arguments": arguments });
        match self.asked.pop_front() {
            Some(asked) if asked.import == import && asked.arguments == *arguments => {
                self.line = asked.line;
                Some(asked.result)
            }
            Some(asked) => {
                self.line = asked.line;
                self.differs(json!({ "import": asked.import, "arguments": asked.arguments }), got);
                None
            }
            None => {
                let expected = self.ending();
                self.differs(expected, got);
                None
            }
        }
    }

    /// How the recording goes on when nothing more is asked.
    fn ending(&mut self) -> Value {
        match &self.end {
            Some((line, event)) => {
                self.line = *line;
                json!(event)
            }
            None => Value::Null,
        }
    }

    fn differs(&mut self, expected: Value, got: Value) {
        let (call, line) = (self.call, self.line);
        self.difference.get_or_insert(Difference { call, line, expected, got });
    }

    /// Compares how the call ended.
    fn over(&mut self, got: &Event) {
        if self.difference.is_some() {
            return;
        }
        self.skip_log();
        if let Some(asked) = self.asked.pop_front() {
            self.line = asked.line;
            return self.differs(json!({ "import": asked.import, "arguments": asked.arguments }), json!(got));
        }
        let same = match (self.end.as_ref().map(|(_, end)| end), got) {
            (Some(Event::Returned { result: one }), Event::Returned { result: other }) => one == other,
            // The text names figures of the machine it was recorded on.
            (Some(Event::Ended { code: one, .. }), Event::Ended { code: other, .. }) => one.is_empty() || one == other,
            _ => false,
        };
        if !same {
            let expected = self.ending();
            self.differs(expected, json!(got));
        }
    }
}

/// Store data: every import is answered by the recording.
pub struct Replay {
    core: Core,
    tape: Tape,
}

impl Replay {
    pub(super) fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    pub(super) fn tape(&self) -> Tape {
        self.tape.clone()
    }

    pub(super) fn answer<T: DeserializeOwned>(&mut self, import: &str, arguments: &Value) -> wasmtime::Result<T> {
        self.core.host_call()?;
        self.tape.answer(import, arguments)
    }

    /// Plays the calls of a recording, one after the other, under the instance's limits. `keep`: one instance serves its completions.
    ///
    /// Gives the first difference; none if the component does what it did then.
    pub async fn play(
        loaded: &Arc<Loaded<Self>>,
        instance: &Arc<Instance>,
        recording: &Recording,
        keep: bool,
    ) -> Option<Difference> {
        let warm = keep.then(|| Warm::new(loaded.clone()));
        for call in recording.calls() {
            let mut script = Script::new(recording, call);
            // What was cut, or given up by whoever waited, has no end to compare with.
            let whole = matches!(&script.end, Some((_, Event::Returned { .. } | Event::Ended { .. })));
            let given_up = matches!(&script.end, Some((_, Event::Ended { code, .. })) if code.is_empty());
            let first = recording.of(call).next().map(|(_, line)| &line.event);
            let (true, false, Some(Event::Called { export, arguments })) = (whole, given_up, first) else { continue };
            let tape = |script: Script| Tape(Arc::new(Mutex::new(script)));
            let ended = match Called::of(export, arguments) {
                Ok(called) => {
                    let played = tape(script);
                    let got = called.perform(loaded, instance, warm.as_ref(), &played).await;
                    let mut script = played.script();
                    script.over(&got);
                    script.difference.take()
                }
                Err(why) => {
                    script.differs(json!({ "export": export, "arguments": arguments }), json!(why));
                    script.difference
                }
            };
            if ended.is_some() {
                return ended;
            }
        }
        None
    }
}

/// A call into the component.
enum Called {
    Tool { name: String, arguments: String, context: tools::Context },
    Models,
    Complete(provider::Request),
}

impl Called {
    fn of(export: &str, arguments: &Value) -> Result<Self, String> {
        let unread = |e: serde_json::Error| format!("the call cannot be made with this contract: {e}");
        let argument = |name: &str| arguments.get(name).unwrap_or(&Value::Null);
        Ok(match export {
            "tools.call" => Self::Tool {
                name: value::from(argument("name")).map_err(unread)?,
                arguments: value::from(argument("arguments")).map_err(unread)?,
                context: value::from(argument("context")).map_err(unread)?,
            },
            "provider.models" => Self::Models,
            "provider.complete" => Self::Complete(value::from(argument("request")).map_err(unread)?),
            other => return Err(format!("`{other}` is no function that this version calls")),
        })
    }

    async fn perform(
        self,
        loaded: &Arc<Loaded<Replay>>,
        instance: &Arc<Instance>,
        warm: Option<&Warm<Replay>>,
        tape: &Tape,
    ) -> Event {
        let (tool, completion) = (Admission::new(Class::Tool), Admission::new(Class::Provider));
        let state = |entry: Entry<'_>| {
            let plan = Arc::new(LinkPlan::whole(loaded.imports(), entry));
            Replay { core: Core::new(instance, &plan, CancellationToken::new()), tape: tape.clone() }
        };
        match self {
            Self::Tool { name, arguments, context } => {
                let state = state(Entry::Tool(&name));
                ended(loaded.call_tool(state, tool, name, arguments, context).await)
            }
            Self::Models => ended(loaded.models(state(Entry::Provider), completion).await),
            Self::Complete(request) => ended(match warm {
                Some(warm) => warm.complete(state(Entry::Provider), completion, request).await,
                None => loaded.complete(state(Entry::Provider), completion, request).await,
            }),
        }
    }
}

fn ended<T: Serialize>(answer: Result<T, CallError>) -> Event {
    match answer {
        Ok(answer) => Event::Returned { result: value::of(&answer) },
        Err(e) => Event::Ended { code: e.kind.code().to_owned(), why: e.to_string() },
    }
}
