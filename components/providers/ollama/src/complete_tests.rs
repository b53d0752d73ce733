//! The provider against a fake kernel.

use super::*;
use carapace_provider_wire::testing::{Fake, answer, in_pieces, question};
use carapace_provider_wire::{Event, StopReason, ToolCall, ToolSpec, Usage};
use proptest::prelude::*;
use serde_json::json;

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
fn run(body: &str) -> (Result<(), Failure>, Vec<Event>) {
    let fake = Fake::new(vec![answer(200, "content-type: application/x-ndjson", &[body])]);
    let result = complete(&fake, &question());
    (result, fake.events.into_inner())
}
fn events(lines: &[String]) -> Vec<Event> {
    let (result, events) = run(&lines.concat());
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

#[test]
fn text_and_thought_are_pushed_piece_by_piece_with_usage_and_stop_at_the_end() {
    let thinks = line(json!({ "role": "assistant", "content": "", "thinking": "hm" }));
    let got = events(&[thinks, says("Hel"), says("lo"), ends("stop")]);
    assert_eq!(got, [Event::Reasoning("hm".into()), text("Hel"), text("lo"), usage(), Event::Stop(StopReason::End)]);
}

#[test]
fn calls_are_whole_and_get_ids_where_the_server_gives_none() {
    let got = events(&[
        calls(
            json!([{ "function": { "name": "f", "arguments": { "x": 1 } } }, { "function": { "index": 0, "name": "f", "arguments": {} } }]),
        ),
        calls(json!([{ "id": "call_x", "function": { "index": 0, "name": "g", "arguments": "{\"y\":2}" } }])),
        ends("stop"),
    ]);
    assert_eq!(
        got,
        [
            call("call_1", "f", "{\"x\":1}"),
            call("call_2", "f", "{}"),
            call("call_x", "g", "{\"y\":2}"),
            usage(),
            Event::Stop(StopReason::ToolCalls)
        ]
    );
}

#[test]
fn every_done_reason_has_its_meaning() {
    let reason = |r: &str| events(&[says("x"), ends(r)]).pop().unwrap();
    assert_eq!(reason("stop"), Event::Stop(StopReason::End));
    assert_eq!(reason("length"), Event::Stop(StopReason::Length));
    assert_eq!(reason("load"), Event::Stop(StopReason::Other("load".into())));
    let old = events(&["{\"message\":{\"content\":\"x\"},\"done\":true}".to_owned()]);
    assert_eq!(old, [text("x"), Event::Stop(StopReason::End)], "an old server says no reason and counts nothing");
}

#[test]
fn a_stream_cut_at_any_byte_is_interrupted_unless_all_was_said() {
    let lines = [says("grün 日本"), calls(json!([{ "function": { "name": "f", "arguments": {} } }])), ends("stop")];
    let (body, full) = (lines.concat(), events(&lines));
    for cut in 0..body.len() {
        let mut reply = answer(200, "", &[]);
        reply.chunks.push_back(body.as_bytes()[..cut].to_vec());
        let fake = Fake::new(vec![reply]);
        let result = complete(&fake, &question());
        let got = fake.events.into_inner();
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

#[test]
fn an_error_in_the_stream_is_a_failure_that_names_it() {
    let (result, got) = run(&format!("{}{{\"error\":\"model runner has unexpectedly stopped\"}}\n", says("x")));
    let f = result.unwrap_err();
    assert_eq!((f.kind, f.retryable, got.len()), (FailureKind::Unavailable, true, 1));
    assert!(f.message.contains("unexpectedly stopped"), "{}", f.message);
    for broken in ["{\"message\":\n", "7\n", "<html>\n"] {
        let f = run(broken).0.unwrap_err();
        assert_eq!((f.kind, f.retryable), (FailureKind::Other("malformed".into()), true), "{broken}");
    }
}

#[test]
fn a_model_that_is_not_installed_is_told_with_the_command_that_installs_it() {
    for body in [r#"{"error":"model 'm' not found"}"#, r#"{"error":"model \"m\" not found, try pulling it first"}"#] {
        let f = complete(&Fake::new(vec![answer(404, "", &[body])]), &question()).unwrap_err();
        assert_eq!((f.kind, f.retryable), (FailureKind::UnknownModel, false));
        assert!(f.message.ends_with("; `ollama pull m` installs it"), "{}", f.message);
    }
}

#[test]
fn other_failures_have_their_kinds() {
    let of = |status, error: &str| {
        let body = json!({ "error": error }).to_string();
        complete(&Fake::new(vec![answer(status, "", &[&body])]), &question()).unwrap_err()
    };
    assert_eq!(of(400, "the input length exceeds the context length").kind, FailureKind::ContextLength);
    assert_eq!(of(401, "unauthorized").kind, FailureKind::Authentication);
    assert_eq!(of(503, "server busy, please try again.").kind, FailureKind::Unavailable);
    assert_eq!(of(400, "invalid options: num_ctx").kind, FailureKind::InvalidRequest);
    let f = complete(&Fake::new(vec![]), &question()).unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
    assert!(f.message.contains("`ollama serve`"), "{}", f.message);
}

#[test]
fn a_model_that_cannot_do_a_part_is_asked_again_without_it() {
    let mut r = question();
    r.tools = vec![ToolSpec { name: "f".into(), description: "d".into(), parameters: "{}".into() }];
    let fake = Fake::new(vec![
        answer(400, "", &[r#"{"error":"\"m\" does not support thinking"}"#]),
        answer(400, "", &[r#"{"error":"registry.ollama.ai/library/m:latest does not support tools"}"#]),
        answer(200, "", &[&says("hi"), &ends("stop")]),
    ])
    .section(r#"{"think":true}"#);
    complete(&fake, &r).unwrap();
    assert!(fake.body(0).get("think").is_some() && fake.body(1).get("tools").is_some());
    assert!(fake.body(2).get("think").is_none() && fake.body(2).get("tools").is_none());
    let stubborn = || answer(400, "", &[r#"{"error":"does not support thinking nor tools"}"#]);
    let fake = Fake::new((0..9).map(|_| stubborn()).collect()).section(r#"{"think":true}"#);
    assert_eq!(complete(&fake, &r).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(fake.sent.borrow().len(), 3);
}

#[test]
fn a_cancelled_run_stops_at_once() {
    let mut fake = Fake::new(vec![answer(200, "", &[&says("x").repeat(50)])]);
    fake.cancel_after = Some(2);
    assert_eq!(complete(&fake, &question()).unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(fake.events.borrow().len(), 2);
}

#[test]
fn the_request_goes_where_the_manifest_says_with_the_owners_headers() {
    let fake = Fake::new(vec![answer(200, "", &[&ends("stop")])]).section(r#"{"headers":{"X-Title":"t"}}"#);
    complete(&fake, &question()).unwrap();
    let sent = fake.sent.borrow();
    assert_eq!((sent[0].method, sent[0].endpoint, sent[0].path.as_str()), ("POST", "api", "/api/chat"));
    assert!(sent[0].headers.contains(&("X-Title".into(), "t".into())));
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_however_it_is_cut(sizes in prop::collection::vec(1usize..40, 1..60)) {
        let lines = [says("grün"), says(" 日本"), calls(json!([{ "function": { "name": "ü", "arguments": { "x": 1 } } }])), ends("stop")];
        let fake = Fake::new(vec![in_pieces(&lines.concat(), &sizes)]);
        complete(&fake, &question()).unwrap();
        prop_assert_eq!(fake.events.into_inner(), events(&lines));
    }

    #[test]
    fn whatever_a_server_sends_ends_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..300), json in r#"(\{|\}|\[|\]|"|:|,|message|content|tool_calls|function|done|true|null|1|\n){0,60}"#) {
        for body in [bytes, json.into_bytes()] {
            let mut reply = answer(200, "", &[]);
            reply.chunks.push_back(body);
            let _ = complete(&Fake::new(vec![reply]), &question());
        }
    }
}
