//! The built-in model: what a first run answers with, without a key, a server or a network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test starts processes, and stops at the first thing that is not as it should be"
)]

use carapace_tests::kernel::{command, plain_bundle, private_bundle};
use carapace_tests::socket::Socket;
use carapace_tests::{Kernel, KernelOptions, binary, bundle, owner, peer, peers};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const FRANCE: &str = "What is the capital of France?";

fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no answer: {answer}"))
}

/// Tokens of the prompt that were not computed for it.
fn kept(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or_else(|| panic!("no usage: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_where_nothing_is_configured_and_says_what_it_is() {
    let weights = peer!("the weights", peers::model());
    let kernel = Kernel::start(KernelOptions::built_in(Some(&weights)));
    let answer = kernel.say("s", FRANCE).await;
    assert!(answer.contains("Paris"), "{answer}");
    let again = kernel.say("s", "And of Germany?").await;
    assert!(again.contains("Berlin"), "it has the conversation in front of it: {again}");
    let status = owner::done(kernel.state(), &["status"]);
    assert!(status.contains("local/smollm2-135m-instruct") && status.contains("tiny built-in model"), "{status}");
    let out = kernel.cli(&["chat", "-m", FRANCE]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("Paris"), "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_weights_the_assistant_starts_and_says_what_to_do() {
    let kernel = Kernel::start(KernelOptions::built_in(None));
    let answer = kernel.ask("s", FRANCE).await.to_string();
    for way in ["cargo xtask weights", "carapace assets add FILE", "carapace setup"] {
        assert!(answer.contains(way), "{answer}");
    }
    let weights = peer!("the weights", peers::model());
    owner::done(kernel.state(), &["assets", "add", weights.to_str().unwrap()]);
    let answer = kernel.say("s", FRANCE).await;
    assert!(answer.contains("Paris"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_leaves_nothing_for_the_next() {
    let weights = peer!("the weights", peers::model());
    let kernel = Kernel::start(KernelOptions::built_in(Some(&weights)));
    let question = "What is my name, and what do I like?";
    let before = kernel.ask("before", question).await;
    kernel.say("ada", "My name is Ada, and I like tulips.").await;
    let after = kernel.ask("after", question).await;
    // Its choices are the likeliest ones, so the same prompt has the same answer unless something else plays into it.
    assert_eq!(text(&before), text(&after));
    assert!(!text(&after).contains("Ada") && !text(&after).contains("tulip"), "{after}");

    // What others said is computed anew even for a prompt that begins with it: only the words that every prompt begins with are kept.
    kernel.say("ada", "My name is Ada, and I like tulips.").await;
    let probing = kernel.ask("probing", "My name is Ada, and I like roses.").await;
    let unrelated = kernel.ask("unrelated", "How far is the moon?").await;
    assert!(kept(&unrelated) > 0, "{unrelated}");
    assert_eq!(kept(&probing), kept(&unrelated));
    // One's own conversation is kept, or a long one would be slow.
    let first = kernel.ask("own", "Hello, how are you today?").await;
    let second = kernel.ask("own", "What is a tulip?").await;
    assert!(kept(&second) > kept(&first), "{first} {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_wants_any_more_is_not_computed_to_its_end() {
    let weights = peer!("the weights", peers::model());
    let config = "{ agent: { maxOutputTokens: 1000 }, instances: { local: { config: { \"answer-tokens\": 1000 } } } }";
    let kernel = Kernel::start(KernelOptions::built_in(Some(&weights)).with_config(config));
    kernel.say("loads", "Hello!").await;
    assert!(kept(&kernel.ask("loaded", "Hello!").await) > 0, "an answer that ends leaves the model ready for the next");

    let mut socket = Socket::connect(&kernel.base, &kernel.token).await.unwrap();
    let story = "Tell me a very long story about a king.";
    let send = json!({"sessionKey": "stopped", "message": story, "idempotencyKey": "stopped"});
    let run = socket.request("chat.send", send).await.unwrap()["runId"].as_str().unwrap().to_owned();
    loop {
        let event = socket.event().await.unwrap();
        if event["event"] == "chat" && event["payload"]["state"] == "delta" {
            break;
        }
    }
    socket.request("chat.abort", json!({"sessionKey": "stopped", "runId": run})).await.unwrap();
    let end = socket.outcome(&run, |_| {}).await.unwrap();
    assert_eq!(end["state"], "aborted", "{end}");
    // One that is stopped takes its instance with it, in the middle of whatever it was computing.
    assert_eq!(kept(&kernel.ask("next", "Hello!").await), 0);
}

#[test]
fn a_first_run_answers_where_there_is_no_network_at_all() {
    let weights = peer!("the weights", peers::model());
    // A network namespace of its own: nothing but a loopback interface, and no route to anywhere.
    let alone = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-ec",
            &format!("ip link set lo up\n{script}"),
            "sh",
        ]);
        command
    };
    match alone("test -z \"$(ip route)\"").stdin(Stdio::null()).output() {
        Ok(out) if out.status.success() => {}
        Ok(out) => {
            return eprintln!("skipped: no namespace here: {}", String::from_utf8_lossy(&out.stderr).trim_end());
        }
        Err(why) => return eprintln!("skipped: no namespaces here: {why}"),
    }
    let state = tempfile::Builder::new().prefix("carapace-e2e-").tempdir().unwrap();
    let bundle = private_bundle(state.path(), &KernelOptions::built_in(Some(&weights)));
    let shell = command(state.path(), &[]);
    let mut alone = alone("exec \"$@\"");
    alone.env_clear().envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    alone.arg(binary()).args(["chat", "-m", FRANCE, "--accept-bundled", "--bundle"]).arg(bundle);
    let out = alone.stdin(Stdio::null()).output().unwrap();
    let answer = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && answer.contains("Paris"), "{answer}{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn setup_takes_it_where_nothing_else_can_answer_and_leaves_it_where_it_cannot() {
    let weights = peer!("the weights", peers::model());
    let setup = |weights| {
        let state = tempfile::Builder::new().prefix("carapace-e2e-").tempdir().unwrap();
        let bundle = private_bundle(state.path(), &KernelOptions::built_in(weights));
        let mut setup = command(state.path(), &[]);
        let out = setup.args(["setup", "--yes", "--bundle"]).arg(bundle).stdin(Stdio::null()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.success(), said, state)
    };
    let (ready, said, state) = setup(Some(weights.as_path()));
    assert!(ready && said.contains("Taken: local/smollm2-135m-instruct"), "{said}");
    let written = std::fs::read_to_string(state.path().join("carapace.json5")).unwrap();
    assert!(written.contains("local/smollm2-135m-instruct"), "{written}");
    let (ready, said, _) = setup(None);
    assert!(!ready && said.contains("carapace assets add FILE"), "{said}");
}

#[test]
fn engines_without_relaxed_simd_take_the_plain_variant_and_no_other() {
    let mut config = wasmtime::Config::new();
    config.wasm_relaxed_simd(false);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let compile = |folder: std::path::PathBuf| {
        let package = std::fs::read(folder.join("local.wasm")).unwrap();
        wasmtime::component::Component::new(&engine, package).map(drop)
    };
    compile(plain_bundle()).unwrap();
    let refused = format!("{:?}", compile(bundle()).unwrap_err());
    assert!(refused.contains("relaxed SIMD"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_variant_gives_the_same_answers_up_to_near_ties() {
    let weights = peer!("the weights", peers::model());
    let package = std::fs::read(plain_bundle().join("local.wasm")).unwrap();
    let usual = Kernel::start(KernelOptions::built_in(Some(&weights)));
    let plain = Kernel::start(KernelOptions::built_in(Some(&weights)).with_package("local", package));
    // Only multiply-and-add rounds differently, once instead of twice. Where the model thinks two words about equally good, that
    // decides, so an answer may part there; most have no such place.
    let questions = [
        FRANCE,
        "Hello!",
        "What colour is the sky?",
        "Name the days of the week.",
        "What is a tulip?",
        "Who are you?",
        "Tell me about the moon.",
        "What is bread made of?",
    ];
    let (mut same, mut compared) = (0, 0);
    for (n, question) in questions.iter().enumerate() {
        let (usual, plain) = (usual.ask(&format!("{n}"), question).await, plain.ask(&format!("{n}"), question).await);
        let (usual, plain) = (text(&usual), text(&plain));
        assert!(!usual.is_empty() && !plain.is_empty(), "{question}");
        compared += 1;
        same += usize::from(usual == plain);
        if usual != plain {
            eprintln!("{question}\n  {usual}\n  {plain}");
        }
    }
    assert!(same * 4 >= compared * 3, "{same} of {compared} answers are the same");
}
