//! The provider against a fake kernel.

use super::*;
use carapace_provider_wire::testing::{answer, in_pieces, question};
use carapace_sdk::prelude::*;
use carapace_sdk::provider::ToolSpec;
use carapace_sdk::testing::Answer;
use proptest::prelude::*;
use std::cell::RefCell;

fn line(message: Value) -> String {
    json!({ "model": "m", "created_at": "2026-11-25T10:00:00Z", "message": message, "done": false }).to_string() + "\n"
}
fn says(t: &str) -> String {
    line(json!({ "role": "assistant", "content": t }))
}
fn calls(calls: Value) -> String {
    line(json!({ "role": "assistant", "content": "", "tool_calls": calls }))
}
fn ends(reason: &str) -> String {
    json!({ "model": "m", "message": { "role": "assistant", "content": "" }, "done": true, "done_reason": reason,
        "total_duration": 5, "prompt_eval_count": 26, "eval_count": 298 })
    .to_string()
        + "\n"
}
/// What came of a question, and what was pushed.
fn ask(host: &mut TestHost, reply: Answer) -> (Result<(), Failure>, Vec<Event>) {
    let result = host.fresh().random([1; 12]).random([2; 12]).answer(reply).complete(question());
    (result.map(drop), host.emitted())
}
fn run(host: &mut TestHost, body: &str) -> (Result<(), Failure>, Vec<Event>) {
    ask(host, answer(200, "content-type: application/x-ndjson", &[body]))
}
fn events(host: &mut TestHost, lines: &[String]) -> Vec<Event> {
    let (result, events) = run(host, &lines.concat());
    result.unwrap();
    events
}
fn text(t: &str) -> Event {
    Event::Text(t.into())
}
fn call(id: &str, name: &str, arguments: &str) -> Event {
    Event::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), extra: vec![] })
}
fn usage() -> Event {
    Event::Usage(Usage { input: 26, output: 298, cached_input: 0, reasoning: 0, extra: vec![] })
}

#[carapace_sdk::test]
fn text_and_thought_are_pushed_piece_by_piece_with_usage_and_stop_at_the_end(host: &mut TestHost) {
    let thinks = line(json!({ "role": "assistant", "content": "", "thinking": "hm" }));
    let got = events(host, &[thinks, says("Hel"), says("lo"), ends("stop")]);
    assert_eq!(got, [Event::Reasoning("hm".into()), text("Hel"), text("lo"), usage(), Event::Stop(StopReason::End)]);
}

#[carapace_sdk::test]
fn calls_are_whole_and_get_ids_where_the_server_gives_none(host: &mut TestHost) {
    let made = |byte: u8| format!("call_{}", format!("{byte:02x}").repeat(12));
    let got = events(
        host,
        &[
            calls(
                json!([{ "function": { "name": "f", "arguments": { "x": 1 } } }, { "function": { "index": 0, "name": "f", "arguments": {} } }]),
            ),
            calls(json!([{ "id": "call_x", "function": { "index": 0, "name": "g", "arguments": "{\"y\":2}" } }])),
            ends("stop"),
        ],
    );
    assert_eq!(
        got,
        [
            call(&made(1), "f", "{\"x\":1}"),
            call(&made(2), "f", "{}"),
            call("call_x", "g", "{\"y\":2}"),
            usage(),
            Event::Stop(StopReason::ToolCalls)
        ]
    );
}

#[carapace_sdk::test]
fn every_done_reason_has_its_meaning(host: &mut TestHost) {
    let mut reason = |r: &str| events(host, &[says("x"), ends(r)]).pop().unwrap();
    assert_eq!(reason("stop"), Event::Stop(StopReason::End));
    assert_eq!(reason("length"), Event::Stop(StopReason::Length));
    assert_eq!(reason("load"), Event::Stop(StopReason::Other("load".into())));
    let old = events(host, &["{\"message\":{\"content\":\"x\"},\"done\":true}".to_owned()]);
    assert_eq!(old, [text("x"), Event::Stop(StopReason::End)], "an old server says no reason and counts nothing");
}

#[carapace_sdk::test]
fn a_stream_cut_at_any_byte_is_interrupted_unless_all_was_said(host: &mut TestHost) {
    let lines = [says("grün 日本"), calls(json!([{ "function": { "name": "f", "arguments": {} } }])), ends("stop")];
    let (body, full) = (lines.concat(), events(host, &lines));
    for cut in 0..body.len() {
        let (result, got) = ask(host, answer(200, "", &[&body.as_bytes()[..cut]]));
        match result {
            // Only the last line feed is missing.
            Ok(()) => assert_eq!((got, cut), (full.clone(), body.len() - 1)),
            Err(f) => {
                assert_eq!(f.kind, FailureKind::Interrupted, "cut at {cut}: {}", f.message);
                assert!(full.starts_with(&got), "cut at {cut}");
            }
        }
    }
}

#[carapace_sdk::test]
fn an_error_in_the_stream_is_a_failure_that_names_it(host: &mut TestHost) {
    let (result, got) = run(host, &format!("{}{{\"error\":\"model runner has unexpectedly stopped\"}}\n", says("x")));
    let f = result.unwrap_err();
    assert_eq!((f.kind, f.retryable, got.len()), (FailureKind::Unavailable, true, 1));
    assert!(f.message.contains("unexpectedly stopped"), "{}", f.message);
    for broken in ["{\"message\":\n", "7\n", "<html>\n"] {
        let f = run(host, broken).0.unwrap_err();
        assert_eq!((f.kind, f.retryable), (FailureKind::Other("malformed".into()), true), "{broken}");
    }
}

#[carapace_sdk::test]
fn a_model_that_is_not_installed_is_told_with_the_command_that_installs_it(host: &mut TestHost) {
    for body in [r#"{"error":"model 'm' not found"}"#, r#"{"error":"model \"m\" not found, try pulling it first"}"#] {
        let f = ask(host, answer(404, "", &[body])).0.unwrap_err();
        assert_eq!((f.kind, f.retryable), (FailureKind::UnknownModel, false));
        assert!(f.message.ends_with("; `ollama pull m` installs it"), "{}", f.message);
    }
}

#[carapace_sdk::test]
fn other_failures_have_their_kinds(host: &mut TestHost) {
    let mut of = |status, error: &str| {
        let body = json!({ "error": error }).to_string();
        ask(host, answer(status, "", &[&body])).0.unwrap_err()
    };
    assert_eq!(of(400, "the input length exceeds the context length").kind, FailureKind::ContextLength);
    assert_eq!(of(401, "unauthorized").kind, FailureKind::Authentication);
    assert_eq!(of(503, "server busy, please try again.").kind, FailureKind::Unavailable);
    assert_eq!(of(400, "invalid options: num_ctx").kind, FailureKind::InvalidRequest);
    let f = ask(host, Answer::unreachable()).0.unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
    assert!(f.message.contains("`ollama serve`"), "{}", f.message);
}

#[carapace_sdk::test]
fn a_model_that_cannot_do_a_part_is_asked_again_without_it(host: &mut TestHost) {
    let mut r = question();
    r.tools = vec![ToolSpec { name: "f".into(), description: "d".into(), parameters: "{}".into() }];
    host.answers([
        answer(400, "", &[r#"{"error":"\"m\" does not support thinking"}"#]),
        answer(400, "", &[r#"{"error":"registry.ollama.ai/library/m:latest does not support tools"}"#]),
        answer(200, "", &[&says("hi"), &ends("stop")]),
    ])
    .config(json!({ "think": true }));
    host.complete(r.clone()).unwrap();
    let bodies: Vec<Value> = host.sent().iter().map(|s| s.json()).collect();
    assert!(bodies[0].get("think").is_some() && bodies[1].get("tools").is_some());
    assert!(bodies[2].get("think").is_none() && bodies[2].get("tools").is_none());
    let stubborn = || answer(400, "", &[r#"{"error":"does not support thinking nor tools"}"#]);
    host.fresh().answers((0..9).map(|_| stubborn())).config(json!({ "think": true }));
    assert_eq!(host.complete(r).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(host.sent().len(), 3);
}

#[carapace_sdk::test]
fn a_cancelled_run_stops_at_once(host: &mut TestHost) {
    host.answer(answer(200, "", &[&says("x").repeat(50)])).cancel_after(2);
    assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(host.emitted().len(), 2);
}

#[carapace_sdk::test]
fn the_request_goes_where_the_manifest_says_with_the_owners_headers(host: &mut TestHost) {
    host.answer(answer(200, "", &[&ends("stop")])).config(json!({ "headers": { "X-Title": "t" } }));
    host.complete(question()).unwrap();
    let sent = &host.sent()[0];
    assert_eq!((sent.method.as_str(), sent.target.to_string().as_str()), ("POST", "api:/api/chat"));
    assert_eq!((sent.header("content-type"), sent.header("X-Title")), (Some("application/json"), Some("t")));
}

#[carapace_sdk::test]
fn a_stream_reads_the_same_however_it_is_cut(host: &mut TestHost) {
    let called = calls(json!([{ "function": { "name": "ü", "arguments": { "x": 1 } } }]));
    let lines = [says("grün"), says(" 日本"), called, ends("stop")];
    let expected = events(host, &lines);
    let host = RefCell::new(host);
    proptest!(|(sizes in prop::collection::vec(1usize..40, 1..60))| {
        let (result, got) = ask(*host.borrow_mut(), in_pieces(&lines.concat(), &sizes));
        prop_assert!(result.is_ok());
        prop_assert_eq!(&got, &expected);
    });
}

#[carapace_sdk::test]
fn whatever_a_server_sends_ends_in_a_result(host: &mut TestHost) {
    let host = RefCell::new(host);
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..300), json in r#"(\{|\}|\[|\]|"|:|,|message|content|tool_calls|function|done|true|null|1|\n){0,60}"#)| {
        for body in [bytes, json.into_bytes()] {
            let _ = ask(*host.borrow_mut(), answer(200, "", &[body]));
        }
    });
}
