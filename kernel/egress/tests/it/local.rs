use crate::support::*;
use axum::Router;
use axum::routing::{any, get, post};
use carapace_egress::EgressError;
use carapace_egress::local::{Client, probe};
use secrecy::SecretString;
use serde_json::{Value, json};

#[tokio::test]
async fn the_command_line_asks_a_running_kernel() {
    let log = Log::default();
    let app = Router::new()
        .route("/status", get(|| async { json!({ "ready": true }).to_string() }))
        .route("/echo", post(|body: String| async { body }))
        .route("/text", get(|| async { "plain" }))
        .route("/events", any(|| async { "data: 1\n\ndata: 2\n\n" }));
    let server = serve(logged(app, &log)).await;
    let client =
        Client::new(&format!("http://localhost:{}", server.port()), Some(SecretString::from("token-12345"))).unwrap();

    let answer = client.get("/status").await.unwrap();
    assert_eq!((answer.status, answer.body), (200, json!({ "ready": true })));
    assert_eq!(log.lock().unwrap()[0].header("authorization"), Some("Bearer token-12345"));
    assert_eq!(client.post("/echo", &json!({ "a": 1 })).await.unwrap().body, json!({ "a": 1 }));
    assert_eq!(client.get("/text").await.unwrap().body, Value::from("plain"));
    let missing = client.get("/missing").await.unwrap();
    assert_eq!((missing.status, missing.body), (404, Value::Null));

    let mut events = client.events("/events", Some(&json!({}))).await.unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = events.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all, b"data: 1\n\ndata: 2\n\n");
    assert_eq!(log.lock().unwrap().last().unwrap().method, "POST");
    assert!(!format!("{client:?}").contains("token-12345"));
}

#[test]
fn it_speaks_to_this_machine_only() {
    for base in [
        "http://example.com",
        "http://192.168.0.1:18789",
        "https://127.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
    ] {
        let error = Client::new(base, None).expect_err(base);
        assert!(matches!(&error, EgressError::Invalid(t) if t.contains(base)), "{error}");
    }
}

#[tokio::test]
async fn a_kernel_that_does_not_run_is_said_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::new(&format!("http://{address}"), None).unwrap().get("/status").await.unwrap_err();
    assert!(error.to_string().contains("carapace start"), "{error}");
}

#[tokio::test]
async fn a_probe_asks_once_without_a_credential_and_follows_nobody() {
    let log = Log::default();
    let app = Router::new()
        .route("/v1/models", get(|| async { json!({ "data": [] }).to_string() }))
        .route("/v1/moved", get(|| async { axum::response::Redirect::temporary("/v1/models") }))
        .route("/v1/large", get(|| async { "x".repeat((1 << 20) + 1) }));
    let server = serve(logged(app, &log)).await;
    let base = format!("http://127.0.0.1:{}/v1", server.port());
    let answer = probe(&base, "/models").await.unwrap();
    assert_eq!((answer.status, answer.body), (200, json!({ "data": [] })));
    assert_eq!(probe(&base, "/moved").await.unwrap().status, 307);
    let error = probe(&base, "/large").await.unwrap_err();
    assert!(matches!(&error, EgressError::Limit(t) if t.contains("1 MiB")), "{error}");
    let asked = log.lock().unwrap();
    assert_eq!(asked.iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["/v1/models", "/v1/moved", "/v1/large"]);
    assert!(asked.iter().all(|r| r.header("authorization").is_none() && r.header("cookie").is_none()));
}

#[tokio::test]
async fn a_probe_reaches_this_machine_only() {
    for base in ["http://example.com/v1", "http://192.168.0.1:8080/v1", "https://127.0.0.1:8080/v1"] {
        let error = probe(base, "/models").await.expect_err(base);
        assert!(matches!(&error, EgressError::Invalid(t) if t.contains(base)), "{error}");
    }
}
