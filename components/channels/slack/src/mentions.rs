//! A mention in a channel is told twice, as `message` and as `app_mention` (<https://docs.slack.dev/reference/events/app_mention/>), in no promised
//! order; whichever comes second is known by its key. Only `message` is sure to name the files that came with it. So an `app_mention` without
//! any waits a moment for the other; an app that is told of nothing but mentions takes it when that is over.

use crate::State;
use carapace_sdk::channel::{Message, Outcome};
use std::time::Duration;

/// What a timer's id begins with; the message's key follows.
pub(crate) const TIMER: &str = "mention:";
/// How long it waits: both leave Slack at the same time.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Bytes of all that wait, as JSON: the state holds 64 KiB.
const ROOM: usize = 16 << 10;

/// Keeps what an `app_mention` said; where there is no room, it is said at once.
pub(crate) fn hold(mut state: State, message: Message) -> Outcome<State> {
    if state.held.iter().any(|held| held.key == message.key) {
        // Repeated: its time is running.
        return Outcome::new(state);
    }
    let timer = format!("{TIMER}{}", message.key);
    state.held.push(message);
    let full = serde_json::to_string(&state.held).map_or(true, |json| json.len() > ROOM);
    match state.held.pop_if(|_| full) {
        Some(message) => Outcome::new(state).message(message),
        None => Outcome::new(state).timer(timer, PATIENCE, Duration::ZERO),
    }
}

/// What a `message` said: nothing waits for it any more. That it is a mention, Slack may know better than its text does.
pub(crate) fn said(mut state: State, message: Message) -> Outcome<State> {
    match state.held.extract_if(.., |held| held.key == message.key).last() {
        Some(held) => {
            let timer = format!("{TIMER}{}", held.key);
            let message = Message { mentions_me: true, sender: held.sender, ..message };
            Outcome::new(state).message(message).without_timer(timer)
        }
        None => Outcome::new(state).message(message),
    }
}

/// Its time is over, and there was no `message`, or it came before.
pub(crate) fn over(mut state: State, key: &str) -> Outcome<State> {
    let held = state.held.extract_if(.., |held| held.key == key).last();
    match held {
        Some(message) => Outcome::new(state).message(message),
        None => Outcome::new(state),
    }
}
