//! Files. In: `GET /v1/attachments/{id}`, <https://bbernhard.github.io/signal-cli-rest-api/#/Attachments>. signal-cli has decrypted them, and keeps them
//! until somebody deletes them.

use carapace_sdk::Error;
use carapace_sdk::channel::{Attachment, Failure, File};
use carapace_sdk::http::{self, Body};
use serde_json::{Value, json};

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

/// A message with a file: <https://bbernhard.github.io/signal-cli-rest-api/#/Messages/post_v2_send>. The kernel puts its bytes into their
/// place.
pub(crate) fn with_file(request: http::Request, message: &Value, file: &File) -> http::Request {
    // What would end the parameter, or begin another one.
    let plain = |c| if matches!(c, ';' | ',' | '=' | '"' | '\\') { '_' } else { c };
    let name: String = file.name.chars().map(plain).collect();
    let data = json!(format!("data:{};filename={name};base64,", file.mime)).to_string();
    let message = message.to_string();
    let (message, data) = (message.strip_suffix('}').unwrap_or(&message), data.strip_suffix('"').unwrap_or(&data));
    let body = Body::new().bytes(format!("{message},\"base64_attachments\":[{data}"));
    request.header("content-type", "application/json").pieces(body.base64(&file.blob).bytes("\"]}"))
}
