//! A run as server-sent events.

use crate::http::openai::Events;
use crate::run::AbortOnDrop;
use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use carapace_contract::turn::TurnEventKind;
use futures::StreamExt as _;
use std::convert::Infallible;
use std::time::Duration;

/// Events that go out in one write at most.
const BATCH: usize = 64;

/// What a run's events are called in one of the API's dialects.
pub(crate) trait Words: Send + 'static {
    /// Writes what can be told of a run that has not begun.
    fn begin(&mut self, _out: &mut String) {}

    /// Writes what tells of `kind`; nothing is written after the run's last.
    fn write(&mut self, kind: TurnEventKind, out: &mut String);
}

struct State<W> {
    events: Events,
    words: W,
    guard: AbortOnDrop,
    keep_alive: Duration,
    done: bool,
}

/// Streams until the run's last event. A client that goes before it drops `guard`.
pub(crate) fn stream(events: Events, words: impl Words, guard: AbortOnDrop, keep_alive: Duration) -> Response {
    let mut state = State { events, words, guard, keep_alive, done: false };
    let mut first = String::new();
    state.write_what_is_there(&mut first);
    if first.is_empty() {
        state.words.begin(&mut first);
    }
    let first = futures::stream::iter((!first.is_empty()).then(|| Ok::<_, Infallible>(Bytes::from(first))));
    let rest = futures::stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        let mut out = String::new();
        match tokio::time::timeout(state.keep_alive, state.events.next()).await {
            Err(_) => out.push_str(": keep-alive\n\n"),
            Ok(None) => state.done = true,
            Ok(Some(kind)) => state.write(kind, &mut out),
        }
        // What has come in the meantime leaves in the same write.
        state.write_what_is_there(&mut out);
        Some((Ok(Bytes::from(out)), state))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(first.chain(rest))).into_response()
}

impl<W: Words> State<W> {
    fn write_what_is_there(&mut self, out: &mut String) {
        for _ in 0..BATCH {
            let Some(kind) = self.events.now() else { break };
            self.write(kind, out);
        }
    }

    fn write(&mut self, kind: TurnEventKind, out: &mut String) {
        if kind.is_last() {
            self.done = true;
            self.guard.disarm();
        }
        self.words.write(kind, out);
    }
}
