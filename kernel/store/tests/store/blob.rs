//! Media: kept under their own name, read in ranges, forgotten whole.

use crate::{fresh, row};
use carapace_contract::InstanceId;
use carapace_contract::media::{MAX_BLOB, Media};
use carapace_store::{Batch, BlobRow, Store};
use serde_json::json;

fn chat(id: &str) -> InstanceId {
    format!("local/chat/{id}").parse().unwrap()
}

fn blob(data: &[u8], holder: &str, at_ms: u64) -> BlobRow {
    let media = Media {
        id: Media::id_of(data),
        size: data.len() as u64,
        mime: "image/png".into(),
        pixels: Some((3, 4)),
        name: None,
    };
    BlobRow { media, data: data.into(), holder: chat(holder), at_ms }
}

async fn whole(store: &Store, id: &str) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = store.blob_read(id, all.len() as u64, 100_000).await.unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend(piece);
    }
}

#[tokio::test]
async fn what_was_kept_is_read_in_any_range_by_whoever_brought_it() {
    let (_dir, store) = fresh();
    let data: Vec<u8> = (0..700_001u32).map(|n| (n % 251) as u8).collect();
    let kept = blob(&data, "one", 5);
    store.commit(Batch::new().blob_put(kept.clone())).await.unwrap();
    let id = &kept.media.id;
    assert_eq!(store.blob(id, Some(&chat("one"))).await.unwrap(), Some(kept.media.clone()));
    assert_eq!(store.blob(id, Some(&chat("other"))).await.unwrap(), None, "an id alone gives nothing");
    assert_eq!(whole(&store, id).await, data);
    for (offset, max) in [(0, 1), (262_143, 2), (262_144, 300_000), (699_990, 100), (700_001, 9), (u64::MAX / 2, 1)] {
        let from = usize::try_from(offset).unwrap().min(data.len());
        let to = from.saturating_add(max).min(data.len());
        assert_eq!(store.blob_read(id, offset, max).await.unwrap(), &data[from..to], "{offset}");
    }
    // Given to somebody, it is theirs, too; what is not there cannot be given.
    let give = Batch::new().blob_give(id, chat("third"), 6).blob_give("nothing", chat("third"), 6);
    store.commit(give).await.unwrap();
    assert!(store.blob(id, Some(&chat("third"))).await.unwrap().is_some());
    assert!(store.blob("nothing", None).await.unwrap().is_none());
    // Brought by another as well, it is the same one.
    store.commit(Batch::new().blob_put(blob(&data, "other", 6))).await.unwrap();
    assert!(store.blob(id, Some(&chat("other"))).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_old_goes_and_what_was_brought_again_stays() {
    let (_dir, store) = fresh();
    let (old, again) = (blob(b"old", "one", 10), blob(b"again", "one", 10));
    let later = BlobRow { at_ms: 90, ..again.clone() };
    store
        .commit(Batch::new().blob_put(old.clone()).blob_put(again.clone()).blob_put(later).blob_prune(50))
        .await
        .unwrap();
    assert_eq!(store.blob(&old.media.id, None).await.unwrap(), None);
    assert!(store.blob_read(&old.media.id, 0, 9).await.unwrap().is_empty());
    assert_eq!(whole(&store, &again.media.id).await, b"again");
}

#[tokio::test]
async fn a_blob_that_is_too_large_or_says_another_size_is_refused() {
    let (_dir, store) = fresh();
    let mut lies = blob(b"abc", "one", 1);
    lies.media.size = 2;
    assert!(store.commit(Batch::new().blob_put(lies)).await.is_err());
    let large = vec![0; usize::try_from(MAX_BLOB).unwrap() + 1];
    assert!(store.commit(Batch::new().blob_put(blob(&large, "one", 1))).await.is_err());
}

#[tokio::test]
async fn with_a_conversation_its_images_are_erased_and_with_a_component_what_nobody_else_has() {
    let (_dir, store) = fresh();
    let (seen, other) = (blob(b"seen", "one", 1), blob(b"other", "one", 1));
    let parts = json!({ "user": { "origin": "owner", "parts": [
        { "type": "text", "text": "look" },
        { "type": "media", "id": seen.media.id, "size": 4, "mime": "image/png", "pixels": [3, 4] },
    ] } });
    store
        .commit(Batch::new().blob_put(seen.clone()).blob_put(other.clone()).session_upsert(
            carapace_store::SessionRow {
                key: "s".into(),
                title: "t".into(),
                created_ms: 1,
                updated_ms: 1,
                meta: serde_json::Value::Null,
            },
        ))
        .await
        .unwrap();
    store.commit(Batch::new().append(row("s", "user", parts))).await.unwrap();
    store.commit(Batch::new().erase_session("s")).await.unwrap();
    assert_eq!(store.blob(&seen.media.id, None).await.unwrap(), None);
    assert!(store.blob(&other.media.id, None).await.unwrap().is_some());
    store.commit(Batch::new().forget_data("local/chat".parse().unwrap())).await.unwrap();
    assert_eq!(store.blob(&other.media.id, None).await.unwrap(), None);
}
