//! The provider `anthropic` when its server fails.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use carapace_tests::peers::{self, asked_at};
use carapace_tests::server::Server;
use carapace_tests::turns::Turn;
use carapace_tests::{Kernel, KernelOptions, peer};
use serde_json::{Value, json};

fn start(base: &str) -> Kernel {
    Kernel::start(KernelOptions::anthropic(base).with_config("{ agent: { route: [\"anthropic/claude-opus-5-5\"] } }"))
}

fn message(turn: &Turn) -> &str {
    turn.body["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {}", turn.body))
}

async fn statuses(aimock: &Server) -> Vec<Value> {
    asked_at(aimock, "/v1/messages").await.iter().map(|e| e["response"]["status"].clone()).collect()
}

fn refuses(status: u16, kind: &str, text: &str, after: Option<u32>) -> Value {
    let mut r = json!({"error": {"message": text, "type": kind}, "status": status});
    if let Some(seconds) = after {
        r["retryAfter"] = seconds.into();
    }
    r
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_when_it_says() {
    let fixtures = json!([
        {"match": {"userMessage": "Soon", "sequenceIndex": 0}, "response": refuses(429, "rate_limit_error", "slow down", Some(1))},
        {"match": {"userMessage": "Soon"}, "response": {"content": "Thanks for waiting."}},
        {"match": {"userMessage": "Later"}, "response": refuses(429, "rate_limit_error", "slow down", Some(3600))},
        {"match": {"userMessage": "Crowded", "sequenceIndex": 0}, "response": refuses(529, "overloaded_error", "Overloaded", None)},
        {"match": {"userMessage": "Crowded"}, "response": {"content": "Now it works."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = start(&aimock.base);
    assert_eq!(kernel.say("soon", "Soon").await, "Thanks for waiting.");
    let turn = kernel.turn("later", "carapace", "Later").await;
    assert_eq!((turn.status, turn.code()), (429, "E-MODEL-002"), "{}", turn.body);
    assert!(message(&turn).contains("slow down"), "{}", turn.body);
    assert_eq!(kernel.say("crowded", "Crowded").await, "Now it works.");
    assert_eq!(statuses(&aimock).await, [429, 200, 429, 529, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_succeed_is_told_and_not_tried_again() {
    let fixtures = json!([
        {"match": {"userMessage": "Long"}, "response": refuses(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum", None)},
        {"match": {"userMessage": "Wrong"}, "response": refuses(400, "invalid_request_error", "messages: not like this", None)},
        {"match": {"model": "claude-99"}, "response": refuses(404, "not_found_error", "model: claude-99 not found", None)},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = start(&aimock.base);
    assert_eq!(kernel.turn("a", "carapace", "Long").await.code(), "context_length_exceeded");
    assert_eq!(kernel.turn("b", "carapace", "Wrong").await.code(), "E-MODEL-003");
    let turn = kernel.turn("c", "anthropic/claude-99", "Hello").await;
    assert_eq!((turn.status, turn.code()), (404, "model_not_found"), "{}", turn.body);
    assert_eq!(statuses(&aimock).await, [400, 400, 404]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_the_model_refuses_is_left_out_of_a_second_try() {
    let refusal = "\"thinking.type.disabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.";
    let fixtures = json!([
        {"match": {"userMessage": "Hello", "sequenceIndex": 0}, "response": refuses(400, "invalid_request_error", refusal, None)},
        {"match": {"userMessage": "Hello"}, "response": {"content": "Hello."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let config = json!({"agent": {"route": ["anthropic/claude-opus-5-5"]}, "instances": {"anthropic": {"config": {"thinking": "off"}}}});
    let kernel = Kernel::start(KernelOptions::anthropic(&aimock.base).with_config(&config.to_string()));
    assert_eq!(kernel.say("s", "Hello").await, "Hello.");
    assert_eq!(statuses(&aimock).await, [400, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_fails_the_run_and_nothing_is_said_twice() {
    let fixtures = json!([{"match": {"userMessage": "Tell me"}, "response": {"content": "abcdefghij"},
        "chunkSize": 1, "latency": 20, "truncateAfterChunks": 6}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = start(&aimock.base);
    let turn = kernel.turn("s", "carapace", "Tell me").await;
    assert_eq!(turn.code(), "E-MODEL-007", "{}", turn.body);
    assert_eq!(statuses(&aimock).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_is_told_after_three_tries() {
    for (flag, code) in
        [("--chaos-malformed", "E-MODEL-010"), ("--chaos-disconnect", "E-MODEL-006"), ("--chaos-drop", "E-MODEL-006")]
    {
        let fixtures = json!([{"match": {}, "response": {"content": "never seen"}}]);
        let aimock = peer!("aimock", peers::aimock(&fixtures, &[flag, "1"]));
        let kernel = start(&aimock.base);
        let turn = kernel.turn("s", "carapace", "Hello").await;
        assert_eq!(turn.code(), code, "{flag}: {}", turn.body);
        assert_eq!(statuses(&aimock).await.len(), 3, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_please_a_judge_of_clients() {
    // It fails a client that comes back before `Retry-After`, repeats what cannot succeed, or never gives up.
    let rates =
        ["--error-rate", "429=0.3", "--error-rate", "529=0.15", "--error-rate", "400=0.1", "--tool-mode", "off"];
    let llmock = peer!("llmock", peers::llmock(&rates));
    let kernel = start(&format!("{}/anthropic", llmock.base));
    let mut answered = 0;
    for i in 0..12 {
        let turn = kernel.turn(&format!("s{i}"), "carapace", &format!("Question {i}")).await;
        answered += u32::from(turn.status == 200);
    }
    assert!(answered > 0, "no turn came through:\n{}", kernel.log());
    println!("{}", peers::runs(&peers::python().unwrap().join("llmock"), &["report", "--url", &llmock.base]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_told_with_the_command_that_sets_it_and_never_shown() {
    let fixtures = json!([{"match": {}, "response": {"content": "You are in."}}]);
    let aimock = peer!("aimock", peers::aimock_that_wants(Some("the-right-key-of-it"), &fixtures, &[]));
    let options = |key: &str| {
        let config = "{ agent: { route: [\"anthropic/claude-opus-5-5\"] } }";
        KernelOptions::anthropic(&aimock.base).with_config(config).with_env("ANTHROPIC_API_KEY", key)
    };
    let wrong = "the-wrong-key-of-it";
    let kernel = Kernel::start(options(wrong));
    let turn = kernel.turn("s", "carapace", "Hello").await;
    assert_eq!(turn.code(), "E-MODEL-001", "{}", turn.body);
    assert!(message(&turn).contains(" --instance local/anthropic"), "{}", turn.body);
    assert!(!turn.body.to_string().contains(wrong) && !kernel.log().contains(wrong));
    drop(kernel);
    let kernel = Kernel::start(options("the-right-key-of-it"));
    assert_eq!(kernel.say("s", "Hello").await, "You are in.");
}
