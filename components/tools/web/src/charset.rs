//! Bytes to text: byte order mark, header, `<meta>`, in that order (the WHATWG's "determining the character encoding").

use crate::html;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use html5gum::Token;

/// Bytes of a page in which a `<meta>` is looked for.
const PRESCAN: usize = 1024;

/// The text, and what it was written in.
pub(crate) fn decode(bytes: &[u8], header: Option<&str>, html: bool) -> (String, &'static str) {
    let named = || header.and_then(|label| Encoding::for_label(label.as_bytes()));
    let declared = || if html { meta(bytes.get(..PRESCAN).unwrap_or(bytes)) } else { None };
    let encoding = named().or_else(declared).unwrap_or_else(|| {
        // A body that was cut may end within a character.
        match std::str::from_utf8(bytes) {
            Err(e) if e.error_len().is_some() => WINDOWS_1252,
            _ => UTF_8,
        }
    });
    // A byte order mark is stronger than all of these.
    let (text, used, _) = encoding.decode(bytes);
    (text.into_owned(), used.name())
}

fn meta(start: &[u8]) -> Option<&'static Encoding> {
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(start);
    for token in html::tokens(&text) {
        let Token::StartTag(tag) = token else { continue };
        if tag.name.as_slice() != b"meta" {
            continue;
        }
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|v| String::from_utf8_lossy(v).into_owned());
        let typed = || {
            let equiv = attribute(b"http-equiv")?;
            if equiv.eq_ignore_ascii_case("content-type") {
                crate::kind::parse(&attribute(b"content")?).1
            } else {
                None
            }
        };
        let Some(found) = attribute(b"charset").or_else(typed) else { continue };
        let encoding = Encoding::for_label(found.trim().as_bytes())?;
        // What could be read as ASCII so far is not UTF-16, whatever it says.
        return Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding });
    }
    None
}
