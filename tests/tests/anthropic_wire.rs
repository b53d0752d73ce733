//! The provider `anthropic` on the wire, against aimock and llama.cpp, its requests judged by Anthropic's own client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests; what is judged goes through a file"
)]

use carapace_tests::cable::{Asked, Cable};
use carapace_tests::peers::{self, script};
use carapace_tests::{Kernel, KernelOptions, peer};
use serde_json::{Value, json};

/// Thinks when it is told to, takes a budget for it, and follows schemas.
const MODEL: &str = "anthropic/claude-sonnet-4-5";

fn options(base: &str, section: &Value) -> KernelOptions {
    KernelOptions::anthropic(base).with_config(
        &json!({"agent": {"route": [MODEL], "system": "Be brief."}, "instances": {"anthropic": {"config": section}}})
            .to_string(),
    )
}

/// Anthropic's own types know every field of these requests.
fn judged(asked: &[Asked]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bodies: Vec<&Value> = asked.iter().map(|a| &a.body).collect();
    std::fs::write(file.path(), serde_json::to_vec(&bodies).unwrap()).unwrap();
    let judge = script("anthropic_params.py");
    let args = [judge.to_str().unwrap(), file.path().to_str().unwrap()];
    let said = peers::runs(&peers::python().unwrap().join("python"), &args);
    assert_eq!(said.trim(), format!("{} valid", asked.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_becomes_exactly_this_request() {
    peer!("python", peers::python());
    let fixtures = json!([{"match": {"userMessage": "Are you there?"}, "response": {"content": "Yes."}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base, &json!({})).with_env("ANTHROPIC_API_KEY", "a-key-for-the-server"));
    assert_eq!(kernel.say("s", "Are you there?").await, "Yes.", "{}", kernel.log());
    let asked = cable.asked("/v1/messages");
    judged(&asked);
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(one.header("x-api-key"), Some("a-key-for-the-server"));
    assert_eq!(one.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(one.header("authorization"), None);
    let mut body = one.body.clone();
    let fields = body.as_object_mut().unwrap();
    let tools = fields.remove("tools").unwrap();
    let mut system = fields.remove("system").unwrap();
    let mark = json!({"type": "ephemeral"});
    assert_eq!(
        body,
        json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 4096, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Are you there?", "cache_control": mark}]}]})
    );
    let text = system[0]["text"].take();
    assert!(text.as_str().unwrap().starts_with("Be brief.\n"), "{text}");
    assert_eq!(system, json!([{"type": "text", "text": null, "cache_control": mark}]));
    let (last, others) = tools.as_array().unwrap().split_last().unwrap();
    assert_eq!(last["cache_control"], mark);
    assert!(others.iter().all(|t| t.get("cache_control").is_none() && t["input_schema"]["type"] == "object"));
    assert!(tools.as_array().unwrap().iter().any(|t| t["name"] == "math_eval"), "{tools}");
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_a_connection_cuts_apart_arrive_whole() {
    let text = "Grüße — 世界, 👩‍👩‍👧‍👦! \"Quoted\", and\nnew lines: {\"a\": [1]}";
    let fixtures = json!([{"match": {"userMessage": "Greet the world"}, "response": {"content": text}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chunk-size", "7"]));
    let cable = Cable::to(&aimock.base, 1).await;
    let kernel = Kernel::start(options(&cable.base, &json!({})));
    assert_eq!(kernel.say("s", "Greet the world").await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_thought_goes_back_to_it_signed_and_in_its_place() {
    peer!("python", peers::python());
    let thought = "The owner wants\n  a number…";
    let fixtures = json!([
        {"match": {"userMessage": "Compute", "hasToolResult": false}, "response": {"reasoning": thought,
            "reasoningSignature": "ErUBCkYIARgC+/=", "redactedThinking": ["EmwKAhgB"], "content": "I compute.",
            "toolCalls": [{"id": "toolu_1", "name": "math_eval", "arguments": {"expression": "6*7"}}]}},
        {"match": {"userMessage": "Compute", "toolResultContains": "42"}, "response": {"content": "It is 42."}},
    ]);
    // Strict, it refuses a turn of calls whose thoughts are missing or unsigned, as Anthropic does.
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chunk-size", "3", "--strict"]));
    let cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base, &json!({"thinking": 2048})));
    let turn = kernel.turn("s", "carapace", "Compute it").await;
    assert_eq!(turn.text(), "I compute.\n\nIt is 42.", "{}", kernel.log());
    assert_eq!(turn.result(), ("42", false));

    let asked = cable.asked("/v1/messages");
    judged(&asked);
    let [first, second] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(first.body["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
    assert_eq!(first.body["max_tokens"], 4096 + 2048);
    let said = &second.body["messages"];
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "math_eval", "input": {"expression": "6*7"}});
    assert_eq!(
        said[1],
        json!({"role": "assistant", "content": [
            {"type": "redacted_thinking", "data": "EmwKAhgB"},
            {"type": "thinking", "thinking": thought, "signature": "ErUBCkYIARgC+/="},
            {"type": "text", "text": "I compute."}, call]})
    );
    let mut result = said[2]["content"][0].clone();
    result.as_object_mut().unwrap().remove("cache_control").expect("the next request finds what was read here");
    assert_eq!(
        result,
        json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_thought_in_an_earlier_turn_is_not_sent_and_the_next_may_think_again() {
    let fixtures = json!([
        {"match": {"userMessage": "Compute", "hasToolResult": false}, "response": {"reasoning": "A sum.",
            "toolCalls": [{"id": "toolu_1", "name": "math_eval", "arguments": {"expression": "6*7"}}]}},
        {"match": {"userMessage": "Compute", "hasToolResult": true}, "response": {"content": "It is 42."}},
        {"match": {"userMessage": "Thanks"}, "response": {"content": "Welcome."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = Kernel::start(options(&cable.base, &json!({"thinking": 2048})));
    assert_eq!(kernel.say("s", "Compute it").await, "It is 42.");
    assert_eq!(kernel.say("s", "Thanks").await, "Welcome.");
    let asked = cable.asked("/v1/messages");
    let [_, _, third] = asked.as_slice() else { panic!("{asked:?}") };
    let said = third.body["messages"].to_string();
    assert!(!said.contains("thinking") && said.contains("toolu_1"), "{said}");
    assert_eq!(third.body["thinking"]["type"], "enabled");
    assert_eq!(third.body.to_string().matches("cache_control").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_alone_is_enough_and_its_default_model_answers() {
    let fixtures = json!([{"match": {"model": "claude-sonnet-5-5"}, "response": {"content": "Five and a half."}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    // Nobody names a model, and no other provider is configured.
    let kernel = Kernel::start(KernelOptions::anthropic(&aimock.base));
    let turn = kernel.turn("s", "carapace", "Who are you?").await;
    assert_eq!(turn.text(), "Five and a half.", "{}", kernel.log());
    assert_eq!(turn.body["model"], "anthropic/claude-sonnet-5-5");
    let log = kernel.log();
    assert!(!log.contains("models could not be listed"), "who is not configured is not asked: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_model_answers_over_the_messages_api() {
    peer!("python", peers::python());
    let llama = peer!("llama.cpp", peers::llama(Some("a-key-for-the-server")));
    let cable = Cable::to(&llama.base, 16).await;
    let config = json!({"agent": {"maxOutputTokens": 32, "temperature": 0, "system": "You are a helpful assistant."}});
    let kernel = Kernel::start(
        KernelOptions::anthropic(&cable.base)
            .with_env("ANTHROPIC_API_KEY", "a-key-for-the-server")
            .with_config(&config.to_string()),
    );
    let answer = kernel.ask("s", "What is the capital of France? Answer in one word.").await;
    let text =
        answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{answer}\n{}", kernel.log()));
    assert!(!text.trim().is_empty(), "{answer}");
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 10, "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{answer}");
    let mut asked = cable.asked("/v1/messages");
    // The types of a client of today have no temperature any more; the server's API version of 2023 has.
    assert_eq!(asked[0].body.as_object_mut().unwrap().remove("temperature"), Some(json!(0.0)));
    judged(&asked);
}
