//! `/v1/responses`.

use crate::client::{House, TOKEN, house, house_with};
use carapace_contract::Ulid;
use carapace_contract::decision::Origin;
use carapace_gateway::GatewayLimits;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;

fn says(text: &str) -> Value {
    json!({"model": "carapace", "input": text})
}

fn streamed(text: &str) -> Value {
    json!({"model": "carapace", "input": text, "stream": true})
}

/// The events of a stream; each is named as its data says, and they are numbered without gaps.
async fn events(request: reqwest::RequestBuilder) -> Vec<Value> {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = answer.text().await.unwrap();
    let mut all = Vec::new();
    for event in text.split_terminator("\n\n").filter(|e| !e.starts_with(':')) {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!((data["type"].as_str(), data["sequence_number"].as_u64()), (Some(name), Some(all.len() as u64)));
        all.push(data);
    }
    all
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}"))
}

impl House {
    async fn cancel(&self, id: &str) -> (u16, Value) {
        let answer = self.http.post(self.url(&format!("/v1/responses/{id}/cancel"))).bearer_auth(TOKEN);
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn a_response_has_openais_shape() {
    let house = house().await;
    let mut body = says("hello there");
    body.as_object_mut().unwrap().extend(
        json!({"instructions": "be kind", "temperature": 0.1, "metadata": {"a": "b"}}).as_object().unwrap().clone(),
    );
    let (status, response) = house.response(&body).await;
    assert_eq!(status, 200, "{response}");
    let run: Ulid = response["id"].as_str().unwrap().strip_prefix("resp_").unwrap().parse().unwrap();
    let created = run.timestamp_ms() / 1000;
    assert!(response["completed_at"].as_u64().unwrap() >= created);
    let mut told = response;
    told.as_object_mut().unwrap().remove("completed_at");
    assert_eq!(
        told,
        json!({
            "id": format!("resp_{run}"), "object": "response", "created_at": created, "status": "completed",
            "background": false, "error": null, "incomplete_details": null, "instructions": "be kind",
            "max_output_tokens": null, "max_tool_calls": null, "model": "fake/one",
            "output": [{
                "id": format!("msg_{run}"), "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "You said: hello there"}],
            }],
            "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "service_tier": null, "store": true, "temperature": 0.1,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": null,
            "truncation": "auto",
            "usage": {
                "input_tokens": 7, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
                "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 10,
            },
            "user": null, "metadata": {"a": "b"},
        })
    );
    assert_eq!(house.fake.last().origin, Origin::ApiClient);
    assert_eq!(house.fake.last().system.as_deref(), Some("be kind"));
}

#[tokio::test]
async fn a_stream_tells_the_response_its_item_its_part_and_their_ends_in_order() {
    let house = house().await;
    let all = events(house.respond(&streamed("hello there"))).await;
    assert_eq!(
        kinds(&all),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let deltas: String = all.iter().filter_map(|e| e["delta"].as_str()).collect();
    let last = &all[11]["response"];
    assert_eq!((deltas.as_str(), text(last)), ("You said: hello there", "You said: hello there"));
    assert_eq!(all[8]["text"], deltas.as_str());
    assert_eq!(all[9]["part"], last["output"][0]["content"][0]);
    assert_eq!(all[10]["item"], last["output"][0]);
    assert_eq!((&all[2]["item"]["content"], &all[2]["item"]["status"]), (&json!([]), &json!("in_progress")));
    for e in &all[3..10] {
        assert_eq!(
            (&e["item_id"], &e["output_index"], &e["content_index"]),
            (&last["output"][0]["id"], &json!(0), &json!(0))
        );
    }
    for e in &all[..2] {
        assert_eq!((&e["response"]["status"], &e["response"]["output"]), (&json!("in_progress"), &json!([])));
        assert_eq!((&e["response"]["id"], &e["response"]["model"]), (&last["id"], &json!("fake/one")));
    }
    let (status, whole) = house.get(&format!("/v1/responses/{}", last["id"].as_str().unwrap())).await;
    assert_eq!((status, &whole["output"]), (200, &last["output"]));
}

#[tokio::test]
async fn an_answer_without_deltas_is_still_streamed() {
    let house = house().await;
    let all = events(house.respond(&streamed("quiet"))).await;
    let deltas: String = all.iter().filter_map(|e| e["delta"].as_str()).collect();
    assert_eq!((deltas.as_str(), text(&all.last().unwrap()["response"])), ("without deltas", "without deltas"));
}

#[tokio::test]
async fn an_answer_cut_at_its_length_is_incomplete() {
    let house = house().await;
    let (_, whole) = house.response(&says("cut")).await;
    let all = events(house.respond(&streamed("cut"))).await;
    let last = all.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    for response in [&whole, &last["response"]] {
        assert_eq!((response["status"].as_str(), text(response)), (Some("incomplete"), "as far as"));
        assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
        assert_eq!((&response["output"][0]["status"], &response["completed_at"]), (&json!("incomplete"), &Value::Null));
    }
}

#[tokio::test]
async fn tools_are_shown_to_those_who_ask_to_see_them() {
    let house = house().await;
    let plain = json!(events(house.respond(&streamed("tool"))).await).to_string();
    assert!(!plain.contains("x_carapace") && !plain.contains("lookup") && !plain.contains("hm"), "{plain}");
    let shown = events(house.respond(&streamed("tool")).header("x-carapace-events", "true")).await;
    let shown: Vec<&Value> = shown.iter().filter(|e| e["type"] == "x_carapace.event").collect();
    assert_eq!((&shown[0]["event"]["type"], &shown[1]["event"]["content"]), (&json!("tool-call"), &json!("found")));
    let whole = house.respond(&says("tool")).header("x-carapace-events", "true").send().await.unwrap();
    let whole: Value = whole.json().await.unwrap();
    assert_eq!(whole["x_carapace"]["events"][0]["name"], "lookup");
    assert!(house.response(&says("tool")).await.1.get("x_carapace").is_none());
}

#[tokio::test]
async fn what_follows_a_response_is_a_turn_of_its_session_after_its_run() {
    let house = house().await;
    let answer = house.respond(&says("one")).send().await.unwrap();
    let (session, run) =
        (answer.headers()["x-carapace-session-key"].clone(), answer.headers()["x-carapace-run-id"].clone());
    let first: Value = answer.json().await.unwrap();
    assert_eq!(first["id"], format!("resp_{}", run.to_str().unwrap()));
    let (_, second) = house.response(&json!({"input": "two", "previous_response_id": first["id"]})).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let turn = house.fake.last();
    assert_eq!(
        (turn.session.as_str(), turn.options.after),
        (session.to_str().unwrap(), Some(run.to_str().unwrap().parse().unwrap()))
    );
    let other = house.respond(&json!({"input": "x", "previous_response_id": first["id"]}));
    let other = other.header("x-carapace-session-key", "other").send().await.unwrap();
    assert_eq!(other.status(), 400);
}

#[tokio::test]
async fn only_a_stored_response_can_be_followed_or_had_again() {
    let house = house().await;
    let (_, unstored) = house.response(&json!({"input": "one", "store": false})).await;
    assert_eq!(unstored["store"], false);
    let (_, chat) = house.ask(&json!({"messages": [{"role": "user", "content": "x"}]})).await;
    let of_chat = chat["id"].as_str().unwrap().replace("chatcmpl-", "resp_");
    for id in [unstored["id"].as_str().unwrap(), &of_chat, &format!("resp_{}", Ulid::generate()), "resp_", "nonsense"] {
        for streams in [false, true] {
            let body = json!({"input": "two", "previous_response_id": id, "stream": streams});
            let (status, refused) = house.response(&body).await;
            let error = &refused["error"];
            assert_eq!((status, error["type"].as_str()), (404, Some("invalid_request_error")), "{id}");
            let told = (error["code"].as_str(), error["param"].as_str());
            assert_eq!(told, (Some("previous_response_not_found"), Some("previous_response_id")));
            assert!(error["message"].as_str().unwrap().contains(id), "{error}");
        }
        let (status, refused) = house.get(&format!("/v1/responses/{id}")).await;
        assert_eq!((status, refused["error"]["type"].as_str()), (404, Some("invalid_request_error")), "{id}");
        assert_eq!(house.cancel(id).await.0, 404, "{id}");
    }
}

#[tokio::test]
async fn a_response_is_had_again_as_it_was_told() {
    let house = house().await;
    let asked = json!({
        "input": "one", "instructions": "be kind", "metadata": {"a": "b"}, "top_p": 0.5, "user": "ada",
        "text": {"format": {"type": "json_object"}}, "max_output_tokens": 9, "tool_choice": "none",
    });
    let (_, mut told) = house.response(&asked).await;
    let (status, mut again) = house.get(&format!("/v1/responses/{}", told["id"].as_str().unwrap())).await;
    // The fake's clock stands still.
    for response in [&mut told, &mut again] {
        assert!(response.as_object_mut().unwrap().remove("completed_at").unwrap().is_u64());
    }
    assert_eq!((status, again), (200, told));
}

#[tokio::test]
async fn a_response_in_the_background_goes_on_alone_and_can_be_stopped() {
    let house = house().await;
    let (status, begun) = house.response(&json!({"input": "wait", "background": true})).await;
    assert_eq!(
        (status, begun["status"].as_str(), begun["background"].as_bool()),
        (200, Some("in_progress"), Some(true))
    );
    let id = begun["id"].as_str().unwrap();
    assert_eq!(house.get(&format!("/v1/responses/{id}")).await.1["status"], "in_progress");
    assert!(house.fake.aborted.borrow().is_empty());
    let (status, stopped) = house.cancel(id).await;
    assert_eq!((status, stopped["status"].as_str(), text(&stopped)), (200, Some("cancelled"), "waiting"));
    assert_eq!(house.cancel(id).await.1, stopped, "twice is once");
    let (_, done) = house.response(&says("one")).await;
    assert_eq!(house.cancel(done["id"].as_str().unwrap()).await.1["status"], "completed");
    let (status, refused) = house.get(&format!("/v1/responses/{id}?stream=true")).await;
    assert_eq!((status, refused["error"]["param"].as_str()), (400, Some("stream")));
    let deleted = house.http.delete(house.url(&format!("/v1/responses/{id}"))).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(deleted.status(), 405);
}

#[tokio::test]
async fn a_failure_has_its_status_before_anything_was_streamed() {
    let house = house().await;
    for (says_what, status, told) in [
        ("fail E-TURN-001", 400, "E-TURN-001"),
        ("fail E-MODEL-001", 502, "E-MODEL-001"),
        ("fail-later E-MODEL-002", 429, "E-MODEL-002"),
        ("fail E-MODEL-004", 400, "context_length_exceeded"),
        ("fail-later E-MODEL-006", 503, "E-MODEL-006"),
    ] {
        for body in [says(says_what), streamed(says_what)] {
            let answer = house.respond(&body).send().await.unwrap();
            assert_eq!(answer.status(), status, "{says_what}");
            assert_eq!(answer.headers().get("x-should-retry").is_none(), says_what.starts_with("fail-later"));
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(
                (&answer["error"]["message"], &answer["error"]["code"]),
                (&json!("the provider said no"), &json!(told))
            );
        }
    }
    let (status, answer) = house.response(&json!({"model": "nope", "input": "x"})).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
    let (status, answer) = house.response(&json!({"input": "x", "tools": [{"type": "function"}]})).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("tools")));
}

#[tokio::test]
async fn a_failure_in_the_middle_ends_the_stream_as_failed_with_what_was_said() {
    let house = house().await;
    let all = events(house.respond(&streamed("break"))).await;
    assert_eq!(
        kinds(&all)[5..],
        ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.failed"]
    );
    let response = &all.last().unwrap()["response"];
    assert_eq!((response["status"].as_str(), text(response)), (Some("failed"), "half"));
    assert_eq!(response["error"], json!({"code": "server_error", "message": "the provider said no [E-TURN-009]"}));
    let (_, again) = house.get(&format!("/v1/responses/{}", response["id"].as_str().unwrap())).await;
    assert_eq!((&again["status"], &again["error"]), (&response["status"], &response["error"]));
}

#[tokio::test]
async fn a_run_that_was_stopped_ends_the_stream_as_cancelled() {
    let house = house().await;
    let answer = house.respond(&streamed("wait")).send().await.unwrap();
    let run: Ulid = answer.headers()["x-carapace-run-id"].to_str().unwrap().parse().unwrap();
    house.cancel(&format!("resp_{run}")).await;
    let told = answer.text().await.unwrap();
    let last: Value = serde_json::from_str(told.trim_end().rsplit_once("data: ").unwrap().1).unwrap();
    assert_eq!(
        (last["type"].as_str(), last["response"]["status"].as_str()),
        (Some("response.failed"), Some("cancelled"))
    );
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_run() {
    let house = house().await;
    // In the middle of a stream.
    let answer = house.respond(&streamed("wait")).send().await.unwrap();
    let run: Ulid = answer.headers()["x-carapace-run-id"].to_str().unwrap().parse().unwrap();
    let mut bytes = answer.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    drop(bytes);
    assert_eq!(house.fake.some_abort().await, run);
}

#[tokio::test]
async fn a_client_that_goes_away_before_an_answer_stops_its_run_too() {
    let house = house().await;
    let (mut watcher, _) = house.connected().await;
    let asked = tokio::spawn(house.respond(&says("silent")).send());
    let started = watcher.event_where(|e| e["payload"]["stream"] == "lifecycle").await;
    asked.abort();
    assert_eq!(house.fake.some_abort().await.to_string(), started["payload"]["runId"].as_str().unwrap());
}

#[tokio::test]
async fn a_client_that_may_come_back_leaves_its_run_going() {
    let house = house().await;
    let leave = |request: reqwest::RequestBuilder| async move {
        let answer = request.send().await.unwrap();
        answer.headers()["x-carapace-run-id"].to_str().unwrap().parse::<Ulid>().unwrap()
    };
    leave(house.respond(&streamed("wait")).header("idempotency-key", "k")).await;
    let mut background = streamed("wait");
    background["background"] = json!(true);
    leave(house.respond(&background)).await;
    let abandoned = leave(house.respond(&streamed("wait"))).await;
    house.fake.some_abort().await;
    assert_eq!(*house.fake.aborted.borrow(), vec![abandoned]);
}

#[tokio::test]
async fn an_idempotency_key_finds_the_same_response() {
    let house = house().await;
    let with_key = |body: Value| house.respond(&body).header("idempotency-key", "k1");
    let first: Value = with_key(says("hello")).send().await.unwrap().json().await.unwrap();
    let second: Value = with_key(says("hello")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&first["id"], &first["output"]), (&second["id"], &second["output"]));
    assert_eq!(house.fake.last().idempotency_key.as_deref(), Some("http:k1"));
}

#[tokio::test]
async fn a_silent_stream_tells_its_beginning_and_is_kept_alive() {
    let house = house_with(GatewayLimits { keep_alive: Duration::from_millis(5), ..GatewayLimits::default() }).await;
    let answer = house.respond(&streamed("silent")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut bytes = answer.bytes_stream();
    let mut seen = String::new();
    while !seen.contains(": keep-alive\n\n: keep-alive\n\n") {
        seen.push_str(std::str::from_utf8(&bytes.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(seen.starts_with("event: response.created\ndata: {"), "{seen}");
}
