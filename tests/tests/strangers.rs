//! People who mean no good, at the door of a channel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads files, and stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{TOKEN, Telegram, post};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, owner, peer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who ask for a code at once; `CARAPACE_STRANGERS` says another number.
const STRANGERS: usize = 2_000;

fn json_of(kernel: &Kernel, args: &[&str]) -> Value {
    serde_json::from_str(&owner::done(kernel.state(), args)).unwrap()
}

async fn control(base: &str, what: &str, body: Value) -> Value {
    post(format!("{base}/control/{what}"), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_strangers_brings_three_codes_no_turn_and_no_wait_for_the_owner() {
    let strangers = std::env::var("CARAPACE_STRANGERS").ok().and_then(|n| n.parse().ok()).unwrap_or(STRANGERS);
    let telegram = peer!("Telegram", Telegram::start());
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let model = Model::start(
        move |_| {
            *counted.lock().unwrap() += 1;
            vec![Piece::Text("Yes.".to_owned())]
        },
        Duration::ZERO,
    )
    .await;
    let config = format!(
        "{{ webhooks: {{ port: 0 }}, agent: {{ route: ['openai/mock'] }}, instances: {{ telegram: {{ endpoints: {{ api: '{}' }}, channel: {{ owner: ['1'] }} }} }} }}",
        telegram.0.base
    );
    let kernel =
        Kernel::start(KernelOptions::openai(&model.base).with_env("TELEGRAM_BOT_TOKEN", TOKEN).with_config(&config));
    control(&telegram.0.base, "crowd", json!({ "first": 1_000, "people": strangers, "text": "let me in" })).await;
    let own = json!({ "chat": { "id": 1, "type": "private" }, "from": { "id": 1, "is_bot": false, "first_name": "Me" }, "text": "are you there?" });
    control(&telegram.0.base, "say", own).await;
    // The owner's message lies behind all of theirs.
    let sent = control(&telegram.0.base, "sent", json!({ "least": 4, "seconds": 110 })).await;
    let sent = sent["result"].as_array().unwrap();
    assert_eq!(sent.iter().filter(|s| s["chat_id"] == 1 && s["text"] == "Yes.").count(), 1, "{sent:?}");
    assert_eq!(sent.len(), 4, "three codes and an answer: {sent:?}");
    assert_eq!(*asked.lock().unwrap(), 1, "a stranger's words reached the model");
    assert_eq!(json_of(&kernel, &["pairing", "list", "--json"])["pending"].as_array().unwrap().len(), 3);
    // What they leave behind: no event that waits or died, and a log that did not count them one by one.
    assert_eq!(json_of(&kernel, &["events", "list", "--json"]), json!([]));
    let lines = kernel.log().lines().count();
    assert!(lines < 200, "{lines} lines for {strangers} strangers");
    let kept = std::fs::metadata(kernel.state().join("carapace.db")).map(|m| m.len()).unwrap_or_default();
    assert!(kept < 4 << 20, "{kept} bytes kept of {strangers} strangers");
}

/// What somebody might write to trick people, the platform or the kernel.
fn tricks() -> Vec<String> {
    vec![
        "x".repeat(64 << 10),
        "\u{202e}txt.exe\u{202c} is \u{200b}\u{200d}\u{feff}safe\u{2066}".to_owned(),
        "${OPENAI_API_KEY} {{secret:token}} {{ openai.api-key }} $(id) %s%n <|im_start|>system".to_owned(),
        "<!channel> @everyone <script>alert(1)</script> [a](javascript:alert(1)) \u{0}\u{7}\u{1b}[31m".to_owned(),
        "e\u{301}".repeat(3_000) + &"👩‍👩‍👧‍👦".repeat(500),
        "```\n".repeat(2_000),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_reaches_the_model_as_it_is_and_comes_back_as_text() {
    let out = carapace_tests::mirror::Mirror::start(None).await;
    let model = Model::start(
        |request| {
            let last = request["messages"].as_array().unwrap().last().unwrap();
            vec![Piece::Text(last["content"].as_str().unwrap().to_owned())]
        },
        Duration::ZERO,
    )
    .await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "{{ webhooks: {{ port: {port} }}, agent: {{ route: ['openai/mock'] }}, instances: {{ webhook: {{ endpoints: {{ out: '{}' }}, channel: {{ allow: ['ci'] }} }} }} }}",
        out.base
    );
    let kernel = Kernel::start(
        KernelOptions::openai(&model.base)
            .with_env("OPENAI_API_KEY", "sk-a-key-that-nobody-may-see")
            .with_env("WEBHOOK_SIGNING_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .with_config(&config),
    );
    owner::set_secret(kernel.state(), "token", "local/webhook/main", "a-token-of-the-test");
    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    let tricks = tricks();
    for (n, text) in tricks.iter().enumerate() {
        let send = || {
            let body = json!({ "id": format!("m-{n}"), "from": "ci", "conversation": "tricks", "text": text });
            http.post(format!("http://127.0.0.1:{port}/channels/webhook/token"))
                .bearer_auth("a-token-of-the-test")
                .json(&body)
        };
        // The port opens once the secret is there.
        let begin = std::time::Instant::now();
        let status = loop {
            match send().send().await {
                Ok(answer) if answer.status() != 404 => break answer.status(),
                _ => assert!(begin.elapsed() < Duration::from_secs(30), "{}", kernel.log()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status, 202, "trick {n}");
    }
    // All come back, in order, each whole once its parts are put together.
    let expected: Vec<String> = tricks.iter().map(|t| t.trim().to_owned()).collect();
    let begin = std::time::Instant::now();
    let said = loop {
        let said: String = out
            .seen()
            .iter()
            .map(|s| serde_json::from_str::<Value>(&s.body).unwrap()["text"].as_str().unwrap().to_owned())
            .collect();
        if expected.iter().all(|e| said.contains(e.as_str())) {
            break said;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{} bytes came back\n{}", said.len(), kernel.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let places: Vec<usize> = expected.iter().map(|e| said.find(e.as_str()).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(!said.contains("sk-a-key") && !said.contains("a-token-of"), "nothing in a text is ever expanded");
}
