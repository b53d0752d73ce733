use crate::support::*;
use axum::Router;
use axum::routing::{any, get};
use carapace_egress::{Door, EgressError, Outcome, Target};
use serde_json::{Value, json};
use std::sync::Arc;

/// `/open` hands out a link; what is below `/signed` is behind it.
fn app(link: impl Into<String>) -> Router {
    let link = link.into();
    Router::new()
        .route(
            "/open",
            any(move || {
                let link = link.clone();
                async move { json!({ "ok": true, "url": link, "again": format!("see {link}") }).to_string() }
            }),
        )
        .route("/plain", get(|| async { "not json" }))
        .fallback(any(|| async { "behind the link" }))
}

async fn open(door: &Door, policy: &carapace_egress::Policy) -> (String, String) {
    let mut response = send(door, policy, &Vault::key(), api("GET", "/open")).await.unwrap();
    let body = text(&mut response).await.unwrap();
    let json: Value = serde_json::from_str(&body).unwrap();
    (json["url"].as_str().unwrap().to_owned(), body)
}

#[tokio::test]
async fn a_captured_link_becomes_a_handle_that_works_without_showing_the_link() {
    let log = Log::default();
    let (files, der) = serve_tls(logged(app(""), &log), &["files.example.com"]).await;
    let server = serve(app("https://files.example.com/signed/abcdef?sig=123456789")).await;
    let names = Names::new(&[("files.example.com", &[&[PUBLIC_A]])]);
    let ledger = Arc::new(Ledger::default());
    let door = internet(&names, &[(PUBLIC_A, files)]).extra_root(der).recorder(ledger.clone()).build();
    let policy = pointed(&format!("http://{server}"), |h| {
        h.auth = bearer();
        h.hosts = ["files.example.com".to_owned()].into();
        h.capture = [link_rule()].into();
    });
    let (handle, body) = open(&door, &policy).await;
    assert!(handle.starts_with("handle:"), "{handle}");
    assert!(!body.contains("abcdef") && !body.contains("123456789"), "{body}");
    ledger.0.lock().unwrap().clear();

    let mut response =
        send(&door, &policy, &Vault::key(), request("GET", Target::Handle(handle.clone()))).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "behind the link");
    assert_eq!(response.url, "https://files.example.com");
    let seen = log.lock().unwrap().pop().unwrap();
    assert_eq!(seen.target, "/signed/abcdef?sig=123456789");
    assert!(!seen.text().contains(SECRET), "the endpoint's credential stays at home");
    drop(response);
    let record = ledger.one();
    assert_eq!((record.path, record.outcome), (None, Outcome::Status(200)));

    let mut other = policy.clone();
    other.instance = "acme/weather/other".parse().unwrap();
    let failure = send(&door, &other, &Vault::key(), request("GET", Target::Handle(handle))).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Invalid(t) if t.contains("not a live handle")), "{failure}");
}

#[tokio::test]
async fn a_handle_leads_only_to_granted_hosts_by_granted_methods() {
    let server = serve(app("https://elsewhere.example.org/signed/abcdef")).await;
    let door = internet(&Names::new(&[]), &[]).build();
    let policy = pointed(&format!("http://{server}"), |h| {
        h.capture = [link_rule()].into();
        h.methods = ["GET".to_owned()].into();
    });
    let (handle, _) = open(&door, &policy).await;
    let target = Target::Handle(handle);
    let denied = denial(send(&door, &policy, &Vault::key(), request("GET", target.clone())).await);
    assert_eq!(denied.code, "E-EGRESS-005");
    assert!(denied.message.contains("elsewhere.example.org") && !denied.message.contains("abcdef"), "{denied}");
    assert_eq!(denial(send(&door, &policy, &Vault::key(), request("PUT", target)).await).code, "E-EGRESS-002");
}

#[tokio::test]
async fn an_answer_without_the_value_passes_unchanged() {
    let server = serve(app("")).await;
    let policy = pointed(&format!("http://{server}"), |h| h.capture = [link_rule()].into());
    let mut response = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/plain")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "not json");
}

#[tokio::test]
async fn an_answer_too_large_to_search_is_refused() {
    let app = Router::new().fallback(any(|| async { vec![b' '; 5 << 20] }));
    let server = serve(app).await;
    let policy = pointed(&format!("http://{server}"), |h| h.capture = [link_rule()].into());
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Limit(t) if t.contains("4 MiB")), "{failure}");
}
