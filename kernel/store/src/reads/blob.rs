//! Media.

use crate::apply::PIECE;
use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::sql::{Columns, int};
use carapace_contract::InstanceId;
use carapace_contract::media::Media;
use rusqlite::params;

impl Reader {
    /// What a blob is; none if it is not kept, or not held by `holder`, where that is asked.
    pub async fn blob(&self, id: &str, holder: Option<&InstanceId>) -> Result<Option<Media>, StoreError> {
        let (id, holder) = (id.to_owned(), holder.map(InstanceId::to_string));
        self.read(move |c| {
            let sql = "SELECT size, mime, width, height FROM blob WHERE id = ?1 AND \
                       (?2 IS NULL OR EXISTS (SELECT 1 FROM blob_holder h WHERE h.id = blob.id AND h.instance = ?2))";
            one(c, "read what a blob is", sql, params![id, holder], |r| {
                let pixels: (Option<u32>, Option<u32>) = (r.get(2)?, r.get(3)?);
                Ok(Media {
                    id: id.clone(),
                    size: r.u64(0)?,
                    mime: r.get(1)?,
                    pixels: pixels.0.zip(pixels.1),
                    name: None,
                })
            })
        })
        .await
    }

    /// At most `max` bytes of a blob from `offset`; empty at its end, and if it is not kept.
    pub async fn blob_read(&self, id: &str, offset: u64, max: usize) -> Result<Vec<u8>, StoreError> {
        let id = id.to_owned();
        self.read(move |c| {
            let piece = PIECE as u64;
            let (first, last) = (offset / piece, offset.saturating_add(max as u64) / piece);
            let sql = "SELECT data FROM blob_piece WHERE id = ?1 AND n BETWEEN ?2 AND ?3 ORDER BY n";
            let pieces = all(c, "read a blob", sql, params![id, int(first), int(last)], |r| r.get::<_, Vec<u8>>(0))?;
            let skip = usize::try_from(offset % piece).unwrap_or(usize::MAX);
            Ok(pieces.into_iter().flatten().skip(skip).take(max).collect())
        })
        .await
    }
}
