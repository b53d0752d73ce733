//! Files: <https://docs.slack.dev/reference/objects/file-object/>. They lie on another host than the API, behind the same token; whom Slack
//! does not give one is led to a page to log in, which is no error in its eyes.

use crate::api;
use carapace_sdk::channel::{Attachment, Failure};
use carapace_sdk::{Error, http};
use serde_json::Value;
use std::time::Duration;

/// Bytes of a file that is fetched at most.
const MOST: u64 = 20 << 20;

/// The path of a file at Slack's own server.
pub(crate) fn path(url: &str) -> Option<String> {
    let path = url.split_once("://")?.1.split_once('/')?.1;
    path.starts_with("files-pri/").then(|| format!("/{path}"))
}

pub(crate) fn fetch(attachment: &Attachment) -> Result<String, Failure> {
    // Of a file that another workspace shares, a message says no more than its id.
    let path = match attachment.reference.as_str() {
        path if path.starts_with('/') => path.to_owned(),
        id => asked(id)?,
    };
    let response = http::get("files", path).send()?;
    let page = response.header("content-type").is_some_and(|t| t.starts_with("text/html"));
    match response.status() {
        200 if page && attachment.mime.as_deref() != Some("text/html") => Err(Failure::last(
            "Slack asks to log in instead of giving the file: the app lacks the scope `files:read`; add it under OAuth & Permissions and \
             install the app again",
        )),
        200 => response.to_blob(MOST).map_err(|e| match e.kind() {
            Error::Limit(why) => Failure::last(why.clone()),
            _ => e.into(),
        }),
        status @ (429 | 500..) => {
            let wait = response.header("retry-after").and_then(|v| v.trim().parse().ok()).map(Duration::from_secs);
            let ms = wait.and_then(|w| u64::try_from(w.as_millis()).ok());
            Err(Failure { retry_after_ms: ms, ..Failure::retryable(format!("Slack answered {status} for a file")) })
        }
        404 | 410 => Err(Failure::last("the file is not there any more")),
        status => Err(Failure::last(format!("Slack answered {status} for a file"))),
    }
}

/// <https://docs.slack.dev/reference/methods/files.info/>
fn asked(id: &str) -> Result<String, Failure> {
    let request = http::post("api", "/files.info")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("file={}", http::segment(id)));
    let found: Value = api::call(request, "bot-token")?;
    let url = found.pointer("/file/url_private_download").and_then(Value::as_str);
    url.and_then(path).ok_or_else(|| Failure::last("the file is not kept by Slack"))
}
