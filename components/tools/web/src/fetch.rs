//! One fetch, and how it is told.

use crate::kind::{self, Kind};
use crate::{charset, html};
use carapace_sdk::prelude::*;
use carapace_sdk::{Error, http::Response};
use std::time::Duration;

/// Bytes of a body that are read.
pub(crate) const MAX_BODY: usize = 4 << 20;
/// Characters of one part.
pub(crate) const PART: usize = 24_000;
/// Bytes asked for at once.
const READ: u32 = 1 << 18;
/// For the head of the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const ACCEPT: &str = "text/html, application/xhtml+xml, text/plain, application/json;q=0.9, */*;q=0.5";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fetch {
    /// https://… or http://…
    #[schemars(length(max = 4096))]
    url: String,
    /// where to go on in a long page: the number that the part before ended with
    from: Option<usize>,
}

/// What `web_fetch` answers.
pub(crate) fn answer(Fetch { url, from }: Fetch, _: &Context) -> Result<String, ToolError> {
    let url = address(&url)?;
    let response = http::public(url).header("accept", ACCEPT).timeout(PATIENCE).send().map_err(refused)?;
    let (mime, charset) = kind::parse(&response.header("content-type").unwrap_or_default());
    let address = response.url();
    let mut told = format!("{address}\nstatus: {}", response.status());
    if !mime.is_empty() {
        told.push_str(&format!("\ntype: {mime}"));
    }
    let named = kind::of(&mime);
    if named == Some(Kind::Other) {
        let size = response.header("content-length").map(|n| format!(" of {n} bytes")).unwrap_or_default();
        return Ok(
            told + &format!("\n\nThis is a file{size}, not text; web_fetch does not read it; web_file brings it.")
        );
    }
    let (body, whole) = read(&response)?;
    let kind = named.unwrap_or_else(|| kind::sniff(&body));
    if kind == Kind::Other || kind::is_binary(&body, charset.as_deref()) {
        return Ok(told + "\n\nThis is a file, not text; web_fetch does not read it; web_file brings it.");
    }
    let (mut text, used) = charset::decode(&body, charset.as_deref(), kind == Kind::Html);
    if used != "UTF-8" {
        told.push_str(&format!("\ncharset: {used}"));
    }
    if kind == Kind::Html {
        let page = html::read(&text, &address);
        if !page.title.is_empty() {
            told.push_str(&format!("\ntitle: {}", page.title));
        }
        text = page.text;
    }
    Ok(format!("{told}\n\n{}", part(&text, from.unwrap_or(0), whole)?))
}

/// A whole address.
pub(crate) fn address(url: &str) -> Result<&str, ToolError> {
    let url = url.trim();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        let why = "`url` must be a whole address that begins with https:// or http://";
        return Err(ToolError::InvalidArguments(why.into()));
    }
    Ok(url)
}

/// The body, and whether that is all of it.
fn read(response: &Response) -> Result<(Vec<u8>, bool), ToolError> {
    let mut body = Vec::new();
    loop {
        let piece = match response.read(READ) {
            Ok(piece) => piece,
            // The kernel's own cap, or a server that gave up: what came so far is worth showing.
            Err(e)
                if !body.is_empty()
                    && matches!(e.kind(), Error::Limit(_) | Error::Unavailable(_) | Error::Timeout(_)) =>
            {
                return Ok((body, false));
            }
            Err(e) => return Err(refused(e)),
        };
        if piece.is_empty() {
            return Ok((body, true));
        }
        body.extend_from_slice(&piece);
        if body.len() > MAX_BODY {
            body.truncate(MAX_BODY);
            return Ok((body, false));
        }
    }
}

/// The characters from `from`, and how to go on.
fn part(text: &str, from: usize, whole: bool) -> Result<String, ToolError> {
    let length = text.chars().count();
    if from > 0 && from >= length {
        let why = format!("`from` is {from}, and the page has {length} characters; it may have changed");
        return Err(ToolError::InvalidArguments(why));
    }
    let mut shown: String = text.chars().skip(from).take(PART).collect();
    if length == 0 {
        shown.push_str("(no text)");
    }
    let end = from.saturating_add(PART);
    if end < length {
        shown.push_str(&format!("\n\n[cut: {length} characters in all; go on with \"from\": {end}]"));
    } else if !whole {
        shown.push_str("\n\n[the page did not come whole: this is as much of it as was read]");
    }
    Ok(shown)
}

/// The address goes to the kernel as the model gave it: what is wrong with it is for the model to change.
pub(crate) fn refused(error: http::Error) -> ToolError {
    match error.into_inner() {
        Error::Invalid(why) => ToolError::InvalidArguments(why),
        other => other.into(),
    }
}
