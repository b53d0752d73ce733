//! Binding, authentication, health, metrics, the page, shutting down.

use crate::client::{TOKEN, house, house_with};
use crate::support::Fake;
use carapace_gateway::{Gateway, GatewayLimits, GatewayOptions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

async fn refused(change: impl FnOnce(&mut GatewayOptions)) -> carapace_contract::Denial {
    let fake = Fake::new();
    let mut options = GatewayOptions::new(TOKEN.into(), "1", Arc::clone(&fake) as _, fake as _);
    options.port = 0;
    change(&mut options);
    Gateway::start(options).await.err().expect("it must not start")
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    for wide in ["0.0.0.0", "::", "192.168.1.5"] {
        let denial = refused(|o| o.bind = wide.parse().unwrap()).await;
        assert_eq!(denial.code, "E-GATE-001");
        assert!(denial.message.contains(wide) && denial.fix.contains("127.0.0.1"), "{denial}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_way_out() {
    let house = house().await;
    let denial = refused(|o| o.port = house.addr.port()).await;
    assert_eq!(denial.code, "E-GATE-002");
    assert!(denial.message.contains(&house.addr.to_string()) && denial.fix.contains("port"), "{denial}");
}

#[tokio::test]
async fn a_short_token_is_refused() {
    assert_eq!(refused(|o| o.token = "short".into()).await.code, "E-GATE-003");
}

#[tokio::test]
async fn everything_but_health_and_the_page_wants_the_token() {
    let house = house().await;
    for path in ["/metrics", "/api/status", "/v1/models", "/v1/models/fake/one", "/v1/responses/resp_x"] {
        let answer = house.http.get(house.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        let wrong = house.http.get(house.url(path)).bearer_auth("wrong").send().await.unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
    }
    let body = json!({"messages": [{"role": "user", "content": "x"}]});
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/responses/resp_x/cancel"] {
        let answer = house.http.post(house.url(path)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    assert!(house.fake.requests.lock().unwrap().is_empty());
    for path in ["/", "/health", "/health/live", "/health/ready"] {
        assert_eq!(house.http.get(house.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn wrong_tokens_are_throttled_and_say_when_to_come_back() {
    let house = house_with(GatewayLimits { auth_burst: 3, auth_per_minute: 1, ..GatewayLimits::default() }).await;
    for _ in 0..3 {
        assert_eq!(house.http.get(house.url("/metrics")).bearer_auth("wrong").send().await.unwrap().status(), 401);
    }
    let answer = house.http.get(house.url("/metrics")).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Without a token nothing is tried, and nothing is throttled.
    assert_eq!(house.http.get(house.url("/metrics")).send().await.unwrap().status(), 401);
    let mut client = house.socket().await;
    let answer = client.connect(json!({"auth": {"token": "wrong"}})).await;
    assert_eq!(answer["error"]["details"]["code"], "AUTH_RATE_LIMITED", "one throttle for both edges: {answer}");
}

#[tokio::test]
async fn a_name_that_is_not_this_machine_is_refused() {
    let house = house().await;
    let ask = |host: &str| house.http.get(house.url("/health")).header("host", host).send();
    assert_eq!(ask("evil.example").await.unwrap().status(), 403);
    assert_eq!(ask("localhost:1234").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_foreign_page_cannot_post_or_open_a_socket() {
    let house = house().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}]});
    let foreign = house.chat(&body).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let own = house.chat(&body).header("origin", house.url("")).send().await.unwrap();
    assert_eq!(own.status(), 200);
    for path in ["/ws", "/"] {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
        let mut request = format!("ws://{}{path}", house.addr).into_client_request().unwrap();
        request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
        let refused = tokio_tungstenite::connect_async(request).await.unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
    }
    let preflight = house.http.request(reqwest::Method::OPTIONS, house.url("/v1/models"));
    let preflight = preflight.header("origin", "https://evil.example").send().await.unwrap();
    assert!(!preflight.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn readiness_counts_reasons_for_everybody_and_names_them_for_the_owner() {
    let house = house().await;
    *house.fake.not_ready.lock().unwrap() = vec!["no provider is granted".into()];
    let answer = house.http.get(house.url("/health/ready")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), json!({"status": "not-ready", "reasons": 1}));
    let (status, body) = house.get("/health/ready").await;
    assert_eq!((status, &body["details"][0]), (503, &json!("no provider is granted")));
    house.fake.not_ready.lock().unwrap().clear();
    assert_eq!(house.get("/health/ready").await.0, 200);
}

#[tokio::test]
async fn every_answer_carries_its_security_headers() {
    let house = house().await;
    for path in ["/", "/health", "/nowhere"] {
        let answer = house.http.get(house.url(path)).send().await.unwrap();
        let h = answer.headers();
        assert!(h["content-security-policy"].to_str().unwrap().contains("default-src 'none'"), "{path}");
        assert_eq!(h["x-content-type-options"], "nosniff");
        assert_eq!(h["x-frame-options"], "DENY");
        assert_eq!(h["referrer-policy"], "no-referrer");
        assert!(h.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn the_page_says_how_to_connect_and_keeps_what_is_confidential() {
    let house = house().await;
    let html = house.http.get(house.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(html.contains(&format!("http://{}/v1/chat/completions", house.addr)));
    assert!(html.contains("9.9.9") && html.contains("carapace chat"));
    assert!(!html.contains(TOKEN) && !html.contains("carapace/fake") && !html.contains("lookup"));
    assert!(!html.contains("src=\"http") && !html.contains("{{"));
    let (status, body) = house.get("/api/status").await;
    assert_eq!(status, 200);
    assert_eq!(body["instances"][0]["state"], "ready");
    assert_eq!(body["tools"][0]["effects"], json!(["fetch"]));
    assert_eq!(body["models"][0]["id"], "fake/one");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_the_same_shape() {
    let house = house().await;
    let (status, body) = house.get("/v1/nothing").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("unknown_url")));
    let answer = house.http.get(house.url("/v1/chat/completions")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    let answer = house.http.get(house.url("/ws")).send().await.unwrap();
    assert_eq!(answer.status(), 426);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let house = house().await;
    house.ask(&json!({"messages": [{"role": "user", "content": "x"}]})).await;
    house.http.get(house.url("/metrics")).bearer_auth("wrong").send().await.unwrap();
    let (mut client, _) = house.connected().await;
    client.ok("health", json!({})).await;
    let text = house.http.get(house.url("/metrics")).bearer_auth(TOKEN).send().await.unwrap().text().await.unwrap();
    for series in [
        r#"carapace_http_requests_total{route="/v1/chat/completions",method="POST",status="200"}"#,
        r#"carapace_auth_failures_total{edge="http",reason="wrong"}"#,
        r#"carapace_ws_messages_total{direction="in"}"#,
        r#"carapace_ws_messages_total{direction="out"}"#,
        r#"carapace_ws_requests_total{method="health",outcome="ok"}"#,
        "carapace_ws_connections ",
        "carapace_ws_connections_total",
        r#"carapace_http_request_seconds_bucket{route="/v1/chat/completions""#,
    ] {
        let line = text.lines().find(|l| l.starts_with(series)).unwrap_or_else(|| panic!("no {series} in\n{text}"));
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > 0.0 || series.contains("bucket"), "{line}");
    }
    for line in [
        r#"carapace_instance_calls_total{instance="carapace/fake/main"} 41"#,
        r#"carapace_instance_traps_total{instance="carapace/fake/main",kind="fuel"} 2"#,
        r#"carapace_build_info{version="9.9.9"} 1"#,
        "carapace_ready 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn a_shutdown_is_announced_lets_requests_finish_and_closes() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let asked = tokio::spawn(house.chat(&json!({"messages": [{"role": "user", "content": "wait"}]})).send());
    let run = client.event_where(|e| e["payload"]["deltaText"] == "waiting").await["payload"]["runId"].clone();
    let run: carapace_contract::Ulid = run.as_str().unwrap().parse().unwrap();
    let (fake, addr, gateway) = (Arc::clone(&house.fake), house.addr, house.gateway);
    let stopping = tokio::spawn(gateway.shutdown("an update", Duration::from_secs(60)));
    let told = client.event("shutdown").await;
    assert_eq!(told["payload"]["reason"], "an update");
    assert_eq!(client.closed().await.0, 1001);
    assert!(!asked.is_finished(), "the request is let finish");
    carapace_contract::ports::Assistant::abort(&*fake, Some(run), None).await;
    assert_eq!(asked.await.unwrap().unwrap().status(), 409);
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_run_that_outlives_the_grace_is_left_to_the_next_start() {
    let house = house().await;
    let (mut client, _) = house.connected().await;
    let asked = tokio::spawn(house.chat(&json!({"messages": [{"role": "user", "content": "wait"}]})).send());
    client.event_where(|e| e["payload"]["deltaText"] == "waiting").await;
    house.gateway.shutdown("", Duration::ZERO).await;
    assert!(asked.await.unwrap().is_err(), "the connection was cut");
    assert!(house.fake.aborted.borrow().is_empty(), "the run was not stopped");
}
