//! Finds the web addresses in a call's arguments and says which of them nobody trusted has written.
//!
//! Parsing follows the WHATWG URL standard (the `url` crate), as the fetching side does, so that both see the same host.

use serde_json::Value;
use std::collections::HashSet;
use url::Url;

/// The first address in `arguments` (any depth, keys included) that does not stand in `trusted`.
pub(super) fn first_untrusted(arguments: &Value, trusted: &[String]) -> Option<String> {
    let mut found = Vec::new();
    in_value(arguments, false, &mut found);
    if found.is_empty() {
        return None;
    }
    let trusted: HashSet<Address> = trusted.iter().flat_map(|t| in_trusted(t)).collect();
    found.into_iter().find(|raw| !Address::parse(raw).is_some_and(|a| a.is_among(&trusted)))
}

/// What two addresses must share to count as the same one. The fragment never leaves the machine and does not count.
#[derive(PartialEq, Eq, Hash, Clone)]
struct Address {
    plain: bool,
    user: String,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

impl Address {
    /// An `http` or `https` address, or a bare `host/path` (taken as `https`).
    fn parse(raw: &str) -> Option<Self> {
        let url = match Url::parse(raw) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            // `example.com:8080/x` parses as the scheme `example.com`; `ftp://…` is no web address at all.
            _ if raw.contains("://") => return None,
            _ => Url::parse(&format!("https://{}", raw.trim_start_matches(['/', '\\']))).ok()?,
        };
        let path = url.path();
        Some(Self {
            plain: url.scheme() == "http",
            user: format!("{}:{}", url.username(), url.password().unwrap_or_default()),
            host: url.host_str()?.trim_end_matches('.').to_owned(),
            port: url.port(),
            path: path.strip_suffix('/').unwrap_or(path).to_owned(),
            query: url.query().map(str::to_owned),
        })
    }

    /// `https` may be used where `http` was written; not the other way round.
    fn is_among(&self, trusted: &HashSet<Self>) -> bool {
        trusted.contains(self) || (!self.plain && trusted.contains(&Self { plain: true, ..self.clone() }))
    }
}

/// Full addresses and bare hosts in what a person wrote.
fn in_trusted(text: &str) -> Vec<Address> {
    let mut out = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || "<>\"'`()[]{}|".contains(c)) {
        let word = word.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_', '…']);
        let mut full = Vec::new();
        full_addresses(word, &mut full);
        if full.is_empty() && word.contains('.') && !word.contains('@') {
            full.push(word.to_owned());
        }
        out.extend(full.iter().filter_map(|raw| Address::parse(raw)));
    }
    // Brackets may belong to an address (`…/wiki/Rust_(game)`), so words split at white space alone count, too.
    for word in text.split_whitespace().filter(|w| w.contains("://")) {
        let mut full = Vec::new();
        full_addresses(word.trim_end_matches(['.', ',', ';']), &mut full);
        out.extend(full.iter().filter_map(|raw| Address::parse(raw)));
    }
    out
}

fn in_value(value: &Value, address_field: bool, out: &mut Vec<String>) {
    match value {
        Value::String(s) => in_string(s, address_field, out),
        Value::Array(items) => items.iter().for_each(|v| in_value(v, address_field, out)),
        Value::Object(fields) => {
            for (key, v) in fields {
                in_string(key, false, out);
                in_value(v, names_an_address(key), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `url`, `page_url`, `URLs`, `href`, `baseUri`, `address`, `host`, …
fn names_an_address(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let key = key.strip_suffix('s').filter(|k| k.len() > 2).unwrap_or(&key);
    ["url", "uri", "href", "addres", "address", "link", "host", "hostname", "domain", "site", "server", "endpoint"]
        .iter()
        .any(|word| key.ends_with(word))
}

fn in_string(raw: &str, address_field: bool, out: &mut Vec<String>) {
    // URL parsers drop these three wherever they stand, so `ht\ntps://` is an address.
    let text: String = raw.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let before = out.len();
    full_addresses(&text, out);
    if out.len() > before {
        return;
    }
    let whole = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    if !whole.is_empty() && (address_field || looks_like_host_and_path(whole)) {
        out.push(whole.to_owned());
    }
}

/// Every `http:`, `https:` or `anything://` in `text`, each up to the next white space or the next such start.
fn full_addresses(text: &str, out: &mut Vec<String>) {
    let lower = text.to_ascii_lowercase();
    let mut starts: Vec<usize> = Vec::new();
    for (at, _) in lower.match_indices(':') {
        let (before, after) = (lower.get(..at).unwrap_or(""), lower.get(at..).unwrap_or(""));
        let scheme = before.bytes().rev().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let length = scheme.count();
        let is_web = before.ends_with("http") || before.ends_with("https");
        if is_web {
            starts.push(at - if before.ends_with("https") { 5 } else { 4 });
        } else if length > 0 && after.starts_with("://") {
            starts.push(at - length);
        }
    }
    for (i, start) in starts.iter().enumerate() {
        // An address inside another's query belongs to the outer one, which is compared as a whole.
        let rest = text.get(*start..).unwrap_or("");
        let end = rest.find(|c: char| c.is_whitespace() || "<>\"`".contains(c)).unwrap_or(rest.len());
        let inner = i > 0 && starts.get(i - 1).and_then(|p| text.get(*p..*start)).is_some_and(|t| !splits(t));
        if !inner {
            out.push(rest.get(..end).unwrap_or("").to_owned());
        }
    }
}

fn splits(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || "<>\"`".contains(c))
}

/// `example.com/path`, `10.0.0.1`, `[::1]:80`: a whole value that can only be meant as an address.
fn looks_like_host_and_path(text: &str) -> bool {
    if text.contains(char::is_whitespace) {
        return false;
    }
    let host = text.trim_start_matches(['/', '\\']).split(['/', '\\', '?', '#', ':']).next().unwrap_or("");
    if host.parse::<std::net::Ipv4Addr>().is_ok() || text.starts_with('[') && text.contains("]") && text.contains("::")
    {
        return true;
    }
    let (Some((_, last)), true) = (host.rsplit_once('.'), text.len() > host.len()) else { return false };
    last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic())
}
