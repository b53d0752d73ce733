//! A provider against a fake kernel.

use super::*;
use carapace_provider_wire::testing::{Fake, answer, in_pieces, question, request};
use carapace_provider_wire::{Error, Event, StopReason, ToolCall, Usage};
use proptest::prelude::*;

fn run(fake: &Fake) -> Result<(), Failure> {
    complete(fake, &question())
}

fn stream(chunks: &[&str]) -> (Result<(), Failure>, Vec<Event>) {
    let text: String = chunks.iter().map(|c| format!("data: {c}\n\n")).collect();
    let fake = Fake::new(vec![answer(200, "content-type: text/event-stream", &[&text])]);
    let result = run(&fake);
    (result, fake.events.into_inner())
}

fn events(chunks: &[&str]) -> Vec<Event> {
    let (result, events) = stream(chunks);
    result.unwrap();
    events
}

fn text(t: &str) -> Event {
    Event::Text(t.into())
}
fn call(id: &str, name: &str, arguments: &str) -> Event {
    Event::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), extra: vec![] })
}

const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"hi"}}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn text_is_pushed_piece_by_piece_with_usage_and_stop_at_the_end() {
    let got = events(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
        HI,
        r#"{"choices":[{"index":0,"delta":{"content":" you"},"finish_reason":null}]}"#,
        STOP,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}}"#,
        "[DONE]",
        "not read any more",
    ]);
    let usage = Usage { input: 5, output: 7, cached_input: 2, reasoning: 3, extra: vec![] };
    assert_eq!(got, [text("hi"), text(" you"), Event::Usage(usage), Event::Stop(StopReason::End)]);
}

#[test]
fn parallel_calls_are_whole_when_they_are_pushed() {
    let got = events(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}},{"index":1,"id":"","function":{"name":"g"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"name":"old"}},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(got, [call("a", "f", "{\"x\":1}"), call("call_1", "g", "{}"), Event::Stop(StopReason::ToolCalls)]);
}

#[test]
fn whole_calls_with_object_arguments_and_the_wrong_finish_reason_are_calls() {
    let got = events(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x":1}}},{"id":"b","function":{"name":"f","arguments":{}}}]},"finish_reason":"stop"}]}"#,
    ]);
    assert_eq!(got, [call("a", "f", "{\"x\":1}"), call("b", "f", "{}"), Event::Stop(StopReason::ToolCalls)]);
}

#[test]
fn reasoning_comes_under_either_name_and_once() {
    let got = events(&[
        r#"{"choices":[{"delta":{"reasoning_content":"a","reasoning":"a"}}]}"#,
        r#"{"choices":[{"delta":{"reasoning":"b"}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"c"}]},{"type":"text","text":"d"}]}}]}"#,
        STOP,
    ]);
    let r = |t: &str| Event::Reasoning(t.into());
    assert_eq!(got, [r("a"), r("b"), r("c"), text("d"), Event::Stop(StopReason::End)]);
}

#[test]
fn every_finish_reason_has_its_meaning() {
    let reason = |r: &str| events(&[HI, &format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{r}"}}]}}"#)]).pop();
    assert_eq!(reason("length"), Some(Event::Stop(StopReason::Length)));
    assert_eq!(reason("content_filter"), Some(Event::Stop(StopReason::ContentFilter)));
    assert_eq!(reason("tool_calls"), Some(Event::Stop(StopReason::End)), "without a call");
    assert_eq!(reason("tired"), Some(Event::Stop(StopReason::Other("tired".into()))));
}

#[test]
fn a_missing_done_is_no_failure_and_a_missing_end_is_one() {
    assert_eq!(events(&[HI, STOP]), [text("hi"), Event::Stop(StopReason::End)]);
    assert_eq!(events(&[HI, "[DONE]"]), [text("hi"), Event::Stop(StopReason::End)]);
    let (result, got) = stream(&[HI]);
    assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted);
    assert_eq!(got, [text("hi")]);
    assert_eq!(stream(&[]).0.unwrap_err().kind, FailureKind::Interrupted);
}

#[test]
fn a_stream_cut_inside_a_chunk_is_interrupted_wherever_it_is_cut() {
    let whole = format!("data: {HI}\n\ndata: {STOP}\n\n");
    for cut in 0..whole.len() - 3 {
        let fake = Fake::new(vec![answer(200, "", &[&whole[..cut]])]);
        let result = run(&fake);
        match fake.events.borrow().last() {
            Some(Event::Stop(_)) => assert!(result.is_ok() && whole[..cut].contains("\"stop\"}]}"), "cut at {cut}"),
            _ => assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted, "cut at {cut}"),
        }
    }
}

#[test]
fn a_connection_that_breaks_is_interrupted_and_says_how() {
    let mut broken = answer(200, "", &[&format!("data: {HI}\n\n")]);
    broken.broken = Some(Error::Unavailable("connection reset".into()));
    let f = run(&Fake::new(vec![broken])).unwrap_err();
    assert_eq!((f.kind, f.retryable, f.message.as_str()), (FailureKind::Interrupted, true, "connection reset"));
    let f = run(&Fake::new(vec![])).unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
}

#[test]
fn an_error_in_the_stream_and_a_chunk_that_cannot_be_read_are_failures_that_name_it() {
    let (result, got) = stream(&[HI, r#"{"error":{"message":"out of memory","code":500}}"#]);
    let f = result.unwrap_err();
    assert_eq!((f.kind, got.len()), (FailureKind::Unavailable, 1));
    assert!(f.message.contains("out of memory"));
    let f = stream(&[HI, "{\"choices\":[{"]).0.unwrap_err();
    assert_eq!(f.kind, FailureKind::Other("malformed".into()));
    assert!(f.message.contains("{\"choices\":[{"), "{}", f.message);
    assert_eq!(stream(&["7", STOP]).0.unwrap_err().kind, FailureKind::Other("malformed".into()));
}

#[test]
fn an_answer_that_is_no_stream_is_taken_too() {
    let body = r#" {"choices":[{"message":{"role":"assistant","content":"hi","reasoning_content":"r","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let fake = Fake::new(vec![answer(200, "content-type: application/json", &[" ", &body[..40], &body[40..]])]);
    run(&fake).unwrap();
    let usage = Usage { input: 1, output: 2, cached_input: 0, reasoning: 0, extra: vec![] };
    assert_eq!(
        *fake.events.borrow(),
        [
            Event::Reasoning("r".into()),
            text("hi"),
            call("a", "f", "{}"),
            Event::Usage(usage),
            Event::Stop(StopReason::ToolCalls)
        ]
    );
    let f = run(&Fake::new(vec![answer(
        200,
        "",
        &[r#"{"error":{"message":"no","code":"model_not_found","type":"invalid_request_error"}}"#],
    )]));
    assert_eq!(f.unwrap_err().kind, FailureKind::UnknownModel);
    assert!(run(&Fake::new(vec![answer(200, "", &["{\"choices\":[]}"])])).is_err());
}

#[test]
fn a_server_that_refuses_a_field_is_asked_again_without_it() {
    let ok = || answer(200, "", &[&format!("data: {HI}\n\ndata: {STOP}\n\n")]);
    let mut r = request(vec![]);
    (r.max_output, r.temperature) = (Some(5), Some(0.5));
    let fake = Fake::new(vec![
        answer(400, "", &[r#"{"error":{"message":"Unknown field: stream_options"}}"#]),
        answer(
            400,
            "",
            &[
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}"#,
            ],
        ),
        answer(
            400,
            "",
            &[r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.5 with this model."}}"#],
        ),
        ok(),
    ]);
    complete(&fake, &r).unwrap();
    let last = fake.body(3);
    assert!(
        last.get("stream_options").is_none() && last.get("temperature").is_none() && last.get("max_tokens").is_none()
    );
    assert_eq!(last["max_completion_tokens"], 5);

    let fake = Fake::new(vec![answer(422, "", &[r#"{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted"}]}"#]), ok()])
        .section(r#"{"maxTokensField":"max_completion_tokens"}"#);
    complete(&fake, &r).unwrap();
    assert_eq!(fake.body(1)["max_tokens"], 5);
}

#[test]
fn a_value_that_is_too_large_is_the_callers_affair_and_nothing_is_tried_for_ever() {
    let mut r = request(vec![]);
    r.max_output = Some(5);
    let fake = Fake::new(vec![answer(400, "", &[r#"{"error":{"message":"max_tokens is too large"}}"#])]);
    assert_eq!(complete(&fake, &r).unwrap_err().kind, FailureKind::InvalidRequest);
    let stubborn = || answer(400, "", &["stream_options, max_tokens and max_completion_tokens are not supported"]);
    let fake = Fake::new((0..9).map(|_| stubborn()).collect());
    assert_eq!(complete(&fake, &r).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(fake.sent.borrow().len(), 3);
}

#[test]
fn a_refusal_carries_its_kind_and_when_to_come_back() {
    let f = run(&Fake::new(vec![answer(429, "Retry-After: 3", &["{}"])])).unwrap_err();
    assert_eq!((f.kind, f.retryable, f.retry_after_ms), (FailureKind::RateLimited, true, Some(3000)));
    let f = run(&Fake::new(vec![answer(401, "Retry-After: 3", &["{}"])])).unwrap_err();
    assert_eq!((f.kind, f.retryable, f.retry_after_ms), (FailureKind::Authentication, false, None));
}

#[test]
fn a_cancelled_run_stops_at_once() {
    let text: String = (0..50).map(|_| format!("data: {HI}\n\n")).collect();
    let mut fake = Fake::new(vec![answer(200, "", &[&text])]);
    fake.cancel_after = Some(2);
    assert_eq!(run(&fake).unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(fake.events.borrow().len(), 2);
}

#[test]
fn the_request_goes_where_the_manifest_says_with_the_owners_headers() {
    let fake =
        Fake::new(vec![answer(200, "", &[&format!("data: {STOP}\n\n")])]).section(r#"{"headers":{"X-Title":"t"}}"#);
    run(&fake).unwrap();
    let sent = fake.sent.borrow();
    assert_eq!((sent[0].method, sent[0].endpoint, sent[0].path.as_str()), ("POST", "api", "/chat/completions"));
    assert!(sent[0].headers.contains(&("X-Title".into(), "t".into())));
    assert!(!sent[0].headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("authorization")));
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_however_it_is_cut(sizes in prop::collection::vec(1usize..30, 1..60)) {
        let whole = [
            r#"{"choices":[{"delta":{"content":"grün 日本"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"ü\":"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ];
        let text: String = whole.iter().map(|c| format!("data: {c}\r\n\r\n")).collect();
        let fake = Fake::new(vec![in_pieces(&text, &sizes)]);
        run(&fake).unwrap();
        prop_assert_eq!(fake.events.into_inner(), events(&whole));
    }

    #[test]
    fn whatever_a_server_sends_ends_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..300), json in r#"(\{|\}|\[|\]|"|:|,|choices|delta|tool_calls|index|null|1|data: |\n){0,60}"#) {
        for body in [bytes, json.into_bytes()] {
            let mut reply = answer(200, "", &[]);
            reply.chunks.push_back(body);
            let _ = run(&Fake::new(vec![reply]));
        }
    }
}
