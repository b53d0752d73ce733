//! A run as server-sent events.

use crate::http::openai::Events;
use crate::run::AbortOnDrop;
use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use carapace_contract::turn::TurnEventKind;
use std::convert::Infallible;
use std::time::Duration;

/// Events that go out in one write at most.
const BATCH: usize = 64;

/// What a run's events are called in one of the API's dialects.
pub(crate) trait Words: Send + 'static {
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
    let state = State { events, words, guard, keep_alive, done: false };
    let body = futures::stream::unfold(state, |mut state| async move {
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
        for _ in 0..BATCH {
            let Some(kind) = state.events.now() else { break };
            state.write(kind, &mut out);
        }
        Some((Ok::<_, Infallible>(Bytes::from(out)), state))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

impl<W: Words> State<W> {
    fn write(&mut self, kind: TurnEventKind, out: &mut String) {
        if kind.is_last() {
            self.done = true;
            self.guard.disarm();
        }
        self.words.write(kind, out);
    }
}
