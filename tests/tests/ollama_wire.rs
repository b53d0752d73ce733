//! The provider `ollama` against aimock, which speaks its chat API: what is sent, what is understood, what happens when it breaks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use carapace_tests::cable::Cable;
use carapace_tests::peers::{self, asked_at};
use carapace_tests::server::Server;
use carapace_tests::turns::Turn;
use carapace_tests::{Kernel, KernelOptions, peer};
use serde_json::{Value, json};

fn options(base: &str) -> KernelOptions {
    KernelOptions::ollama(base).with_config("{ agent: { route: [\"ollama/qwen3:8b\"], system: \"Be brief.\" } }")
}

fn message(turn: &Turn) -> &str {
    turn.body["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {}", turn.body))
}

async fn statuses(aimock: &Server) -> Vec<Value> {
    asked_at(aimock, "/api/chat").await.iter().map(|e| e["response"]["status"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_becomes_exactly_this_request() {
    let fixtures = json!([{"match": {"userMessage": "Are you there?"}, "response": {"content": "Yes."}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base));
    assert_eq!(kernel.say("s", "Are you there?").await, "Yes.", "{}", kernel.log());
    let asked = cable.asked("/api/chat");
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(one.header("authorization"), None);
    let mut body = one.body.clone();
    let fields = body.as_object_mut().unwrap();
    let tools = fields.remove("tools").unwrap();
    let system = body["messages"][0]["content"].take();
    assert!(system.as_str().unwrap().starts_with("Be brief.\n"), "{system}");
    assert_eq!(
        body,
        json!({"model": "qwen3:8b", "stream": true, "truncate": false, "shift": false,
            "options": {"num_ctx": 16384, "num_predict": 4096},
            "messages": [{"role": "system", "content": null}, {"role": "user", "content": "Are you there?"}]})
    );
    let math = tools.as_array().unwrap().iter().find(|t| t["function"]["name"] == "math_eval").unwrap();
    assert_eq!(
        (&math["type"], &math["function"]["parameters"]["required"]),
        (&json!("function"), &json!(["expression"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_a_connection_cuts_apart_arrive_whole() {
    let text = "Grüße — 世界, 👩‍👩‍👧‍👦! \"Quoted\", and\nnew lines: {\"a\": [1]}";
    let fixtures = json!([{"match": {"userMessage": "Greet the world"}, "response": {"content": text}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chunk-size", "7"]));
    let cable = Cable::to(&aimock.base, 1).await;
    let kernel = Kernel::start(options(&cable.base));
    assert_eq!(kernel.say("s", "Greet the world").await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_and_its_result_goes_back_with_the_models_thought() {
    let fixtures = json!([
        {"match": {"userMessage": "Compute", "hasToolResult": false}, "response": {"reasoning": "A sum.",
            "toolCalls": [{"name": "math_eval", "arguments": {"expression": "6*7"}}, {"name": "math_eval", "arguments": {"expression": "1+1"}}]}},
        {"match": {"userMessage": "Compute", "hasToolResult": true}, "response": {"content": "It is 42."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base));
    let turn = kernel.turn("s", "carapace", "Compute it").await;
    assert_eq!(turn.text(), "It is 42.", "{}", kernel.log());
    let asked = cable.asked("/api/chat");
    let [first, second] = asked.as_slice() else { panic!("{asked:?}") };
    let said = second.body["messages"].as_array().unwrap();
    assert_eq!(said[..2], first.body["messages"].as_array().unwrap()[..], "the beginning stays as it was");
    assert_eq!((&said[2]["role"], &said[2]["thinking"]), (&json!("assistant"), &json!("A sum.")));
    let calls = said[2]["tool_calls"].as_array().unwrap();
    assert_eq!(calls[0]["function"], json!({"name": "math_eval", "arguments": {"expression": "6*7"}}));
    assert_ne!(calls[0]["id"], calls[1]["id"], "the server gave none");
    for (message, (call, result)) in said[3..].iter().zip(calls.iter().zip(["42", "2"])) {
        assert_eq!(
            *message,
            json!({"role": "tool", "content": result, "tool_name": "math_eval", "tool_call_id": call["id"]})
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_address_is_enough_and_the_newest_of_its_models_answers() {
    let fixtures = json!([{"match": {"model": "newest:1b"}, "response": {"content": "Fresh."}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(KernelOptions::ollama(&aimock.base));
    let turn = kernel.turn("s", "carapace", "Who are you?").await;
    assert_eq!((turn.text(), &turn.body["model"]), ("Fresh.", &json!("ollama/newest:1b")), "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_installed_is_told_with_the_command_that_installs_it() {
    let fixtures = json!([{"match": {"model": "gone"}, "response": {"error": {"message": "model 'gone' not found", "type": "api_error"}, "status": 404}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(options(&aimock.base));
    let turn = kernel.turn("s", "ollama/gone", "Hello").await;
    assert_eq!((turn.status, turn.code()), (404, "model_not_found"), "{}", turn.body);
    assert!(message(&turn).contains("`ollama pull gone`"), "{}", turn.body);
    assert_eq!(statuses(&aimock).await, [404]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_with_what_starts_it() {
    let kernel = Kernel::start(options(&peers::nowhere()));
    let turn = kernel.turn("s", "carapace", "Hello").await;
    assert_eq!((turn.status, turn.code()), (503, "E-MODEL-006"), "{}", turn.body);
    assert!(message(&turn).contains("`ollama serve`"), "{}", turn.body);
    let turn = kernel.turn("s", "qwen3:8b", "Hello").await;
    assert_eq!(turn.status, 404, "{}", turn.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_or_told() {
    let fixtures = json!([
        {"match": {"userMessage": "Once", "sequenceIndex": 0}, "response": {"error": {"message": "server busy", "type": "api_error"}, "status": 503}},
        {"match": {"userMessage": "Once"}, "response": {"content": "Now it works."}},
        {"match": {"userMessage": "Soon", "sequenceIndex": 0}, "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429, "retryAfter": 1}},
        {"match": {"userMessage": "Soon"}, "response": {"content": "Thanks for waiting."}},
        {"match": {"userMessage": "Tell me"}, "response": {"content": "abcdefghij"}, "chunkSize": 1, "latency": 20, "truncateAfterChunks": 5},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(options(&aimock.base));
    assert_eq!(kernel.say("once", "Once").await, "Now it works.");
    assert_eq!(kernel.say("soon", "Soon").await, "Thanks for waiting.");
    let turn = kernel.turn("broken", "carapace", "Tell me").await;
    assert_eq!(turn.code(), "E-MODEL-007", "{}", turn.body);
    assert_eq!(statuses(&aimock).await, [503, 200, 429, 200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_is_told_after_three_tries() {
    // A line that makes no sense and has no end is one that was cut.
    for (flag, code) in [("--chaos-malformed", "E-MODEL-007"), ("--chaos-disconnect", "E-MODEL-006")] {
        let fixtures = json!([{"match": {}, "response": {"content": "never seen"}}]);
        let aimock = peer!("aimock", peers::aimock(&fixtures, &[flag, "1"]));
        let kernel = Kernel::start(options(&aimock.base));
        let turn = kernel.turn("s", "carapace", "Hello").await;
        assert_eq!(turn.code(), code, "{flag}: {}", turn.body);
        assert_eq!(statuses(&aimock).await.len(), 3, "{flag}");
    }
}
