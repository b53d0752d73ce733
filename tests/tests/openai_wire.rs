//! The provider `openai` on the wire, against aimock and llmock: what is sent, what is understood, what happens when it breaks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

use carapace_tests::cable::Cable;
use carapace_tests::peer;
use carapace_tests::peers::{self, asked};
use carapace_tests::server::Server;
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};

const MODEL: &str = "openai/gpt-5-mini";

fn options(base: &str) -> KernelOptions {
    configured(base, "")
}

/// With the route fixed, and `more` of the configuration.
fn configured(base: &str, more: &str) -> KernelOptions {
    KernelOptions::openai(&format!("{base}/v1"))
        .with_config(&format!("{{ agent: {{ route: [\"{MODEL}\"], system: \"Be brief.\" }}, {more} }}"))
}

fn says(question: &str, answer: &str) -> Value {
    json!({"match": {"userMessage": question}, "response": {"content": answer}})
}

fn start(aimock: &Server) -> Kernel {
    Kernel::start(options(&aimock.base))
}

/// The data of a streamed answer.
struct Streamed {
    text: String,
    deltas: usize,
    usage: Option<Value>,
    error: Option<Value>,
}

async fn stream(kernel: &Kernel, question: &str) -> Streamed {
    let response = kernel
        .http()
        .post(format!("{}/v1/chat/completions", kernel.base))
        .json(&json!({"stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": question}]}))
        .send()
        .await
        .unwrap();
    let body = response.text().await.unwrap();
    assert!(body.trim_end().ends_with("data: [DONE]"), "{body}");
    let chunks = body.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|d| *d != "[DONE]");
    let mut all = Streamed { text: String::new(), deltas: 0, usage: None, error: None };
    for chunk in chunks.map(|d| serde_json::from_str::<Value>(d).unwrap()) {
        if let Some(delta) = chunk["choices"][0]["delta"]["content"].as_str().filter(|d| !d.is_empty()) {
            all.text.push_str(delta);
            all.deltas += 1;
        }
        if chunk["usage"].is_object() {
            all.usage = Some(chunk["usage"].clone());
        }
        if chunk["error"].is_object() {
            all.error = Some(chunk["error"].clone());
        }
    }
    all
}

fn metric(metrics: &str, line: &str) -> u64 {
    let value = metrics.lines().find_map(|l| l.strip_prefix(line));
    value.unwrap_or_else(|| panic!("no {line} in:\n{metrics}")).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_becomes_exactly_this_request() {
    let aimock = peer!("aimock", peers::aimock(&json!([says("Are you there?", "Yes.")]), &[]));
    let kernel = start(&aimock);
    assert_eq!(kernel.say("s", "Are you there?").await, "Yes.");
    let asked = asked(&aimock).await;
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    let mut body = one["body"].clone();
    let fields = body.as_object_mut().unwrap();
    let tools = fields.remove("tools").unwrap();
    let mut messages = fields.remove("messages").unwrap();
    assert_eq!(
        body,
        json!({"model": "gpt-5-mini", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 4096})
    );
    let system = messages[0]["content"].take();
    assert!(system.as_str().unwrap().starts_with("Be brief.\n"), "{system}");
    assert_eq!(messages, json!([{"role": "system", "content": null}, {"role": "user", "content": "Are you there?"}]));

    let mut names = Vec::new();
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["type"], "function");
        assert_eq!(tool["function"]["parameters"]["type"], "object", "{tool}");
        assert!(tool["function"]["description"].as_str().is_some_and(|d| !d.is_empty()), "{tool}");
        names.push(tool["function"]["name"].as_str().unwrap());
    }
    for name in ["current_time", "math_eval", "time"] {
        assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{names:?}");
    }
    let math = tools.as_array().unwrap().iter().find(|t| t["function"]["name"] == "math_eval").unwrap();
    assert_eq!(math["function"]["parameters"]["required"], json!(["expression"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_single_characters_arrives_whole_and_in_order() {
    let text = "Grüße — 世界, здравствуй! \"Quoted\", and\nnew lines: {\"a\": [1]}";
    let aimock = peer!("aimock", peers::aimock(&json!([says("Greet the world", text)]), &["--chunk-size", "1"]));
    let kernel = start(&aimock);
    let streamed = stream(&kernel, "Greet the world").await;
    assert_eq!(streamed.text, text);
    assert!(streamed.deltas > 1, "it did not stream");
    assert_eq!(kernel.say("whole", "Greet the world").await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn emoji_survive_a_connection_that_cuts_them_apart() {
    let text = "👋🏽 → 👩‍👩‍👧‍👦 and ﷽, 🏴‍☠️!";
    let aimock = peer!("aimock", peers::aimock(&json!([says("Wave 👋🏽", text)]), &["--chunk-size", "1000"]));
    let cable = Cable::to(&aimock.base, 1).await;
    let kernel = Kernel::start(options(&cable.base));
    assert_eq!(stream(&kernel, "Wave 👋🏽").await.text, text);
    let asked = asked(&aimock).await;
    assert_eq!(asked[0]["body"]["messages"][1]["content"], "Wave 👋🏽");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_and_its_result_goes_back_to_the_model() {
    let fixtures = json!([
        {"match": {"userMessage": "Compute", "hasToolResult": false},
            "response": {"toolCalls": [{"id": "call_a", "name": "math_eval", "arguments": {"expression": "2^64 + 1/3 - 1/3"}}]}},
        {"match": {"userMessage": "Compute", "toolResultContains": "18446744073709551616"}, "response": {"content": "A lot."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &["--chunk-size", "1"]));
    let kernel = start(&aimock);
    let turn = kernel.turn("s", "carapace", "Compute it").await;
    assert_eq!(turn.text(), "A lot.", "{}", kernel.log());
    assert_eq!(turn.result(), ("18446744073709551616", false));

    let asked = asked(&aimock).await;
    let [first, second] = asked.as_slice() else { panic!("{asked:?}") };
    let said = second["body"]["messages"].as_array().unwrap();
    assert_eq!(said[..2], first["body"]["messages"].as_array().unwrap()[..], "the beginning stays as it was");
    assert_eq!(said[2]["role"], "assistant");
    let call = &said[2]["tool_calls"][0];
    assert_eq!((&call["id"], &call["type"]), (&json!("call_a"), &json!("function")));
    assert_eq!(call["function"]["name"], "math_eval");
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"expression": "2^64 + 1/3 - 1/3"}));
    assert_eq!(said[3], json!({"role": "tool", "tool_call_id": "call_a", "content": "18446744073709551616"}));
    assert_eq!(second["body"]["tools"], first["body"]["tools"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_answer_are_all_made_and_answered_in_their_order() {
    let fixtures = json!([
        {"match": {"userMessage": "Do three things", "hasToolResult": false}, "response": {"toolCalls": [
            {"id": "one", "name": "math_eval", "arguments": {"expression": "6*7"}},
            {"id": "two", "name": "current_time", "arguments": {"timezone": "Europe/Berlin"}},
            {"id": "three", "name": "no_such_tool", "arguments": {}},
        ]}},
        {"match": {"hasToolResult": true}, "response": {"content": "Done."}},
    ]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = start(&aimock);
    assert_eq!(kernel.say("s", "Do three things").await, "Done.");
    let asked = asked(&aimock).await;
    let said = asked[1]["body"]["messages"].as_array().unwrap();
    let results: Vec<(&str, &str)> = said
        .iter()
        .filter(|m| m["role"] == "tool")
        .map(|m| (m["tool_call_id"].as_str().unwrap(), m["content"].as_str().unwrap()))
        .collect();
    let [("one", "42"), ("two", time), ("three", unknown)] = results[..] else { panic!("{results:?}") };
    assert!(time.contains("Berlin"), "{time}");
    assert!(unknown.contains("no_such_tool"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_completion_used_is_booked_and_told() {
    let usage = json!({"prompt_tokens": 1100, "completion_tokens": 70, "total_tokens": 1170,
        "prompt_tokens_details": {"cached_tokens": 100}});
    let fixtures =
        json!([{"match": {"userMessage": "How much?"}, "response": {"content": "So much.", "usage": usage}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let kernel = start(&aimock);
    let told = kernel.ask("s", "How much?").await["usage"].clone();
    let of = |told: &Value| ["prompt_tokens", "completion_tokens", "total_tokens"].map(|k| told[k].as_u64().unwrap());
    assert_eq!(of(&told), [1100, 70, 1170]);
    let streamed = stream(&kernel, "How much?").await.usage.expect("no usage in the stream");
    assert_eq!(of(&streamed), [1100, 70, 1170]);
    let metrics = kernel.metrics().await;
    assert_eq!(metric(&metrics, "carapace_tokens_total{direction=\"in\"}"), 2200);
    assert_eq!(metric(&metrics, "carapace_tokens_total{direction=\"out\"}"), 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_of_the_day_stops_the_next_completion_before_it_is_asked() {
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    let fixtures = json!([{"match": {"userMessage": "Spend"}, "response": {"content": "Spent.", "usage": usage}}]);
    let aimock = peer!("aimock", peers::aimock(&fixtures, &[]));
    let mut kernel = Kernel::start(configured(&aimock.base, "budget: { dailyTokens: 18 }"));
    assert_eq!(kernel.say("s", "Spend").await, "Spent.");
    let refused = |turn: carapace_tests::turns::Turn| {
        assert_eq!((turn.status, turn.code()), (429, "E-BUDGET-001"), "{}", turn.body);
        let message = turn.body["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("budget: { dailyTokens: "), "{message}");
    };
    refused(kernel.turn("s", "carapace", "Spend").await);
    kernel.restart();
    refused(kernel.turn("s", "carapace", "Spend").await);
    assert_eq!(asked(&aimock).await.len(), 1, "nothing more was asked for");
}
