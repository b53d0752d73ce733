//! Batches: all or nothing, in order, together.

use crate::{fresh, open, options, raw, row, timed};
use carapace_contract::Digest;
use carapace_store::{Batch, CallRow, Durability, RunPhase, RunRow, SessionRow, Store, StoreOptions, Ulid};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn run(key: Option<&str>, state: RunPhase) -> RunRow {
    RunRow {
        run: Ulid::generate(),
        session: "main".into(),
        idempotency_key: key.map(str::to_owned),
        state,
        last: None,
        started_ms: 7,
        ended_ms: None,
        request: json!({ "ask": "hello" }),
    }
}

fn call(run: Ulid, id: &str) -> CallRow {
    CallRow {
        call_id: id.into(),
        run,
        tool: "mail_send".into(),
        instance: "local/mail".parse().unwrap(),
        digest: Digest::of(b"package"),
        arguments: json!({ "to": "someone" }),
        at_ms: 9,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_the_store_was_closed_and_opened() {
    let (dir, store) = fresh();
    let (user, answer) = (row("main", "user", "hi"), row("main", "assistant", json!({ "text": "hello" })));
    store.commit(Batch::new().append(user.clone()).append(answer.clone())).await.unwrap();
    store.close().await;
    let store = open(dir.path());
    assert_eq!(store.session_rows("main", 10).await.unwrap(), [user.clone(), answer.clone()]);
    assert_eq!(store.session_rows("main", 1).await.unwrap(), std::slice::from_ref(&answer));
    assert_eq!(store.session_rows_after("main", Some(user.id), 10).await.unwrap(), [answer]);
    assert!(store.session_rows_after("main", Some(Ulid::generate()), 10).await.unwrap_err().is_missing());
}

#[tokio::test]
async fn a_session_counts_its_messages_and_remembers_taint() {
    let (_dir, store) = fresh();
    let tainted = carapace_store::LogRow { tainted: true, at_ms: 90, ..row("s", "tool-result", "web page") };
    let meta = json!({ "model": "x" });
    let named =
        SessionRow { key: "s".into(), title: "Greeting".into(), created_ms: 3, updated_ms: 4, meta: meta.clone() };
    let batch = Batch::new().session_upsert(named).append(row("s", "user", "hi")).append(tainted);
    store.commit(batch).await.unwrap();
    let nothing_new = SessionRow { key: "s".into(), title: "Later".into(), updated_ms: 1, ..SessionRow::default() };
    store.commit(Batch::new().session_upsert(nothing_new).append(row("other", "user", "x"))).await.unwrap();
    let found = store.sessions(10).await.unwrap();
    let (s, other) = (&found[0], &found[1]);
    assert_eq!((s.key.as_str(), s.title.as_str(), s.created_ms, s.updated_ms), ("s", "Greeting", 3, 90));
    assert_eq!((s.rows, s.messages, s.tainted, &s.meta), (2, 1, true, &meta));
    assert_eq!((other.key.as_str(), other.tainted, other.updated_ms), ("other", false, 5));
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_behind() {
    let (_dir, store) = fresh();
    let first = row("main", "user", "first");
    store.commit(Batch::new().append(first.clone())).await.unwrap();
    let again = Batch::new().append(row("main", "user", "second")).append(first.clone());
    assert!(store.commit(again).await.unwrap_err().is_conflict());
    assert_eq!(store.session_rows("main", 10).await.unwrap(), [first]);
    let summary = store.session("main").await.unwrap().unwrap();
    assert_eq!(summary.rows, 1);
    assert_eq!(store.verify().await.unwrap().first_broken, None);
}

#[tokio::test]
async fn batches_that_wait_together_share_a_transaction_and_fail_apart() {
    let (dir, store) = fresh();
    let known = row("main", "user", "known");
    store.commit(Batch::new().append(known.clone())).await.unwrap();
    let before = store.stats();
    // While another connection writes, the writer waits and its queue fills.
    let blocker = raw(dir.path());
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut all = Box::pin(join_all((0..64).map(|n| {
        let content = if n == 20 { known.clone() } else { row("main", "user", n) };
        store.commit(Batch::new().append(content))
    })));
    assert!(futures::poll!(&mut all).is_pending());
    blocker.execute_batch("COMMIT").unwrap();
    let outcomes = all.await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.as_ref().is_err_and(carapace_store::StoreError::is_conflict), n == 20, "batch {n}");
    }
    let after = store.stats();
    // The writer may have taken some before it met the lock; everything else went together.
    assert!(after.commits - before.commits <= 2, "{after:?}");
    assert_eq!((after.batches - before.batches, after.refused - before.refused), (63, 1));
    assert!(after.largest_group >= 32);
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 64);
    assert_eq!(store.verify().await.unwrap().first_broken, None);
}

#[tokio::test]
async fn batches_of_one_caller_are_applied_in_order() {
    let (_dir, store) = fresh();
    let commits = (0..50).map(|n| {
        let batch = Batch::new().durability(if n % 2 == 0 { Durability::Full } else { Durability::Relaxed });
        store.commit(batch.append(row("main", "note", n)))
    });
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
    let contents: Vec<_> = store.session_rows("main", 100).await.unwrap().into_iter().map(|r| r.content).collect();
    assert_eq!(contents, (0..50).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_small_queue_makes_callers_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { queue: 1, ..options() }).unwrap();
    let commits = (0..40).map(|n| store.commit(Batch::relaxed().append(row("main", "note", n))));
    assert!(join_all(commits).await.iter().all(Result::is_ok));
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 40);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_still_happens() {
    let (_dir, store) = fresh();
    {
        let mut commit = Box::pin(store.commit(Batch::new().append(row("main", "user", "left alone"))));
        let _ = futures::poll!(&mut commit);
    }
    store.commit(Batch::new().append(row("main", "user", "next"))).await.unwrap();
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 2);
}

#[tokio::test]
async fn a_known_idempotency_key_names_the_earlier_run_and_skips_the_batch() {
    let (_dir, store) = fresh();
    let first = run(Some("k"), RunPhase::Accepted);
    let receipt = store.commit(Batch::new().run_upsert(first.clone())).await.unwrap();
    assert_eq!(receipt.duplicate_of, None);
    let again = Batch::new().append(row("main", "user", "twice?")).run_upsert(run(Some("k"), RunPhase::Accepted));
    assert_eq!(store.commit(again).await.unwrap().duplicate_of, Some(first.run));
    assert_eq!(store.session("main").await.unwrap(), None);
    assert_eq!(store.run_by_key("k").await.unwrap(), Some(first));
}

#[tokio::test]
async fn a_run_only_moves_forward_and_keeps_what_was_asked() {
    let (_dir, store) = fresh();
    let accepted = run(None, RunPhase::Accepted);
    let running = RunRow { state: RunPhase::Running, request: Value::Null, started_ms: 99, ..accepted.clone() };
    let last = Some(json!({ "type": "completed" }));
    let ended = RunRow { state: RunPhase::Ended, last: last.clone(), ended_ms: Some(8), ..running.clone() };
    for step in [&accepted, &running, &ended] {
        store.commit(Batch::new().run_upsert(step.clone())).await.unwrap();
    }
    let found = store.run(accepted.run).await.unwrap().unwrap();
    assert_eq!(found, RunRow { state: RunPhase::Ended, last, ended_ms: Some(8), ..accepted });
    assert!(store.commit(Batch::new().run_upsert(running)).await.unwrap_err().is_conflict());
    assert_eq!(store.runs_by_phase(RunPhase::Ended, 9).await.unwrap(), [found]);
    assert!(store.runs_by_phase(RunPhase::Running, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_without_an_outcome_is_interrupted_after_a_restart_and_may_be_begun_again() {
    let (dir, store) = fresh();
    let id = Ulid::generate();
    let batch = Batch::new().call_begin(call(id, "one")).call_begin(call(id, "two"));
    store.commit(batch.call_end("two", json!("ok"))).await.unwrap();
    assert!(store.interrupted_calls().await.unwrap().is_empty(), "it is running, not interrupted");
    assert!(store.commit(Batch::new().call_begin(call(id, "one"))).await.unwrap_err().is_conflict());
    drop(store);
    let store = open(dir.path());
    let interrupted = store.interrupted_calls().await.unwrap();
    assert_eq!(interrupted.iter().map(|c| c.row.clone()).collect::<Vec<_>>(), [call(id, "one")]);
    let other = CallRow { arguments: json!({ "to": "someone else" }), ..call(id, "one") };
    assert!(store.commit(Batch::new().call_begin(other)).await.unwrap_err().is_conflict());
    assert!(store.commit(Batch::new().call_begin(call(id, "two"))).await.unwrap_err().is_conflict());
    store.commit(Batch::new().call_begin(call(id, "one"))).await.unwrap();
    store.commit(Batch::new().call_end("one", json!("sent"))).await.unwrap();
    let found = store.call("one").await.unwrap().unwrap();
    assert_eq!((found.attempts, found.interrupted, found.outcome), (2, false, Some(json!("sent"))));
    assert!(store.commit(Batch::new().call_end("one", json!(1))).await.unwrap_err().is_conflict());
    assert!(store.commit(Batch::new().call_end("none", json!(1))).await.unwrap_err().is_missing());
}

#[tokio::test]
async fn a_lease_that_changed_hands_fences_its_earlier_holder() {
    let (_dir, store, clock) = timed();
    let ttl = Duration::from_secs(10);
    let first = store.lease_acquire("channel:x", "a", ttl).await.unwrap();
    let work = |token, n: i32| Batch::new().lease("channel:x", token).append(row("main", "user", n));
    store.commit(work(first.token, 1)).await.unwrap();
    let refused = store.lease_acquire("channel:x", "b", ttl).await.unwrap_err();
    assert!(refused.is_lease_held());
    assert!(refused.to_string().contains("`a`"), "{refused}");
    clock.fetch_add(10_000, Ordering::SeqCst);
    store.commit(work(first.token, 2)).await.expect("expired, but nobody took it");
    let second = store.lease_acquire("channel:x", "b", ttl).await.unwrap();
    assert!(second.token > first.token);
    assert!(store.commit(work(first.token, 3)).await.unwrap_err().is_fenced());
    assert!(store.lease_renew(&first, ttl).await.unwrap_err().is_fenced());
    let renewed = store.lease_renew(&second, Duration::from_secs(60)).await.unwrap();
    assert_eq!((renewed.token, renewed.expires_ms), (second.token, second.expires_ms + 50_000));
    store.lease_release(renewed).await.unwrap();
    assert!(store.commit(work(second.token, 4)).await.unwrap_err().is_fenced());
    let third = store.lease_acquire("channel:x", "b", ttl).await.unwrap();
    assert!(third.token > second.token, "tokens never repeat");
    assert_eq!(store.session("main").await.unwrap().unwrap().rows, 2);
    assert!(store.commit(Batch::new().lease("never-taken", 1)).await.unwrap_err().is_fenced());
}

#[tokio::test]
async fn a_full_store_refuses_what_does_not_fit_and_keeps_working() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { max_bytes: Some(2 << 20), ..options() }).unwrap();
    let small = row("main", "user", "small");
    store.commit(Batch::new().append(small.clone())).await.unwrap();
    let big = || store.commit(Batch::new().append(row("main", "user", "x".repeat(4 << 20))));
    let refused = big().await.unwrap_err();
    assert!(refused.is_full(), "{refused}");
    let (one, two, three) = futures::join!(
        store.commit(Batch::new().append(row("main", "user", "before"))),
        big(),
        store.commit(Batch::new().append(row("main", "user", "after"))),
    );
    assert!(one.is_ok() && three.is_ok());
    assert!(two.unwrap_err().is_full());
    assert_eq!(store.session_rows("main", 10).await.unwrap().len(), 3);
    assert_eq!(store.verify().await.unwrap().first_broken, None);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_dir, store) = fresh();
    let clone = store.clone();
    store.close().await;
    assert!(clone.commit(Batch::new().append(row("main", "user", "late"))).await.unwrap_err().is_closed());
    assert!(clone.sessions(1).await.unwrap_err().is_closed());
    clone.close().await;
}

#[test]
fn a_store_and_its_futures_can_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Store>();
    shared::<carapace_store::Reader>();
    let (_dir, store) = fresh();
    movable(&store.commit(Batch::new()));
    movable(&store.sessions(1));
    movable(&store.verify());
}
