//! Conversations over the WebSocket.

use crate::client::{house, house_of, house_with};
use crate::support::Fake;
use carapace_contract::decision::Origin;
use carapace_contract::message::Part;
use carapace_gateway::GatewayLimits;
use serde_json::{Value, json};

fn send(session: &str, message: &str, key: &str) -> Value {
    json!({"sessionKey": session, "message": message, "idempotencyKey": key})
}

#[tokio::test]
async fn a_run_is_known_by_its_clients_key_from_its_first_event_on() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let sent = client.ok("chat.send", send("garden", "hello there", "key-1")).await;
    assert_eq!(sent, json!({"runId": "key-1", "status": "started"}));
    let last = client.event_where(|e| e["payload"]["state"] == "final").await;
    assert_eq!(last["payload"]["sessionKey"], "garden");
    assert_eq!(last["payload"]["message"]["content"][0]["text"], "You said: hello there");
    assert_eq!(last["payload"]["usage"]["totalTokens"], 10);
    let turn = house.fake.last();
    assert_eq!((turn.origin, turn.idempotency_key.as_deref()), (Origin::Owner, Some("ws:key-1")));
}

#[tokio::test]
async fn every_event_of_a_run_comes_once_in_order_and_numbered() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "tool", "k")).await;
    let mut seen = Vec::new();
    loop {
        let event = client.event_where(|_| true).await;
        assert_eq!(event["payload"]["runId"], "k", "{event}");
        let last = event["payload"]["state"] == "final";
        seen.push(event);
        if last {
            break;
        }
    }
    let numbers: Vec<u64> = seen.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>());
    let shape: Vec<String> = seen
        .iter()
        .map(|e| {
            let p = &e["payload"];
            let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            format!("{} {}{} {}", word(&e["event"]), word(&p["stream"]), word(&p["state"]), word(&p["data"]["phase"]))
        })
        .collect();
    assert_eq!(
        shape,
        [
            "agent lifecycle start",
            "agent thinking ",
            "agent tool start",
            "agent tool result",
            "chat delta ",
            "agent assistant ",
            "agent lifecycle end",
            "chat final ",
        ]
    );
    assert_eq!(seen[2]["payload"]["data"]["args"], json!({"q": 1}));
    assert_eq!(seen[4]["payload"]["deltaText"], "done");
}

#[tokio::test]
async fn the_same_key_twice_is_the_same_run() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "wait", "k")).await;
    assert_eq!(client.ok("chat.send", send("s", "wait", "k")).await, json!({"runId": "k", "status": "in_flight"}));
    client.ok("chat.abort", json!({"sessionKey": "s"})).await;
    client.ok("agent.wait", json!({"runId": "k"})).await;
    assert_eq!(client.ok("chat.send", send("s", "wait", "k")).await["status"], "ok");
}

#[tokio::test]
async fn a_run_is_aborted_by_its_key_or_its_session() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "wait", "one")).await;
    client.event_where(|e| e["payload"]["deltaText"] == "waiting").await;
    let wrong = client.request("chat.abort", &json!({"sessionKey": "other", "runId": "one"})).await;
    assert_eq!(wrong["error"]["code"], "INVALID_REQUEST");
    let stopped = client.ok("chat.abort", json!({"sessionKey": "s", "runId": "one"})).await;
    assert_eq!(stopped, json!({"ok": true, "aborted": true, "runIds": ["one"]}));
    let event = client.event_where(|e| e["payload"]["state"] == "aborted").await;
    assert_eq!(event["payload"]["message"]["content"][0]["text"], "waiting");
    let again = client.ok("chat.abort", json!({"sessionKey": "s"})).await;
    assert_eq!(again, json!({"ok": true, "aborted": false, "runIds": []}));
}

#[tokio::test]
async fn waiting_for_one_run_does_not_hold_up_the_others() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "wait", "slow")).await;
    let waiting = client.send("agent.wait", &json!({"runId": "slow", "timeoutMs": 3_600_000})).await;
    client.ok("health", json!({})).await;
    assert_eq!(client.ok("agent.wait", json!({"runId": "slow", "timeoutMs": 0})).await["status"], "timeout");
    client.ok("chat.abort", json!({"sessionKey": "s"})).await;
    let waited = client.answer(&waiting).await;
    assert_eq!(waited["payload"]["status"], "error");
    assert_eq!(waited["payload"]["stopReason"], "aborted");
    assert_eq!(
        client.request("agent.wait", &json!({"runId": "never"})).await["error"]["details"]["code"],
        "UNKNOWN_RUN"
    );
}

#[tokio::test]
async fn a_wait_may_be_sent_together_with_its_turn() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.send("chat.send", &send("s", "hello", "k")).await;
    assert_eq!(client.ok("agent.wait", json!({"runId": "k"})).await["status"], "ok");
}

#[tokio::test]
async fn messages_of_a_session_arrive_in_the_order_they_were_sent() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    for i in 0..30 {
        client.send("chat.send", &send("s", &format!("m{i}"), &format!("k{i}"))).await;
    }
    for i in 0..30 {
        client.ok("agent.wait", json!({"runId": format!("k{i}")})).await;
    }
    let said: Vec<Part> = house.fake.requests.lock().unwrap().iter().map(|r| r.parts[0].clone()).collect();
    assert_eq!(said, (0..30).map(|i| Part::text(format!("m{i}"))).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_so_many_requests_are_in_flight() {
    let house = house_with(GatewayLimits { ws_in_flight: 2, ..GatewayLimits::default() }).await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "wait", "slow")).await;
    let wait = json!({"runId": "slow", "timeoutMs": 3_600_000});
    client.send("agent.wait", &wait).await;
    client.send("agent.wait", &wait).await;
    let refused = client.request("health", &json!({})).await;
    assert_eq!(refused["error"]["details"]["code"], "TOO_MANY_IN_FLIGHT");
    assert_eq!(refused["error"]["retryable"], true);
}

#[tokio::test]
async fn agent_answers_twice() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let params = json!({"message": "hi", "idempotencyKey": "k", "provider": "fake", "model": "one", "extraSystemPrompt": "be brief"});
    let id = client.send("agent", &params).await;
    let first = client.answer(&id).await["payload"].clone();
    assert_eq!((&first["status"], &first["runId"]), (&json!("accepted"), &json!("k")));
    let second = client.answer(&id).await["payload"].clone();
    assert_eq!(second["status"], "ok");
    assert_eq!(second["result"]["payloads"][0]["text"], "You said: hi");
    assert_eq!(second["result"]["meta"]["durationMs"], 4);
    let turn = house.fake.last();
    assert_eq!(turn.session, "main");
    assert_eq!((turn.model.as_deref(), turn.system.as_deref()), (Some("fake/one"), Some("be brief")));
}

#[tokio::test]
async fn a_failed_run_says_so_everywhere() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    client.ok("chat.send", send("s", "fail-later E-MODEL-002", "k")).await;
    let event = client.event_where(|e| e["payload"]["state"] == "error").await;
    assert_eq!(event["payload"]["errorKind"], "rate_limit");
    assert_eq!(event["payload"]["errorMessage"], "the provider said no [E-MODEL-002]");
    let waited = client.ok("agent.wait", json!({"runId": "k"})).await;
    assert_eq!((&waited["status"], &waited["error"]), (&json!("error"), &json!("the provider said no [E-MODEL-002]")));
}

#[tokio::test]
async fn images_are_attached_by_value() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let mut params = send("s", "look", "k");
    params["attachments"] = json!([{"type": "image", "mimeType": "image/png", "content": "AAAA"}]);
    client.ok("chat.send", params.clone()).await;
    assert_eq!(house.fake.last().parts[1], Part::Image { mime: "image/png".into(), data: "AAAA".into() });
    params["attachments"] = json!([{"mimeType": "application/pdf", "content": "AAAA"}]);
    params["idempotencyKey"] = json!("k2");
    assert_eq!(client.request("chat.send", &params).await["error"]["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn params_that_are_not_right_are_refused() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    for (method, params) in [
        ("chat.send", json!({"sessionKey": "s", "message": "x"})),
        ("chat.send", send("", "x", "k")),
        ("chat.send", send("s", "  ", "k")),
        ("chat.send", send("s", "x", "")),
        ("chat.send", json!({"sessionKey": "s", "message": "x", "idempotencyKey": "k", "agentId": "other"})),
        ("chat.history", json!({})),
        ("agent", json!({"message": "x"})),
        ("sessions.preview", json!({"keys": "s"})),
    ] {
        let answer = client.request(method, &params).await;
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{method} {params}: {answer}");
    }
    assert!(house.fake.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn sessions_and_their_history_can_be_read() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    for (session, key) in [("garden", "1"), ("garden", "2"), ("kitchen", "3")] {
        client.ok("chat.send", send(session, &format!("about {session}"), key)).await;
    }
    let listed = client.ok("sessions.list", json!({})).await;
    assert_eq!((&listed["count"], &listed["totalCount"]), (&json!(2), &json!(2)));
    assert_eq!(listed["defaults"]["model"], "fake/one");
    let found = client.ok("sessions.list", json!({"search": "KITCHEN"})).await;
    assert_eq!(found["sessions"][0]["key"], "kitchen");
    assert_eq!(found["sessions"][0]["derivedTitle"], "about kitchen");
    let history = client.ok("chat.history", json!({"sessionKey": "garden"})).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 2);
    assert_eq!(history["messages"][0]["role"], "user");
    assert_eq!(history["messages"][0]["content"][0], json!({"type": "text", "text": "about garden"}));
    let preview = client.ok("sessions.preview", json!({"keys": ["garden", "none"], "maxChars": 20})).await;
    assert_eq!(preview["previews"][0]["items"][0], json!({"role": "user", "text": "about garden"}));
    assert_eq!(preview["previews"][1]["status"], "empty");
}

#[tokio::test]
async fn models_and_tools_are_listed() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let models = client.ok("models.list", json!({})).await;
    assert_eq!((&models["models"][0]["provider"], &models["models"][0]["id"]), (&json!("fake"), &json!("one")));
    let tools = client.ok("tools.catalog", json!({})).await;
    assert_eq!(tools["groups"][0]["tools"][0]["id"], "lookup");
    assert_eq!(tools["groups"][0]["tools"][0]["risk"], "medium");
    assert_eq!(client.ok("status", json!({})).await["instances"][0]["meter"]["calls"], 41);
    assert_eq!(client.ok("health", json!({})).await["plugins"]["loaded"], json!(["carapace/fake/main"]));
}

#[tokio::test]
async fn what_another_edge_starts_is_heard_here() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let (_, answer) =
        house.ask(&json!({"user": "shared", "messages": [{"role": "user", "content": "over http"}]})).await;
    let event = client.event_where(|e| e["payload"]["state"] == "final").await;
    assert_eq!(event["payload"]["sessionKey"], "shared");
    assert_eq!(format!("chatcmpl-{}", event["payload"]["runId"].as_str().unwrap()), answer["id"].as_str().unwrap());
}

#[tokio::test]
async fn events_that_were_lost_show_as_a_gap_in_the_numbers() {
    let house = house_of(Fake::remembering(2), GatewayLimits::default()).await;
    let (mut client, _) = house.connected().await;
    client.send("chat.send", &send("s", "many words that nobody could hand out so fast", "k")).await;
    let last = client.event_where(|e| e["payload"]["state"] == "final").await;
    let (seq, sent) = (last["seq"].as_u64().unwrap(), client.seen);
    assert!(seq > sent, "number {seq} after {sent} events");
}
