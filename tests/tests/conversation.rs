//! A person talks to the assistant: over the CLI, HTTP and the socket, with llama.cpp's own server and a real small model behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::{Kernel, KernelOptions, peer, peers};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A small model may ramble: its answers are kept short, and always the same.
fn options(base: &str) -> KernelOptions {
    KernelOptions::openai(&format!("{base}/v1"))
        .with_config("{ agent: { maxOutputTokens: 32, temperature: 0, system: \"You are a helpful assistant.\" } }")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_model_answers_over_http_streaming_and_not() {
    let llama = peer!("llama.cpp", peers::llama(Some("a-key-for-the-server")));
    let kernel = Kernel::start(options(&llama.base).with_env("OPENAI_API_KEY", "a-key-for-the-server"));
    let answer = kernel.ask("http", "What is the capital of France? Answer in one word.").await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(!text.trim().is_empty(), "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{answer}");

    let response = kernel
        .http()
        .post(format!("{}/v1/chat/completions", kernel.base))
        .json(&json!({"stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "Say hello."}]}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let body = response.text().await.unwrap();
    let chunks: Vec<Value> = body
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .filter(|d| *d != "[DONE]")
        .map(|d| serde_json::from_str(d).unwrap())
        .collect();
    assert!(body.trim_end().ends_with("data: [DONE]"), "{body}");
    let deltas = chunks.iter().filter(|c| c["choices"][0]["delta"]["content"].is_string()).count();
    assert!(deltas > 1, "the answer did not stream: {body}");
    assert!(chunks.iter().any(|c| c["usage"]["total_tokens"].as_u64().is_some_and(|n| n > 0)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_as_such_and_never_shown() {
    let llama = peer!("llama.cpp", peers::llama(Some("the-right-key-here")));
    let kernel = Kernel::start(options(&llama.base).with_env("OPENAI_API_KEY", "the-wrong-key-here"));
    let answer = kernel.ask("s", "Hello").await;
    let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.to_lowercase().contains("key"), "{message}");
    assert!(!answer.to_string().contains("the-wrong-key-here"));
    assert!(!kernel.log().contains("the-wrong-key-here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_a_running_kernel_and_shows_its_history_to_the_next_question() {
    let llama = peer!("llama.cpp", peers::llama(None));
    let kernel = Kernel::start(options(&llama.base));
    let out = kernel.cli(&["chat", "-m", "My name is Ada. Say hello to me.", "--session", "cli"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!out.stdout.is_empty());
    let out = kernel.cli(&["chat", "-m", "What is my name?", "--session", "cli", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["type"], "completed", "{last}");
    assert!(last["text"].as_str().is_some_and(|t| !t.is_empty()), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_starts_an_assistant_of_its_own_when_none_runs() {
    let llama = peer!("llama.cpp", peers::llama(None));
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("carapace.json5"), "{ agent: { maxOutputTokens: 32 } }").unwrap();
    let out =
        carapace_tests::kernel::command(state.path(), &[("OPENAI_BASE_URL".into(), format!("{}/v1", llama.base))])
            .args(["chat", "-m", "Say hello.", "--accept-bundled", "--bundle"])
            .arg(carapace_tests::kernel::signed_bundle(state.path(), &[]))
            .output()
            .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!String::from_utf8_lossy(&out.stdout).trim().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_model_answers_on_the_socket() {
    let llama = peer!("llama.cpp", peers::llama(None));
    let kernel = Kernel::start(options(&llama.base));
    let url = kernel.base.replace("http://", "ws://") + "/ws";
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let challenge = next(&mut socket).await;
    assert_eq!(challenge["event"], "connect.challenge");
    let connect = json!({"type": "req", "id": "1", "method": "connect", "params": {
        "minProtocol": 4, "maxProtocol": 4,
        "client": {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"},
        "role": "operator", "scopes": ["operator.read", "operator.write"],
        "auth": {"token": kernel.token}}});
    socket.send(Message::text(connect.to_string())).await.unwrap();
    let hello = next(&mut socket).await;
    assert_eq!(hello["payload"]["type"], "hello-ok", "{hello}");
    let send = json!({"type": "req", "id": "2", "method": "chat.send",
        "params": {"sessionKey": "ws", "message": "Say hello.", "idempotencyKey": "once"}});
    socket.send(Message::text(send.to_string())).await.unwrap();
    let mut deltas = 0;
    loop {
        let frame = next(&mut socket).await;
        if frame["event"] != "chat" {
            continue;
        }
        match frame["payload"]["state"].as_str() {
            Some("delta") => deltas += 1,
            Some("final") => break,
            other => panic!("{other:?}: {frame}"),
        }
    }
    assert!(deltas > 0);
}

async fn next<S>(socket: &mut tokio_tungstenite::WebSocketStream<S>) -> Value
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match socket.next().await.expect("the socket closed").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}
