//! What a response is, by its `Content-Type`, and for want of one by its first bytes.

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Text,
    /// Named, and left where it is.
    Other,
}

/// A `Content-Type`, as far as it matters here: the type in lower case, and the character set.
pub(crate) fn parse(header: &str) -> (String, Option<String>) {
    let mut parts = header.split(';');
    let mime = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.filter_map(|p| p.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    (mime, charset.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty()))
}

/// None for what says nothing: no type, or the one that servers give to anything.
pub(crate) fn of(mime: &str) -> Option<Kind> {
    let (family, subtype) = mime.split_once('/')?;
    match mime {
        "application/octet-stream" => None,
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        "application/json"
        | "application/xml"
        | "application/javascript"
        | "application/yaml"
        | "application/toml"
        | "application/x-ndjson" => Some(Kind::Text),
        _ if family == "text" => Some(Kind::Text),
        _ if family == "application" && (subtype.ends_with("+json") || subtype.ends_with("+xml")) => Some(Kind::Text),
        _ => Some(Kind::Other),
    }
}

/// Whether the first bytes are those of a file, whatever its type says.
pub(crate) fn is_binary(bytes: &[u8], charset: Option<&str>) -> bool {
    let start = bytes.get(..512).unwrap_or(bytes);
    // The only text with zeros in it.
    let wide = start.starts_with(b"\xff\xfe")
        || start.starts_with(b"\xfe\xff")
        || charset.is_some_and(|label| label.to_ascii_lowercase().starts_with("utf-16"));
    (start.contains(&0) && !wide) || start.starts_with(b"%PDF-") || start.starts_with(b"GIF8")
}

/// What it looks like to its first bytes.
pub(crate) fn sniff(bytes: &[u8]) -> Kind {
    if is_binary(bytes, None) {
        return Kind::Other;
    }
    let start = bytes.get(..512).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let html = ["<!doctype html", "<html", "<head", "<body", "<!--"].iter().any(|tag| text.starts_with(tag));
    if html { Kind::Html } else { Kind::Text }
}
