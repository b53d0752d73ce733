//! What components ask the owner for: it waits, in bounds, and ends.

use crate::fresh;
use carapace_store::{Batch, RequestRow, Ulid};

fn row(id: u128, name: &str, expires_ms: u64) -> RequestRow {
    RequestRow {
        id: Ulid::from_bytes(id.to_be_bytes()),
        name: name.into(),
        reason: "to read the mail".into(),
        instance: "local/assistant".parse().unwrap(),
        session: "s".into(),
        tainted: true,
        at_ms: u64::try_from(id).unwrap(),
        expires_ms,
    }
}

const LATE: u64 = 1 << 60;

#[tokio::test]
async fn a_request_waits_until_it_is_ended_and_is_made_once() {
    let (_dir, store) = fresh();
    store.commit(Batch::new().request_put(row(1, "mail", LATE))).await.unwrap();
    let again = store.commit(Batch::new().request_put(row(2, "mail", LATE))).await.unwrap_err();
    assert!(again.is_conflict() && again.to_string().contains("already"), "{again}");
    assert_eq!(store.requests(5).await.unwrap(), [row(1, "mail", LATE)]);
    let ended = store.commit(Batch::new().request_delete(row(1, "", 0).id)).await.unwrap();
    assert_eq!((ended.deleted, store.requests(5).await.unwrap()), (vec![true], vec![]));
    assert_eq!(store.commit(Batch::new().request_delete(row(1, "", 0).id)).await.unwrap().deleted, [false]);
}

#[tokio::test]
async fn only_so_many_wait_and_what_has_expired_makes_room() {
    let (_dir, store) = fresh();
    let most = u128::from(RequestRow::MOST);
    for n in 1..most {
        store.commit(Batch::new().request_put(row(n, &format!("c-{n}"), LATE))).await.unwrap();
    }
    // Long past, by the store's own clock.
    store.commit(Batch::new().request_put(row(most, "old", 10))).await.unwrap();
    assert!(store.requests(9).await.unwrap().iter().any(|r| r.name == "old"));
    assert!(store.requests(10).await.unwrap().iter().all(|r| r.name != "old"));
    store.commit(Batch::new().request_put(row(most + 1, "last", LATE))).await.unwrap();
    let over = store.commit(Batch::new().request_put(row(most + 2, "over", LATE))).await.unwrap_err();
    assert!(over.is_conflict(), "{over}");
    assert_eq!(store.requests(10).await.unwrap().len() as u64, RequestRow::MOST);
}
