//! What bytes are, and keeping them.

use crate::grants::GrantSnapshot;
use crate::instance::Live;
use crate::services::{Services, now_ms};
use carapace_contract::Denial;
use carapace_contract::manifest::Use;
use carapace_contract::media::{MAX_BLOB, Media, UNKNOWN};
use carapace_runtime::bindings::types;
use carapace_store::{Batch, BlobRow};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What these bytes are, by their beginning. Of images, the header says how many pixels there would be; none are made.
pub(crate) fn sniff(data: &[u8]) -> Media {
    let mime = infer::get(data).map_or(UNKNOWN, |kind| kind.mime_type());
    let found = if mime.starts_with("image/") { imagesize::blob_size(data).ok() } else { None };
    let pixels = found.and_then(|s| Some((u32::try_from(s.width).ok()?, u32::try_from(s.height).ok()?)));
    Media { id: Media::id_of(data), size: data.len() as u64, mime: mime.to_owned(), pixels, name: None }
}

/// Who keeps something, and what they may.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) services: Arc<Services>,
    pub(crate) instance: Arc<Live>,
    pub(crate) uses: Option<BTreeSet<Use>>,
}

impl Keeper {
    /// Whether it may.
    pub(crate) fn allowed(&self, grant: &GrantSnapshot) -> Result<(), Denial> {
        grant.blob(&self.instance.id, self.uses.as_ref())
    }

    /// Keeps bytes; their id.
    pub(crate) async fn keep(&self, data: Vec<u8>) -> Result<String, types::Error> {
        keep(&self.services, &self.instance, data).await.map(|media| media.id)
    }
}

/// Keeps what an instance brought, whatever it may do itself.
pub(crate) async fn keep(services: &Services, instance: &Live, data: Vec<u8>) -> Result<Media, types::Error> {
    let size = data.len() as u64;
    if size == 0 || size > MAX_BLOB {
        return Err(types::Error::Limit(format!("blob: one has 1 to {MAX_BLOB} bytes, this one has {size}")));
    }
    let media = sniff(&data);
    let row = BlobRow { media: media.clone(), data: data.into(), holder: instance.id.clone(), at_ms: now_ms() };
    match services.store.commit(Batch::new().blob_put(row)).await {
        Ok(_) => Ok(media),
        Err(error) => {
            tracing::error!(instance = %instance.id, %error, "a blob was not kept");
            Err(types::Error::Unavailable("blob: the store failed; the kernel's log says why".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG's signature and header, with nothing behind it.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        data.extend(width.to_be_bytes());
        data.extend(height.to_be_bytes());
        data.extend(b"\x08\x06\0\0\0\0\0\0\0");
        data
    }

    #[test]
    fn bytes_are_what_they_begin_with() {
        let image = sniff(&png(640, 480));
        assert_eq!((image.mime.as_str(), image.pixels, image.size), ("image/png", Some((640, 480)), 33));
        assert!(image.is_showable());
        assert_eq!(sniff(b"%PDF-1.7 ...").mime, "application/pdf");
        for other in [b"hello".as_slice(), b"", b"<svg onload='x'/>"] {
            let media = sniff(other);
            assert!(!media.is_showable() && media.pixels.is_none(), "{media:?}");
        }
    }

    #[test]
    fn a_bomb_is_told_by_its_header() {
        assert!(!sniff(&png(u32::MAX, u32::MAX)).is_showable());
        assert!(!sniff(&png(0, 10)).is_showable());
        // Cut off, it is no image.
        assert!(!sniff(&png(10, 10)[..12]).is_showable());
    }
}
