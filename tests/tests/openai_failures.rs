//! The provider `openai` when its server fails: errors by their names, tries that are repeated or not, the next of the route, hanging up.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use carapace_tests::cable::Cable;
use carapace_tests::peer;
use carapace_tests::peers::{self, asked};
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};

fn options(base: &str) -> KernelOptions {
    KernelOptions::openai(&format!("{base}/v1")).with_config("{ agent: { route: [\"openai/gpt-5-mini\"] } }")
}

/// `openai` at one server, `openai:second` at another, in this order.
fn two(first: &str, second: &str) -> KernelOptions {
    KernelOptions::default().with_config(&format!(
        "{{ agent: {{ route: [\"openai/first\", \"openai:second/second\"] }}, instances: {{
            openai: {{ endpoints: {{ api: \"{first}/v1\" }} }},
            \"openai:second\": {{ endpoints: {{ api: \"{second}/v1\" }} }} }} }}"
    ))
}

fn grant_second(kernel: &Kernel) {
    let out = kernel.cli(&["plugin", "grant", "--yes", "local/openai/second"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn message(body: &Value) -> &str {
    body["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_answer_is_called_that_after_it_was_tried_again() {
    let fixtures = json!([{"match": {}, "response": {"content": "never seen"}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chaos-malformed", "1"]));
    let kernel = Kernel::start(options(&aimock.base));
    let turn = kernel.turn("s", "carapace", "Hello").await;
    assert_eq!(turn.code(), "E-MODEL-010", "{}", turn.body);
    assert!(message(&turn.body).contains("cannot be read"), "{}", turn.body);
    assert_eq!(asked(&aimock).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_fails_the_run_and_nothing_is_said_twice() {
    let fixtures = json!([{"match": {"userMessage": "Tell me"}, "response": {"content": "abcdefghij"},
        "chunkSize": 1, "latency": 20, "truncateAfterChunks": 5}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    // A second model stands by: what has begun is not begun again elsewhere.
    let kernel = Kernel::start(two(&aimock.base, &aimock.base));
    grant_second(&kernel);
    let response = kernel
        .http()
        .post(format!("{}/v1/chat/completions", kernel.base))
        .json(&json!({"stream": true, "messages": [{"role": "user", "content": "Tell me"}]}))
        .send()
        .await
        .unwrap();
    let body = response.text().await.unwrap();
    let chunks: Vec<Value> = body
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .filter(|d| *d != "[DONE]")
        .map(|d| serde_json::from_str(d).unwrap())
        .collect();
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    // What the server wrote last may be lost with the connection.
    assert!(!text.is_empty() && "abcd".starts_with(&text), "{body}");
    let error = &chunks.last().unwrap()["error"];
    assert_eq!(error["code"], "E-MODEL-007", "{body}");
    assert_eq!(asked(&aimock).await.len(), 1, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_is_tried_again_and_then_told() {
    let fixtures = json!([
        {"match": {"userMessage": "Once", "sequenceIndex": 0},
            "response": {"error": {"message": "oops", "type": "server_error"}, "status": 500}},
        {"match": {"userMessage": "Once"}, "response": {"content": "Now it works."}},
        {"match": {"userMessage": "Always"}, "response": {"content": "never seen"}, "chaos": {"dropRate": 1}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(options(&aimock.base));
    assert_eq!(kernel.say("once", "Once").await, "Now it works.");
    let turn = kernel.turn("always", "carapace", "Always").await;
    assert_eq!((turn.status, turn.code()), (503, "E-MODEL-006"), "{}", turn.body);
    assert!(message(&turn.body).contains("Chaos: request dropped"), "{}", turn.body);
    assert!(message(&turn.body).contains("openai/gpt-5-mini"), "{}", turn.body);
    let statuses: Vec<Value> = asked(&aimock).await.iter().map(|e| e["response"]["status"].clone()).collect();
    assert_eq!(statuses, [500, 200, 500, 500, 500]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_dropped_is_tried_again_and_then_told() {
    let fixtures = json!([{"match": {}, "response": {"content": "never seen"}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chaos-disconnect", "1"]));
    let kernel = Kernel::start(options(&aimock.base));
    let turn = kernel.turn("s", "carapace", "Hello").await;
    assert_eq!((turn.status, turn.code()), (503, "E-MODEL-006"), "{}", turn.body);
    assert_eq!(asked(&aimock).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_but_not_if_it_wants_to_be_left_alone_for_long() {
    let busy = |after: u32| json!({"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429, "retryAfter": after});
    let fixtures = json!([
        {"match": {"userMessage": "Soon", "sequenceIndex": 0}, "response": busy(1)},
        {"match": {"userMessage": "Soon"}, "response": {"content": "Thanks for waiting."}},
        {"match": {"userMessage": "Later"}, "response": busy(3600)},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(options(&aimock.base));
    assert_eq!(kernel.say("soon", "Soon").await, "Thanks for waiting.");
    let turn = kernel.turn("later", "carapace", "Later").await;
    assert_eq!((turn.status, turn.code()), (429, "E-MODEL-002"), "{}", turn.body);
    assert!(message(&turn.body).contains("slow down"), "{}", turn.body);
    let statuses: Vec<Value> = asked(&aimock).await.iter().map(|e| e["response"]["status"].clone()).collect();
    assert_eq!(statuses, [429, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_please_a_judge_of_clients() {
    // It fails a client that comes back before `Retry-After`, repeats what cannot succeed, or never gives up.
    let rates =
        ["--error-rate", "429=0.3", "--error-rate", "503=0.15", "--error-rate", "400=0.1", "--tool-mode", "off"];
    let llmock = peer!("llmock", peers::llmock(&rates));
    let kernel = Kernel::start(options(&llmock.base));
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
    let wrong = "the-wrong-key-of-it";
    let kernel = Kernel::start(options(&aimock.base).with_env("OPENAI_API_KEY", wrong));
    let turn = kernel.turn("s", "carapace", "Hello").await;
    assert_eq!(turn.code(), "E-MODEL-001", "{}", turn.body);
    assert!(message(&turn.body).contains("carapace secrets set "), "{}", turn.body);
    assert!(message(&turn.body).contains(" --instance local/openai"), "{}", turn.body);
    assert!(!turn.body.to_string().contains(wrong) && !kernel.log().contains(wrong));
    drop(kernel);
    let kernel = Kernel::start(options(&aimock.base).with_env("OPENAI_API_KEY", "the-right-key-of-it"));
    assert_eq!(kernel.say("s", "Hello").await, "You are in.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_a_404_and_is_not_tried_again() {
    let error = json!({"message": "The model `gpt-99` does not exist", "type": "invalid_request_error", "code": "model_not_found"});
    let fixtures = json!([{"match": {"model": "gpt-99"}, "response": {"error": error, "status": 404}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(options(&aimock.base));
    let turn = kernel.turn("s", "openai/gpt-99", "Hello").await;
    assert_eq!((turn.status, turn.code()), (404, "model_not_found"), "{}", turn.body);
    assert!(message(&turn.body).contains("gpt-99"), "{}", turn.body);
    assert_eq!(asked(&aimock).await.len(), 1);
    let turn = kernel.turn("s", "nowhere/gpt-99", "Hello").await;
    assert_eq!((turn.status, turn.code()), (404, "model_not_found"), "{}", turn.body);
    assert_eq!(asked(&aimock).await.len(), 1, "a provider that is not there is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_model_of_the_route_answers_for_a_server_that_is_gone() {
    let fixtures = json!([{"match": {"model": "second"}, "response": {"content": "The second speaks."}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = Kernel::start(two(&peers::nowhere(), &aimock.base));
    let turn = kernel.turn("before", "carapace", "Hello").await;
    assert_eq!(turn.code(), "E-MODEL-006", "{}", turn.body);
    assert!(message(&turn.body).contains("openai/first"), "{}", turn.body);
    assert!(kernel.log().contains("carapace plugin grant local/openai/second"), "{}", kernel.log());
    grant_second(&kernel);
    let turn = kernel.turn("after", "carapace", "Hello").await;
    assert_eq!(turn.text(), "The second speaks.", "{}", kernel.log());
    assert_eq!(turn.body["model"], "openai:second/second", "{}", turn.body);
    let asked = asked(&aimock).await;
    assert_eq!((asked.len(), &asked[0]["body"]["model"]), (1, &json!("second")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_hangs_up_on_the_model_too() {
    // Says one letter, and would say the next in ten minutes.
    let fixtures = json!([
        {"match": {"userMessage": "Ponder"}, "response": {"content": "abc"}, "chunkSize": 1,
            "recordedTimings": {"ttftMs": 0, "interChunkDelaysMs": [0, 600_000, 600_000], "totalDurationMs": 1_200_000}},
        {"match": {"userMessage": "Still there?"}, "response": {"content": "Yes."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let mut cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base));
    let mut response = kernel
        .http()
        .post(format!("{}/v1/chat/completions", kernel.base))
        .header("x-carapace-session-key", "s")
        .json(&json!({"stream": true, "messages": [{"role": "user", "content": "Ponder"}]}))
        .send()
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("\"content\":\"a\"") {
        seen.push_str(std::str::from_utf8(&response.chunk().await.unwrap().expect("the stream ended")).unwrap());
    }
    drop(response);
    cable.hung_up().await;
    // The session is free again.
    assert_eq!(kernel.say("s", "Still there?").await, "Yes.");
}
