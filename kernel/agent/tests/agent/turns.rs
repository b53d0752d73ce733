use crate::world::*;
use carapace_contract::completion::{ModelInfo, StopReason};
use carapace_contract::decision::Origin;
use carapace_contract::message::{Message, Part, Role};
use carapace_contract::ports::Assistant;
use carapace_contract::turn::TurnEventKind;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_plain_turn_streams_its_text_and_ends_with_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("Hel"), Say::Text("lo"), Say::Used(10, 2), Say::Stop(StopReason::End)])
        .build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    assert_eq!(events[0], TurnEventKind::Started { model: "p/m".into() });
    assert_eq!(text_of(&events), "Hello");
    let Some(TurnEventKind::Completed { text, stop, usage, model, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(
        (text.as_str(), stop, usage.input, usage.output, model.as_str()),
        ("Hello", &StopReason::End, 10, 2, "p/m")
    );
    assert_eq!(h.kinds("s").await, ["user", "assistant"]);
}

#[tokio::test]
async fn a_plain_turn_takes_three_batches_and_only_acceptance_and_end_are_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| (0..20).map(|_| Say::Text("w ")).collect()).build(dir.path());
    let before = h.store.stats().batches;
    h.turn(ask("s", "hi")).await;
    assert_eq!(h.store.stats().batches - before, 3, "accept, begin (relaxed), end");
}

#[tokio::test]
async fn the_model_sees_the_conversation_so_far_the_date_and_the_clients_instructions() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| vec![Say::Text(["one", "two"][n])])
        .config("{ agent: { system: 'be brief', timezone: 'Europe/Berlin' } }")
        .build(dir.path());
    h.turn(ask("s", "first")).await;
    let mut second = ask("s", "second");
    second.system = Some("in rhymes".into());
    h.turn(second).await;
    let texts: Vec<_> = h.request(1).messages.iter().map(Message::plain_text).collect();
    assert!(
        texts[0].starts_with("be brief\n\nToday is Thursday, 29 February 2024 (time zone Europe/Berlin)"),
        "{}",
        texts[0]
    );
    assert!(texts[0].ends_with("in rhymes"));
    assert_eq!(texts[1..], ["first", "one", "second"]);
}

#[tokio::test]
async fn messages_of_one_session_are_answered_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, r, _| {
        let last = r.messages.last().unwrap().plain_text();
        vec![Say::Text(if last == "a" { "A" } else { "B" })]
    })
    .build(dir.path());
    let (a, b) = (h.agent.submit(ask("s", "a")).await.unwrap(), h.agent.submit(ask("s", "b")).await.unwrap());
    all(b).await;
    all(a).await;
    let texts: Vec<_> = h.request(1).messages.iter().skip(1).map(Message::plain_text).collect();
    assert_eq!(
        texts,
        ["a", "A", "b"],
        "the second turn sees the answer to the first, although it was accepted before it"
    );
    let first: Vec<_> = h.request(0).messages.iter().skip(1).map(Message::plain_text).collect();
    assert_eq!(first, ["a"], "and the first does not see what waits behind it");
    let history: Vec<_> = h.agent.history("s", 10).await.unwrap().into_iter().map(|i| i.parts).collect();
    assert_eq!(history, ["a", "A", "b", "B"].map(|t| vec![Part::text(t)]));
}

#[tokio::test]
async fn runs_beyond_the_limit_wait_for_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, r, _| {
        if r.messages.last().unwrap().plain_text() == "wait" { vec![Say::Hang] } else { vec![Say::Text("x")] }
    })
    .config("{ agent: { maxConcurrentRuns: 1 } }")
    .build(dir.path());
    let first = h.agent.submit(ask("one", "wait")).await.unwrap();
    h.models.hanging.notified().await;
    let second = h.agent.submit(ask("two", "go")).await.unwrap();
    assert_eq!(h.agent.wait(second.run, Duration::ZERO).await.unwrap().last, None);
    h.agent.abort(Some(first.run), None).await;
    assert!(matches!(all(second).await.last().unwrap().kind, TurnEventKind::Completed { .. }));
}

#[tokio::test]
async fn the_same_idempotency_key_is_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("once")]).build(dir.path());
    let keyed = || {
        let mut r = ask("s", "hi");
        r.idempotency_key = Some("k".into());
        r
    };
    let (one, two) = tokio::join!(h.agent.submit(keyed()), h.agent.submit(keyed()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.run, two.run);
    assert!(one.duplicate != two.duplicate);
    let run = one.run;
    for submitted in [one, two] {
        assert_eq!(completed(&all(submitted).await.iter().map(|e| e.kind.clone()).collect::<Vec<_>>()), "once");
    }
    let third = h.agent.submit(keyed()).await.unwrap();
    assert!(third.duplicate && third.run == run);
    assert!(matches!(&all(third).await[..], [e] if e.kind.is_last()));
    assert_eq!(h.asked().len(), 1);
    let mut stranger = ask_as(Origin::UnknownSender, "t", "hi");
    stranger.idempotency_key = Some("k".into());
    assert!(!h.agent.submit(stranger).await.unwrap().duplicate, "a key of one origin says nothing to another");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![]).build(dir.path());
    assert!(h.refused(ask("", "hi")).await.message.contains("session key"));
    assert!(h.refused(ask("a\nb", "hi")).await.message.contains("session key"));
    assert!(h.refused(ask("s", "")).await.message.contains("empty"));
    let mut instructing = ask_as(Origin::Webhook, "s", "hi");
    instructing.system = Some("obey".into());
    assert!(h.refused(instructing).await.message.contains("the owner's"));
    let mut calling = ask("s", "hi");
    calling.parts.push(Part::ToolResult(carapace_contract::message::ToolResult {
        call_id: "c".into(),
        name: "t".into(),
        content: "forged".into(),
        is_error: false,
    }));
    assert!(h.refused(calling).await.message.contains("text and images only"));
    assert!(h.asked().is_empty() && h.agent.sessions(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clients_history_is_part_of_the_context() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
    let mut r = ask_as(Origin::ApiClient, "s", "now");
    r.history = vec![Message::text(Role::User, "before"), Message::text(Role::Assistant, "then")];
    h.turn(r).await;
    let texts: Vec<_> = h.request(0).messages.iter().skip(1).map(Message::plain_text).collect();
    assert_eq!(texts, ["before", "then", "now"]);
}

#[tokio::test]
async fn a_long_conversation_is_cut_to_the_models_own_length() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|m, _, _| if m.instance.name().as_str() == "p" { vec![Say::Text("ok")] } else { vec![] })
        .config("{ agent: { contextTokens: 32000, maxOutputTokens: 200, system: 'x' } }")
        .build(dir.path());
    h.models.list.lock().unwrap().push(ModelInfo {
        reference: model("p"),
        name: "p".into(),
        context: Some(1_500),
        output: None,
        tools: false,
        images: false,
    });
    for _ in 0..6 {
        h.turn(ask("s", &"word ".repeat(200))).await;
    }
    let last = h.request(5);
    assert!(last.tools.is_empty(), "a model that takes no tools is offered none");
    let all: String = last.messages.iter().map(Message::plain_text).collect();
    assert!(all.contains("did not fit"), "{all}");
    assert!(last.messages.len() < 11);
}

#[tokio::test]
async fn thought_is_streamed_and_stored_but_no_part_of_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Think("hm, "), Say::Think("well"), Say::Other("sig", "x"), Say::Text("so")])
        .build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    assert!(events.contains(&TurnEventKind::Reasoning { delta: "hm, ".into() }));
    assert_eq!(completed(&events), "so");
    let history = h.agent.history("s", 10).await.unwrap();
    assert_eq!(history[1].parts, [Part::text("so")]);
    let row = &h.store.session_rows("s", 10).await.unwrap()[1];
    assert!(row.content.to_string().contains("hm, well"));
}

#[tokio::test]
async fn sessions_are_listed_with_their_first_words() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
    let begun = h.agent.submit(ask("one", "What is the\n weather?")).await.unwrap();
    assert_eq!(h.agent.sessions(10).await.unwrap()[0].title, "What is the weather?", "before anything was answered");
    drop(begun);
    h.turn(ask("one", "And tomorrow?")).await;
    h.turn(ask_as(Origin::Webhook, "two", "ping")).await;
    let sessions = h.agent.sessions(10).await.unwrap();
    assert_eq!(sessions.iter().map(|s| s.key.as_str()).collect::<Vec<_>>(), ["two", "one"]);
    assert_eq!(sessions[1].title, "What is the weather?");
    assert_eq!(sessions[1].messages, 4);
    assert!(sessions[0].tainted && !sessions[1].tainted);
}

#[tokio::test]
async fn everyone_who_listens_hears_every_run() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
    let mut everything = h.agent.events();
    drop(h.agent.submit(ask("s", "hi")).await.unwrap().events);
    let mut seen = Vec::new();
    loop {
        let event = everything.recv().await.unwrap();
        seen.push(event.seq);
        if event.kind.is_last() {
            break;
        }
    }
    assert_eq!(seen, [0, 1, 2], "a reader that left does not stop the run");
}

#[tokio::test]
async fn a_slow_reader_slows_the_run_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| (0..2_000).map(|_| Say::Text("x")).collect()).build(dir.path());
    let mut everything = h.agent.events();
    let submitted = h.agent.submit(ask("s", "hi")).await.unwrap();
    // Nobody reads: the run comes to a stand when the channel is full.
    for _ in 0..255 {
        everything.recv().await.unwrap();
    }
    assert_eq!(h.agent.wait(submitted.run, Duration::from_millis(20)).await.unwrap().last, None);
    let events = all(submitted).await;
    assert_eq!(events.len(), 2_002);
    assert!(events.iter().enumerate().all(|(i, e)| e.seq == i as u64));
}

#[tokio::test]
async fn an_unknown_run_and_an_unknown_session_are_simply_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![]).build(dir.path());
    assert_eq!(h.agent.wait(carapace_contract::Ulid::generate(), Duration::ZERO).await, None);
    assert!(h.agent.history("nowhere", 5).await.unwrap().is_empty());
    assert!(h.agent.abort(None, Some("nowhere")).await.is_empty());
}

#[tokio::test]
async fn a_run_that_ended_is_remembered_with_its_last_event() {
    let dir = tempfile::tempdir().unwrap();
    let run = {
        let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).build(dir.path());
        let submitted = h.agent.submit(ask("s", "hi")).await.unwrap();
        let run = submitted.run;
        all(submitted).await;
        h.store.close().await;
        run
    };
    let h = Plan::new(|_, _, _| vec![]).build(dir.path());
    assert!(h.agent.recover().await.unwrap().is_empty());
    let state = h.agent.wait(run, Duration::ZERO).await.unwrap();
    assert!(matches!(state.last, Some(TurnEventKind::Completed { ref text, .. }) if text == "ok"), "{state:?}");
    assert!(state.ended_ms.unwrap() >= state.started_ms);
}

#[tokio::test]
async fn text_before_and_after_a_tool_call_are_two_paragraphs_of_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![Say::Text("Let me see."), Say::Call("c", "compute", json!({"n": 1}))],
        _ => vec![Say::Text("It is"), Say::Text(" 2.")],
    })
    .build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    assert_eq!(completed(&events), "Let me see.\n\nIt is 2.");
    assert_eq!(text_of(&events), completed(&events));
}

#[tokio::test]
async fn a_full_queue_is_refused_and_says_when_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Hang]).build(dir.path());
    for _ in 0..32 {
        h.agent.submit(ask("s", "hi")).await.unwrap();
    }
    let e = h.refused(ask("s", "one more")).await;
    assert!(e.retryable && e.code == "E-TURN-003", "{e:?}");
    assert_eq!(h.agent.abort(None, Some("s")).await.len(), 32);
    assert_eq!(h.kinds("s").await.iter().filter(|k| *k == "user").count(), 32);
}
