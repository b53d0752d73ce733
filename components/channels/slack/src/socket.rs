//! Socket Mode: <https://docs.slack.dev/apis/events-api/using-socket-mode/>. Slack hands out an address with a ticket, once per connection,
//! and repeats on another what was not acknowledged; an acknowledgement leaves when what it is for has been committed.

use crate::incoming::{self, Callback};
use crate::{State, api};
use carapace_sdk::channel::{Connect, Dial, Failure, Frame, Outcome};
use carapace_sdk::{http, log};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Slack pings as well; what is silent for two of these is gone.
const PING: Duration = Duration::from_secs(20);
/// How long the old connection stays beside the new one, for what is on its way.
const OVERLAP: Duration = Duration::from_secs(15);
/// An app may have ten connections; after so long there may be room.
const CROWDED: Duration = Duration::from_mins(1);
/// The timer that ends an old connection.
const LEAVE: &str = "leave";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Envelope {
    r#type: String,
    envelope_id: Option<String>,
    payload: Option<Callback>,
    /// Of `disconnect`.
    reason: String,
}

/// Asks for a ticket, and connects with it.
pub(crate) fn dial(mut state: State, dial: &Dial) -> Result<Outcome<State>, Failure> {
    #[derive(Deserialize)]
    struct Opened {
        /// The kernel's handle of it.
        url: String,
    }
    state.sockets.retain(|s| dial.open.contains(s));
    match api::call::<Opened>(http::post("open", "/apps.connections.open"), "app-token") {
        Ok(Opened { url }) => Ok(Outcome::new(state).connect(Connect::handle("events", url).ping(PING))),
        Err(f) if f.retryable => Err(f),
        Err(f) => Ok(Outcome::new(state).fatal(f.message)),
    }
}

pub(crate) fn opened(mut state: State, socket: u32) -> Outcome<State> {
    state.sockets.push(socket);
    Outcome::new(state)
}

pub(crate) fn closed(mut state: State, socket: u32) -> Outcome<State> {
    state.sockets.retain(|s| *s != socket);
    Outcome::new(state)
}

/// The old connection is left for good.
pub(crate) fn timer(state: State, id: &str) -> Outcome<State> {
    let Some(socket) = id.strip_prefix(LEAVE).and_then(|n| n.parse::<u32>().ok()) else { return Outcome::new(state) };
    if state.sockets.contains(&socket) && state.sockets.len() > 1 {
        return Outcome::new(state).close(socket, 1_000, "another took over");
    }
    Outcome::new(state)
}

pub(crate) fn frame(state: State, frame: &Frame) -> Outcome<State> {
    let envelope: Envelope = match frame.json() {
        Ok(envelope) => envelope,
        Err(e) => {
            log::warn(format!("passed over, for it cannot be read: {e}"));
            // Repeated, it would be no better.
            let id =
                frame.json::<serde_json::Value>().ok().and_then(|v| Some(v.get("envelope_id")?.as_str()?.to_owned()));
            let outcome = Outcome::new(state);
            return match id {
                Some(id) => outcome.send_json(frame.socket, &json!({ "envelope_id": id })),
                None => outcome,
            };
        }
    };
    match envelope.r#type.as_str() {
        "hello" => {
            let old: Vec<u32> = state.sockets.iter().copied().filter(|s| *s != frame.socket).collect();
            let leave = |outcome: Outcome<State>, s: u32| outcome.timer(format!("{LEAVE}{s}"), OVERLAP, Duration::ZERO);
            old.into_iter().fold(Outcome::new(state), leave)
        }
        "disconnect" => match envelope.reason.as_str() {
            "link_disabled" => Outcome::new(state).fatal(
                "Socket Mode was turned off for the Slack app; turn it on again under Socket Mode at https://api.slack.com/apps, \
                 or take the app token away and use the Events API",
            ),
            "too_many_websockets" => {
                Outcome::new(state).socket_after(CROWDED).close(frame.socket, 1_000, "too many connections")
            }
            // `warning`, `refresh_requested`: it will end soon, and another takes over before.
            _ => Outcome::new(state).dial(),
        },
        _ => {
            let outcome = match (envelope.r#type.as_str(), envelope.payload) {
                ("events_api", Some(payload)) => incoming::callback(state, payload),
                _ => Outcome::new(state),
            };
            // Within three seconds; commands and buttons too, which would else say that the app is broken.
            match envelope.envelope_id {
                Some(id) => outcome.send_json(frame.socket, &json!({ "envelope_id": id })),
                None => outcome,
            }
        }
    }
}
