//! What an operator does with a channel: tries it with the real account, and takes it out of service and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{TOKEN, Telegram, answers, channels, get, post, stands, until};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};

const INSTANCE: &str = "local/telegram/main";

/// `channels test` on the channel: its exit code, and what it printed with `--json`.
fn tested(kernel: &Kernel, more: &[&str]) -> (i32, Value) {
    let out = owner::cli(kernel.state(), &[&["channels", "test", "telegram", "--json"], more].concat());
    let printed = String::from_utf8(out.stdout).unwrap();
    (out.status.code().unwrap(), serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}")))
}

/// The same failing: exit code, error code, message and help.
fn failed(kernel: &Kernel, more: &[&str]) -> (i32, String, String) {
    let (exit, printed) = tested(kernel, more);
    let error = &printed["error"];
    let all = format!("{} {}", error["message"].as_str().unwrap(), error["help"].as_str().unwrap());
    (exit, error["code"].as_str().unwrap().to_owned(), all)
}

async fn next_send_answers(telegram: &Telegram, status: u16, body: Value) {
    post(format!("{}/control/fail", telegram.0.base), json!({ "status": status, "body": body })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_is_missing_until_the_owner_has_written_and_then_sends_a_message() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Hello."), &[]));
    let kernel = Kernel::start(telegram.options(&model, "").with_env("TELEGRAM_BOT_TOKEN", ""));
    stands(&kernel, INSTANCE, "stopped").await;
    let (exit, code, said) = failed(&kernel, &[]);
    assert_eq!((exit, code.as_str()), (1, "E-CHANNEL-009"), "{said}");
    assert!(
        said.contains("stopped") && said.contains("carapace secrets set bot-token --instance local/telegram/main"),
        "{said}"
    );

    owner::set_secret(kernel.state(), "bot-token", INSTANCE, TOKEN);
    stands(&kernel, INSTANCE, "running").await;
    let (exit, code, said) = failed(&kernel, &[]);
    assert_eq!((exit, code.as_str()), (5, "E-CHANNEL-008"), "{said}");
    assert!(said.contains("pairing approve CODE --owner"), "{said}");

    // A stranger is no owner, and the owner has to write once more: only then is there a place.
    telegram.private(7, "it is me").await;
    telegram.sent(1).await;
    let (exit, _, said) = failed(&kernel, &[]);
    assert!(exit == 5 && said.contains("1 wait with a code"), "{said}");
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["pairing", "list", "--json"])).unwrap();
    owner::done(kernel.state(), &["pairing", "approve", list["pending"][0]["code"].as_str().unwrap(), "--owner"]);
    telegram.private(7, "hello").await;
    assert_eq!(telegram.sent(2).await[1]["text"], "Hello.");

    let out = owner::done(kernel.state(), &["channels", "test", "telegram"]);
    for step in [
        "local/telegram/main  running",
        "  last event: ",
        "  last poll: ",
        "  secret bot-token: stored",
        "  you last wrote ",
        ", as 7\n",
        "Taken: the platform answered",
    ] {
        assert!(out.contains(step), "no {step:?} in {out}");
    }
    let sent = telegram.sent(3).await;
    assert_eq!(sent[2]["chat_id"], 7);
    assert!(sent[2]["text"].as_str().unwrap().contains("a test of the channel local/telegram/main"), "{sent:?}");
    let (exit, printed) = tested(&kernel, &[]);
    let last = telegram.sent(4).await.pop().unwrap();
    assert_eq!((exit, &printed["receipt"]), (0, &json!(last["message_id"].to_string())), "{printed}");
    assert_eq!(printed["secrets"][0], json!({ "name": "bot-token", "from": "store", "optional": false }));
    // No turn came of it.
    assert_eq!(peers::asked(&model).await.len(), 1);
    assert!(!out.contains(TOKEN) && !printed.to_string().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_uncertain_and_unanswered_are_told_apart_with_what_to_do() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Hello."), &[]));
    let kernel = Kernel::start(telegram.options(&model, "channel: { owner: ['7'] }"));
    telegram.private(7, "hello").await;
    telegram.sent(1).await;

    let blocked = json!({ "ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user" });
    next_send_answers(&telegram, 403, blocked).await;
    let (exit, code, said) = failed(&kernel, &[]);
    assert_eq!((exit, code.as_str()), (3, "E-CHANNEL-010"), "{said}");
    assert!(said.contains("blocked by the user") && said.contains("carapace outbox drop"), "{said}");

    next_send_answers(&telegram, 502, json!("<html>")).await;
    let (exit, code, said) = failed(&kernel, &[]);
    assert_eq!((exit, code.as_str()), (1, "E-CHANNEL-011"), "{said}");
    assert!(said.contains("nobody knows") && said.contains("carapace outbox retry"), "{said}");

    let busy = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": { "retry_after": 300 } });
    next_send_answers(&telegram, 429, busy).await;
    let (exit, code, said) = failed(&kernel, &["--wait", "1"]);
    assert_eq!((exit, code.as_str()), (4, "E-CHANNEL-012"), "{said}");
    assert!(said.contains("within 1 s") && said.contains("Too Many Requests"), "{said}");
    // It is a part like any other: it waits, and can be sent now.
    let list: Vec<Value> = serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
    let states: Vec<&str> = list.iter().map(|p| p["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["dead", "uncertain", "pending"], "{list:?}");
    assert!(list.iter().all(|p| p["text"].as_str().unwrap().contains("a test of the channel")));
    assert_eq!(telegram.sent(1).await.len(), 1);

    let nowhere = owner::cli(kernel.state(), &["channels", "test", "no-such-channel"]);
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("channels enable"), "{nowhere:?}");
    let state = kernel.stop();
    let unreachable = owner::cli(state.path(), &["channels", "test", "telegram"]);
    assert_eq!(unreachable.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_arrives_at_somebody_elses_telegram() {
    let mockpost = peer!("mockpost", peers::mockpost());
    let model = peer!("aimock", peers::aimock(&answers("Hello, _mockpost_."), &[]));
    let config = format!(
        "{{ webhooks: {{ port: 0 }}, instances: {{ telegram: {{ endpoints: {{ api: '{}/telegram' }}, channel: {{ owner: ['0'] }} }} }} }}",
        mockpost.base
    );
    let options = KernelOptions::openai(&format!("{}/v1", model.base)).with_env("TELEGRAM_BOT_TOKEN", TOKEN);
    let kernel = Kernel::start(options.with_config(&config));
    stands(&kernel, INSTANCE, "running").await;
    let said = json!({ "token": TOKEN, "chat_id": 7, "text": "hi" });
    post(format!("{}/telegram/client/sendMessage", mockpost.base), said).await;
    let arrived = async |text: &str| get(format!("{}/api/messages", mockpost.base)).await.to_string().contains(text);
    until("an answer at mockpost", &kernel, async || arrived("Hello, mockpost.").await.then_some(())).await;
    let (exit, printed) = tested(&kernel, &[]);
    assert_eq!((exit, &printed["secrets"][0]["from"]), (0, &json!("environment")), "{printed}");
    assert!(!printed["receipt"].as_str().unwrap().is_empty());
    assert!(arrived("a test of the channel local/telegram/main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_out_of_service_takes_nothing_and_back_in_service_what_waited() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Hello."), &[]));
    let kernel = Kernel::start(telegram.options(&model, "channel: { owner: ['7'] }"));
    stands(&kernel, INSTANCE, "running").await;
    let out = owner::done(kernel.state(), &["channels", "disable", "telegram"]);
    assert!(out.contains("local/telegram/main is disabled"), "{out}");
    let there = || channels(&kernel).as_array().unwrap().iter().any(|c| c["instance"] == INSTANCE);
    until("the channel being gone", &kernel, async || (!there()).then_some(())).await;
    telegram.private(7, "anybody there?").await;
    let gone = owner::cli(kernel.state(), &["channels", "test", "telegram"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("carapace channels enable"), "{gone:?}");
    // It is the same switch as every component's.
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["plugin", "list", "--json"])).unwrap();
    let here = list.as_array().unwrap().iter().find(|i| i["instance"] == INSTANCE).unwrap();
    assert!(here["state"].as_str().unwrap().contains("disabled"), "{here}");
    assert!(telegram.sent(0).await.is_empty());
    owner::done(kernel.state(), &["channels", "enable", "telegram"]);
    assert_eq!(telegram.sent(1).await[0]["text"], "Hello.");
    assert!(there());
}
