//! The handshake, limits and closes.

use crate::client::{connect_params, house, house_with};
use carapace_gateway::GatewayLimits;
use futures::SinkExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn hello_ok_says_what_there_is() {
    let house = house().await;
    let (_, hello) = house.connected().await;
    assert_eq!(hello["type"], "hello-ok");
    assert_eq!(hello["protocol"], 4);
    assert_eq!(hello["server"]["version"], "9.9.9");
    assert_eq!(hello["auth"]["role"], "operator");
    assert_eq!(hello["auth"]["scopes"], json!(["operator.admin", "operator.read", "operator.write"]));
    assert_eq!(hello["policy"], json!({"maxPayload": 524288, "maxBufferedBytes": 4194304, "tickIntervalMs": 30000}));
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
    assert!(hello["features"]["methods"].as_array().unwrap().contains(&json!("chat.send")));
    assert!(hello["features"]["events"].as_array().unwrap().contains(&json!("chat")));
}

#[tokio::test]
async fn the_root_is_a_socket_too() {
    let house = house().await;
    assert!(tokio_tungstenite::connect_async(format!("ws://{}", house.addr)).await.is_ok());
}

async fn refused(overrides: Value) -> (Value, u16, String) {
    let house = house().await;
    let mut client = house.socket().await;
    let answer = client.connect(overrides).await;
    assert_eq!(answer["ok"], false, "{answer}");
    let (code, reason) = client.closed().await;
    (answer["error"].clone(), code, reason)
}

#[tokio::test]
async fn a_handshake_that_fails_says_why_and_closes() {
    let (error, code, _) = refused(json!({"minProtocol": 3, "maxProtocol": 3})).await;
    assert_eq!((code, &error["details"]["code"]), (1002, &json!("PROTOCOL_MISMATCH")));
    assert_eq!(error["details"]["expectedProtocol"], 4);
    let (error, code, reason) = refused(json!({"auth": {"token": "wrong"}})).await;
    assert_eq!((code, &error["details"]["code"]), (1008, &json!("AUTH_TOKEN_MISMATCH")));
    assert!(reason.contains("token mismatch"), "{reason}");
    let (error, code, _) = refused(json!({"auth": {}})).await;
    assert_eq!((code, &error["details"]["code"]), (1008, &json!("AUTH_TOKEN_MISSING")));
    let (error, code, _) = refused(json!({"role": "node"})).await;
    assert_eq!((code, &error["code"]), (1008, &json!("INVALID_REQUEST")));
    let (error, code, _) = refused(json!({"client": {"id": "x"}})).await;
    assert!(code == 1008 && error["message"].as_str().unwrap().contains("invalid connect params"));
    let device = json!({"id": "x", "publicKey": "AAAA", "signature": "AAAA", "signedAt": 1, "nonce": "n"});
    let (error, code, _) = refused(json!({"device": device})).await;
    assert_eq!((code, &error["details"]["code"]), (1008, &json!("DEVICE_AUTH_PUBLIC_KEY_INVALID")));
}

#[tokio::test]
async fn the_first_request_must_be_connect() {
    let house = house().await;
    let mut client = house.socket().await;
    let answer = client.request("health", &json!({})).await;
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_client_that_never_connects_is_closed() {
    let house = house_with(GatewayLimits { ws_handshake: Duration::from_millis(1), ..GatewayLimits::default() }).await;
    let mut client = house.socket().await;
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn frames_that_are_too_large_too_deep_or_binary_close() {
    let house = house().await;
    let mut before = house.socket().await;
    before.text("x".repeat(70 << 10)).await;
    assert_eq!(before.closed().await, (1009, "payload too large".into()));

    for size in [513 << 10, 2 << 20] {
        let (mut large, _) = house.connected().await;
        // The server may close before it has read all of it.
        let _ = large.socket.send(Message::text("x".repeat(size))).await;
        assert_eq!(large.closed().await.0, 1009, "{size}");
    }

    let (mut deep, _) = house.connected().await;
    deep.text(format!(r#"{{"type":"req","id":"1","method":"x","params":{}{}}}"#, "[".repeat(40), "]".repeat(40))).await;
    let (code, reason) = deep.closed().await;
    assert!(code == 1008 && reason.contains("deeper than 32"), "{reason}");

    let (mut binary, _) = house.connected().await;
    binary.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(binary.closed().await, (1008, "binary messages not supported".into()));
}

#[tokio::test]
async fn connections_are_capped_and_come_back() {
    let house = house_with(GatewayLimits { ws_connections_per_address: 2, ..GatewayLimits::default() }).await;
    let (first, _) = house.connected().await;
    let (_second, _) = house.connected().await;
    let url = format!("ws://{}/ws", house.addr);
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    drop(first);
    // The seat is free as soon as the server has seen the end.
    while tokio_tungstenite::connect_async(&url).await.is_err() {}
}

#[tokio::test]
async fn too_many_messages_are_refused_one_by_one_and_then_closed() {
    let limits = GatewayLimits { ws_message_burst: 3, ws_messages_per_second: 1, ..GatewayLimits::default() };
    let house = house_with(limits).await;
    let (mut client, _) = house.connected().await;
    let mut refused = 0;
    for _ in 0..5 {
        let answer = client.request("health", &json!({})).await;
        if answer["ok"] == false {
            assert_eq!(answer["error"]["details"]["code"], "RATE_LIMITED");
            assert!(answer["error"]["retryAfterMs"].as_u64().unwrap() > 0);
            refused += 1;
        }
    }
    assert!(refused >= 1);
    for _ in 0..20 {
        let frame = json!({"type": "req", "id": "x", "method": "health"}).to_string();
        if client.socket.send(Message::text(frame)).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await, (1008, "rate limit exceeded".into()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let limits = GatewayLimits { ws_queue_frames: 200, ..GatewayLimits::default() };
    let house = house_with(limits).await;
    let (mut client, _) = house.connected().await;
    // Far more than all buffers between here and there hold.
    client.send("chat.send", &json!({"sessionKey": "s", "message": "flood 60000", "idempotencyKey": "k"})).await;
    assert_eq!(client.closed().await, (1008, "slow consumer".into()));
}

#[tokio::test]
async fn ticks_come_at_the_announced_pace() {
    let house = house_with(GatewayLimits { ws_tick: Duration::from_millis(5), ..GatewayLimits::default() }).await;
    let (mut client, hello) = house.connected().await;
    assert_eq!(hello["policy"]["tickIntervalMs"], 5);
    assert!(client.event("tick").await["payload"]["ts"].is_u64());
    assert!(client.event("tick").await["payload"]["ts"].is_u64());
    client.events.clear();
    *house.fake.not_ready.lock().unwrap() = vec!["x".into()];
    let unwell = client.event_where(|e| e["event"] == "health" && e["payload"].get("ok").is_none()).await;
    assert!(unwell["payload"]["plugins"]["loaded"].is_array());
}

#[tokio::test]
async fn scopes_narrow_what_may_be_called_and_heard() {
    let house = house().await;
    let mut reader = house.socket().await;
    let hello = reader.connect(json!({"scopes": ["operator.read"]})).await;
    assert_eq!(hello["payload"]["auth"]["scopes"], json!(["operator.read"]));
    reader.ok("health", json!({})).await;
    let send = json!({"sessionKey": "s", "message": "x", "idempotencyKey": "k"});
    let refused = reader.request("chat.send", &send).await;
    assert_eq!(refused["error"]["code"], "FORBIDDEN");
    assert_eq!(refused["error"]["details"]["missingScope"], "operator.write");

    let mut nobody = house.socket().await;
    let hello = nobody.connect(json!({"scopes": ["operator.talk"]})).await;
    assert_eq!(hello["payload"]["auth"]["scopes"], json!([]));
    assert_eq!(nobody.request("health", &json!({})).await["error"]["code"], "FORBIDDEN");

    let (mut writer, _) = house.connected().await;
    writer.ok("chat.send", send).await;
    reader.event_where(|e| e["payload"]["state"] == "final").await;
    nobody.request("health", &json!({})).await;
    assert!(nobody.events.is_empty(), "{:?}", nobody.events);
}

#[tokio::test]
async fn other_methods_are_told_apart_from_unknown_ones() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    for known in ["cron.list", "sessions.patch", "wake", "last-heartbeat", "config.get"] {
        let error = client.request(known, &json!({})).await["error"].clone();
        assert_eq!(
            (&error["code"], &error["details"]["code"]),
            (&json!("UNAVAILABLE"), &json!("METHOD_NOT_SUPPORTED"))
        );
    }
    let error = client.request("make.coffee", &json!({})).await["error"].clone();
    assert_eq!(error["code"], "INVALID_REQUEST");
    let error = client.request("connect", &connect_params(&json!({}))).await["error"].clone();
    assert_eq!(error["message"], "connect already completed");
}
