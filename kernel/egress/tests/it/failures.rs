use crate::support::*;
use axum::Router;
use axum::routing::any;
use carapace_egress::{Door, EgressError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let policy = pointed(&format!("http://{address}"), |h| h.auth = bearer());
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("POST", "/")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Unavailable(t) if t.contains(&address.to_string())), "{failure}");
    assert!(!failure.sent);
}

#[tokio::test]
async fn a_server_that_hangs_up_after_reading_was_sent_something() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 64];
            let _ = socket.read(&mut buffer).await;
        }
    });
    let policy = pointed(&format!("http://{address}"), |h| h.auth = bearer());
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("POST", "/")).await.unwrap_err();
    assert!(matches!(failure.error, EgressError::Unavailable(_)), "{failure}");
    assert!(failure.sent);
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_was_not_sent_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let policy = pointed(&format!("https://{address}"), |h| h.auth = bearer());
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("POST", "/")).await.unwrap_err();
    assert!(!failure.sent, "{failure}");
}

#[tokio::test]
async fn an_untrusted_certificate_stops_before_the_request() {
    let log = Log::default();
    let (address, _) =
        serve_tls(logged(Router::new().fallback(any(|| async { "x" })), &log), &["api.example.com"]).await;
    let (_, another) = serve_tls(Router::new(), &["api.example.com"]).await;
    let names = Names::new(&[("api.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, address)]).extra_root(another).build();
    let policy = signed("https://api.example.com", |h| h.auth = bearer());
    let failure = send(&door, &policy, &Vault::key(), api("GET", "/")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Unavailable(t) if t.contains("certificate")), "{failure}");
    assert!(!failure.sent);
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_that_may_have_been_sent() {
    let app = Router::new().fallback(any(std::future::pending::<&'static str>));
    let server = serve(app).await;
    let policy = pointed(&format!("http://{server}"), |_| {});
    let mut request = api("GET", "/");
    request.timeout = Some(Duration::from_millis(50));
    let failure = send(&Door::builder().build(), &policy, &Vault::default(), request).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Timeout(t) if t.contains("50 ms")), "{failure}");
    assert!(failure.sent);
}

#[tokio::test]
async fn a_stopped_run_ends_a_waiting_request() {
    let arrived = std::sync::Arc::new(tokio::sync::Notify::new());
    let notify = arrived.clone();
    let app = Router::new().fallback(any(move || {
        notify.notify_one();
        std::future::pending::<&'static str>()
    }));
    let server = serve(app).await;
    let policy = pointed(&format!("http://{server}"), |_| {});
    let (door, vault, cancel) = (Door::builder().build(), Vault::default(), CancellationToken::new());
    let (result, ()) = tokio::join!(door.send(&policy, &vault, api("GET", "/"), cancel.clone()), async {
        arrived.notified().await;
        cancel.cancel();
    });
    let failure = result.unwrap_err();
    assert_eq!((failure.error, failure.sent), (EgressError::Cancelled, true));
}

#[tokio::test]
async fn a_run_that_was_stopped_before_sends_nothing() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let policy = pointed("http://127.0.0.1:1", |_| {});
    let failure = Door::builder().build().send(&policy, &Vault::default(), api("GET", "/"), cancel).await.unwrap_err();
    assert_eq!((failure.error, failure.sent), (EgressError::Cancelled, false));
}

#[tokio::test]
async fn an_error_never_shows_the_secret_or_the_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let policy = pointed(&format!("http://{address}"), |h| {
        h.auth = carapace_contract::manifest::Auth::Query { name: "key".to_owned(), secret: "key".parse().unwrap() };
    });
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/?q=private")).await.unwrap_err();
    let text = format!("{failure} {failure:?}");
    assert!(!text.contains("7f3a") && !text.contains("private"), "{text}");
}

#[test]
fn the_futures_are_send() {
    fn check<T: Send>(_: &T) {}
    let (door, policy, vault) = (Door::builder().build(), public(), Vault::default());
    let future = send(&door, &policy, &vault, fetch("https://example.com"));
    check(&future);
}
