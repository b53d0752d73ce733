//! Recordings: what a component is called with, asks, is told and answers, written down at the border of its store; and a store
//! that answers from one.
//!
//! Recorded is what the guest sees. A secret is added to a request after the guest has let go of it, so none comes by here; cookies and
//! credentials of the guest's own making are replaced. A call that is not recorded is linked as if there were no recordings.

mod imports;
mod replay;
pub(crate) mod value;

pub use replay::{Difference, Replay, Script};

use crate::call::CallError;
use crate::http::{Http, Sends};
use crate::refusal::Refused;
use crate::state::{Core, Guest};
use carapace_contract::recording::{Event, Line};
use serde::Serialize;
use serde_json::{Map, Value};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use wasmtime::component::HasData;

/// Where the lines of a recording go.
pub trait Journal: Send + Sync {
    /// The next line. Called while a guest waits: it must not block for long.
    fn take(&self, line: Line);
}

/// Writes one call down. The last clone that goes says how the call ended, if nothing else did.
pub struct Recorder {
    call: u64,
    journal: Arc<dyn Journal>,
    tainted: AtomicBool,
    over: AtomicBool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Recorder {
    /// For the call of this number. `tainted`: it is called with text from outside.
    pub fn new(call: u64, journal: Arc<dyn Journal>, tainted: bool) -> Arc<Self> {
        Arc::new(Self { call, journal, tainted: AtomicBool::new(tainted), over: AtomicBool::new(false) })
    }

    /// The guest is about to be handed text from outside.
    pub fn taint(&self) {
        self.tainted.store(true, Relaxed);
    }

    fn take(&self, event: Event) {
        self.journal.take(Line { call: self.call, event });
    }

    pub(crate) fn called(&self, export: &str, arguments: Value) {
        self.take(Event::Called { export: export.to_owned(), arguments });
    }

    pub(crate) fn asked(&self, import: &str, arguments: Value, result: Value) {
        // What comes over the network is from outside, whoever asked.
        if import.starts_with("http.") {
            self.taint();
        }
        let (import, tainted) = (import.to_owned(), self.tainted.load(Relaxed));
        self.take(Event::Asked { import, arguments, result, tainted });
    }

    /// How the call ended.
    pub(crate) fn ended<T: Serialize>(&self, answer: &Result<T, CallError>) {
        if self.over.swap(true, Relaxed) {
            return;
        }
        self.take(match answer {
            Ok(answer) => Event::Returned { result: value::of(answer) },
            Err(e) => Event::Ended { code: e.kind.code().to_owned(), why: e.to_string() },
        });
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.over.swap(true, Relaxed) {
            self.take(Event::Ended { code: String::new(), why: "nobody waited for the answer any more".to_owned() });
        }
    }
}

/// Named arguments.
pub(crate) fn arguments<const N: usize>(named: [(&str, Value); N]) -> Value {
    Value::Object(named.into_iter().map(|(name, value)| (value::kebab(name), value)).collect::<Map<_, _>>())
}

/// Whatever an interface is implemented by, seen from the runtime.
pub(crate) trait Within {
    fn core(&mut self) -> &mut Core;
}

impl<T: Guest> Within for &mut T {
    fn core(&mut self) -> &mut Core {
        (**self).core()
    }
}

impl<T: Sends> Within for Http<'_, T> {
    fn core(&mut self) -> &mut Core {
        self.0.core()
    }
}

impl Within for Refused<'_> {
    fn core(&mut self) -> &mut Core {
        self.0
    }
}

/// An implementation whose calls are written down.
pub(crate) struct Recorded<H>(pub(crate) H);

/// Tells the linker that [`Recorded`] is made from what `D` is.
pub(crate) struct RecordedOf<D>(PhantomData<D>);

impl<D: HasData> HasData for RecordedOf<D> {
    type Data<'a> = Recorded<D::Data<'a>>;
}

impl<H: Within> Recorded<H> {
    fn recorder(&mut self) -> Option<Arc<Recorder>> {
        self.0.core().recorder().cloned()
    }

    /// What a guest is stopped by is no answer.
    fn note<T: Serialize>(&mut self, import: &str, arguments: Value, answer: &wasmtime::Result<T>) {
        if let (Some(recorder), Ok(answer)) = (self.recorder(), answer) {
            recorder.asked(import, arguments, value::of(answer));
        }
    }
}
