//! What people are called, and who wrote a message that is being answered.

use crate::api;
use carapace_sdk::{http, kv, log};
use serde::Deserialize;
use std::time::Duration;

/// How long a name is believed, and how long that there is none to be had.
const KNOWN: Duration = Duration::from_hours(24);
const UNKNOWN: Duration = Duration::from_hours(1);
/// How long it is known who wrote a message: until its answer is done.
const WROTE: Duration = Duration::from_hours(1);

#[derive(Deserialize)]
struct Found {
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    name: String,
    real_name: String,
    profile: Profile,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Profile {
    display_name: String,
}

/// A person's name; their id if it cannot be had now. A message does not wait for it.
pub(crate) fn name(id: &str) -> String {
    let key = format!("name:{id}");
    if let Ok(Some(name)) = kv::get(&key) {
        return String::from_utf8_lossy(&name).into_owned();
    }
    // https://docs.slack.dev/reference/methods/users.info/
    let request = http::post("api", "/users.info")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("user={id}"))
        .timeout(Duration::from_millis(1_500));
    let (name, life) = match api::call::<Found>(request, "bot-token") {
        Ok(Found { user: User { name, real_name, profile } }) => {
            let shown = [profile.display_name, real_name, name].into_iter().find(|n| !n.trim().is_empty());
            (shown.unwrap_or_else(|| id.to_owned()), KNOWN)
        }
        Err(f) => {
            log::debug(format!("{id} has no name: {}", f.message));
            (id.to_owned(), if f.retryable { Duration::from_secs(30) } else { UNKNOWN })
        }
    };
    if let Err(e) = kv::set_for(&key, &name, life) {
        log::debug(format!("a name was not kept: {e}"));
    }
    name
}

/// Keeps who wrote a message in a channel, for a tool that shows something to them alone.
pub(crate) fn wrote(channel: &str, ts: &str, user: &str) {
    if let Err(e) = kv::set_for(&format!("wrote:{channel}:{ts}"), user, WROTE) {
        log::debug(format!("who wrote a message was not kept: {e}"));
    }
}

/// Who wrote it.
pub(crate) fn who_wrote(channel: &str, ts: &str) -> Option<String> {
    let user = kv::get(&format!("wrote:{channel}:{ts}")).ok()??;
    String::from_utf8(user).ok()
}
