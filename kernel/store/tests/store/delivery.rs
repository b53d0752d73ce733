//! Inbox, outbox, memory.

use crate::{fresh, open, row};
use carapace_store::{
    Batch, InboxMessage, InboxRow, InboxState, InboxTaken, OutboxChange, OutboxRow, OutboxState, Store, Ulid,
};
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
    OutboxChange { state, not_before_ms: None, expires_ms: None, detail: None }
}

async fn due(store: &Store, now: u64) -> Vec<String> {
    store
        .outbox_due("local/chat/main", now, 1_000, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.row.idempotency_key)
        .collect()
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
    store.commit(batch.inbox_dead(dead.id, "it broke")).await.unwrap();
    let found = store.inbox(InboxState::Done, 9).await.unwrap();
    assert_eq!((&found[0].row.payload, found[0].attempts), (&Value::Null, 1));
    let entry = store.inbox(InboxState::Dead, 9).await.unwrap().remove(0);
    assert_eq!((entry.row, entry.why.as_deref()), (dead.clone(), Some("it broke")));
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
    assert!(store.commit(Batch::new().outbox_delete(a1.id)).await.unwrap_err().is_conflict(), "it is gone");
    store.commit(Batch::new().outbox_delete(b1.id)).await.unwrap();
    assert_eq!(store.outbox_row(b1.id).await.unwrap(), None);
    store.commit(Batch::new().outbox_put(part("b", "b1"))).await.unwrap();
    assert!(store.commit(Batch::new().outbox_put(part("b", "b1"))).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn an_expired_part_is_not_sent_and_holds_nobody_up() {
    let (_dir, store) = fresh();
    let old = OutboxRow { expires_ms: Some(20), ..part("a", "old") };
    store.commit(Batch::new().outbox_put(old).outbox_put(part("a", "new"))).await.unwrap();
    assert_eq!(due(&store, 19).await, ["old"]);
    assert_eq!(due(&store, 20).await, ["new"]);
    let over = store.outbox_expired("local/chat/main", 20, 9).await.unwrap();
    assert_eq!(over.iter().map(|r| r.idempotency_key.as_str()).collect::<Vec<_>>(), ["old"]);
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
    assert_eq!(due(&store, 10).await, ["waiting", "behind"], "nobody has to wait for what nobody can know");
    let entry = store.outbox_entry(flying.id).await.unwrap().unwrap();
    assert!(entry.tried_ms.is_some() && entry.detail.is_none());
}

#[tokio::test]
async fn the_next_time_is_that_of_the_first_part_of_a_conversation() {
    let (_dir, store) = fresh();
    assert_eq!(store.outbox_next("local/chat/main", 5).await.unwrap(), None);
    let first = OutboxRow { not_before_ms: 70, expires_ms: Some(60), ..part("a", "a1") };
    let other = OutboxRow { not_before_ms: 80, ..part("b", "b1") };
    store.commit(Batch::new().outbox_put(first).outbox_put(part("a", "a2")).outbox_put(other)).await.unwrap();
    assert_eq!(store.outbox_next("local/chat/main", 5).await.unwrap(), Some(60), "it expires before it is due");
    assert_eq!(store.outbox_next("local/chat/main", 60).await.unwrap(), Some(10), "and holds nobody up then");
    assert_eq!(store.outbox_next("local/chat/other", 5).await.unwrap(), None);
}

#[tokio::test]
async fn a_time_set_by_a_clock_that_was_put_back_is_not_waited_for() {
    let (_dir, store) = fresh();
    store.commit(Batch::new().outbox_put(OutboxRow { not_before_ms: 9_000_000, ..part("a", "a1") })).await.unwrap();
    assert_eq!(due(&store, 10).await, ["a1"]);
    assert!(due(&store, 8_999_500).await.is_empty());
}

fn message(key: &str, reference: &str, edit: bool, text: &str) -> InboxMessage {
    let row = InboxRow { payload: json!({ "text": text }), ..event(Some(key)) };
    let replaces = edit.then(|| json!({ "text": text }));
    InboxMessage { row, reference: Some(reference.into()), replaces }
}

#[tokio::test]
async fn a_known_message_takes_nothing_of_its_batch_along() {
    let (_dir, store) = fresh();
    store.commit(Batch::new().inbox_take(message("k1", "m1", false, "one"))).await.unwrap();
    let batch = Batch::new().inbox_take(message("k1", "m1", false, "one")).append(row("main", "user", "hi"));
    let receipt = store.commit(batch.inbox_take(message("k2", "m2", false, "two"))).await.unwrap();
    assert_eq!((receipt.duplicate_of, receipt.taken), (None, vec![InboxTaken::Known, InboxTaken::New]));
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 1);
    assert_eq!(store.inbox_open().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_edit_replaces_what_has_not_been_begun_and_stands_alone_otherwise() {
    let (_dir, store) = fresh();
    let first = message("k1", "m1", false, "one");
    store.commit(Batch::new().inbox_take(first.clone())).await.unwrap();
    let edit = |key: &str, text: &str| store.commit(Batch::new().inbox_take(message(key, "m1", true, text)));
    assert_eq!(edit("k2", "won").await.unwrap().taken, [InboxTaken::Replaced]);
    assert_eq!(edit("k2", "won").await.unwrap().taken, [InboxTaken::Known]);
    assert_eq!(store.inbox_entry(first.row.id).await.unwrap().unwrap().row.payload["text"], "won");
    store.commit(Batch::new().inbox_state(first.row.id, InboxState::Processing)).await.unwrap();
    assert_eq!(edit("k3", "wone").await.unwrap().taken, [InboxTaken::New]);
    assert_eq!(store.inbox_entry(first.row.id).await.unwrap().unwrap().row.payload["text"], "won");
    let open = store.inbox_open().await.unwrap();
    assert_eq!((open.len(), open[0].0), (2, first.row.id));
    let other = InboxRow { session: "other".into(), ..message("k9", "m1", true, "x").row };
    let elsewhere = InboxMessage { row: other, ..message("k9", "m1", true, "x") };
    assert_eq!(store.commit(Batch::new().inbox_take(elsewhere)).await.unwrap().taken, [InboxTaken::New]);
}

#[tokio::test]
async fn what_is_long_over_is_forgotten_and_nothing_else() {
    let (_dir, store, hand) = crate::timed();
    let (done, waiting) = (event(Some("done")), event(Some("waiting")));
    let turn = InboxRow { source: "turn".into(), ..event(None) };
    let (sent, pending) = (part("a", "sent"), part("a", "pending"));
    let left = OutboxRow { expires_ms: Some(1_000_000), ..part("a", "left behind") };
    let batch = Batch::new().inbox_put(done.clone()).inbox_put(waiting.clone()).inbox_put(turn.clone());
    let batch = batch.inbox_state(done.id, InboxState::Done).inbox_state(turn.id, InboxState::Done);
    let batch = batch.outbox_put(sent.clone()).outbox_put(pending.clone()).outbox_put(left.clone());
    store.commit(batch.outbox_state(sent.id, to(OutboxState::InFlight))).await.unwrap();
    store.commit(Batch::new().outbox_state(sent.id, to(OutboxState::Sent))).await.unwrap();
    let now = hand.load(std::sync::atomic::Ordering::SeqCst);
    store.commit(Batch::new().prune(4, now)).await.unwrap();
    assert!(store.inbox_entry(done.id).await.unwrap().is_some() && store.outbox_row(sent.id).await.unwrap().is_some());
    store.commit(Batch::new().prune(5, now + 1)).await.unwrap();
    assert!(store.inbox_entry(done.id).await.unwrap().is_none() && store.outbox_row(sent.id).await.unwrap().is_none());
    for id in [waiting.id, turn.id] {
        assert!(store.inbox_entry(id).await.unwrap().is_some());
    }
    assert!(
        store.outbox_row(pending.id).await.unwrap().is_some() && store.outbox_row(left.id).await.unwrap().is_none()
    );
}
