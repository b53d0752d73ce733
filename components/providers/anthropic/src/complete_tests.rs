//! The provider against a fake kernel.

use super::*;
use carapace_provider_wire::testing::{answer, in_pieces, question};
use carapace_sdk::Error;
use carapace_sdk::prelude::*;
use carapace_sdk::testing::Answer;
use proptest::prelude::*;
use std::cell::RefCell;

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":5,"cache_read_input_tokens":70,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn opens(index: u64, block: Value) -> String {
    json!({ "type": "content_block_start", "index": index, "content_block": block }).to_string()
}
fn goes_on(index: u64, delta: Value) -> String {
    json!({ "type": "content_block_delta", "index": index, "delta": delta }).to_string()
}
fn closes(index: u64) -> String {
    json!({ "type": "content_block_stop", "index": index }).to_string()
}
fn ends(reason: &str) -> String {
    json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": { "output_tokens": 15 } })
        .to_string()
}
fn says(index: u64, pieces: &[&str]) -> Vec<String> {
    let mut all = vec![opens(index, json!({ "type": "text", "text": "" }))];
    all.extend(pieces.iter().map(|t| goes_on(index, json!({ "type": "text_delta", "text": t }))));
    all.push(closes(index));
    all
}
fn calls(index: u64, id: &str, pieces: &[&str]) -> Vec<String> {
    let mut all = vec![opens(index, json!({ "type": "tool_use", "id": id, "name": "f", "input": {} }))];
    all.extend(pieces.iter().map(|j| goes_on(index, json!({ "type": "input_json_delta", "partial_json": j }))));
    all.push(closes(index));
    all
}
fn stream(events: &[String]) -> String {
    let kind = |e: &str| serde_json::from_str::<Value>(e).unwrap()["type"].as_str().unwrap().to_owned();
    events.iter().map(|e| format!("event: {}\ndata: {e}\n\n", kind(e))).collect()
}
fn whole(parts: Vec<Vec<String>>, reason: &str) -> String {
    let mut all = vec![START.to_owned(), r#"{"type":"ping"}"#.to_owned()];
    all.extend(parts.into_iter().flatten());
    all.extend([ends(reason), STOP.to_owned()]);
    stream(&all)
}
/// What came of a question, and what was pushed.
fn ask(host: &mut TestHost, reply: Answer) -> (Result<(), Failure>, Vec<Event>) {
    let result = host.fresh().answer(reply).complete(question());
    (result.map(drop), host.emitted())
}
fn run(host: &mut TestHost, body: &str) -> (Result<(), Failure>, Vec<Event>) {
    ask(host, answer(200, "content-type: text/event-stream\nrequest-id: req_9", &[body]))
}
fn events(host: &mut TestHost, body: &str) -> Vec<Event> {
    let (result, events) = run(host, body);
    result.unwrap();
    events
}
fn text(t: &str) -> Event {
    Event::Text(t.into())
}
fn call(id: &str, arguments: &str) -> Event {
    Event::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into(), extra: vec![] })
}
fn usage(output: u64) -> Event {
    let extra = vec![("cache-creation".to_owned(), "5".to_owned())];
    Event::Usage(Usage { input: 100, output, cached_input: 70, reasoning: 0, extra })
}
/// Without the two counts at the ends.
fn said(host: &mut TestHost, body: &str) -> Vec<Event> {
    events(host, body).into_iter().filter(|e| !matches!(e, Event::Usage(_))).collect()
}

#[carapace_sdk::test]
fn text_is_pushed_piece_by_piece_with_usage_at_both_ends(host: &mut TestHost) {
    let got = events(host, &whole(vec![says(0, &["Hel", "lo"])], "end_turn"));
    assert_eq!(got, [usage(1), text("Hel"), text("lo"), usage(15), Event::Stop(StopReason::End)]);
}

#[carapace_sdk::test]
fn what_a_thought_cost_is_counted(host: &mut TestHost) {
    let counted = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":3,"output_tokens":15,"cache_read_input_tokens":null,"output_tokens_details":{"thinking_tokens":9}}}"#;
    let got = events(host, &stream(&[START.to_owned(), counted.to_owned(), STOP.to_owned()]));
    let extra = vec![("cache-creation".to_owned(), "5".to_owned())];
    let usage = Usage { input: 78, output: 15, cached_input: 70, reasoning: 9, extra };
    assert_eq!(got[1..], [Event::Usage(usage), Event::Stop(StopReason::End)]);
}

#[carapace_sdk::test]
fn blocks_go_out_whole_and_in_their_order(host: &mut TestHost) {
    let thought = vec![
        opens(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        goes_on(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
        goes_on(0, json!({ "type": "thinking_delta", "thinking": "…" })),
        goes_on(0, json!({ "type": "signature_delta", "signature": "Er" })),
        goes_on(0, json!({ "type": "signature_delta", "signature": "UB" })),
        closes(0),
    ];
    let redacted = vec![opens(1, json!({ "type": "redacted_thinking", "data": "XYZ" })), closes(1)];
    let omitted = vec![
        opens(4, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        goes_on(4, json!({ "type": "signature_delta", "signature": "only" })),
        closes(4),
    ];
    let got = said(
        host,
        &whole(
            vec![
                thought,
                redacted,
                says(2, &["I look."]),
                calls(3, "toolu_1", &["", "{\"x\"", ":1}"]),
                omitted,
                calls(5, "toolu_2", &[]),
            ],
            "tool_use",
        ),
    );
    let state = |v: Value| Event::Other(("anthropic".into(), v.to_string()));
    assert_eq!(
        got,
        [
            Event::Reasoning("hm".into()),
            Event::Reasoning("…".into()),
            state(json!({ "type": "thinking", "model": "m", "signature": "ErUB" })),
            state(json!({ "type": "redacted_thinking", "model": "m", "data": "XYZ" })),
            text("I look."),
            call("toolu_1", "{\"x\":1}"),
            state(json!({ "type": "thinking", "model": "m", "signature": "only" })),
            call("toolu_2", "{}"),
            Event::Stop(StopReason::ToolCalls),
        ]
    );
}

#[carapace_sdk::test]
fn every_stop_reason_has_its_meaning(host: &mut TestHost) {
    let mut reason = |r: &str| said(host, &whole(vec![says(0, &["x"])], r)).pop().unwrap();
    let stop = |s| Event::Stop(s);
    assert_eq!(reason("end_turn"), stop(StopReason::End));
    assert_eq!(reason("stop_sequence"), stop(StopReason::End));
    assert_eq!(reason("tool_use"), stop(StopReason::End), "without a call");
    assert_eq!(reason("max_tokens"), stop(StopReason::Length));
    assert_eq!(reason("model_context_window_exceeded"), stop(StopReason::Length));
    assert_eq!(reason("refusal"), stop(StopReason::ContentFilter));
    assert_eq!(reason("pause_turn"), stop(StopReason::Other("pause_turn".into())));
}

#[carapace_sdk::test]
fn a_call_that_the_length_limit_cut_off_is_left_out_and_a_garbled_one_is_the_kernels_affair(host: &mut TestHost) {
    let mut got = |reason| said(host, &whole(vec![calls(0, "a", &["{}"]), calls(1, "b", &["{\"x\":"])], reason));
    assert_eq!(got("max_tokens"), [call("a", "{}"), Event::Stop(StopReason::Length)]);
    assert_eq!(got("tool_use"), [call("a", "{}"), call("b", "{\"x\":"), Event::Stop(StopReason::ToolCalls)]);
}

#[carapace_sdk::test]
fn an_answer_by_tool_is_a_text(host: &mut TestHost) {
    let mut r = question();
    r.json_schema = Some("{\"type\":\"object\"}".into());
    let opened = opens(0, json!({ "type": "tool_use", "id": "t", "name": "answer", "input": {} }));
    let piece = goes_on(0, json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" }));
    let body = stream(&[START.to_owned(), opened, piece, closes(0), ends("tool_use"), STOP.to_owned()]);
    let got = host.answer(answer(200, "", &[&body])).complete(r).unwrap();
    assert_eq!((&got[1], got.last().unwrap()), (&text("{\"a\":1}"), &Event::Stop(StopReason::End)));
}

#[carapace_sdk::test]
fn a_stream_cut_at_any_byte_is_interrupted_unless_all_was_said(host: &mut TestHost) {
    let body = whole(vec![says(0, &["grün 日本"]), calls(1, "a", &["{\"x\":1}"])], "tool_use");
    let full = events(host, &body);
    for cut in 0..body.len() {
        let (result, got) = ask(host, answer(200, "", &[&body.as_bytes()[..cut]]));
        match result {
            // The stop reason was there; what is lost is the goodbye.
            Ok(()) => assert_eq!(got, full, "cut at {cut}"),
            Err(f) => {
                assert_eq!(f.kind, FailureKind::Interrupted, "cut at {cut}: {}", f.message);
                assert!(full.starts_with(&got), "cut at {cut}");
            }
        }
    }
}

#[carapace_sdk::test]
fn a_connection_that_breaks_is_interrupted_and_says_how(host: &mut TestHost) {
    let broken = answer(200, "request-id: req_9", &[&stream(&[START.to_owned()])]);
    let f = ask(host, broken.breaks(Error::Unavailable("connection reset".into()))).0.unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Interrupted, true));
    assert_eq!(f.message, "connection reset (request req_9)");
    let f = ask(host, Answer::unreachable()).0.unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
}

#[carapace_sdk::test]
fn an_error_in_the_stream_is_a_failure_with_its_kind_and_the_servers_name_for_the_request(host: &mut TestHost) {
    let error = |kind: &str| json!({ "type": "error", "error": { "type": kind, "message": "Overloaded" } }).to_string();
    let mut of = |kind: &str| run(host, &stream(&[START.to_owned(), error(kind)])).0.unwrap_err();
    let f = of("overloaded_error");
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
    assert!(f.message.contains("Overloaded") && f.message.ends_with("(request req_9)"), "{}", f.message);
    assert_eq!(of("rate_limit_error").kind, FailureKind::RateLimited);
    assert_eq!(of("invalid_request_error").kind, FailureKind::InvalidRequest);
    let f = run(host, "data: {\"type\":\n\n").0.unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Other("malformed".into()), true));
    assert_eq!(run(host, "data: 7\n\n").0.unwrap_err().kind, FailureKind::Other("malformed".into()));
}

#[carapace_sdk::test]
fn refusals_have_their_kinds_and_say_when_to_come_back(host: &mut TestHost) {
    let mut of = |status, headers: &str, kind: &str, message: &str| {
        let body = json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string();
        ask(host, answer(status, headers, &[&body])).0.unwrap_err()
    };
    let f = of(429, "retry-after: 3", "rate_limit_error", "slow down");
    assert_eq!((f.kind, f.retryable, f.retry_after_ms), (FailureKind::RateLimited, true, Some(3000)));
    let f = of(529, "", "overloaded_error", "Overloaded");
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
    assert_eq!(of(401, "", "authentication_error", "invalid x-api-key").kind, FailureKind::Authentication);
    assert_eq!(of(404, "", "not_found_error", "model: claude-9 not found").kind, FailureKind::UnknownModel);
    assert_eq!(
        of(400, "", "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum").kind,
        FailureKind::ContextLength
    );
    assert_eq!(of(400, "", "invalid_request_error", "max_tokens: too high").kind, FailureKind::InvalidRequest);
}

#[carapace_sdk::test]
fn a_server_that_refuses_a_part_is_asked_again_without_and_not_for_ever(host: &mut TestHost) {
    let refusal = |text: &str| {
        answer(
            400,
            "",
            &[&json!({ "type": "error", "error": { "type": "invalid_request_error", "message": text } }).to_string()],
        )
    };
    let mut r = question();
    r.temperature = Some(0.5);
    host.answers([
        refusal("system.0.cache_control: Extra inputs are not permitted"),
        refusal("`temperature` is deprecated for this model."),
        answer(200, "", &[&whole(vec![says(0, &["hi"])], "end_turn")]),
    ]);
    host.complete(r.clone()).unwrap();
    let (first, last) = (host.sent()[0].json(), host.sent()[2].json());
    assert_eq!((&first["temperature"], last.get("temperature")), (&json!(0.5), None));
    assert!(first.to_string().contains("cache_control") && !last.to_string().contains("cache_control"));

    let stubborn =
        "temperature, top_p, cache_control, thinking, effort, display, `signature` and output are not supported";
    host.fresh().answers((0..20).map(|_| refusal(stubborn)));
    host.config(json!({"thinking":2000,"effort":"low","thinkingDisplay":"omitted"}));
    assert_eq!(host.complete(r).unwrap_err().kind, FailureKind::InvalidRequest);
    assert!(host.sent().len() <= TRIES);
}

#[carapace_sdk::test]
fn an_answer_that_is_no_stream_is_taken_too(host: &mut TestHost) {
    let body = json!({ "type": "message", "content": [
        { "type": "thinking", "thinking": "t", "signature": "s" }, { "type": "text", "text": "hi" },
        { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } }],
        "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 2 } });
    let got = events(host, &body.to_string());
    let usage = Usage { input: 1, output: 2, cached_input: 0, reasoning: 0, extra: vec![] };
    assert_eq!(got[0], Event::Reasoning("t".into()));
    assert_eq!(got[2..], [text("hi"), call("a", "{\"x\":1}"), Event::Usage(usage), Event::Stop(StopReason::ToolCalls)]);
    let refused = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    assert_eq!(run(host, refused).0.unwrap_err().kind, FailureKind::Unavailable);
    assert!(run(host, "{}").0.is_err());
}

#[carapace_sdk::test]
fn a_cancelled_run_stops_at_once(host: &mut TestHost) {
    let body = whole(vec![says(0, &["x"; 50])], "end_turn");
    host.answer(answer(200, "", &[&body])).cancel_after(3);
    assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(host.emitted().len(), 3);
}

#[carapace_sdk::test]
fn the_request_goes_where_the_manifest_says_with_the_owners_headers(host: &mut TestHost) {
    host.answer(answer(200, "", &[&whole(vec![], "end_turn")])).config(json!({ "headers": { "anthropic-beta": "b" } }));
    host.complete(question()).unwrap();
    let sent = &host.sent()[0];
    assert_eq!((sent.method.as_str(), sent.target.to_string().as_str()), ("POST", "api:/v1/messages"));
    for (name, value) in
        [("content-type", "application/json"), ("anthropic-beta", "b"), ("anthropic-version", "2023-06-01")]
    {
        assert_eq!(sent.header(name), Some(value));
    }
    assert_eq!(sent.header("x-api-key"), None);
}

#[carapace_sdk::test]
fn a_stream_reads_the_same_however_it_is_cut(host: &mut TestHost) {
    let body = whole(vec![says(0, &["grün", " 日本"]), calls(1, "a", &["{\"ü\":", "1}"])], "tool_use");
    let expected = events(host, &body);
    let host = RefCell::new(host);
    proptest!(|(sizes in prop::collection::vec(1usize..40, 1..60))| {
        let (result, got) = ask(*host.borrow_mut(), in_pieces(&body, &sizes));
        prop_assert!(result.is_ok());
        prop_assert_eq!(&got, &expected);
    });
}

#[carapace_sdk::test]
fn whatever_a_server_sends_ends_in_a_result(host: &mut TestHost) {
    let host = RefCell::new(host);
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..300), json in r#"(\{|\}|\[|\]|"|:|,|type|index|delta|content_block_start|content_block_stop|tool_use|null|1|data: |\n){0,60}"#)| {
        for body in [bytes, json.into_bytes()] {
            let _ = ask(*host.borrow_mut(), answer(200, "", &[body]));
        }
    });
}
