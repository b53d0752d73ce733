//! Inbox, outbox, memory.

use crate::{fresh, open, row};
use carapace_store::{Batch, InboxRow, InboxState, OutboxChange, OutboxRow, OutboxState, Store, Ulid};
use serde_json::{Value, json};

fn event(key: Option<&str>) -> InboxRow {
    InboxRow {
        id: Ulid::generate(),
        source: "local/chat/main".into(),
        dedupe_key: key.map(str::to_owned),
        session: "main".into(),
        payload: json!({ "text": "hi" }),
        at_ms: 4,
    }
}

fn part(conversation: &str, key: &str) -> OutboxRow {
    OutboxRow {
        id: Ulid::generate(),
        run: None,
        instance: "local/chat/main".into(),
        conversation: conversation.into(),
        priority: 0,
        idempotency_key: key.into(),
        part: json!({ "text": key }),
        state: OutboxState::Pending,
        attempts: 0,
        not_before_ms: 10,
        expires_ms: None,
    }
}

fn to(state: OutboxState) -> OutboxChange {
    OutboxChange { state, not_before_ms: None, detail: None }
}

async fn due(store: &Store, now: u64) -> Vec<String> {
    store.outbox_due(now, 10).await.unwrap().into_iter().map(|r| r.idempotency_key).collect()
}

#[tokio::test]
async fn an_event_that_arrives_twice_is_accepted_once() {
    let (_dir, store) = fresh();
    let first = event(Some("update-1"));
    let accept = |e: InboxRow| store.commit(Batch::new().inbox_put(e).append(row("main", "user", "hi")));
    assert_eq!(accept(first.clone()).await.unwrap().duplicate_of, None);
    assert_eq!(accept(event(Some("update-1"))).await.unwrap().duplicate_of, Some(first.id));
    let elsewhere = InboxRow { source: "http".into(), ..event(Some("update-1")) };
    assert_eq!(accept(elsewhere).await.unwrap().duplicate_of, None);
    assert_eq!(accept(event(None)).await.unwrap().duplicate_of, None);
    assert_eq!(accept(event(None)).await.unwrap().duplicate_of, None);
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 4);
    store.commit(Batch::new().inbox_state(first.id, InboxState::Done)).await.unwrap();
    assert_eq!(accept(event(Some("update-1"))).await.unwrap().duplicate_of, Some(first.id), "done, and still known");
}

#[tokio::test]
async fn a_done_event_drops_its_payload_and_a_dead_one_keeps_it() {
    let (_dir, store) = fresh();
    let (done, dead) = (event(None), event(None));
    let batch = Batch::new().inbox_put(done.clone()).inbox_put(dead.clone());
    let batch = batch.inbox_state(done.id, InboxState::Processing).inbox_state(done.id, InboxState::Done);
    store.commit(batch.inbox_state(dead.id, InboxState::Dead)).await.unwrap();
    let found = store.inbox(InboxState::Done, 9).await.unwrap();
    assert_eq!((&found[0].row.payload, found[0].attempts), (&Value::Null, 1));
    assert_eq!(store.inbox(InboxState::Dead, 9).await.unwrap()[0].row, dead);
    let back = Batch::new().inbox_state(done.id, InboxState::Accepted);
    assert!(store.commit(back).await.unwrap_err().is_conflict());
    let unknown = Batch::new().inbox_state(Ulid::generate(), InboxState::Done);
    assert!(store.commit(unknown).await.unwrap_err().is_missing());
    store.commit(Batch::new().inbox_state(dead.id, InboxState::Accepted)).await.unwrap();
    assert_eq!(store.inbox_entry(dead.id).await.unwrap().unwrap().state, InboxState::Accepted);
}

#[tokio::test]
async fn a_conversation_is_sent_in_order_and_conversations_by_priority() {
    let (_dir, store) = fresh();
    let (a1, a2, b1) = (part("a", "a1"), part("a", "a2"), OutboxRow { priority: 5, ..part("b", "b1") });
    store.commit(Batch::new().outbox_put(a1.clone()).outbox_put(a2).outbox_put(b1.clone())).await.unwrap();
    assert!(due(&store, 9).await.is_empty(), "not before its time");
    assert_eq!(due(&store, 10).await, ["b1", "a1"]);
    let move_on = |id, change| store.commit(Batch::new().outbox_state(id, change));
    move_on(a1.id, to(OutboxState::InFlight)).await.unwrap();
    assert_eq!(due(&store, 10).await, ["b1"], "a2 waits for a1");
    move_on(a1.id, OutboxChange { not_before_ms: Some(50), ..to(OutboxState::Pending) }).await.unwrap();
    assert_eq!(due(&store, 49).await, ["b1"], "and also while a1 is being retried");
    assert_eq!(store.outbox_row(a1.id).await.unwrap().unwrap().attempts, 1);
    move_on(a1.id, to(OutboxState::Sent)).await.unwrap();
    assert_eq!(due(&store, 49).await, ["b1", "a2"]);
    assert!(move_on(a1.id, to(OutboxState::Pending)).await.unwrap_err().is_conflict());
    assert!(store.commit(Batch::new().outbox_put(part("b", "b1"))).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn an_expired_part_is_not_sent_and_holds_nobody_up() {
    let (_dir, store) = fresh();
    let old = OutboxRow { expires_ms: Some(20), ..part("a", "old") };
    store.commit(Batch::new().outbox_put(old).outbox_put(part("a", "new"))).await.unwrap();
    assert_eq!(due(&store, 19).await, ["old"]);
    assert_eq!(due(&store, 20).await, ["new"]);
}

#[tokio::test]
async fn a_part_in_flight_when_the_process_ended_is_uncertain() {
    let (dir, store) = fresh();
    let (flying, waiting) = (part("a", "flying"), part("b", "waiting"));
    let batch = Batch::new().outbox_put(flying.clone()).outbox_put(waiting).outbox_put(part("a", "behind"));
    store.commit(batch.outbox_state(flying.id, to(OutboxState::InFlight))).await.unwrap();
    drop(store);
    let store = open(dir.path());
    let uncertain = store.outbox(OutboxState::Uncertain, 9).await.unwrap();
    assert_eq!(uncertain.iter().map(|r| r.id).collect::<Vec<_>>(), [flying.id]);
    assert_eq!(due(&store, 10).await, ["waiting"], "it holds its conversation until it is settled");
}
