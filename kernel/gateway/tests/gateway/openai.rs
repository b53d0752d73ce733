//! `/v1/chat/completions` and `/v1/models`.

use crate::client::{House, TOKEN, house, house_with};
use carapace_contract::decision::Origin;
use carapace_contract::message::{Message, Part, Role};
use carapace_gateway::GatewayLimits;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

fn says(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn streamed(text: &str) -> Value {
    json!({"stream": true, "messages": [{"role": "user", "content": text}]})
}

/// The data lines of a stream.
async fn lines(request: reqwest::RequestBuilder) -> Vec<String> {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = answer.text().await.unwrap();
    text.split("\n\n").filter_map(|l| l.strip_prefix("data: ")).map(str::to_owned).collect()
}

async fn chunks(house: &House, body: &Value) -> Vec<Value> {
    let mut lines = lines(house.chat(body)).await;
    assert_eq!(lines.pop().as_deref(), Some("[DONE]"));
    lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let house = house().await;
    let (status, body) = house.ask(&says("hello there")).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "fake/one");
    assert!(body["created"].is_u64());
    assert_eq!(body["choices"][0]["message"]["role"], "assistant");
    assert_eq!(body["choices"][0]["message"]["content"], "You said: hello there");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], 7);
    assert_eq!(body["usage"]["total_tokens"], 10);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
    assert!(body.get("x_carapace").is_none());
    assert_eq!(house.fake.last().origin, Origin::ApiClient);
}

#[tokio::test]
async fn a_stream_is_role_then_content_then_finish_then_done() {
    let house = house().await;
    let all = chunks(&house, &streamed("hello there")).await;
    assert_eq!(all[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = all.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: hello there");
    assert_eq!(all.last().unwrap()["choices"][0]["finish_reason"], "stop");
    for c in &all {
        assert_eq!(c["object"], "chat.completion.chunk");
        assert_eq!(c["id"], all[0]["id"]);
        assert_eq!(c["created"], all[0]["created"]);
        assert_eq!(c["model"], "fake/one");
        assert!(c.get("usage").is_none());
    }
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_when_asked_for() {
    let house = house().await;
    let mut body = streamed("x");
    body["stream_options"] = json!({"include_usage": true});
    let mut all = chunks(&house, &body).await;
    let last = all.pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    assert!(all.iter().all(|c| c["usage"].is_null() && c.get("usage").is_some()));
}

#[tokio::test]
async fn an_answer_without_deltas_is_still_streamed() {
    let house = house().await;
    let all = chunks(&house, &streamed("quiet")).await;
    let text: String = all.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "without deltas");
}

#[tokio::test]
async fn tools_are_shown_to_those_who_ask_to_see_them() {
    let house = house().await;
    let plain = lines(house.chat(&streamed("tool"))).await.join("\n");
    assert!(!plain.contains("x_carapace") && !plain.contains("lookup") && !plain.contains("hm"), "{plain}");
    let shown = lines(house.chat(&streamed("tool")).header("x-carapace-events", "true")).await;
    let events: Vec<Value> = shown
        .iter()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .filter_map(|c| c.get("x_carapace").cloned())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event"]["type"], "tool-call");
    assert_eq!(events[1]["event"]["content"], "found");
    let whole = house.chat(&says("tool")).header("x-carapace-events", "true").send().await.unwrap();
    let whole: Value = whole.json().await.unwrap();
    assert_eq!(whole["x_carapace"]["events"][0]["name"], "lookup");
}

#[tokio::test]
async fn a_session_is_the_header_then_the_user_then_a_fresh_one() {
    let house = house().await;
    let body = json!({"user": "from-user", "messages": [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "two"},
    ]});
    let answer = house.chat(&body).header("x-carapace-session-key", "from-header").send().await.unwrap();
    assert_eq!(answer.headers()["x-carapace-session-key"], "from-header");
    let turn = house.fake.last();
    assert_eq!((turn.session.as_str(), turn.history.len()), ("from-header", 0));
    assert_eq!(turn.parts, vec![Part::text("two")]);

    house.ask(&body).await;
    assert_eq!(house.fake.last().session, "from-user");

    let mut stateless = body.clone();
    stateless.as_object_mut().unwrap().remove("user");
    house.ask(&stateless).await;
    let turn = house.fake.last();
    assert!(turn.session.starts_with("api-"));
    assert_eq!(turn.history, vec![Message::text(Role::User, "one"), Message::text(Role::Assistant, "1")]);
}

#[tokio::test]
async fn a_failure_has_its_status_before_anything_was_streamed() {
    let house = house().await;
    for (says_what, status, told) in [
        ("fail E-TURN-001", 400, "E-TURN-001"),
        ("fail E-MODEL-001", 502, "E-MODEL-001"),
        ("fail-later E-MODEL-002", 429, "E-MODEL-002"),
        ("fail E-MODEL-004", 400, "context_length_exceeded"),
        ("fail E-MODEL-005", 404, "model_not_found"),
        ("fail-later E-MODEL-006", 503, "E-MODEL-006"),
        ("fail E-TURN-008", 504, "E-TURN-008"),
        ("fail E-TURN-010", 500, "E-TURN-010"),
    ] {
        for body in [says(says_what), streamed(says_what)] {
            let answer = house.chat(&body).send().await.unwrap();
            assert_eq!(answer.status(), status, "{says_what}");
            let retried = answer.headers().get("x-should-retry").is_none();
            assert_eq!(retried, says_what.starts_with("fail-later"), "{says_what}");
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["error"]["message"], "the provider said no");
            assert_eq!(answer["error"]["code"], told);
            assert!(answer["error"]["type"].is_string());
        }
    }
    let (status, answer) = house.ask(&json!({"model": "nope", "messages": [{"role": "user", "content": "x"}]})).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn a_failure_in_the_middle_is_an_error_in_the_stream() {
    let house = house().await;
    let all = lines(house.chat(&streamed("break"))).await;
    assert_eq!(all.last().map(String::as_str), Some("[DONE]"));
    let error: Value = serde_json::from_str(&all[all.len() - 2]).unwrap();
    assert_eq!(error["error"]["code"], "E-TURN-009");
    assert!(all[1].contains("half"));
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_run() {
    let house = house().await;
    // In the middle of a stream.
    let answer = house.chat(&streamed("wait")).send().await.unwrap();
    let run: carapace_contract::Ulid = answer.headers()["x-carapace-run-id"].to_str().unwrap().parse().unwrap();
    let mut bytes = answer.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    drop(bytes);
    assert_eq!(house.fake.some_abort().await, run);
}

#[tokio::test]
async fn a_client_that_goes_away_before_an_answer_stops_its_run_too() {
    let house = house().await;
    let (mut watcher, _) = house.connected().await;
    let asked = tokio::spawn(house.chat(&says("silent")).send());
    let started = watcher.event_where(|e| e["payload"]["stream"] == "lifecycle").await;
    asked.abort();
    assert_eq!(house.fake.some_abort().await.to_string(), started["payload"]["runId"].as_str().unwrap());
}

#[tokio::test]
async fn an_idempotency_key_finds_the_same_run() {
    let house = house().await;
    let with_key = |body: Value| house.chat(&body).header("idempotency-key", "k1");
    let first: Value = with_key(says("hello")).send().await.unwrap().json().await.unwrap();
    let second: Value = with_key(says("hello")).send().await.unwrap().json().await.unwrap();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(second["choices"][0]["message"]["content"], "You said: hello");
    assert_eq!(house.fake.last().idempotency_key.as_deref(), Some("http:k1"));
}

#[tokio::test]
async fn a_client_that_sent_a_key_may_come_back_for_its_answer() {
    let house = house().await;
    let leave = |request: reqwest::RequestBuilder| async move {
        let answer = request.send().await.unwrap();
        answer.headers()["x-carapace-run-id"].to_str().unwrap().parse::<carapace_contract::Ulid>().unwrap()
    };
    leave(house.chat(&streamed("wait")).header("idempotency-key", "k")).await;
    let abandoned = leave(house.chat(&streamed("wait"))).await;
    house.fake.some_abort().await;
    assert_eq!(*house.fake.aborted.borrow(), vec![abandoned]);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let house = house_with(GatewayLimits { keep_alive: Duration::from_millis(5), ..GatewayLimits::default() }).await;
    let answer = house.chat(&streamed("silent")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut bytes = answer.bytes_stream();
    let mut seen = String::new();
    while !seen.contains(": keep-alive\n\n: keep-alive\n\n") {
        seen.push_str(std::str::from_utf8(&bytes.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(seen.starts_with("data: {"), "{seen}");
}

#[tokio::test]
async fn a_body_that_is_not_right_is_told_why() {
    let house = house_with(GatewayLimits { body_bytes: 1000, ..GatewayLimits::default() }).await;
    let post = |kind: &str, body: String| {
        let request = house.http.post(house.url("/v1/chat/completions")).bearer_auth(TOKEN);
        request.header("content-type", kind).body(body).send()
    };
    let told = |answer: reqwest::Response| async move {
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["error"]["code"].clone(), body["error"]["message"].as_str().unwrap().to_owned())
    };
    let (status, code, _) = told(post("text/plain", says("x").to_string()).await.unwrap()).await;
    assert_eq!((status, code), (415, json!("unsupported_media_type")));
    let (status, code, message) = told(post("application/json", "{\"messages\": [,]}".into()).await.unwrap()).await;
    assert_eq!((status, code), (400, json!("invalid_json")));
    assert!(message.contains("line 1 column 15"), "{message}");
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(80), "]".repeat(80));
    let (status, _, message) = told(post("application/json", deep).await.unwrap()).await;
    assert!(status == 400 && message.contains("deeper than 64"), "{message}");
    let (status, code, _) = told(post("application/json", says(&"x".repeat(2000)).to_string()).await.unwrap()).await;
    assert_eq!((status, code), (413, json!("request_too_large")));
    let parts = futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100])));
    let chunked = house.http.post(house.url("/v1/chat/completions")).bearer_auth(TOKEN);
    let chunked = chunked.header("content-type", "application/json").body(reqwest::Body::wrap_stream(parts)).send();
    assert_eq!(chunked.await.unwrap().status(), 413, "without a length, too");
    let (status, _, message) = told(post("application/json", "{}".into()).await.unwrap()).await;
    assert!(status == 400 && message.contains("messages"), "{message}");
    let (status, body) = house.ask(&json!({"tools": [{"type": "function"}], "messages": []})).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("tools")));
}

#[tokio::test]
async fn models_are_the_assistant_and_what_it_can_use() {
    let house = house().await;
    let (status, body) = house.get("/v1/models").await;
    assert_eq!(status, 200);
    let ids: Vec<&str> = body["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["carapace", "fake/one"]);
    assert!(body["data"][1]["created"].is_u64() && body["data"][1]["object"] == "model");
    assert_eq!(house.get("/v1/models/fake/one").await.1["id"], "fake/one");
    assert_eq!(house.get("/v1/models/fake%2Fone").await.1["id"], "fake/one");
    let (status, body) = house.get("/v1/models/nope").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
}
