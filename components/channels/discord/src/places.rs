//! Where something was said: a channel, or a thread of one. A thread is a channel of its own, and its messages don't say so.

use crate::api;
use carapace_sdk::channel::{Conversation, ConversationKind, Failure};
use carapace_sdk::{http, kv, log};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long it is believed, and how long that it cannot be known.
const KNOWN: Duration = Duration::from_hours(24);
const UNKNOWN: Duration = Duration::from_hours(1);
/// <https://docs.discord.com/developers/resources/channel#channel-object-channel-types>
const THREADS: [u32; 3] = [10, 11, 12];

/// <https://docs.discord.com/developers/resources/channel#channel-object>
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Place {
    pub(crate) r#type: u32,
    pub(crate) name: Option<String>,
    pub(crate) parent_id: Option<String>,
}

impl Place {
    /// A thread is part of its channel.
    pub(crate) fn conversation(self, id: &str) -> Conversation {
        let (id, thread) = match self.parent_id {
            Some(parent) if THREADS.contains(&self.r#type) => (parent, Some(id.to_owned())),
            _ => (id.to_owned(), None),
        };
        Conversation { id, kind: ConversationKind::Group, thread, title: self.name }
    }
}

/// Without asking.
pub(crate) fn plain(id: &str, direct: bool) -> Conversation {
    if direct { Conversation::direct(id) } else { Conversation::group(id, None) }
}

/// A channel of a server. Asked once a day.
pub(crate) fn find(id: &str) -> Result<Conversation, Failure> {
    let key = format!("place:{id}");
    if let Ok(Some(place)) = kv::get_json::<Place>(&key) {
        return Ok(place.conversation(id));
    }
    let asked: Result<Place, Failure> = api::call(http::get("api", format!("/channels/{id}")));
    let (place, life) = match asked {
        Ok(place) => (place, KNOWN),
        // Later: a thread that was taken for a channel would be another conversation.
        Err(f) if f.retryable => return Err(f),
        Err(f) => {
            log::debug(format!("nothing is known of the channel {id}: {}", f.message));
            (Place::default(), UNKNOWN)
        }
    };
    let kept = serde_json::to_vec(&place).map(|place| kv::set_for(&key, place, life));
    if let Ok(Err(e)) = kept {
        log::debug(format!("what a channel is was not kept: {e}"));
    }
    Ok(place.conversation(id))
}
