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
}

impl Media {
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
        let image = Media { id: Media::id_of(b"x"), size: 9, mime: "image/png".into(), pixels: Some((10, 10)) };
        assert!(image.is_showable());
        // A few hundred bytes that would be gigabytes of pixels.
        assert!(!Media { pixels: Some((60_000, 60_000)), ..image.clone() }.is_showable());
        assert!(!Media { pixels: None, ..image.clone() }.is_showable());
        assert!(!Media { size: 6 << 20, ..image.clone() }.is_showable());
        assert!(!Media { mime: "image/svg+xml".into(), ..image }.is_showable());
    }
}
