use crate::world::*;
use carapace_contract::ports::Assistant;
use carapace_contract::turn::TurnEventKind;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn stopping_a_run_drops_its_completion_and_keeps_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("I was about to"), Say::Hang]).build(dir.path());
    let submitted = h.agent.submit(ask("s", "go")).await.unwrap();
    h.models.hanging.notified().await;
    assert_eq!(h.agent.abort(Some(submitted.run), None).await, [submitted.run]);
    assert_eq!(h.models.dropped.load(Ordering::SeqCst), 1);
    let last = all(submitted).await.last().unwrap().kind.clone();
    assert_eq!(last, TurnEventKind::Cancelled { text: "I was about to".into() });
    assert_eq!(h.kinds("s").await, ["user", "assistant", "note"]);
    assert!(h.agent.recover().await.unwrap().is_empty(), "a run that was stopped is over");
}

#[tokio::test]
async fn stopping_a_session_drops_tool_calls_and_whatever_waits() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Call("a", "hang", json!({})), Say::Call("b", "hang", json!({"n": 1}))])
        .build(dir.path());
    let first = h.agent.submit(ask("s", "go")).await.unwrap();
    h.tools.hanging.notified().await;
    let second = h.agent.submit(ask("s", "wait")).await.unwrap();
    let stopped = h.agent.abort(None, Some("s")).await;
    assert_eq!(stopped, [first.run, second.run]);
    assert_eq!(h.tools.dropped.load(Ordering::SeqCst), 2);
    for submitted in [first, second] {
        assert!(matches!(all(submitted).await.last().unwrap().kind, TurnEventKind::Cancelled { .. }));
    }
    assert_eq!(h.asked().len(), 1, "the second never began");
}

#[tokio::test]
async fn a_call_with_side_effects_that_was_stopped_is_shown_as_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let h =
        Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "hang_send", json!({}))] } else { vec![Say::Text("ok")] })
            .build(dir.path());
    let submitted = h.agent.submit(ask("s", "go")).await.unwrap();
    h.tools.hanging.notified().await;
    h.agent.abort(Some(submitted.run), None).await;
    assert_eq!(h.store.calls_of_run(submitted.run).await.unwrap()[0].outcome, Some(json!({"interrupted": true})));
    assert!(h.store.audit_tail(5).await.unwrap().iter().any(|a| a.row.kind == "call-interrupted"));
    h.turn(ask("s", "what happened?")).await;
    let got = results(&h.request(1));
    assert!(got[0].content.contains("may or may not have happened"), "{}", got[0].content);
}

#[tokio::test]
async fn a_run_that_takes_too_long_fails_and_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Hang]).config("{ agent: { runTimeoutMs: 30 } }").build(dir.path());
    let (code, message) = failed(&h.turn(ask("s", "go")).await);
    assert_eq!(code, "E-TURN-008");
    assert!(message.contains("runTimeoutMs: 60"), "{message}");
}

#[tokio::test]
async fn draining_lets_short_turns_end_and_leaves_long_ones_to_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let run = {
        let h = Plan::new(|_, _, _| vec![Say::Text("half an ans"), Say::Hang]).build(dir.path());
        let submitted = h.agent.submit(ask("s", "go")).await.unwrap();
        h.models.hanging.notified().await;
        h.agent.drain(Duration::from_millis(10)).await;
        assert_eq!(h.refused(ask("s", "more")).await.code, "E-TURN-004");
        assert_eq!(h.agent.wait(submitted.run, Duration::ZERO).await.unwrap().last, None);
        let run = submitted.run;
        assert!(all(submitted).await.iter().all(|e| !e.kind.is_last()), "it has not ended");
        h.store.close().await;
        run
    };
    let h = Plan::new(|_, _, _| vec![Say::Text("the whole answer")]).build(dir.path());
    assert_eq!(h.agent.recover().await.unwrap(), [run]);
    let state = h.agent.wait(run, Duration::from_secs(30)).await.unwrap();
    assert!(
        matches!(state.last, Some(TurnEventKind::Completed { ref text, .. }) if text == "the whole answer"),
        "{state:?}"
    );
    assert_eq!(h.kinds("s").await, ["user", "assistant"]);
}

#[tokio::test]
async fn draining_an_idle_agent_returns_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
    h.turn(ask("s", "go")).await;
    h.agent.drain(Duration::from_secs(3_600)).await;
}

#[tokio::test]
async fn a_bug_in_a_tool_port_ends_the_run_and_not_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let h =
        Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "compute", json!({}))] } else { vec![Say::Text("fine")] })
            .hands(|_| panic!("a bug"))
            .build(dir.path());
    let submitted = h.agent.submit(ask("s", "go")).await.unwrap();
    let state = h.agent.wait(submitted.run, Duration::from_secs(30)).await.unwrap();
    assert!(matches!(state.last, Some(TurnEventKind::Failed { ref code, .. }) if code == "E-TURN-010"), "{state:?}");
    assert_eq!(completed(&h.turn(ask("s", "again")).await), "fine");
}

#[tokio::test]
async fn a_resumed_run_longer_than_what_is_read_at_once_still_knows_its_question() {
    let dir = tempfile::tempdir().unwrap();
    let many = |n: usize| (0..100).map(|i| Say::Call("c", "compute", json!({"n": n * 1_000 + i}))).collect::<Vec<_>>();
    let run = {
        let h = Plan::new(move |_, _, n| if n < 4 { many(n) } else { vec![Say::Hang] }).build(dir.path());
        let submitted = h.agent.submit(ask("s", "the question")).await.unwrap();
        let run = submitted.run;
        drop(submitted.events);
        h.models.hanging.notified().await;
        h.agent.drain(Duration::ZERO).await;
        h.store.close().await;
        run
    };
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
    h.agent.recover().await.unwrap();
    h.agent.wait(run, Duration::from_secs(60)).await.unwrap();
    let request = h.request(0);
    assert_eq!(request.messages[1].plain_text(), "the question");
    assert_eq!(results(&request).len(), 400);
    assert!(h.made().is_empty(), "every result was stored");
}
