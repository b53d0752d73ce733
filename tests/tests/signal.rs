//! People reach the assistant through Signal, by way of signal-cli-rest-api.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{answers, channels, stands, until};
use carapace_tests::signal::{NUMBER, Signal};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};

const INSTANCE: &str = "local/signal/main";

async fn connected(signal: &Signal, kernel: &Kernel) {
    until("a connection", kernel, async || (signal.state().await["sockets"] == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_clients_talk_through_our_signal_as_through_the_real_one() {
    for (mode, client) in [("json-rpc", "socket"), ("normal", "poll")] {
        let signal = peer!("Signal", Signal::start(mode));
        let mut client = peers::chat_client("signal_echo.py", &[&signal.0.base, NUMBER, client]).unwrap();
        assert_eq!(client.says(), "ready");
        // Before it is connected, nothing is kept for it.
        while mode == "json-rpc" && signal.state().await["sockets"] == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let file = json!({ "id": "a1.bin", "contentType": "application/octet-stream", "filename": "a.bin", "data": "ZnJvbSBmYXIgYXdheQ==" });
        let (at, uuid) = signal.say_with("+4915100000007", "hello", json!([file])).await;
        assert_eq!(signal.sent(1).await[0]["message"], "You: hello");
        client.ends();
        let (receipts, reacted) = (signal.told("receipts", 1).await, signal.told("reacted", 1).await);
        assert_eq!((&receipts[0]["receipt_type"], &receipts[0]["timestamp"]), (&json!("read"), &json!(at)));
        assert_eq!((&reacted[0]["reaction"], &reacted[0]["timestamp"]), (&json!("👍"), &json!(at)));
        assert!([&json!(uuid), &json!("+4915100000007")].contains(&&reacted[0]["target_author"]), "{reacted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_let_in_and_a_group_is_answered_where_it_names_the_assistant() {
    let signal = peer!("Signal", Signal::start("json-rpc"));
    let model = peer!("aimock", peers::aimock(&answers("**Hello** [here](https://example.com)."), &[]));
    let kernel = Kernel::start(signal.options(&model, ""));
    connected(&signal, &kernel).await;
    let (_, ann) = signal.say("+4915100000007", "hi there", json!({})).await;
    let sent = signal.sent(1).await;
    assert!(signal.told("receipts", 0).await.is_empty(), "a stranger learns nothing of what was read");
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["pairing", "list", "--json"])).unwrap();
    let code = list["pending"][0]["code"].as_str().unwrap().to_owned();
    assert!(sent[0]["message"].as_str().unwrap().contains(&code) && sent[0]["recipients"] == json!([ann]), "{sent:?}");
    owner::done(kernel.state(), &["pairing", "approve", &code, "--owner"]);
    let (asked, _) = signal.say("+4915100000007", "and now?", json!({})).await;
    assert_eq!(signal.sent(2).await[1]["message"], "Hello here (https://example.com).");

    let group =
        json!({ "groupId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "groupName": "Team", "type": "DELIVER" });
    signal.say("+4915100000007", "just talking", json!({ "groupInfo": group })).await;
    let mention = json!([{ "start": 0, "length": 1, "number": NUMBER, "name": "Carapace", "uuid": "u" }]);
    // A stranger in the group.
    signal
        .say("+4915100000008", "\u{fffc} who are you?", json!({ "groupInfo": group, "mentions": mention.clone() }))
        .await;
    let (at, _) =
        signal.say("+4915100000007", "\u{fffc} and here?", json!({ "groupInfo": group, "mentions": mention })).await;
    let sent = signal.sent(3).await;
    assert!(sent[2]["recipients"][0].as_str().unwrap().starts_with("group."), "{sent:?}");
    assert_eq!((&sent[2]["quote_timestamp"], &sent[2]["quote_author"]), (&json!(at), &json!(ann)));
    // What is no message is none.
    signal
        .say("+4915100000007", "", json!({ "message": null, "reaction": { "emoji": "+", "targetSentTimestamp": at } }))
        .await;
    let (last, _) = signal.say("+4915100000007", "last", json!({})).await;
    assert_eq!(signal.sent(4).await.len(), 4);
    // What became a turn was read, and nothing else.
    let read: Vec<Value> = signal.told("receipts", 3).await;
    let read: Vec<_> = read.iter().map(|r| (r["recipient"].clone(), r["timestamp"].clone())).collect();
    assert_eq!(read, [asked, at, last].map(|at| (json!(ann), json!(at))));
    assert_eq!(peers::asked(&model).await.len(), 3);
    assert!(!signal.control("typed", json!({})).await.as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_survives_kills_although_it_is_handed_out_once() {
    for mode in ["json-rpc", "normal"] {
        let signal = peer!("Signal", Signal::start(mode));
        let model = peer!("aimock", peers::aimock(&answers("Understood."), &[]));
        let mut kernel =
            Kernel::start(signal.options(&model, "channel: { owner: ['6f3c4b1e-0000-4000-8000-915100000001'] }"));
        let rounds = 3;
        for round in 0..rounds {
            if mode == "json-rpc" {
                // While nobody is there, it is dropped: upstream hands out each message at most once.
                connected(&signal, &kernel).await;
            }
            for n in 0..4 {
                signal.say("+4915100000001", &format!("message {round}-{n}"), json!({})).await;
            }
            signal.sent(round * 4 + 1).await;
            kernel.kill();
            until("the connection being gone", &kernel, async || (signal.state().await["sockets"] == 0).then_some(()))
                .await;
            kernel.restart();
        }
        let uncertain = until("everything being settled", &kernel, async || {
            let list: Vec<Value> =
                serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
            let all = channels(&kernel);
            let here = all.as_array().unwrap().iter().find(|c| c["instance"] == INSTANCE).cloned().unwrap();
            let idle = signal.state().await["waiting"] == 0 && here["waiting"] == 0;
            let sent = signal.sent(0).await.len();
            (idle && list.iter().all(|p| p["state"] == "uncertain") && sent + list.len() >= 4 * rounds)
                .then_some(list.len())
        })
        .await;
        let sent = signal.sent(0).await.len();
        assert!(sent <= 4 * rounds && uncertain <= rounds, "{sent} sent, {uncertain} uncertain");
        let dropped = signal.state().await["dropped"].as_u64().unwrap();
        assert_eq!(dropped, 0, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_it_says_what_to_do_and_a_server_that_is_away_is_waited_for() {
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)));
    let stopped = stands(&kernel, INSTANCE, "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("config: { number:"), "{stopped}");
    // It came with the others, and is not missed.
    let ready = kernel.http().get(format!("{}/health/ready", kernel.base)).send().await.unwrap().text().await.unwrap();
    assert!(!ready.contains("signal"), "{ready}");
    drop(kernel);
    let nowhere = peers::nowhere();
    let config = format!(
        "{{ instances: {{ signal: {{ endpoints: {{ api: '{nowhere}' }}, config: {{ number: '{NUMBER}' }} }} }} }}"
    );
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)).with_config(&config));
    stands(&kernel, INSTANCE, "degraded").await;
}
