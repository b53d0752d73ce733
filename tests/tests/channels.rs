//! People reach the assistant through channels, each a component.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_contract::Digest;
use carapace_registry::package;
use carapace_tests::chat::{TOKEN, Telegram, answers, channels, get, post, stands, until};
use carapace_tests::{Kernel, KernelOptions, foreign, owner, peer, peers};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn pairing(kernel: &Kernel) -> Value {
    serde_json::from_str(&owner::done(kernel.state(), &["pairing", "list", "--json"])).unwrap()
}

#[test]
fn a_foreign_client_talks_through_our_telegram_as_through_the_real_one() {
    let telegram = peer!("Telegram", Telegram::start());
    let python = peers::chat().unwrap().join("python");
    let mut client = Command::new(python);
    client.arg(peers::script("telegram_echo.py")).arg(&telegram.0.base).arg(TOKEN).stdin(Stdio::null());
    let child = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(async {
        let file = telegram.file("a.txt", b"from far away").await;
        let document = json!({ "document": { "file_id": file, "file_unique_id": "u", "file_name": "a.txt" } });
        telegram.say(7, &json!({ "id": 7, "type": "private" }), "hello", document).await;
        telegram.sent(1).await
    });
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!((sent[0]["text"].as_str().unwrap(), sent.len()), ("You: hello", 1));
    let acted = runtime.block_on(telegram.acted(8));
    let methods: Vec<&str> = acted.iter().map(|a| a["method"].as_str().unwrap()).collect();
    let all = [
        "editMessageText",
        "editMessageReplyMarkup",
        "pinChatMessage",
        "unpinChatMessage",
        "sendPhoto",
        "sendPhoto",
        "sendDocument",
        "deleteMessage",
    ];
    assert_eq!(methods, all, "{acted:?}");
    assert_eq!(acted[5]["photo"]["name"], "a.png");
    assert_eq!(acted[6]["document"]["name"], "a b.bin");
    let bytes = BASE64.decode(acted[6]["document"]["data"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, b"--x\r\n\r\nbytes\r\n--x--\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_a_code_and_nothing_else_and_talks_once_the_owner_agrees() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("**Hello** from here."), &[]));
    let kernel = Kernel::start(telegram.options(&model, ""));
    stands(&kernel, "local/telegram/main", "running").await;

    telegram.private(7, "hi there").await;
    let sent = telegram.sent(1).await;
    let waiting = pairing(&kernel);
    let code = waiting["pending"][0]["code"].as_str().unwrap().to_owned();
    assert!(sent[0]["text"].as_str().unwrap().contains(&code), "{sent:?}");
    assert_eq!((waiting["pending"][0]["sender"].as_str(), sent[0]["chat_id"].as_i64()), (Some("7"), Some(7)));
    assert!(peers::asked(&model).await.is_empty(), "a stranger's words reached the model");

    // More words of a stranger's bring nothing more.
    telegram.private(7, "hello?").await;
    telegram.private(7, "HELLO?").await;
    until("both being passed over", &kernel, async || {
        let counted = |line: &str| line.contains("carapace_channel_messages_total") && line.contains("\"waiting\"");
        kernel.metrics().await.lines().find(|l| counted(l) && l.ends_with(" 2")).map(drop)
    })
    .await;
    let out = owner::done(kernel.state(), &["pairing", "approve", &code.to_lowercase()]);
    assert!(out.contains("7 \"Person 7\"") && out.contains("pairing remove"), "{out}");
    telegram.private(7, "and now?").await;
    let sent = telegram.sent(2).await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1]["text"], "Hello from here.");
    assert_eq!(sent[1]["entities"], json!([{ "offset": 0, "length": 5, "type": "bold" }]));
    assert_eq!(peers::asked(&model).await.len(), 1);

    // Taken away, they are a stranger again.
    owner::done(kernel.state(), &["pairing", "remove", "local/telegram/main", "7"]);
    telegram.private(7, "still there?").await;
    let sent = telegram.sent(3).await;
    assert!(sent[2]["text"].as_str().unwrap().contains(pairing(&kernel)["pending"][0]["code"].as_str().unwrap()));
    assert_eq!(peers::asked(&model).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_only_a_mention_is_answered_and_each_person_has_a_conversation_of_their_own() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Yes."), &[]));
    let kernel = Kernel::start(telegram.options(&model, "channel: { owner: ['1'], allow: ['2'] }"));
    let group = json!({ "id": -100, "type": "supergroup", "title": "Team" });
    telegram.say(1, &group, "just talking", json!({})).await;
    let mention = json!({ "entities": [{ "type": "mention", "offset": 0, "length": 13 }] });
    telegram.say(1, &group, "@carapace_bot are you there?", mention).await;
    telegram.private(1, "my secret is 12345").await;
    telegram.private(2, "what did the other one say?").await;
    let sent = telegram.sent(3).await;
    let chats: Vec<i64> = sent.iter().map(|s| s["chat_id"].as_i64().unwrap()).collect();
    assert_eq!(chats.iter().copied().collect::<std::collections::BTreeSet<_>>(), [-100, 1, 2].into(), "{sent:?}");
    let asked = peers::asked(&model).await;
    assert_eq!(asked.len(), 3);
    let of_the_second = asked.iter().find(|a| a["body"].to_string().contains("the other one")).unwrap();
    assert!(!of_the_second["body"].to_string().contains("12345"), "two people share a conversation");
    assert_eq!(telegram.sent(3).await.len(), 3);
    drop(kernel);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_no_message_is_lost_and_none_is_answered_twice() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Understood."), &[]));
    let mut kernel = Kernel::start(telegram.options(&model, "channel: { drafts: false, owner: ['1', '2', '3'] }"));
    stands(&kernel, "local/telegram/main", "running").await;
    let rounds = 5;
    for round in 0..rounds {
        for n in 0..4 {
            for who in 1..=3 {
                telegram.private(who, &format!("message {round}-{n} of {who}")).await;
            }
        }
        // In the middle of it: how far it got is chance.
        telegram.sent(round * 12 + 2).await;
        kernel.kill();
        kernel.restart();
    }
    let all = 12 * rounds;
    // What was in flight at a kill may or may not have arrived: such a part is shown, and not sent again by itself.
    let uncertain = until("everything being settled", &kernel, async || {
        // In this order: what is not unread any more has been accepted.
        let unread = get(format!("{}/control/waiting", telegram.0.base)).await["result"].as_u64().unwrap();
        let list = owner::done(kernel.state(), &["outbox", "list", "--json"]);
        let list: Vec<Value> = serde_json::from_str(&list).unwrap();
        let waiting: u64 = channels(&kernel)[0]["waiting"].as_u64().unwrap_or(1);
        (unread == 0 && waiting == 0 && list.iter().all(|p| p["state"] == "uncertain")).then_some(list.len())
    })
    .await;
    assert!(
        uncertain <= rounds * 3,
        "{uncertain} uncertain parts; at most one per conversation can be in flight at a kill"
    );
    let sent = telegram.sent(0).await;
    assert!(sent.len() <= all && sent.len() + uncertain >= all, "{} sent, {uncertain} uncertain, of {all}", sent.len());
    // Each message was one turn: the model was asked about each, and what each conversation holds has each once, in order.
    for who in 1..=3_i64 {
        let texts: Vec<String> = peers::asked(&model)
            .await
            .iter()
            .map(|a| a["body"]["messages"].as_array().unwrap().last().unwrap()["content"].to_string())
            .filter(|text| text.contains(&format!("of {who}")))
            .collect();
        let mut expected = Vec::new();
        for round in 0..rounds {
            expected.extend((0..4).map(|n| format!("message {round}-{n} of {who}")));
        }
        let mut last = None;
        for text in &texts {
            let place = expected.iter().position(|e| text.contains(e.as_str())).unwrap();
            // A turn that was cut off by the kill asks the model again; none comes back after a later one was begun.
            assert!(last.is_none_or(|l| place == l || place == l + 1), "{text} after {last:?}");
            last = Some(place);
        }
        assert_eq!(last, Some(expected.len() - 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_messages_are_waited_for_and_a_refusal_is_kept_for_the_owner() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Fine."), &[]));
    let kernel = Kernel::start(telegram.options(&model, "channel: { owner: ['1', '2'] }"));
    stands(&kernel, "local/telegram/main", "running").await;
    let fail = async |status: u16, body: Value| {
        post(format!("{}/control/fail", telegram.0.base), json!({ "status": status, "body": body })).await;
    };
    fail(429, json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": { "retry_after": 1 } })).await;
    telegram.private(1, "one").await;
    assert_eq!(telegram.sent(1).await.len(), 1);
    fail(403, json!({ "ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user" })).await;
    telegram.private(2, "two").await;
    let dead = until("a dead part", &kernel, async || {
        let list: Vec<Value> =
            serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
        list.into_iter().find(|p| p["state"] == "dead")
    })
    .await;
    assert!(dead.to_string().contains("blocked by the user"), "{dead}");
    owner::done(kernel.state(), &["outbox", "retry", dead["id"].as_str().unwrap()]);
    assert_eq!(telegram.sent(2).await[1]["text"], "Fine.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_with_what_to_do_and_a_right_one_is_taken_up_at_once() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let options = telegram.options(&model, "channel: { owner: ['1'] }").with_env("CARAPACE_PASSWORD", "correct horse");
    let kernel = Kernel::start(options.with_env("TELEGRAM_BOT_TOKEN", "1:wrong-token-of-a-bot"));
    let stopped = stands(&kernel, "local/telegram/main", "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("carapace secrets set bot-token"), "{stopped}");
    assert!(!stopped.to_string().contains("wrong-token"));
    // It was set up, and is missed.
    assert!(ready(&kernel).await.contains("the channel local/telegram/main has stopped"));
    owner::set_secret(kernel.state(), "bot-token", "local/telegram/main", TOKEN);
    stands(&kernel, "local/telegram/main", "running").await;
    telegram.private(1, "hello").await;
    assert_eq!(telegram.sent(1).await[0]["text"], "Here.");
}

async fn ready(kernel: &Kernel) -> String {
    kernel.http().get(format!("{}/health/ready", kernel.base)).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_brings_its_updates_itself_where_it_is_given_an_address() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = "https://bot.example.com/channels/telegram/updates";
    let config = json!({
        "webhooks": { "port": port },
        "instances": { "telegram": {
            "endpoints": { "api": telegram.0.base, "actions": telegram.0.base, "files": format!("{}/file", telegram.0.base) },
            "config": { "webhook": url },
            "channel": { "owner": ["1"] },
        } },
    });
    let options = KernelOptions::openai(&format!("{}/v1", model.base)).with_env("TELEGRAM_BOT_TOKEN", TOKEN);
    let kernel = Kernel::start(options.with_env("CARAPACE_PASSWORD", "correct horse").with_config(&config.to_string()));
    // Nothing is told to Telegram before the token is there.
    let stopped = stands(&kernel, "local/telegram/main", "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("secrets set webhook-token"), "{stopped}");
    let set = ["secrets", "set", "webhook-token", "--instance", "local/telegram/main", "--generate"];
    let said = owner::done(kernel.state(), &set);
    stands(&kernel, "local/telegram/main", "running").await;
    let hook = get(format!("{}/control/hook", telegram.0.base)).await["result"].clone();
    let secret = hook["secret"].as_str().unwrap();
    assert_eq!((hook["url"].as_str(), secret.len()), (Some(url), 64), "{hook}");
    assert!(!said.contains(secret));

    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    let bring = async |token: &str, number: i64| {
        let from = json!({ "id": 1, "is_bot": false, "first_name": "Owner" });
        let message = json!({ "message_id": number, "date": 1, "chat": { "id": 1, "type": "private" }, "from": from, "text": "hello" });
        let update = json!({ "update_id": 2_000 + number, "message": message });
        let address = format!("http://127.0.0.1:{port}/channels/telegram/updates");
        let request = http.post(address).header("X-Telegram-Bot-Api-Secret-Token", token).json(&update);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(bring(secret, 1).await, 200);
    assert_eq!(telegram.sent(1).await[0]["text"], "Here.");
    // Repeated, as Telegram does, it is the same one; without the token it is nobody's.
    assert_eq!((bring(secret, 1).await, bring("guessed", 2).await, bring("", 3).await), (200, 401, 401));
    assert_eq!(bring(secret, 4).await, 200);
    telegram.sent(2).await;
    assert_eq!(peers::asked(&model).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_nobody_has_set_up_says_so_and_is_not_missed() {
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)));
    let stopped = stands(&kernel, "local/telegram/main", "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("carapace secrets set bot-token"), "{stopped}");
    let ready = ready(&kernel).await;
    assert!(!ready.contains("telegram"), "{ready}");
    // Nor is a port open that nothing could be taken on.
    assert!(!kernel.log().contains("webhooks are taken"), "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_telegram_takes_what_we_send() {
    let mockpost = peer!("mockpost", peers::mockpost());
    let model = peer!("aimock", peers::aimock(&answers("Hello, _mockpost_."), &[]));
    let config = format!(
        "{{ webhooks: {{ port: 0 }}, instances: {{ telegram: {{ endpoints: {{ api: '{}/telegram' }}, channel: {{ owner: ['0'] }} }} }} }}",
        mockpost.base
    );
    let options = KernelOptions::openai(&format!("{}/v1", model.base)).with_env("TELEGRAM_BOT_TOKEN", TOKEN);
    let kernel = Kernel::start(options.with_config(&config));
    stands(&kernel, "local/telegram/main", "running").await;
    post(
        format!("{}/telegram/client/sendMessage", mockpost.base),
        json!({ "token": TOKEN, "chat_id": 7, "text": "hi" }),
    )
    .await;
    let found = until("an answer at mockpost", &kernel, async || {
        let all = get(format!("{}/api/messages", mockpost.base)).await.to_string();
        all.contains("Hello, mockpost.").then_some(all)
    })
    .await;
    assert!(found.contains("Hello, mockpost."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_talks_by_standard_webhooks_and_only_if_its_signature_is_right() {
    standard_webhooks(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_channel_in_another_language_passes_the_same_run() {
    let twin = peer!("npm", foreign::component("webhook-ts"));
    let packed = package::build(&twin, &foreign::manifest("components/channels/webhook"));
    let packed = packed.unwrap_or_else(|e| panic!("{e}"));
    standard_webhooks(Some(packed)).await;
}

/// The run that every component passes that is to be the webhook channel.
async fn standard_webhooks(in_its_place: Option<Vec<u8>>) {
    let ends = peer!("standardwebhooks", peers::chat_server("standard_webhooks.py", SECRET));
    let model = peer!("aimock", peers::aimock(&answers("Deployed."), &[]));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "{{ webhooks: {{ port: {port} }}, instances: {{ webhook: {{ endpoints: {{ out: '{}' }}, channel: {{ allow: ['ci'] }} }} }} }}",
        ends.base
    );
    let mut options = KernelOptions::openai(&format!("{}/v1", model.base)).with_env("WEBHOOK_SIGNING_SECRET", SECRET);
    let digest = in_its_place.as_deref().map(|bytes| Digest::of(bytes).to_string());
    if let Some(package) = in_its_place {
        options = options.with_package("webhook", package);
    }
    let kernel = Kernel::start(options.with_config(&config));
    stands(&kernel, "local/webhook/main", "running").await;
    if let Some(digest) = digest {
        let installed = kernel.cli_json(&["plugin", "list", "--json"]).to_string();
        assert!(installed.contains(&digest), "{installed}");
    }
    let to = |path: &str| format!("http://127.0.0.1:{port}/channels/{path}");
    let send = async |id: &str, more: Value| {
        let mut body = json!({ "url": to("webhook/standard"), "id": id, "body": { "text": "Is it out?", "from": "ci", "conversation": "deploys", "id": id } });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(format!("{}/send", ends.base), body).await
    };
    let answer = send("msg_1", json!({})).await;
    assert_eq!(answer["status"], 202, "{answer}\n{}", kernel.log());
    let received = get(format!("{}/received?least=1&seconds=60", ends.base)).await;
    assert_eq!(
        (received[0]["ok"].as_bool(), received[0]["body"]["text"].as_str()),
        (Some(true), Some("Deployed.")),
        "{received}"
    );
    assert_eq!(received[0]["body"]["conversation"], "deploys");

    // The same message again is the same message; forged ones are none.
    assert_eq!(send("msg_1", json!({})).await["status"], 202);
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(send("msg_2", json!({ "headers": { "webhook-signature": wrong } })).await["status"], 401);
    assert_eq!(send("msg_3", json!({ "headers": { "webhook-timestamp": "1614265330" } })).await["status"], 401);
    // Nothing tells a stranger what is there.
    for unknown in ["webhook/nothing", "nothing/standard", "webhook/other/standard", "telegram/standard"] {
        assert_eq!(send("msg_4", json!({ "url": to(unknown) })).await["status"], 404, "{unknown}");
    }
    // The API and the page are on another port.
    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    for path in ["", "/v1/models", "/health", "/metrics", "/channels"] {
        let status = http.get(format!("http://127.0.0.1:{port}{path}")).send().await.unwrap().status();
        assert_eq!(status.as_u16(), 404, "{path}");
    }
    assert_eq!(peers::asked(&model).await.len(), 1);
    // A receiver that is busy gets it later, signed for that time.
    post(format!("{}/answer", ends.base), json!({ "status": 503 })).await;
    assert_eq!(send("msg_5", json!({})).await["status"], 202);
    let received = get(format!("{}/received?least=3&seconds=60", ends.base)).await;
    let keys: Vec<&Value> = received.as_array().unwrap().iter().map(|r| &r["headers"]["webhook-id"]).collect();
    assert!(keys[1] == keys[2] && keys[0] != keys[1], "{keys:?}");
    assert!(received.as_array().unwrap().iter().all(|r| r["ok"] == true), "{received}");
}
