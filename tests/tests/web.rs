//! `web_fetch` and the world: what it may not reach, in whatever spelling.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
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
