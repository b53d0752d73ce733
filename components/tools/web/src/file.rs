//! A picture or another file, brought as it is.

use crate::fetch::{self, PATIENCE};
use crate::kind::{self, Kind};
use carapace_sdk::prelude::*;
use carapace_sdk::tools::{Content, File, Image};

/// Bytes of a file that is brought.
pub(crate) const MAX_FILE: usize = 7 << 20;
/// Pictures that models and people are shown.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bring {
    /// https://… or http://…
    #[schemars(length(max = 4096))]
    url: String,
}

/// What `web_file` answers.
pub(crate) fn answer(Bring { url }: Bring, _: &Context) -> Result<Vec<Content>, ToolError> {
    let url = fetch::address(&url)?;
    let response =
        http::public(url).timeout(PATIENCE).send().and_then(http::Response::success).map_err(fetch::refused)?;
    let (mime, _) = kind::parse(&response.header("content-type").unwrap_or_default());
    if kind::of(&mime) == Some(Kind::Html) {
        return Err(ToolError::InvalidArguments("this is a page; web_fetch reads it".to_owned()));
    }
    let data = response.bytes(MAX_FILE).map_err(fetch::refused)?;
    if data.is_empty() {
        return Err(ToolError::NotFound("there is nothing at this address".to_owned()));
    }
    let mime = if mime.is_empty() { "application/octet-stream".to_owned() } else { mime };
    if PICTURES.contains(&mime.as_str()) {
        return Ok(vec![Content::Image(Image { mime, data })]);
    }
    Ok(vec![Content::File(File { name: name(&response.url()), mime, data })])
}

/// The last part of the path, read.
fn name(url: &str) -> String {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let last = path.split(['?', '#']).next().unwrap_or_default().rsplit('/').find(|part| !part.is_empty());
    last.map_or_else(|| "file".to_owned(), decoded)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let pair = more.get(..2).filter(|_| *first == b'%').and_then(|p| std::str::from_utf8(p).ok());
        match pair.and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = more.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_the_last_part_of_its_path() {
        for (url, expected) in [
            ("https://a.example/b/r%C3%A9sum%C3%A9.pdf?x=/y", "résumé.pdf"),
            ("https://a.example/b/", "b"),
            ("https://a.example", "file"),
            ("https://a.example/100%.txt", "100%.txt"),
            ("https://a.example/%", "%"),
            ("", "file"),
        ] {
            assert_eq!(name(url), expected, "{url}");
        }
    }
}
