use crate::support::*;
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::{IntoResponse as _, Response as Answer};
use axum::routing::any;
use bytes::Bytes;
use carapace_contract::limits::Limits;
use carapace_egress::{Door, EgressError, Policy};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

async fn coded(coding: &str, plain: &[u8]) -> Vec<u8> {
    macro_rules! with {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(plain).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }
    match coding {
        "gzip" => with!(GzipEncoder),
        "deflate" => with!(ZlibEncoder),
        "raw deflate" => with!(DeflateEncoder),
        "br" => with!(BrotliEncoder),
        "zstd" => with!(ZstdEncoder),
        other => panic!("{other}"),
    }
}

fn fixed(body: Vec<u8>, encoding: &'static str) -> Router {
    Router::new().fallback(any(move || {
        let body = body.clone();
        async move { ([("content-encoding", encoding)], body).into_response() }
    }))
}

/// Sends what the test sends it, and ends when the test drops the sender.
fn piped() -> (Router, mpsc::UnboundedSender<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let app = Router::new().fallback(any(move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move {
            let stream = futures::stream::unfold(receiver, |mut r| async move {
                r.recv().await.map(|piece| (Ok::<_, std::io::Error>(Bytes::from(piece)), r))
            });
            Answer::new(Body::from_stream(stream))
        }
    }));
    (app, sender)
}

fn policy(server: std::net::SocketAddr) -> Policy {
    pointed(&format!("http://{server}"), |h| h.auth = bearer())
}

#[tokio::test]
async fn every_encoding_is_undone_before_the_scan() {
    let plain = format!("before {SECRET} after ").repeat(50);
    for (coding, header) in
        [("gzip", "gzip"), ("deflate", "deflate"), ("raw deflate", "deflate"), ("br", "br"), ("zstd", "zstd")]
    {
        let server = serve(fixed(coded(coding, plain.as_bytes()).await, header)).await;
        let mut response =
            send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
        assert!(!response.headers.iter().any(|(n, _)| n == "content-encoding" || n == "content-length"), "{coding}");
        assert_eq!(text(&mut response).await.unwrap(), "before [redacted] after ".repeat(50), "{coding}");
    }
}

#[tokio::test]
async fn a_body_compressed_twice_is_undone_twice() {
    let twice = coded("br", &coded("gzip", b"hello").await).await;
    let server = serve(fixed(twice, "gzip, br")).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_encoding_that_cannot_be_scanned_is_refused() {
    let server = serve(fixed(b"x".to_vec(), "x-secret-coding")).await;
    let failure = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Unavailable(t) if t.contains("`x-secret-coding`")), "{failure}");
}

#[tokio::test]
async fn a_decompression_bomb_is_stopped_by_its_ratio() {
    for coding in ["gzip", "br", "zstd"] {
        let bomb = coded(coding, &vec![0; 8 << 20]).await;
        let server = serve(fixed(bomb, coding)).await;
        let mut response =
            send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
        let failure = text(&mut response).await.unwrap_err();
        assert!(matches!(&failure.error, EgressError::Limit(t) if t.contains("decompressing")), "{coding}: {failure}");
        // It stays an error.
        assert_eq!(response.read(10).await.unwrap_err(), failure);
    }
}

#[tokio::test]
async fn a_broken_compressed_body_is_an_error_and_not_a_short_answer() {
    let mut whole = coded("gzip", &b"hello world ".repeat(100)).await;
    whole.truncate(whole.len() / 2);
    let server = serve(fixed(whole, "gzip")).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    let failure = text(&mut response).await.unwrap_err();
    assert!(matches!(failure.error, EgressError::Unavailable(_)), "{failure}");
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let app = Router::new().fallback(any(|| async {
        let stream = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 4096])));
        Answer::new(Body::from_stream(stream))
    }));
    let server = serve(app).await;
    let mut policy = policy(server);
    policy.limits = Limits { http_response_bytes: 100_000, ..Limits::default() };
    let mut response = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/")).await.unwrap();
    let failure = text(&mut response).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Limit(t) if t.contains("100000 bytes")), "{failure}");
}

#[tokio::test]
async fn a_secret_cut_across_chunks_is_found() {
    let (app, pipe) = piped();
    let server = serve(app).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    pipe.send("data: a\n\ndata: sk-live/7f").unwrap();
    assert_eq!(response.read(100).await.unwrap(), "data: a\n\ndata: ");
    pipe.send("3a+9c51==e").unwrap();
    pipe.send("nd b\n\n").unwrap();
    drop(pipe);
    assert_eq!(text(&mut response).await.unwrap(), "[redacted] b\n\n");
}

#[tokio::test]
async fn pieces_are_passed_on_as_they_come() {
    let (app, pipe) = piped();
    let server = serve(app).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    // The next piece is sent only after the one before it was read: nothing may be held back here.
    for piece in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        pipe.send(piece).unwrap();
        assert_eq!(response.read(1000).await.unwrap(), piece);
    }
    drop(pipe);
    assert!(response.read(1000).await.unwrap().is_empty());
    assert!(response.read(1000).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_compressed_stream_is_passed_on_as_it_comes() {
    let (sender, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let app = Router::new().fallback(any(move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move {
            let stream = futures::stream::unfold(receiver, |mut r| async move {
                r.recv().await.map(|piece| (Ok::<_, std::io::Error>(Bytes::from(piece)), r))
            });
            let mut answer = Answer::new(Body::from_stream(stream));
            answer.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            answer
        }
    }));
    let server = serve(app).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    let mut encoder = GzipEncoder::new(Vec::new());
    for piece in ["data: one\n\n", "data: two\n\n"] {
        encoder.write_all(piece.as_bytes()).await.unwrap();
        encoder.flush().await.unwrap();
        sender.send(std::mem::take(encoder.get_mut())).unwrap();
        assert_eq!(response.read(1000).await.unwrap(), piece);
    }
    encoder.shutdown().await.unwrap();
    sender.send(encoder.into_inner()).unwrap();
    drop(sender);
    assert!(response.read(1000).await.unwrap().is_empty());
}

#[tokio::test]
async fn reads_are_never_larger_than_asked_for() {
    let server = serve(Router::new().fallback(any(|| async { "abcdefghij" }))).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("GET", "/")).await.unwrap();
    let mut pieces = Vec::new();
    loop {
        let piece = response.read(4).await.unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 4);
        pieces.extend_from_slice(&piece);
    }
    assert_eq!(pieces, b"abcdefghij");
    assert!(matches!(response.read(0).await.unwrap_err().error, EgressError::Invalid(_)));
}

#[tokio::test]
async fn a_slow_drip_ends_when_the_run_is_stopped() {
    let (app, pipe) = piped();
    let server = serve(app).await;
    let cancel = CancellationToken::new();
    let door = Door::builder().build();
    let mut response = door.send(&policy(server), &Vault::key(), api("GET", "/"), cancel.clone()).await.unwrap();
    pipe.send("drip").unwrap();
    assert_eq!(response.read(10).await.unwrap(), "drip");
    let (read, ()) = tokio::join!(response.read(10), async { cancel.cancel() });
    assert_eq!(read.unwrap_err().error, EgressError::Cancelled);
    // The server notices: its side of the pipe is dropped.
    pipe.closed().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let (app, pipe) = piped();
    let server = serve(app).await;
    let door = Door::builder().idle(Duration::from_millis(500)).build();
    let mut response =
        door.send(&policy(server), &Vault::key(), api("GET", "/"), CancellationToken::new()).await.unwrap();
    pipe.send("first").unwrap();
    assert_eq!(response.read(10).await.unwrap(), "first");
    let failure = response.read(10).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Timeout(t) if t.contains("sent nothing")), "{failure}");
}

#[tokio::test]
async fn a_head_request_has_no_body_to_decode() {
    let server = serve(fixed(coded("gzip", b"hello").await, "gzip")).await;
    let mut response = send(&Door::builder().build(), &policy(server), &Vault::key(), api("HEAD", "/")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "");
}

#[tokio::test]
async fn a_large_body_comes_through_whole_over_tls_and_h2() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = body.clone();
    let (address, der) = serve_tls(fixed(body, "identity"), &["api.example.com"]).await;
    let names = Names::new(&[("api.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, address)]).extra_root(der).build();
    let policy = signed("https://api.example.com", |h| h.auth = bearer());
    let mut response = send(&door, &policy, &Vault::key(), api("GET", "/")).await.unwrap();
    let mut got = Vec::new();
    loop {
        let piece = response.read(1 << 16).await.unwrap();
        if piece.is_empty() {
            break;
        }
        got.extend_from_slice(&piece);
    }
    assert!(got == expected);
}

#[tokio::test]
async fn many_streams_of_one_instance_run_beside_each_other() {
    let server = serve(
        Router::new().fallback(any(|request: axum::extract::Request| async move { request.uri().path().to_owned() })),
    )
    .await;
    let (door, policy, vault) = (Door::builder().build(), policy(server), Vault::key());
    let answers = futures::stream::iter(0..50)
        .map(|n| {
            let (door, policy, vault) = (&door, &policy, &vault);
            async move {
                let mut response = send(door, policy, vault, api("GET", &format!("/{n}"))).await.unwrap();
                text(&mut response).await.unwrap()
            }
        })
        .buffered(20)
        .collect::<Vec<_>>()
        .await;
    assert_eq!(answers, (0..50).map(|n| format!("/{n}")).collect::<Vec<_>>());
}
