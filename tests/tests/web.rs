//! `web_fetch` and the world: what it may not reach, in whatever spelling, and what hostile servers do to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use async_compression::tokio::write::GzipEncoder;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A model that fetches the address it is given, and repeats what came of it.
fn fetch(request: &Value) -> Vec<Piece> {
    let last = request["messages"].as_array().unwrap().last().unwrap();
    let text = match &last["content"] {
        Value::String(text) => text.clone(),
        parts => parts[0]["text"].as_str().unwrap().to_owned(),
    };
    match last["role"].as_str() {
        Some("tool") => vec![Piece::Text(text)],
        _ => vec![Piece::Call("call_1".into(), "web_fetch".into(), json!({"url": text}))],
    }
}

/// A listener on this machine that counts who connects.
async fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, SeqCst);
        }
    });
    (port, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_private_address_is_reached_although_the_owner_wrote_it() {
    let model = Model::start(fetch, Duration::ZERO).await;
    let kernel = Kernel::start(KernelOptions::openai(&model.base).with_config("{ agent: { route: ['openai/mock'] } }"));
    let (port, seen) = listener().await;
    let this_machine = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ];
    let elsewhere = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00::1]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "[2001:db8::1]",
        "198.18.0.1",
    ];
    for host in this_machine.iter().chain(&elsewhere) {
        let said = kernel.say(host, &format!("http://{host}:{port}/")).await;
        assert!(
            ["E-EGRESS-007", "E-EGRESS-008", "E-EGRESS-014"].iter().any(|code| said.contains(code)),
            "{host}: {said}"
        );
    }
    for url in [format!("http://user@127.0.0.1:{port}/"), "http://127.0.0.1:22/".into(), "http:///127.0.0.1/".into()] {
        let said = kernel.say(&url, &url).await;
        assert!(!said.contains("status:"), "{url}: {said}");
    }
    assert_eq!(seen.load(SeqCst), 0, "somebody connected");
}

/// Serves on this machine; gives back `127.0.0.1:<port>`.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    server
}

/// A kernel whose `web_fetch` may read these servers.
fn kernel(model: &Model, servers: &[&str], limits: &Value) -> Kernel {
    let config = json!({
        "agent": {"route": ["openai/mock"]},
        "instances": {"web": {"publicAllow": servers, "limits": limits}},
    });
    Kernel::start(KernelOptions::openai(&model.base).with_config(&config.to_string()))
}

fn redirect(to: String) -> Response {
    (StatusCode::FOUND, [("location", to)]).into_response()
}

const PAGE: &str = "<title>A page</title><nav>Menu</nav><h1>Head</h1><p>Some <a href='/x'>words</a>.";

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_server_is_read_and_its_redirects_lead_nowhere_they_should_not() {
    let model = Model::start(fetch, Duration::ZERO).await;
    let (port, seen) = listener().await;
    let forbidden = [
        (format!("http://127.0.0.1:{port}/"), "E-EGRESS-007"),
        (format!("//127.0.0.1:{port}/"), "E-EGRESS-007"),
        (format!("https://127.0.0.1:{port}/"), "E-EGRESS-007"),
        (format!("http://0x7f000001:{port}/"), "E-EGRESS-007"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "E-EGRESS-007"),
        (format!("http://localhost:{port}/"), "E-EGRESS-008"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "E-EGRESS-014"),
        ("http://metadata.google.internal/".to_owned(), "E-EGRESS-014"),
        ("http://10.0.0.1/".to_owned(), "E-EGRESS-007"),
        (format!("http://user:pass@127.0.0.1:{port}/"), "not a usable URL"),
        ("file:///etc/passwd".to_owned(), "not a usable URL"),
        ("javascript:alert(1)".to_owned(), "not a usable URL"),
        ("data:text/plain,hello".to_owned(), "not a usable URL"),
    ];
    // Opened, too; and still no other server may send anybody there.
    let second = serve(Router::new().fallback(get(|| async { "the second server" }))).await;
    let to_second = format!("http://{second}/");
    let targets: Vec<String> = forbidden.iter().map(|(to, _)| to.clone()).chain([to_second]).collect();
    let app = Router::new()
        .route("/loop", get(|| async { redirect("/loop".into()) }))
        .route(
            "/hops/{left}",
            get(|Path(left): Path<u32>| async move {
                redirect(if left == 0 { "/page".into() } else { format!("/hops/{}", left - 1) })
            }),
        )
        .route("/page", get(|| async { ([("content-type", "text/html")], PAGE) }))
        .route("/away/{which}", get(move |Path(which): Path<usize>| async move { redirect(targets[which].clone()) }));
    let server = serve(app).await;
    let kernel = kernel(&model, &[&server, &second, "169.254.169.254:80"], &json!({}));

    let said = kernel.say("page", &format!("http://{server}/page")).await;
    assert!(said.contains("title: A page") && !said.contains("Menu"), "{said}");
    assert!(said.contains(&format!("# Head\n\nSome [words](http://{server}/x).")), "{said}");
    let said = kernel.say("hops", &format!("http://{server}/hops/4")).await;
    assert!(said.starts_with(&format!("http://{server}/page\n")) && said.contains("# Head"), "{said}");
    for path in ["loop", "hops/5"] {
        let said = kernel.say(path, &format!("http://{server}/{path}")).await;
        assert!(said.contains("redirected more than 5 times"), "{path}: {said}");
    }
    for (which, (to, why)) in forbidden.iter().enumerate() {
        let said = kernel.say(to, &format!("http://{server}/away/{which}")).await;
        assert!(said.contains(why) && !said.contains("status:"), "{to}: {said}");
    }
    assert_eq!(seen.load(SeqCst), 0, "somebody connected");
    assert!(kernel.say("second", &format!("http://{second}/")).await.ends_with("the second server"));
    let said = kernel.say("away", &format!("http://{server}/away/{}", forbidden.len())).await;
    assert!(said.contains("E-EGRESS-007") && said.contains("itself"), "{said}");
}

/// Answers every connection with these bytes, and closes it.
async fn raw(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(&answer).await;
            let _ = connection.shutdown().await;
        }
    });
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_lies_or_never_ends_is_shown_as_far_as_it_may_be() {
    let model = Model::start(fetch, Duration::ZERO).await;
    let long =
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000\r\n\r\nthe beginning".to_vec()).await;
    let short =
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nonehidden".to_vec()).await;
    let noise = raw(b"\x16\x03\x01 this is not http".to_vec()).await;
    let mut bomb = GzipEncoder::new(Vec::new());
    for _ in 0..32 {
        bomb.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    }
    bomb.shutdown().await.unwrap();
    let bomb = Bytes::from(bomb.into_inner());
    let endless = || {
        let piece = Bytes::from(vec![b'y'; 16 << 10]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
    };
    let with = |kind: &'static str, body: &[u8]| {
        let body = Bytes::copy_from_slice(body);
        get(move || async move { ([("content-type", kind)], body) })
    };
    let app = Router::new()
        .route(
            "/bomb",
            get(move || async move { ([("content-encoding", "gzip"), ("content-type", "text/plain")], bomb) }),
        )
        .route("/endless", get(move || async move { ([("content-type", "text/plain")], endless()) }))
        .route("/latin", with("text/html; charset=utf-8", b"<p>caf\xe9 noir"))
        .route("/martian", with("text/html; charset=martian", "<p>café".as_bytes()))
        .route("/wide", with("text/html; charset=utf-16", b"<p>abcdefgh"))
        .route("/png", with("text/html", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04"))
        .route("/pdf", with("application/pdf", b"%PDF-1.7 (the words)"))
        .route("/nav", with("text/html", b"<nav><a href=/>Home</a><p>The words"))
        .route("/page", with("text/html", PAGE.as_bytes()));
    let server = serve(app).await;
    let limits = json!({"httpResponseBytes": "2MiB"});
    let kernel = kernel(&model, &[&server, &long, &short, &noise], &limits);
    let at = async |path: &str| kernel.say(path, &format!("http://{server}/{path}")).await;

    let said = kernel.say("long", &format!("http://{long}/")).await;
    assert!(said.contains("the beginning\n\n[the page did not come whole"), "{said}");
    let said = kernel.say("short", &format!("http://{short}/")).await;
    assert!(said.ends_with("\n\none"), "{said}");
    let said = kernel.say("noise", &format!("http://{noise}/")).await;
    assert!(said.contains("did not answer") && !said.contains("status:"), "{said}");
    for (path, letter) in [("bomb", 'x'), ("endless", 'y')] {
        let said = at(path).await;
        let read = said.rsplit_once("[cut: ").unwrap().1.split(' ').next().unwrap().parse::<usize>().unwrap();
        assert!(read <= 2 << 20 && said.matches(letter).count() >= 24_000, "{path}: {read}");
    }
    assert!(at("latin").await.ends_with("caf\u{fffd} noir"));
    assert!(at("martian").await.ends_with("café"));
    assert!(at("wide").await.contains("status: 200"));
    let said = at("png").await;
    assert!(said.contains("This is a file") && !said.contains("IHDR"), "{said}");
    let said = at("pdf").await;
    assert!(
        said.contains("application/pdf") && said.contains("This is a file of 20 bytes") && !said.contains("words"),
        "{said}"
    );
    assert!(at("nav").await.ends_with("The words"));
    assert!(at("page").await.contains("# Head"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_is_given_up_at_the_limit_of_the_call() {
    let model = Model::start(fetch, Duration::ZERO).await;
    let app = Router::new()
        .route(
            "/drip",
            get(|| async {
                let drops =
                    futures::stream::unfold(tokio::time::interval(Duration::from_millis(20)), |mut clock| async {
                        clock.tick().await;
                        Some((Ok::<_, std::io::Error>("."), clock))
                    });
                ([("content-type", "text/plain")], Body::from_stream(drops))
            }),
        )
        .route("/never", get(std::future::pending::<()>))
        .route("/page", get(|| async { ([("content-type", "text/html")], PAGE) }));
    let server = serve(app).await;
    let kernel = kernel(&model, &[&server], &json!({"wallMsPerCall": 1000}));
    for path in ["drip", "never"] {
        let said = kernel.say(path, &format!("http://{server}/{path}")).await;
        assert!(said.contains("wallMsPerCall"), "{path}: {said}");
    }
    assert!(kernel.say("page", &format!("http://{server}/page")).await.contains("# Head"));
}
