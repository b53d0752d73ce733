//! Files: `GET /v1/attachments/{id}`, <https://bbernhard.github.io/signal-cli-rest-api/#/Attachments>. signal-cli has decrypted them, and keeps them
//! until somebody deletes them.

use carapace_sdk::channel::{Attachment, Failure};
use carapace_sdk::{Error, http};

/// Bytes of a file that is fetched at most.
const MOST: u64 = 20 << 20;

pub(crate) fn fetch(attachment: &Attachment) -> Result<String, Failure> {
    let response = http::get("files", format!("/v1/attachments/{}", http::segment(&attachment.reference))).send()?;
    match response.status() {
        200 => response.to_blob(MOST).map_err(|e| match e.kind() {
            Error::Limit(why) => Failure::last(why.clone()),
            _ => e.into(),
        }),
        404 => Err(Failure::last("signal-cli does not have the file, or not any more")),
        status @ (500..) => Err(Failure::retryable(format!("signal-cli-rest-api answered {status} for a file"))),
        status => Err(Failure::last(format!("signal-cli-rest-api answered {status} for a file"))),
    }
}
