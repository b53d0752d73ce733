use crate::support::*;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use carapace_egress::{Door, Outcome};
use std::sync::Arc;

fn app() -> Router {
    Router::new()
        .route("/v1/to", any(|| async { (StatusCode::FOUND, [("location", "/v1/end?token=private")]).into_response() }))
        .fallback(any(|| async { (StatusCode::CREATED, "0123456789") }))
}

#[tokio::test]
async fn an_answered_request_is_recorded_once_when_its_body_ends() {
    let server = serve(app()).await;
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(ledger.clone()).build();
    let policy = pointed(&format!("http://{server}/v1"), |_| {});
    let request = with_body(api("PUT", "/x?q=private"), "12345");
    let mut response = send(&door, &policy, &Vault::default(), request).await.unwrap();
    assert!(ledger.0.lock().unwrap().is_empty());
    text(&mut response).await.unwrap();
    drop(response);
    let record = ledger.one();
    assert_eq!(record.instance, instance());
    assert_eq!((record.method.as_str(), record.origin), ("PUT", Some(format!("http://{server}"))));
    assert_eq!((record.path.as_deref(), record.outcome), (Some("/v1/x"), Outcome::Status(201)));
    assert_eq!((record.bytes_out, record.bytes_in, record.redirects), (5, 10, 0));
    assert!(record.sent && !record.leak_found);
}

#[tokio::test]
async fn redirects_are_counted_and_queries_left_out() {
    let server = serve(app()).await;
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(ledger.clone()).build();
    let policy = pointed(&format!("http://{server}/v1"), |_| {});
    drop(send(&door, &policy, &Vault::default(), api("GET", "/to")).await.unwrap());
    let record = ledger.one();
    assert_eq!((record.redirects, record.path.as_deref()), (1, Some("/v1/end")));
    assert!(!format!("{record:?}").contains("private"));
}

#[tokio::test]
async fn a_denied_request_is_recorded_with_its_code() {
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(ledger.clone()).build();
    send(&door, &public(), &Vault::default(), fetch("http://10.0.0.1/x?q=private")).await.unwrap_err();
    let record = ledger.one();
    assert_eq!(record.outcome, Outcome::Failed("E-EGRESS-007".to_owned()));
    assert_eq!((record.origin.as_deref(), record.path.as_deref()), (Some("http://10.0.0.1"), Some("/x")));
    assert!(!record.sent);
}

#[tokio::test]
async fn a_request_whose_future_is_dropped_is_recorded_as_cancelled() {
    let server = serve(Router::new().fallback(any(std::future::pending::<&'static str>))).await;
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(ledger.clone()).build();
    let policy = pointed(&format!("http://{server}"), |_| {});
    let vault = Vault::default();
    {
        let mut waiting = Box::pin(send(&door, &policy, &vault, api("GET", "/")));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
    }
    assert_eq!(ledger.one().outcome, Outcome::Failed("cancelled".to_owned()));
}
