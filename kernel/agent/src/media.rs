//! Images that are kept apart from the log, put in their place for a model that can see; for the others, in words. And the files that go
//! along with an answer.

use crate::rows::{Entry, Exchange};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_contract::media::Media;
use carapace_contract::message::{Message, Part};
use carapace_store::Reader;

/// Images that a model is shown at once; the newest.
const MOST: usize = 4;
/// Bytes of them together.
const MOST_BYTES: u64 = 6 << 20;
const PIECE: usize = 1 << 20;

/// Puts images, or words, in the place of what is kept apart. The newest are shown first; what does not fit any more was seen when it came.
pub(crate) async fn show(store: &Reader, messages: &mut [Message], sees: bool) {
    let (mut left, mut bytes) = (MOST, MOST_BYTES);
    // Of other files the tool's answer tells.
    for message in messages.iter_mut() {
        message.parts.retain(|p| !matches!(p, Part::Media(m) if !m.mime.starts_with("image/")));
    }
    for part in messages.iter_mut().rev().flat_map(|m| m.parts.iter_mut().rev()) {
        let Part::Media(media) = part else { continue };
        let shown = if !sees {
            Err("you cannot see images")
        } else if !media.is_showable() {
            Err("it is too large, or of no type that can be shown")
        } else if left == 0 || media.size > bytes {
            Err("there are newer ones, so it is not shown again")
        } else {
            read(store, media).await.ok_or("it is no longer kept")
        };
        *part = match shown {
            Ok(data) => {
                left -= 1;
                bytes -= media.size;
                Part::Image { mime: media.mime.clone(), data: BASE64.encode(data) }
            }
            Err(why) => Part::text(format!("[{}: {why}]", media.in_words())),
        };
    }
}

/// What the tools of a run made, each once, in order.
pub(crate) fn made(exchange: &Exchange) -> Vec<Media> {
    let mut made: Vec<Media> = Vec::new();
    for row in &exchange.rows {
        let Entry::ToolResult { beside, .. } = &row.entry else { continue };
        for part in beside {
            if let Part::Media(media) = part
                && made.iter().all(|m| m.id != media.id)
            {
                made.push(media.clone());
            }
        }
    }
    made
}

async fn read(store: &Reader, media: &Media) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    while (data.len() as u64) < media.size {
        let piece = store.blob_read(&media.id, data.len() as u64, PIECE).await.ok()?;
        if piece.is_empty() {
            return None;
        }
        data.extend(piece);
    }
    Some(data)
}
