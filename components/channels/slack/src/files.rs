//! Files out: <https://docs.slack.dev/messaging/working-with-files#upload>. A ticket, the bytes, and then the message that shows them.

use crate::api;
use carapace_sdk::channel::{Conversation, Failure, File, Part, Receipt};
use carapace_sdk::http::{self, Body};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Bytes of a file: Slack takes 1 GB, the kernel keeps 20 MiB.
pub(crate) const LIMIT: u64 = 20 << 20;

/// What a part holds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rendered {
    File { file: File },
    Blocks(Value),
}

pub(crate) fn part(file: File) -> Part {
    Part::json(file.in_words(), &Rendered::File { file })
}

pub(crate) fn send(conversation: &Conversation, file: &File) -> Result<Receipt, Failure> {
    #[derive(Deserialize)]
    struct Ticket {
        /// Captured: what the kernel knows it by.
        upload_url: String,
        file_id: String,
    }
    // Until the last of the three, nobody sees anything.
    let unseen = |f: Failure| Failure { uncertain: false, ..f };
    // https://docs.slack.dev/reference/methods/files.getUploadURLExternal/
    let asked = http::post("uploads", "/files.getUploadURLExternal")
        .query("filename", &file.name)
        .query("length", file.size.to_string());
    let ticket: Ticket = api::call(asked, "bot-token").map_err(unseen)?;
    let bytes = http::to("POST", http::Target::Handle(ticket.upload_url))
        .header("content-type", "application/octet-stream")
        .pieces(Body::new().blob(&file.blob));
    let status = bytes.send().map_err(|e| unseen(e.into()))?.status();
    if status != 200 {
        return Err(Failure::retryable(format!("Slack answered {status} to a file")));
    }
    // https://docs.slack.dev/reference/methods/files.completeUploadExternal/
    let mut body = json!({ "files": [{ "id": ticket.file_id, "title": file.name }], "channel_id": conversation.id });
    if let (Value::Object(body), Some(thread)) = (&mut body, &conversation.thread) {
        body.insert("thread_ts".to_owned(), thread.as_str().into());
    }
    api::call::<Value>(api::json("api", "/files.completeUploadExternal", &body), "bot-token")?;
    // When it will be seen, and as which message, is not said.
    Ok(Receipt::new(""))
}
