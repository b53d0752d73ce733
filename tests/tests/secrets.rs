//! A secret goes where it is bound to and nowhere else: not into a component, not into a conversation, not onto the disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use carapace_tests::components::{manifest, pack, tool, tool_package, wat};
use carapace_tests::mirror::Mirror;
use carapace_tests::socket::Socket;
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};
use std::path::Path;

/// In the environment, for the provider.
const ENV_KEY: &str = "sk-env-Canary+4f1c9b7d/2a66";
/// In the store, for the spy.
const STORED_KEY: &str = "stored-Canary&7be1d03c99=f0";
const SPY_TOOLS: [&str; 7] =
    ["spy_plain", "spy_gzip", "spy_encoded", "spy_split", "spy_error", "spy_redirect", "spy_landing"];

/// An endpoint that nobody pointed elsewhere, with a secret that nobody stored.
const KEYLESS: &str = "[secrets.key]\nprompt = \"A key\"\n[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n\
                       auth = { scheme = \"bearer\", secret = \"key\" }\n";

/// The spellings of a secret that are looked for, in lower case: plain, JSON, hexadecimal, percent, base64 at each alignment.
fn spellings(secret: &str) -> Vec<String> {
    let percent: String = secret.bytes().map(|b| format!("%{b:02x}")).collect();
    let mut all = vec![secret.to_owned(), hex::encode(secret), percent, secret.replace('/', "\\/")];
    for skip in 0..3 {
        // Whole groups of three bytes look the same wherever the text before them ends.
        let whole = secret.len() - skip - (secret.len() - skip) % 3;
        let inner = STANDARD_NO_PAD.encode(&secret.as_bytes()[skip..skip + whole]);
        all.push(inner.replace('+', "-").replace('/', "_"));
        all.push(inner);
    }
    all.into_iter().map(|s| s.to_lowercase()).collect()
}

fn finds(bytes: &[u8], secret: &str) -> bool {
    // Spellings are ASCII, which this leaves as it is; searching in a `str` is quick even where tests are not optimised.
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    spellings(secret).iter().any(|s| text.contains(s))
}

#[track_caller]
fn holds_no_secret(what: &str, bytes: &[u8]) {
    for secret in [ENV_KEY, STORED_KEY] {
        assert!(!finds(bytes, secret), "{what} holds {secret}: {}", String::from_utf8_lossy(bytes));
    }
}

fn spy() -> Vec<u8> {
    let mut more =
        "[secrets.key]\nprompt = \"A key\"\n[kv]\n[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n\
                    methods = [\"GET\", \"POST\"]\nauth = { scheme = \"bearer\", secret = \"key\" }\n"
            .to_owned();
    for name in SPY_TOOLS {
        more.push_str(&format!("[[tool]]\nname = \"{name}\"\nuses = [\"http:api\", \"kv\", \"secrets\"]\n"));
    }
    pack(&tool(wat::SPY, &SPY_TOOLS), &manifest("spy", "0.1.0", &more))
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn the_search_itself_finds_each_spelling_at_each_place() {
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{STORED_KEY}zz");
        let encoded = base64::engine::general_purpose::STANDARD.encode(&text);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text);
        for spelling in [text.clone(), encoded, url, hex::encode_upper(&text), json!(text).to_string()] {
            assert!(finds(spelling.as_bytes(), STORED_KEY), "{spelling}");
            assert!(!finds(spelling.as_bytes(), ENV_KEY), "{spelling}");
        }
    }
}

/// A kernel with the spy, its secret stored, the mirror behind both the spy and a second instance of the provider.
fn start(model: &str, mirror: &Mirror) -> Kernel {
    let config = json!({"instances": {
        "openai": {"endpoints": {"api": format!("{model}/v1")}},
        "openai:mirror": {"component": "local/openai", "endpoints": {"api": format!("{}/v1", mirror.base)}},
        "spy": {"endpoints": {"api": mirror.base}, "config": {"marker": "the spy's own section"}},
    }});
    let options = KernelOptions::default()
        .with_env("OPENAI_API_KEY", ENV_KEY)
        .with_config(&config.to_string())
        .with_package("spy", spy())
        .with_package("keyless", tool_package("keyless", wat::FETCH, "\"http:api\"", KEYLESS));
    let kernel = Kernel::start(options);
    owner::set_secret(kernel.state(), "key", "local/spy", STORED_KEY);
    owner::done(kernel.state(), &["plugin", "grant", "--yes", "local/openai/mirror"]);
    // The environment speaks for `main` alone; a further instance is given its key by its name.
    owner::set_secret(kernel.state(), "api-key", "local/openai/mirror", ENV_KEY);
    kernel
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_tells_everything_it_can_reach_knows_no_secret() {
    let model = peer!("aimock", peers::aimock(&script(&SPY_TOOLS), &[]));
    let elsewhere = Mirror::start(None).await;
    let mirror = Mirror::start(Some(&elsewhere)).await;
    let kernel = start(&model.base, &mirror);

    for tool in SPY_TOOLS {
        let turn = kernel.call(tool).await;
        let (dump, is_error) = turn.result();
        assert!(!is_error, "{tool}: {dump}\n{}", kernel.log());
        let memory = hex::decode(dump).unwrap_or_else(|e| panic!("{tool}: {e}: {dump}"));
        holds_no_secret(tool, &memory);
        let shown = String::from_utf8_lossy(&memory);
        let said = |text: &str| memory.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(said("the spy's own section"), "{tool} does not show its configuration: {shown}");
        match tool {
            "spy_redirect" => assert!(said("E-EGRESS"), "the redirect was not refused by name: {shown}"),
            _ => assert!(said("x-mirror"), "{tool} does not show the response: {shown}"),
        }
        // The credential was added outside, and what the guest wrote was sent as it was written.
        let arrived = mirror.at(&format!("/{tool}"));
        assert_eq!(arrived.len(), 1, "{tool}");
        assert_eq!(arrived[0].header("authorization"), Some(format!("Bearer {STORED_KEY}").as_str()));
        assert_eq!(arrived[0].header("x-wish"), Some("{{secret:key}}"));
        assert_eq!(arrived[0].body, "{{secret:key}}");
        // What came back was cleaned, not merely absent.
        if !["spy_redirect", "spy_landing"].contains(&tool) {
            assert!(said("[redacted]"), "{tool}: nothing was redacted: {shown}");
        }
    }
    // Nothing at all went to the other origin, and within the own one the credential went along.
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    let landed = mirror.seen().into_iter().find(|s| s.path.starts_with("/landed")).expect("the redirect was followed");
    assert_eq!(landed.header("authorization"), Some(format!("Bearer {STORED_KEY}").as_str()));

    everything_else_is_clean(&kernel, &SPY_TOOLS.map(|t| format!("call-{t}"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_that_repeats_the_key_reaches_nobody_with_it() {
    let model = peer!("aimock", peers::aimock(&script(&[]), &[]));
    let mirror = Mirror::start(None).await;
    let kernel = start(&model.base, &mirror);

    let told = kernel.turn("told", "openai:mirror/mirror", "Tell me the key.").await;
    assert!(told.text().contains("Your key is [redacted]"), "{}", told.text());
    holds_no_secret("the answer", told.body.to_string().as_bytes());
    let refused = kernel.turn("refused", "openai:mirror/mirror", "Please refuse me.").await;
    assert_eq!(refused.code(), "E-MODEL-001", "{}", refused.body);
    holds_no_secret("the error", refused.body.to_string().as_bytes());
    let asked = mirror.at("/v1/chat/completions");
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {ENV_KEY}").as_str()));
        holds_no_secret("the prompt", request.body.as_bytes());
    }
    // At the command line, too.
    let out = kernel.cli(&["chat", "-m", "Please refuse me.", "--model", "openai:mirror/mirror", "--session", "cli"]);
    assert!(!out.status.success());
    holds_no_secret("the command's error", &[out.stdout, out.stderr].concat());

    everything_else_is_clean(&kernel, &["told".to_owned(), "refused".to_owned(), "cli".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named_with_the_command_that_sets_it_and_a_removed_one_is_not_sent_any_more() {
    let model = peer!("aimock", peers::aimock(&script(&["spy_plain", "keyless"]), &[]));
    let mirror = Mirror::start(None).await;
    let kernel = start(&model.base, &mirror);

    // Nothing is sent to the publisher's own server without the credential it is owed.
    let turn = kernel.call("keyless").await;
    let (content, is_error) = turn.result();
    assert!(is_error && content.contains("[E-SECRET-001]"), "{content}");
    assert!(content.contains("carapace secrets set key --instance local/keyless/main"), "{content}");

    // A server of the owner's own may need none.
    owner::done(kernel.state(), &["secrets", "rm", "key", "--instance", "local/spy"]);
    kernel.call("spy_plain").await.result();
    let arrived = mirror.at("/spy_plain");
    assert_eq!((arrived.len(), arrived[0].header("authorization")), (1, None));
}

/// Histories, status, metrics, log, records and every file of the state directory.
async fn everything_else_is_clean(kernel: &Kernel, sessions: &[String]) {
    let mut socket = Socket::connect(&kernel.base, &kernel.token).await.unwrap();
    for session in sessions {
        let history = socket.request("chat.history", json!({"sessionKey": session, "limit": 100})).await.unwrap();
        assert!(history["messages"].as_array().is_some_and(|m| !m.is_empty()), "{session}: {history}");
        for text in texts(&history) {
            // What the spy said is in hexadecimal.
            holds_no_secret(session, &hex::decode(text.trim()).unwrap_or_else(|_| text.into_bytes()));
        }
    }
    let sessions = socket.request("sessions.list", json!({})).await.unwrap();
    holds_no_secret("the list of sessions", sessions.to_string().as_bytes());
    holds_no_secret("the metrics", kernel.metrics().await.as_bytes());
    for args in [
        ["status", "--json"].as_slice(),
        &["doctor", "--json"],
        &["plugin", "list", "--json"],
        &["secrets", "list", "--json"],
        &["audit", "verify", "--json"],
    ] {
        let out = kernel.cli(args);
        holds_no_secret(&args.join(" "), &[out.stdout, out.stderr].concat());
    }
    assert!(kernel.cli_json(&["secrets", "list", "--json"]).to_string().contains("local/spy/main/key"));
    holds_no_secret("the log", kernel.log().as_bytes());
    let files = files(kernel.state());
    for name in ["carapace.db", "e2e.log"] {
        assert!(files.iter().any(|(path, bytes)| path.ends_with(name) && !bytes.is_empty()), "no {name}");
    }
    // The record of requests is in there; the credential they carried is not.
    let recorded = files.iter().filter(|(path, _)| path.contains("carapace.db"));
    assert!(
        recorded.clone().any(|(_, bytes)| bytes.windows(10).any(|w| w == b"\"bytesOut\"")),
        "no request was recorded"
    );
    for (path, bytes) in &files {
        holds_no_secret(path, bytes);
    }
}

/// Every text in a JSON value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Object(all) => all.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
