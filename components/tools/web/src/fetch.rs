//! One fetch, and how it is told.

use crate::bindings::carapace::plugin::types::Error;
use crate::bindings::exports::carapace::plugin::tools::ToolError;
use crate::kind::{self, Kind};
use crate::{Door, charset, html};
use serde::Deserialize;

/// Bytes of a body that are read.
pub(crate) const MAX_BODY: usize = 4 << 20;
/// Characters of one part.
pub(crate) const PART: usize = 24_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    url: String,
    from: Option<usize>,
}

/// What `web_fetch` answers.
pub(crate) fn answer(arguments: &str, door: &mut dyn Door) -> Result<String, ToolError> {
    let Fetch { url, from } = serde_json::from_str(arguments)
        .map_err(|e| ToolError::InvalidArguments(format!("the arguments do not fit: {e}")))?;
    let url = url.trim();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        let why = "`url` must be a whole address that begins with https:// or http://";
        return Err(ToolError::InvalidArguments(why.into()));
    }
    let head = door.get(url).map_err(refused)?;
    let header = |name: &str| head.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let (mime, charset) = kind::parse(header("content-type").unwrap_or_default());
    let mut told = format!("{}\nstatus: {}", head.url, head.status);
    if !mime.is_empty() {
        told.push_str(&format!("\ntype: {mime}"));
    }
    let named = kind::of(&mime);
    if named == Some(Kind::Other) {
        let size = header("content-length").map(|n| format!(" of {n} bytes")).unwrap_or_default();
        return Ok(told + &format!("\n\nThis is a file{size}, not text; web_fetch does not read it."));
    }
    let (body, whole) = read(door)?;
    let kind = named.unwrap_or_else(|| kind::sniff(&body));
    if kind == Kind::Other || kind::is_binary(&body, charset.as_deref()) {
        return Ok(told + "\n\nThis is a file, not text; web_fetch does not read it.");
    }
    let (mut text, used) = charset::decode(&body, charset.as_deref(), kind == Kind::Html);
    if used != "UTF-8" {
        told.push_str(&format!("\ncharset: {used}"));
    }
    if kind == Kind::Html {
        let page = html::read(&text, &head.url);
        if !page.title.is_empty() {
            told.push_str(&format!("\ntitle: {}", page.title));
        }
        text = page.text;
    }
    Ok(format!("{told}\n\n{}", part(&text, from.unwrap_or(0), whole)?))
}

/// The body, and whether that is all of it.
fn read(door: &mut dyn Door) -> Result<(Vec<u8>, bool), ToolError> {
    let mut body = Vec::new();
    loop {
        let piece = match door.read() {
            Ok(piece) => piece,
            // The kernel's own cap, or a server that gave up: what came so far is worth showing.
            Err(Error::Limit(_) | Error::Unavailable(_) | Error::Timeout(_)) if !body.is_empty() => {
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

/// An import's refusal, for the model.
fn refused(error: Error) -> ToolError {
    match error {
        Error::Denied(why) => ToolError::Denied(why),
        Error::Invalid(why) => ToolError::InvalidArguments(why),
        Error::NotFound(why) => ToolError::NotFound(why),
        Error::Unavailable(why) | Error::Timeout(why) => ToolError::Unavailable(why),
        Error::Limit(why) | Error::Other(why) => ToolError::Failed(why),
        Error::Cancelled => ToolError::Failed("stopped".into()),
    }
}
