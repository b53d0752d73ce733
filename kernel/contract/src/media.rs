//! Media: bytes that the kernel keeps under the name of what they are.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Bytes of one blob.
pub const MAX_BLOB: u64 = 20 << 20;
/// Bytes of all blobs together; the oldest go first.
pub const MAX_BLOBS: u64 = 1 << 30;
/// How long a blob is kept after it was last brought, ms.
pub const KEPT_MS: u64 = 30 * 86_400_000;
/// What the kernel cannot tell is this.
pub const UNKNOWN: &str = "application/octet-stream";

/// A blob that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// SHA-256 of its bytes, lower-case hex.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// What the bytes are, as the kernel sees it.
    pub mime: String,
    /// Of an image: width and height, as its header says.
    pub pixels: Option<(u32, u32)>,
    /// Of a file: what whoever brought it calls it. One line, without a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The longest name of a file, characters.
const MAX_NAME: usize = 120;

/// A file's name as it may be shown and sent: one line, without a path; `None` if nothing is left of it.
pub fn file_name(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = last.chars().filter(|c| !c.is_control() && !is_formatting(*c)).take(MAX_NAME).collect::<String>();
    let plain = plain.trim().trim_start_matches('.');
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// Turns the order of what is read, or is not seen: `fdp.exe` must not be read as `exe.pdf`.
fn is_formatting(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl Media {
    /// What it is, for a person or a model: name, type and size.
    pub fn in_words(&self) -> String {
        let what = self.name.as_deref().unwrap_or(if self.mime.starts_with("image/") { "an image" } else { "a file" });
        format!("{what} ({}, {} bytes)", self.mime, self.size)
    }

    /// Its name, or one that fits it.
    pub fn file_name(&self) -> String {
        let ending = || self.mime.rsplit(['/', '.', '-', '+']).next().filter(|_| self.mime != UNKNOWN).unwrap_or("bin");
        self.name.clone().unwrap_or_else(|| format!("{}.{}", self.id.get(..8).unwrap_or("file"), ending()))
    }

    /// The id of these bytes.
    pub fn id_of(data: &[u8]) -> String {
        Digest::of(data).hex()
    }

    /// Whether a model can be shown it: of a type that models take, and of a size that nobody chokes on.
    pub fn is_showable(&self) -> bool {
        const TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
        let bounded = |(width, height): (u32, u32)| (1..=8_000).contains(&width) && (1..=8_000).contains(&height);
        TYPES.contains(&self.mime.as_str()) && self.size <= 5 << 20 && self.pixels.is_some_and(bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_images_of_bounded_size_and_nothing_else() {
        let image =
            Media { id: Media::id_of(b"x"), size: 9, mime: "image/png".into(), pixels: Some((10, 10)), name: None };
        assert!(image.is_showable());
        // A few hundred bytes that would be gigabytes of pixels.
        assert!(!Media { pixels: Some((60_000, 60_000)), ..image.clone() }.is_showable());
        assert!(!Media { pixels: None, ..image.clone() }.is_showable());
        assert!(!Media { size: 6 << 20, ..image.clone() }.is_showable());
        assert!(!Media { mime: "image/svg+xml".into(), ..image }.is_showable());
    }

    #[test]
    fn a_files_name_is_a_line_without_a_path() {
        assert_eq!(file_name("../../etc/passwd\n").as_deref(), Some("passwd"));
        assert_eq!(file_name("C:\\a\\b.txt").as_deref(), Some("b.txt"));
        assert_eq!(file_name("\u{202e}fdp.exe").as_deref(), Some("fdp.exe"));
        assert_eq!(file_name(".bashrc").as_deref(), Some("bashrc"));
        assert_eq!(file_name("a/.."), None);
        assert_eq!(file_name(""), None);
        let media =
            |mime: &str| Media { id: "0123456789".into(), size: 1, mime: mime.into(), pixels: None, name: None };
        assert_eq!(media("application/pdf").file_name(), "01234567.pdf");
        assert_eq!(media(UNKNOWN).file_name(), "01234567.bin");
    }
}
