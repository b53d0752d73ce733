//! Files: <https://docs.discord.com/developers/reference#signed-attachment-cdn-urls>. A file lies at an address that is signed for a day; the
//! message says each time anew which that is. No credential goes there.

use crate::api;
use carapace_sdk::channel::{Attachment, Failure};
use carapace_sdk::{Error, http};
use serde_json::Value;

/// Bytes of a file that is fetched at most.
const MOST: u64 = 20 << 20;

/// What a file is asked for by later: channel, message, and its own id.
pub(crate) fn reference(channel: &str, message: &str, file: &str) -> String {
    format!("{channel}/{message}/{file}")
}

pub(crate) fn fetch(attachment: &Attachment) -> Result<String, Failure> {
    let mut ids = attachment.reference.split('/');
    let (Some(channel), Some(message), Some(file)) = (ids.next(), ids.next(), ids.next()) else {
        return Err(Failure::last("this is no file of a message"));
    };
    // https://docs.discord.com/developers/resources/message#get-channel-message
    let said: Value = api::call(http::get("api", format!("/channels/{channel}/messages/{message}")))?;
    let path = address(&said, file).ok_or_else(|| Failure::last("the message does not have this file any more"))?;
    let response = http::get("cdn", path).send()?;
    match response.status() {
        200 => response.to_blob(MOST).map_err(|e| match e.kind() {
            Error::Limit(why) => Failure::last(why.clone()),
            _ => e.into(),
        }),
        // The next try asks for another address.
        status @ (403 | 404) => Err(Failure::retryable(format!("the file's address has expired ({status})"))),
        status @ (429 | 500..) => Err(Failure::retryable(format!("Discord answered {status} for a file"))),
        status => Err(Failure::last(format!("Discord answered {status} for a file"))),
    }
}

/// The path, with its signature, of a file of a message, or of one that it forwards.
fn address(said: &Value, file: &str) -> Option<String> {
    let forwarded = said.get("message_snapshots").and_then(Value::as_array).into_iter().flatten();
    let messages = std::iter::once(said).chain(forwarded.filter_map(|s| s.get("message")));
    let files = messages.filter_map(|m| m.get("attachments").and_then(Value::as_array)).flatten();
    let found = files.into_iter().find(|a| a.get("id").and_then(Value::as_str) == Some(file))?;
    let url = found.get("url").and_then(Value::as_str)?;
    Some(format!("/{}", url.split_once("://")?.1.split_once('/')?.1))
}
