//! Files: <https://core.telegram.org/bots/api#getfile>. They lie at another address than the API, behind the same token.

use crate::api;
use carapace_sdk::channel::{Attachment, Failure};
use carapace_sdk::http;
use serde::Deserialize;

/// Bytes that Telegram gives a bot at most.
const MOST: u64 = 20 << 20;

#[derive(Deserialize)]
struct File {
    file_path: Option<String>,
}

pub(crate) fn fetch(attachment: &Attachment) -> Result<String, Failure> {
    let file: File = api::call(http::get("api", "/getFile").query("file_id", &attachment.reference))?;
    let path = file.file_path.ok_or_else(|| Failure::last("Telegram does not give this file to a bot"))?;
    let response = http::get("files", format!("/{path}")).send()?;
    match response.status() {
        200 => Ok(response.to_blob(MOST)?),
        // A path is good for an hour; the next try asks for another.
        404 => Err(Failure::retryable("the file's path is no longer good")),
        429 | 500.. => Err(Failure::retryable(format!("Telegram answered {} for a file", response.status()))),
        other => Err(Failure::last(format!("Telegram answered {other} for a file"))),
    }
}
