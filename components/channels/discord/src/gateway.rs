//! The gateway: <https://docs.discord.com/developers/events/gateway>. The session and how far it was heard are part of the state, so that a
//! connection, a restart or an update loses nothing: what was not committed is replayed by a RESUME.

use crate::{Config, State, api, incoming};
use carapace_sdk::channel::{Closed, Connect, Dial, Failure, Frame, Outcome};
use carapace_sdk::{config, http, log, random};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// <https://docs.discord.com/developers/events/gateway#gateway-intents>
const GUILD_MESSAGES: u32 = 1 << 9;
const DIRECT_MESSAGES: u32 = 1 << 12;
const MESSAGE_CONTENT: u32 = 1 << 15;

/// The timer of the heartbeat.
const BEAT: &str = "beat";
/// Within which a new connection has to say hello.
const HELLO: Duration = Duration::from_secs(20);
/// Of a connection that shall be taken up again: after 1000 or 1001 Discord forgets the session.
const GO_ON: u16 = 4_000;
/// So many attempts go to where the session was kept; then to where all begin.
const AT_HOME: u32 = 3;

#[derive(Deserialize)]
struct Payload<'a> {
    op: u8,
    #[serde(borrow, default)]
    d: Option<&'a serde_json::value::RawValue>,
    s: Option<u64>,
    #[serde(borrow, default)]
    t: Option<&'a str>,
}

impl Payload<'_> {
    fn data(&self) -> &str {
        self.d.map_or("null", serde_json::value::RawValue::get)
    }
}

/// Connects: to where the session was kept if there is one.
pub(crate) fn dial(mut state: State, dial: &Dial) -> Result<Outcome<State>, Failure> {
    state.socket = state.socket.filter(|s| dial.open.contains(s));
    let home = state.session.as_ref().map(|s| s.url.clone()).filter(|u| !u.is_empty() && dial.failures < AT_HOME);
    let url = match home {
        Some(url) => url,
        None => begin()?,
    };
    let url = format!("{}/?v=10&encoding=json", url.trim_end_matches('/'));
    Ok(Outcome::new(state).without_timer(BEAT).connect(Connect::url("gateway", url)))
}

/// <https://docs.discord.com/developers/events/gateway#get-gateway-bot>
fn begin() -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Begin {
        url: String,
        session_start_limit: Limit,
    }
    #[derive(Deserialize)]
    struct Limit {
        remaining: u64,
        reset_after: u64,
    }
    let begin: Begin = api::call(http::get("api", "/gateway/bot"))?;
    if begin.session_start_limit.remaining == 0 {
        // One more would reset the token.
        let wait = Duration::from_millis(begin.session_start_limit.reset_after);
        return Err(Failure::retryable("Discord allows no more logins today").account_waits(Some(wait)));
    }
    Ok(begin.url)
}

pub(crate) fn opened(mut state: State, socket: u32) -> Outcome<State> {
    // Counts as unanswered until it says hello.
    state = State { socket: Some(socket), acknowledged: false, ..state };
    Outcome::new(state).timer(BEAT, HELLO, Duration::ZERO)
}

/// <https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes>
pub(crate) fn closed(mut state: State, closed: &Closed) -> Outcome<State> {
    if state.socket != Some(closed.socket) {
        return Outcome::new(state);
    }
    state.socket = None;
    let why = match closed.code {
        Some(4004) => "Discord does not take the bot token; set it: carapace secrets set bot-token",
        Some(4010 | 4011) => {
            "the bot is in so many servers that Discord wants it in shards, which this component cannot do"
        }
        Some(4012) => "Discord does not speak version 10 of its gateway any more; update the component",
        Some(4013) => "Discord does not know what the component asks to hear; update the component",
        Some(4014) => {
            "the bot may not read everything: turn on Message Content Intent under Bot at https://discord.com/developers/applications, \
             or set messageContent: false in this instance's config, so that it reads what names it"
        }
        // The session is gone, and what came since the last event with it.
        Some(4003 | 4007 | 4009) => {
            state.session = None;
            return Outcome::new(state).without_timer(BEAT);
        }
        _ => return Outcome::new(state).without_timer(BEAT),
    };
    state.session = None;
    Outcome::new(state).without_timer(BEAT).fatal(why)
}

/// <https://docs.discord.com/developers/events/gateway#sending-heartbeats>
pub(crate) fn timer(mut state: State, id: &str) -> Outcome<State> {
    let Some(socket) = state.socket.filter(|_| id == BEAT) else { return Outcome::new(state) };
    if !state.acknowledged {
        // It stands, and nothing comes through it.
        return Outcome::new(state).close(socket, GO_ON, "no heartbeat was acknowledged");
    }
    state.acknowledged = false;
    beat(state, socket)
}

fn beat(state: State, socket: u32) -> Outcome<State> {
    let (heard, every) = (state.heard(), state.every());
    Outcome::new(state).send_json(socket, &json!({ "op": 1, "d": heard })).timer(BEAT, every, Duration::ZERO)
}

/// What came through a socket.
pub(crate) fn frame(mut state: State, frame: &Frame) -> Result<Outcome<State>, Failure> {
    if state.socket != Some(frame.socket) {
        // Of one that was left: the session replays it on the other.
        return Ok(Outcome::new(state));
    }
    let payload: Payload<'_> = match serde_json::from_slice(&frame.data) {
        Ok(payload) => payload,
        Err(e) => {
            log::warn(format!("passed over, for it cannot be read: {e}"));
            return Ok(Outcome::new(state));
        }
    };
    match payload.op {
        0 => dispatch(state, &payload),
        1 => Ok(beat(state, frame.socket)),
        // It asks to reconnect.
        7 => Ok(Outcome::new(state).close(frame.socket, GO_ON, "as asked")),
        9 => {
            if payload.data() == "true" {
                return Ok(Outcome::new(state).close(frame.socket, GO_ON, "to resume"));
            }
            state.session = None;
            // "Wait a random amount of time, between 1 and 5 seconds."
            let wait = 1_000 + u64::from(random::below(4_000)?);
            let outcome = Outcome::new(state).socket_after(Duration::from_millis(wait));
            Ok(outcome.close(frame.socket, GO_ON, "to begin anew"))
        }
        10 => Ok(hello(state, frame.socket, payload.data())),
        11 => {
            state.acknowledged = true;
            Ok(Outcome::new(state))
        }
        _ => Ok(Outcome::new(state)),
    }
}

fn hello(mut state: State, socket: u32, data: &str) -> Outcome<State> {
    #[derive(Deserialize)]
    struct Hello {
        heartbeat_interval: u64,
    }
    let every = serde_json::from_str::<Hello>(data).map_or(41_250, |h| h.heartbeat_interval.clamp(100, 600_000));
    state = State { every_ms: every, acknowledged: true, ..state };
    // Null where the kernel sets the token.
    let login = match &state.session {
        Some(s) => json!({ "op": 6, "d": { "token": null, "session_id": s.id, "seq": s.heard } }),
        None => json!({ "op": 2, "d": {
            "token": null,
            "intents": intents(),
            "properties": { "os": "linux", "browser": "carapace", "device": "carapace" },
        } }),
    };
    // The first heartbeat after a part of the interval, so that a thousand clients do not beat as one.
    let wait = state.every();
    Outcome::new(state).send_json(socket, &login).timer(BEAT, Duration::ZERO, wait)
}

fn intents() -> u32 {
    let config: Config = config::get().unwrap_or_default();
    GUILD_MESSAGES | DIRECT_MESSAGES | if config.message_content { MESSAGE_CONTENT } else { 0 }
}

/// <https://docs.discord.com/developers/events/gateway-events#receive-events>
fn dispatch(mut state: State, payload: &Payload<'_>) -> Result<Outcome<State>, Failure> {
    if payload.t == Some("READY") {
        return Ok(Outcome::new(ready(state, payload)));
    }
    if let (Some(session), Some(seq)) = (&mut state.session, payload.s) {
        session.heard = session.heard.max(seq);
    }
    let me = state.me.clone();
    let outcome = Outcome::new(state);
    let read = || match serde_json::from_str::<incoming::Message>(payload.data()) {
        Ok(message) => Some(message),
        Err(e) => {
            log::warn(format!("a message was passed over, for it cannot be read: {e}"));
            None
        }
    };
    let said = match payload.t {
        Some("MESSAGE_CREATE") => read().map(|m| incoming::said(m, &me)).transpose()?.flatten(),
        Some("MESSAGE_UPDATE") => {
            let edited = read().map(|m| incoming::edited(m, &me)).transpose()?.flatten();
            return Ok(match edited {
                Some(message) => outcome.edited(message),
                None => outcome,
            });
        }
        _ => None,
    };
    Ok(match said {
        Some(message) => outcome.message(message),
        None => outcome,
    })
}

fn ready(state: State, payload: &Payload<'_>) -> State {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Ready {
        session_id: String,
        resume_gateway_url: String,
        user: Value,
    }
    let ready: Ready = serde_json::from_str(payload.data()).unwrap_or_default();
    let me = ready.user.get("id").and_then(Value::as_str).map_or_else(|| state.me.clone(), str::to_owned);
    let session = crate::Session { id: ready.session_id, url: ready.resume_gateway_url, heard: payload.s.unwrap_or(0) };
    State { me, session: Some(session), ..state }
}
