//! The texts of a manifest: names, sizes, durations, addresses, patterns. Each error says what to write instead.

use super::Use;
use super::reader::nearest;
use crate::name::NameError;
use std::str::FromStr;

/// A text as it may stand in an error: short, and without characters that would spoil a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(80).map(|c| if deceives(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

/// Whether a character can make a consent screen, or a list of packages, lie: controls, invisible ones, and those that reverse the direction of text.
pub fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// One honest line for a person.
pub(super) fn line(text: &str, max: usize) -> Result<String, String> {
    let length = text.chars().count();
    if text.chars().any(|c| matches!(c, '\n' | '\r')) {
        Err("has more than one line; write one".to_owned())
    } else if text.chars().any(deceives) {
        Err("holds control, invisible or direction-changing characters; people are asked with this text, so write it plainly".to_owned())
    } else if text.trim().is_empty() || text.trim() != text {
        Err("is empty or has blanks around it".to_owned())
    } else if length > max {
        Err(format!("is {length} characters long; at most {max} are allowed"))
    } else {
        Ok(text.to_owned())
    }
}

/// A [`crate::Name`].
pub(super) fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        "is not a name; it has 1 to 64 of a-z, 0-9 and `-`, starting and ending with a letter or digit".into()
    })
}

fn amount(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bad = || format!("is not understood; write a whole number and one of {}, e.g. {example}", names.join(", "));
    let value = number.parse::<u64>().map_err(|_| bad())?.checked_mul(factor.ok_or_else(bad)?);
    match value {
        Some(0) => Err("is zero; nothing could run".to_owned()),
        Some(value) if value <= i64::MAX.unsigned_abs() => Ok(value),
        _ => Err("is too large".to_owned()),
    }
}

/// Bytes: `"32MiB"`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    amount(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)], "\"32MiB\"")
}

/// Milliseconds: `"10s"`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    amount(text, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)], "\"10s\"")
}

/// An environment variable that a component may name.
pub(super) fn env_name(text: &str) -> Result<String, String> {
    let shape = text.len() >= 3
        && text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if !shape {
        return Err("is not a variable name; it has 3 to 64 of A-Z, 0-9 and `_`, starting with a letter".to_owned());
    }
    if ["CARAPACE_", "LD_", "DYLD_"].iter().any(|p| text.starts_with(p)) || ["PATH", "HOME", "SHELL"].contains(&text) {
        return Err("belongs to the kernel or the system; name a variable of your own".to_owned());
    }
    Ok(text.to_owned())
}

/// A base URL.
pub(super) fn base_url(text: &str) -> Result<url::Url, String> {
    if text.chars().any(|c| deceives(c) || c.is_whitespace() || c == '\\') {
        return Err("holds blanks, backslashes or invisible characters; remove them".to_owned());
    }
    let url =
        url::Url::parse(text).map_err(|e| format!("is not a URL ({e}); write e.g. \"https://api.example.com/v1\""))?;
    let here = crate::capability::is_this_machine(&url);
    if here && !text.starts_with("http://127.0.0.1:") {
        return Err("is a disguised address; write http://127.0.0.1:PORT".to_owned());
    }
    if url.scheme() != "https" && !here {
        return Err("is not https; plain http is for a program on the same machine alone, as http://127.0.0.1:PORT (from 1024), or where an owner points the endpoint".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password; declare a secret and use `auth`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or fragment; a base URL ends with its path".to_owned());
    }
    match url.host() {
        Some(url::Host::Domain(host)) if !host.is_empty() && url.port() != Some(0) => Ok(url),
        Some(url::Host::Ipv4(_)) if here => Ok(url),
        _ => Err("names an address instead of a host; only an owner may point an endpoint to an address".to_owned()),
    }
}

/// A socket's base URL: as one of HTTP, with the scheme of a WebSocket.
pub(super) fn socket_url(text: &str) -> Result<url::Url, String> {
    let bad = || {
        "is no address of a WebSocket; write e.g. \"wss://gateway.example.com\", or ws://127.0.0.1:PORT (from 1024) for a program on the same \
         machine"
            .to_owned()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    let http = match scheme {
        "wss" => "https",
        "ws" => "http",
        _ => return Err(bad()),
    };
    base_url(&format!("{http}://{rest}")).map_err(|why| why.replace("http", "ws"))?;
    url::Url::parse(text).map_err(|_| bad())
}

/// `cdn.example.com` or `*.example.com`.
pub(super) fn host_pattern(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let labels: Vec<&str> = name.split('.').collect();
    let numeric = labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if labels.len() >= 2 && name.len() <= 253 && !numeric && labels.iter().all(|l| label(l)) {
        Ok(text.to_owned())
    } else {
        Err("is not a host pattern; write \"cdn.example.com\" or \"*.example.com\", in lower case, without scheme, port or path".to_owned())
    }
}

/// An HTTP method.
pub(super) fn method(text: &str) -> Result<String, String> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if METHODS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("is not a method; {}", nearest(&text.to_ascii_uppercase(), &METHODS)))
    }
}

/// `/chat/completions`, `/files/*` (`*` = characters within one segment), `/v1/**` (`**` = any number of segments).
pub(super) fn path_pattern(text: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("is not a path pattern: {why}; write e.g. \"/files/*\" or \"/v1/**\""));
    let Some(rest) = text.strip_prefix('/') else { return bad("it does not start with `/`") };
    if text.len() > 512 {
        return bad("it is longer than 512 bytes");
    }
    let segments: Vec<&str> = rest.split('/').collect();
    if segments.iter().filter(|s| **s == "**").count() > 3 {
        return bad("it holds more than three `**`");
    }
    for (at, segment) in segments.iter().enumerate() {
        let last = at.saturating_add(1) == segments.len();
        match *segment {
            "**" => {}
            "" if last => {}
            "" | "." | ".." => return bad("it has an empty or dotted segment"),
            s if s.contains("**") => return bad("`**` must be a whole segment"),
            s if s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@*".contains(&b)) => {}
            _ => return bad("it holds characters that are not plain in a path (no query, no escapes)"),
        }
    }
    Ok(text.to_owned())
}

/// A JSON pointer (RFC 6901) to something inside a document.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    // A backtick would end the quotation it stands in on the consent screen.
    if text.starts_with('/') && text.len() <= 256 && escapes && !text.chars().any(|c| deceives(c) || c == '`') {
        Ok(text.to_owned())
    } else {
        Err("is not a JSON pointer; write e.g. \"/d/token\"".to_owned())
    }
}

/// The name of a header that may carry a credential.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    const FRAMING: [&str; 11] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "proxy-authorization",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(token) {
        Err("is not a header name; write e.g. \"x-api-key\"".to_owned())
    } else if FRAMING.contains(&text.to_ascii_lowercase().as_str()) {
        Err("is a header that frames the request; a credential cannot be put there".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// What stands before a secret in a header.
pub(super) fn header_prefix(text: &str) -> Result<String, String> {
    if text.len() <= 64 && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err("is not up to 64 printable ASCII characters; write e.g. \"Bot \"".to_owned())
    }
}

/// The name of a query parameter.
pub(super) fn query_name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("is not a parameter name of 1 to 64 letters, digits and -._~; write e.g. \"key\"".to_owned())
    }
}

/// The user name of basic authentication.
pub(super) fn username(text: &str) -> Result<String, String> {
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b':') {
        Ok(text.to_owned())
    } else {
        Err("is not a user name of 1 to 128 printable ASCII characters without `:`".to_owned())
    }
}

/// What stands before a secret in a path.
pub(super) fn path_prefix(text: &str) -> Result<String, String> {
    let segments_ok = text.split('/').all(|s| s != "." && s != "..");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    if text.starts_with('/') && text.len() <= 64 && segments_ok && !text.contains("//") && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("is not the beginning of a path; write e.g. \"/bot\"".to_owned())
    }
}

/// `http:<endpoint>`, `http:public`, `kv`, `memory`, `memory:read`, `sessions`, `settings`, `requests`, `message`, `blob`, `assets`, `secrets` or
/// `directory:<name>`.
pub(super) fn tool_use(text: &str) -> Result<Use, String> {
    match text.split_once(':') {
        None if text == "kv" => Ok(Use::Kv),
        None if text == "assets" => Ok(Use::Assets),
        None if text == "secrets" => Ok(Use::Secrets),
        None if text == "memory" => Ok(Use::Memory),
        None if text == "sessions" => Ok(Use::Sessions),
        None if text == "settings" => Ok(Use::Settings),
        None if text == "requests" => Ok(Use::Requests),
        None if text == "message" => Ok(Use::Message),
        None if text == "blob" => Ok(Use::Blob),
        Some(("memory", "read")) => Ok(Use::MemoryRead),
        Some(("http", "public")) => Ok(Use::PublicHttp),
        Some(("http", endpoint)) => name(endpoint).map(Use::Http),
        Some(("directory", directory)) => name(directory).map(Use::Directory),
        _ => {
            Err("is nothing a tool can use; write \"http:<endpoint>\", \"http:public\", \"kv\", \"memory\", \"memory:read\", \"sessions\", \"settings\", \"requests\", \"message\", \"blob\", \"assets\", \"secrets\" or \"directory:<name>\""
                .to_owned())
        }
    }
}
