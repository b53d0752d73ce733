use crate::world::*;
use carapace_contract::completion::{ModelInfo, StopReason, ToolChoice};
use carapace_contract::media::Media;
use carapace_contract::message::Part;
use carapace_contract::ports::{ToolFailure, ToolOutput};
use carapace_contract::turn::TurnEventKind;
use carapace_store::{Batch, BlobRow};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn results_go_back_to_the_model_in_the_order_of_the_calls() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![
            Say::Call("a", "compute", json!({"n": 1})),
            Say::Call("b", "look", json!({"n": 2})),
            Say::Stop(StopReason::ToolCalls),
        ],
        _ => vec![Say::Text("done")],
    })
    .hands(|c| says(&format!("{} of {}", c.tool, c.arguments["n"])))
    .build(dir.path());
    let events = h.turn(ask("s", "go")).await;
    let got: Vec<_> = results(&h.request(1)).into_iter().map(|r| (r.call_id, r.content)).collect();
    assert_eq!(got, [("a".to_owned(), "compute of 1".to_owned()), ("b".to_owned(), "look of 2".to_owned())]);
    assert_eq!(completed(&events), "done");
    assert!(events.contains(&TurnEventKind::ToolCall {
        call_id: "a".into(),
        name: "compute".into(),
        arguments: json!({"n": 1})
    }));
    assert_eq!(h.kinds("s").await, ["user", "assistant", "tool-result", "tool-result", "assistant"]);
}

#[tokio::test]
async fn independent_calls_run_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => (1..=3).map(|i| Say::Call("c", "slow", json!({"n": i}))).collect(),
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    // The three wait for each other: one after the other they would never end.
    *h.tools.together.lock().unwrap() = Arc::new(tokio::sync::Barrier::new(3));
    assert_eq!(completed(&h.turn(ask("s", "go")).await), "done");
}

#[tokio::test]
async fn equal_call_ids_are_made_unique() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![
            Say::Call("c", "compute", json!({"n": 1})),
            Say::Call("c", "compute", json!({"n": 2})),
            Say::Call("", "compute", json!({"n": 3})),
        ],
        1 => vec![Say::Call("c", "compute", json!({"n": 4}))],
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    h.turn(ask("s", "go")).await;
    let ids: Vec<_> = results(&h.request(2)).into_iter().map(|r| r.call_id).collect();
    assert_eq!(ids, ["c", "c-2", "call", "c-3"]);
    let mut made: Vec<_> = h.tools.made.lock().unwrap().iter().map(|c| c.call_id.clone()).collect();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 4);
}

#[tokio::test]
async fn wrong_arguments_and_unknown_tools_are_explained_to_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![
            Say::Call("a", "compute", json!({"n": "one"})),
            Say::Raw("b", "compute", "{\"n\": 1"),
            Say::Call("c", "websearch", json!({})),
        ],
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    h.turn(ask("s", "go")).await;
    let got = results(&h.request(1));
    assert!(got.iter().all(|r| r.is_error));
    assert!(got[0].content.contains("/n") && got[0].content.contains("integer"), "{}", got[0].content);
    assert!(got[1].content.contains("not JSON"), "{}", got[1].content);
    assert!(got[2].content.contains("did you mean `web_search`"), "{}", got[2].content);
    assert!(h.made().is_empty());
}

#[tokio::test]
async fn a_failed_call_is_an_error_result_with_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let h =
        Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "compute", json!({}))] } else { vec![Say::Text("sorry")] })
            .hands(|_| Err(ToolFailure { kind: "trap".into(), message: "it divided by zero".into(), tainted: false }))
            .build(dir.path());
    h.turn(ask("s", "go")).await;
    let got = results(&h.request(1));
    assert_eq!((got[0].content.as_str(), got[0].is_error), ("trap: it divided by zero", true));
}

#[tokio::test]
async fn images_go_back_beside_the_result() {
    let dir = tempfile::tempdir().unwrap();
    // As the host keeps what a tool made.
    let data: Arc<[u8]> = Arc::from(*b"a cat's pixels");
    let (id, size, mime) = (Media::id_of(&data), data.len() as u64, "image/png".to_owned());
    let media = Media { id, size, mime, pixels: Some((2, 2)), name: None };
    let made = media.clone();
    let h =
        Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "look", json!({}))] } else { vec![Say::Text("a cat")] })
            .hands(move |_| {
                Ok(ToolOutput { content: vec![Part::text("here"), Part::Media(made.clone())], tainted: false })
            })
            .build(dir.path());
    let holder = "local/look/main".parse().unwrap();
    h.store.commit(Batch::new().blob_put(BlobRow { media, data, holder, at_ms: 1 })).await.unwrap();
    let sees =
        ModelInfo { reference: model("p"), name: "p".into(), context: None, output: None, tools: true, images: true };
    h.models.list.lock().unwrap().push(sees);
    h.turn(ask("s", "go")).await;
    let message = h.request(1).messages.last().unwrap().clone();
    assert!(
        matches!(&message.parts[..], [Part::ToolResult(r), Part::Image { data, .. }]
            if r.content.starts_with("here\n[an image") && data == "YSBjYXQncyBwaXhlbHM="),
        "{message:?}"
    );
}

#[tokio::test]
async fn a_model_in_a_loop_is_told_at_the_third_call_and_stopped_at_the_fifth() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Call("c", "compute", json!({"n": 1}))]).build(dir.path());
    let (code, message) = failed(&h.turn(ask("s", "go")).await);
    assert_eq!(code, "E-TURN-009");
    assert!(message.contains("`compute` 5 times in a row"), "{message}");
    assert_eq!(h.made().len(), 2);
    assert!(results(&h.request(3)).last().unwrap().content.contains("will not change"));
    let next = h.turn(ask("s", "and now?")).await;
    assert_eq!(failed(&next).0, "E-TURN-009", "the session goes on: every call in its log has a result");
}

#[tokio::test]
async fn the_turn_limit_ends_the_run_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| vec![Say::Text("again"), Say::Call("c", "compute", json!({"n": n}))])
        .config("{ agent: { maxTurns: 3 } }")
        .build(dir.path());
    let events = h.turn(ask("s", "go")).await;
    let Some(TurnEventKind::Completed { text, stop, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(stop, &StopReason::Other("turn-limit".into()));
    assert!(text.contains("stopped after 3 model rounds") && text.contains("maxTurns: 6"), "{text}");
    assert_eq!(&text_of(&events), text);
    assert_eq!(h.asked().len(), 3);
}

#[tokio::test]
async fn a_tool_that_must_be_called_must_be_called_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "compute", json!({}))] } else { vec![Say::Text("x")] })
        .build(dir.path());
    let mut r = ask("s", "go");
    r.options.tool_choice = ToolChoice::Required;
    h.turn(r).await;
    assert_eq!((h.request(0).tool_choice, h.request(1).tool_choice), (ToolChoice::Required, ToolChoice::Auto));
}

#[tokio::test]
async fn a_call_with_side_effects_is_recorded_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(
        |_, _, n| if n == 0 { vec![Say::Call("a", "send", json!({"n": 7}))] } else { vec![Say::Text("sent")] },
    )
    .build(dir.path());
    let submitted = h.agent_submit("s").await;
    let run = submitted.run;
    all(submitted).await;
    assert_eq!(h.kinds("s").await, ["user", "assistant", "tool-call", "tool-result", "assistant"]);
    let calls = h.store.calls_of_run(run).await.unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].row.arguments, json!({"n": 7}));
    assert_eq!(calls[0].outcome, Some(json!({"isError": false})));
}

#[tokio::test]
async fn a_turn_without_tools_calls_none_whatever_the_model_wants() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| if n == 0 { vec![Say::Call("a", "compute", json!({}))] } else { vec![Say::Text("x")] })
        .build(dir.path());
    let mut r = ask("s", "go");
    r.options.tool_choice = ToolChoice::None;
    h.turn(r).await;
    assert!(h.made().is_empty());
    assert!(results(&h.request(1))[0].content.contains("tools are off"));
}
