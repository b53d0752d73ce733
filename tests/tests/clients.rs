//! Clients that nobody here wrote, against the gateway: OpenAI's own, and the reference client of the socket's protocol.

use carapace_tests::cable::Cable;
use carapace_tests::peer;
use carapace_tests::peers::{self, asked};
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};
use std::path::Path;

/// What the scripts in `peers/` count on.
fn fixtures() -> Value {
    json!([
        {"match": {"userMessage": "Good evening?", "model": "gpt-5-mini"}, "response": {"content": "Good evening."}, "chunkSize": 4},
        {"match": {"userMessage": "My name is Ada."}, "response": {"content": "Nice to meet you, Ada."}},
        {"match": {"userMessage": "What is my name?"}, "response": {"content": "Ada."}},
        {"match": {"userMessage": "As JSON"}, "response": {"content": "{\"word\": \"hello\"}"}},
        {"match": {"userMessage": "Ponder"}, "response": {"content": "abc"}, "chunkSize": 1,
            "recordedTimings": {"ttftMs": 0, "interChunkDelaysMs": [0, 600_000, 600_000], "totalDurationMs": 1_200_000}},
    ])
}

fn start(base: &str) -> Kernel {
    Kernel::start(
        KernelOptions::openai(&format!("{base}/v1")).with_config("{ agent: { route: [\"openai/gpt-5-mini\"] } }"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_openai_client_is_served() {
    let python = peer!("openai", peers::python());
    let aimock = peer!("aimock", peers::aimock(&fixtures(), &[]));
    let kernel = start(&aimock.base);
    let script = peers::script("openai_client.py");
    peers::runs(&python.join("python"), &[script.to_str().unwrap(), &kernel.base, &kernel.token]);
    // The model saw what the client had said before, though the client did not say it again.
    let asked = asked(&aimock).await;
    let said: Vec<&str> = asked.last().unwrap()["body"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["My name is Ada.", "Nice to meet you, Ada.", "What is my name?"]);
}

/// What was said to the model in a request, instructions aside.
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "only JSON is indexed; a test stops at the first request that is not as it should be"
)]
fn said(request: &Value) -> Vec<&str> {
    let messages = request["body"]["messages"].as_array().unwrap();
    messages.iter().filter(|m| m["role"] != "system").map(|m| m["content"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_openai_client_is_served_with_responses_that_survive_a_restart() {
    let python = peer!("openai", peers::python());
    let aimock = peer!("aimock", peers::aimock(&fixtures(), &[]));
    let mut cable = Cable::to(&aimock.base, 1 << 10).await;
    let mut kernel = start(&cable.base);
    let script = peers::script("openai_responses.py");
    let run = |kernel: &Kernel, id: &[&str]| {
        let args = [&[script.to_str().unwrap(), &kernel.base, &kernel.token], id].concat();
        peers::runs(&python.join("python"), &args)
    };
    let printed = run(&kernel, &[]);
    let ada = printed.trim();
    let conversation = ["My name is Ada.", "Nice to meet you, Ada.", "What is my name?"];
    let before = asked(&aimock).await;
    // Twice the client did not want the rest: once it left its stream, once it cancelled, and that may have been before the model was asked.
    let unfinished = before.iter().filter(|request| said(request) == ["Ponder"]).count();
    assert!((1..=2).contains(&unfinished), "{unfinished}");
    for _ in 0..unfinished {
        cable.hung_up().await;
    }
    assert_eq!(said(before.last().unwrap()), conversation, "what was said beside it is not seen");
    let as_json = before.iter().find(|request| said(request) == ["As JSON"]).unwrap();
    assert_eq!(as_json["body"]["response_format"]["type"], "json_schema", "{as_json}");

    kernel.restart();
    assert_eq!(run(&kernel, &[ada]).trim(), ada);
    let after = asked(&aimock).await;
    assert_eq!((after.len(), said(after.last().unwrap())), (before.len() + 1, conversation.to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_client_of_the_socket_is_served_and_every_frame_follows_the_schema() {
    let npm = peer!("gateway-client", peers::npm());
    let aimock = peer!("aimock", peers::aimock(&fixtures(), &[]));
    let mut cable = Cable::to(&aimock.base, 1 << 10).await;
    let kernel = start(&cable.base);
    let script = peers::script("gateway_client.mjs");
    let url = kernel.base.replace("http://", "ws://") + "/ws";
    let args = [script.to_str().unwrap(), npm.to_str().unwrap(), &url, &kernel.token];
    println!("{}", peers::runs(Path::new("node"), &args));
    // What it stopped with `chat.abort` was stopped at the model, too.
    cable.hung_up().await;
}
