//! A provider against a fake kernel.

use super::*;
use carapace_provider_wire::testing::{answer, in_pieces, question, request};
use carapace_sdk::Error;
use carapace_sdk::prelude::*;
use carapace_sdk::testing::Answer;
use proptest::prelude::*;
use std::cell::RefCell;

/// What came of a question, and what was pushed.
fn run(host: &mut TestHost, answers: impl IntoIterator<Item = Answer>) -> (Result<(), Failure>, Vec<Event>) {
    let result = host.fresh().random([1; 12]).answers(answers).complete(question());
    (result.map(drop), host.emitted())
}

fn stream(host: &mut TestHost, chunks: &[&str]) -> (Result<(), Failure>, Vec<Event>) {
    let text: String = chunks.iter().map(|c| format!("data: {c}\n\n")).collect();
    run(host, [answer(200, "content-type: text/event-stream", &[&text])])
}

fn events(host: &mut TestHost, chunks: &[&str]) -> Vec<Event> {
    let (result, events) = stream(host, chunks);
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

#[carapace_sdk::test]
fn text_is_pushed_piece_by_piece_with_usage_and_stop_at_the_end(host: &mut TestHost) {
    let got = events(
        host,
        &[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
            HI,
            r#"{"choices":[{"index":0,"delta":{"content":" you"},"finish_reason":null}]}"#,
            STOP,
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}}"#,
            "[DONE]",
            "not read any more",
        ],
    );
    let usage = Usage { input: 5, output: 7, cached_input: 2, reasoning: 3, extra: vec![] };
    assert_eq!(got, [text("hi"), text(" you"), Event::Usage(usage), Event::Stop(StopReason::End)]);
}

#[carapace_sdk::test]
fn parallel_calls_are_whole_when_they_are_pushed(host: &mut TestHost) {
    let got = events(
        host,
        &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}},{"index":1,"id":"","function":{"name":"g"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"function_call":{"name":"old"}},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
    );
    let made = format!("call_{}", "01".repeat(12));
    assert_eq!(got, [call("a", "f", "{\"x\":1}"), call(&made, "g", "{}"), Event::Stop(StopReason::ToolCalls)]);
}

#[carapace_sdk::test]
fn whole_calls_with_object_arguments_and_the_wrong_finish_reason_are_calls(host: &mut TestHost) {
    let got = events(
        host,
        &[
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x":1}}},{"id":"b","function":{"name":"f","arguments":{}}}]},"finish_reason":"stop"}]}"#,
        ],
    );
    assert_eq!(got, [call("a", "f", "{\"x\":1}"), call("b", "f", "{}"), Event::Stop(StopReason::ToolCalls)]);
}

#[carapace_sdk::test]
fn reasoning_comes_under_either_name_and_once(host: &mut TestHost) {
    let got = events(
        host,
        &[
            r#"{"choices":[{"delta":{"reasoning_content":"a","reasoning":"a"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"c"}]},{"type":"text","text":"d"}]}}]}"#,
            STOP,
        ],
    );
    let r = |t: &str| Event::Reasoning(t.into());
    assert_eq!(got, [r("a"), r("b"), r("c"), text("d"), Event::Stop(StopReason::End)]);
}

#[carapace_sdk::test]
fn every_finish_reason_has_its_meaning(host: &mut TestHost) {
    let mut reason =
        |r: &str| events(host, &[HI, &format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{r}"}}]}}"#)]).pop();
    assert_eq!(reason("length"), Some(Event::Stop(StopReason::Length)));
    assert_eq!(reason("content_filter"), Some(Event::Stop(StopReason::ContentFilter)));
    assert_eq!(reason("tool_calls"), Some(Event::Stop(StopReason::End)), "without a call");
    assert_eq!(reason("tired"), Some(Event::Stop(StopReason::Other("tired".into()))));
}

#[carapace_sdk::test]
fn a_missing_done_is_no_failure_and_a_missing_end_is_one(host: &mut TestHost) {
    assert_eq!(events(host, &[HI, STOP]), [text("hi"), Event::Stop(StopReason::End)]);
    assert_eq!(events(host, &[HI, "[DONE]"]), [text("hi"), Event::Stop(StopReason::End)]);
    let (result, got) = stream(host, &[HI]);
    assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted);
    assert_eq!(got, [text("hi")]);
    assert_eq!(stream(host, &[]).0.unwrap_err().kind, FailureKind::Interrupted);
}

#[carapace_sdk::test]
fn a_stream_cut_inside_a_chunk_is_interrupted_wherever_it_is_cut(host: &mut TestHost) {
    let whole = format!("data: {HI}\n\ndata: {STOP}\n\n");
    for cut in 0..whole.len() - 3 {
        let (result, got) = run(host, [answer(200, "", &[&whole[..cut]])]);
        match got.last() {
            Some(Event::Stop(_)) => assert!(result.is_ok() && whole[..cut].contains("\"stop\"}]}"), "cut at {cut}"),
            _ => assert_eq!(result.unwrap_err().kind, FailureKind::Interrupted, "cut at {cut}"),
        }
    }
}

#[carapace_sdk::test]
fn a_connection_that_breaks_is_interrupted_and_says_how(host: &mut TestHost) {
    let broken = answer(200, "", &[&format!("data: {HI}\n\n")]);
    let f = run(host, [broken.breaks(Error::Unavailable("connection reset".into()))]).0.unwrap_err();
    assert_eq!((f.kind, f.retryable, f.message.as_str()), (FailureKind::Interrupted, true, "connection reset"));
    let f = run(host, [Answer::unreachable()]).0.unwrap_err();
    assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
}

#[carapace_sdk::test]
fn an_error_in_the_stream_and_a_chunk_that_cannot_be_read_are_failures_that_name_it(host: &mut TestHost) {
    let (result, got) = stream(host, &[HI, r#"{"error":{"message":"out of memory","code":500}}"#]);
    let f = result.unwrap_err();
    assert_eq!((f.kind, got.len()), (FailureKind::Unavailable, 1));
    assert!(f.message.contains("out of memory"));
    let f = stream(host, &[HI, "{\"choices\":[{"]).0.unwrap_err();
    assert_eq!(f.kind, FailureKind::Other("malformed".into()));
    assert!(f.message.contains("{\"choices\":[{"), "{}", f.message);
    assert_eq!(stream(host, &["7", STOP]).0.unwrap_err().kind, FailureKind::Other("malformed".into()));
}

#[carapace_sdk::test]
fn an_answer_that_is_no_stream_is_taken_too(host: &mut TestHost) {
    let body = r#" {"choices":[{"message":{"role":"assistant","content":"hi","reasoning_content":"r","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let whole = answer(200, "content-type: application/json", &[" ", &body[..40], &body[40..]]);
    let (result, got) = run(host, [whole]);
    result.unwrap();
    let usage = Usage { input: 1, output: 2, cached_input: 0, reasoning: 0, extra: vec![] };
    assert_eq!(
        got,
        [
            Event::Reasoning("r".into()),
            text("hi"),
            call("a", "f", "{}"),
            Event::Usage(usage),
            Event::Stop(StopReason::ToolCalls)
        ]
    );
    let unknown = r#"{"error":{"message":"no","code":"model_not_found","type":"invalid_request_error"}}"#;
    assert_eq!(run(host, [answer(200, "", &[unknown])]).0.unwrap_err().kind, FailureKind::UnknownModel);
    assert!(run(host, [answer(200, "", &["{\"choices\":[]}"])]).0.is_err());
}

#[carapace_sdk::test]
fn a_server_that_refuses_a_field_is_asked_again_without_it(host: &mut TestHost) {
    let ok = || answer(200, "", &[&format!("data: {HI}\n\ndata: {STOP}\n\n")]);
    let mut r = request(vec![]);
    (r.max_output, r.temperature) = (Some(5), Some(0.5));
    host.answers([
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
    host.complete(r.clone()).unwrap();
    let last = host.sent()[3].json();
    assert!(
        last.get("stream_options").is_none() && last.get("temperature").is_none() && last.get("max_tokens").is_none()
    );
    assert_eq!(last["max_completion_tokens"], 5);

    let refusal = r#"{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted"}]}"#;
    host.fresh().answers([answer(422, "", &[refusal]), ok()]);
    host.config(json!({ "maxTokensField": "max_completion_tokens" })).complete(r).unwrap();
    assert_eq!(host.sent()[1].json()["max_tokens"], 5);
}

#[carapace_sdk::test]
fn a_value_that_is_too_large_is_the_callers_affair_and_nothing_is_tried_for_ever(host: &mut TestHost) {
    let mut r = request(vec![]);
    r.max_output = Some(5);
    host.answer(answer(400, "", &[r#"{"error":{"message":"max_tokens is too large"}}"#]));
    assert_eq!(host.complete(r.clone()).unwrap_err().kind, FailureKind::InvalidRequest);
    let stubborn = || answer(400, "", &["stream_options, max_tokens and max_completion_tokens are not supported"]);
    host.fresh().answers((0..9).map(|_| stubborn()));
    assert_eq!(host.complete(r).unwrap_err().kind, FailureKind::InvalidRequest);
    assert_eq!(host.sent().len(), 3);
}

#[carapace_sdk::test]
fn a_refusal_carries_its_kind_and_when_to_come_back(host: &mut TestHost) {
    let f = run(host, [answer(429, "Retry-After: 3", &["{}"])]).0.unwrap_err();
    assert_eq!((f.kind, f.retryable, f.retry_after_ms), (FailureKind::RateLimited, true, Some(3000)));
    let f = run(host, [answer(401, "Retry-After: 3", &["{}"])]).0.unwrap_err();
    assert_eq!((f.kind, f.retryable, f.retry_after_ms), (FailureKind::Authentication, false, None));
}

#[carapace_sdk::test]
fn a_cancelled_run_stops_at_once(host: &mut TestHost) {
    let text: String = (0..50).map(|_| format!("data: {HI}\n\n")).collect();
    host.answer(answer(200, "", &[&text])).cancel_after(2);
    assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(host.emitted().len(), 2);
}

#[carapace_sdk::test]
fn the_request_goes_where_the_manifest_says_with_the_owners_headers(host: &mut TestHost) {
    host.answer(answer(200, "", &[&format!("data: {STOP}\n\n")])).config(json!({ "headers": { "X-Title": "t" } }));
    host.complete(question()).unwrap();
    let sent = &host.sent()[0];
    assert_eq!((sent.method.as_str(), sent.target.to_string().as_str()), ("POST", "api:/chat/completions"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!((sent.header("X-Title"), sent.header("authorization")), (Some("t"), None));
}

#[carapace_sdk::test]
fn a_stream_reads_the_same_however_it_is_cut(host: &mut TestHost) {
    let whole = [
        r#"{"choices":[{"delta":{"content":"grün 日本"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"ü\":"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ];
    let text: String = whole.iter().map(|c| format!("data: {c}\r\n\r\n")).collect();
    let expected = events(host, &whole);
    let host = RefCell::new(host);
    proptest!(|(sizes in prop::collection::vec(1usize..30, 1..60))| {
        let (result, got) = run(*host.borrow_mut(), [in_pieces(&text, &sizes)]);
        prop_assert!(result.is_ok());
        prop_assert_eq!(&got, &expected);
    });
}

#[carapace_sdk::test]
fn whatever_a_server_sends_ends_in_a_result(host: &mut TestHost) {
    let host = RefCell::new(host);
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..300), json in r#"(\{|\}|\[|\]|"|:|,|choices|delta|tool_calls|index|null|1|data: |\n){0,60}"#)| {
        for body in [bytes, json.into_bytes()] {
            let _ = run(*host.borrow_mut(), [answer(200, "", &[body])]);
        }
    });
}
