//! `kill -9` at random moments while messages flow in by poll and by webhook: none is lost, none is a turn twice, each conversation keeps
//! its order, and an answer that may not have arrived is one that is listed as uncertain.
//!
//! `CARAPACE_CRASH_MESSAGES` and `CARAPACE_CRASH_KILLS` say how much (default 240 and 8), `CARAPACE_CRASH_SEED` repeats a run's choices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: its functions fail by panicking, its size is the environment's"
)]

use carapace_store::{RunPhase, Store, StoreOptions};
use carapace_tests::chat::{TOKEN, Telegram, get};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// People who talk on each platform.
const PEOPLE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(180);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn client() -> reqwest::Client {
    carapace_tests::kernel::client(reqwest::header::HeaderMap::new())
}

/// The n-th message by one of a platform's people; what it says says who, and how many they sent before.
fn text(platform: &str, n: usize) -> String {
    format!("{platform} {} {}", n % PEOPLE, n / PEOPLE)
}

/// Who said it, and how many they sent before.
fn read(text: &str) -> Option<(String, usize)> {
    let (who, n) = text.trim().rsplit_once(' ')?;
    Some((who.to_owned(), n.parse().ok()?))
}

/// People of the bot platform talk at a steady pace, whether anybody polls or not.
async fn by_poll(base: &str, messages: usize, pace: Duration) {
    let http = client();
    for n in 0..messages {
        let who = n % PEOPLE + 1;
        let from = json!({ "id": who, "is_bot": false, "first_name": "P" });
        let body =
            json!({ "chat": { "id": who, "type": "private" }, "from": from, "text": text("poll", n), "more": {} });
        http.post(format!("{base}/control/say")).json(&body).send().await.unwrap();
        tokio::time::sleep(pace).await;
    }
}

/// Programs send webhooks, each again and again with the same id until it is accepted.
async fn by_webhook(ends: &str, port: u16, messages: usize, pace: Duration) {
    let http = client();
    for n in 0..messages {
        let (id, who) = (format!("msg_{n}"), format!("person-{}", n % PEOPLE));
        let body = json!({ "text": text("webhook", n), "from": who, "id": id });
        let url = format!("http://127.0.0.1:{port}/channels/webhook/standard");
        loop {
            let send = http.post(format!("{ends}/send")).json(&json!({ "url": url, "id": id, "body": body }));
            // The sender's own server fails where nobody listens.
            let answer: Option<Value> = match send.send().await {
                Ok(answer) => answer.json().await.ok(),
                Err(_) => None,
            };
            match answer.as_ref().and_then(|a| a["status"].as_u64()) {
                Some(202) => break,
                None | Some(404 | 503) => tokio::time::sleep(Duration::from_millis(50)).await,
                Some(other) => panic!("the webhook answered {other}: {answer:?}"),
            }
        }
        tokio::time::sleep(pace).await;
    }
}

fn listed(kernel: &Kernel, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&owner::done(kernel.state(), args)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_while_messages_flow_by_poll_and_webhook_nothing_is_lost_or_doubled() {
    let messages = number("CARAPACE_CRASH_MESSAGES", 240) / 2;
    let kills = number("CARAPACE_CRASH_KILLS", 8);
    let seed = number("CARAPACE_CRASH_SEED", usize::try_from(RandomState::new().hash_one("channels") >> 1).unwrap());
    eprintln!("{} messages, {kills} kills, CARAPACE_CRASH_SEED={seed}", messages * 2);

    let telegram = peer!("Telegram", Telegram::start());
    let ends = peer!("standardwebhooks", peers::chat_server("standard_webhooks.py", SECRET));
    let model = Model::start(
        |request| {
            let last = request["messages"].as_array().unwrap().last().unwrap();
            vec![Piece::Text(last["content"].as_str().unwrap().to_owned())]
        },
        Duration::from_millis(1),
    )
    .await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ids: Vec<String> = (1..=PEOPLE).map(|n| n.to_string()).collect();
    let names: Vec<String> = (0..PEOPLE).map(|n| format!("person-{n}")).collect();
    let config = json!({
        "webhooks": { "port": port },
        "agent": { "route": ["openai/mock"] },
        "budget": { "dailyTokens": null, "dailyUsd": null },
        "limits": { "ceiling": { "httpRequestsPerMinute": 1_000_000 } },
        "instances": {
            "openai": { "limits": { "httpRequestsPerMinute": 1_000_000 } },
            "telegram": { "endpoints": { "api": telegram.0.base }, "channel": { "allow": ids }, "limits": { "httpRequestsPerMinute": 1_000_000 } },
            "webhook": { "endpoints": { "out": ends.base }, "channel": { "allow": names }, "limits": { "httpRequestsPerMinute": 1_000_000 } },
        },
    });
    let options = KernelOptions::openai(&model.base)
        .with_env("TELEGRAM_BOT_TOKEN", TOKEN)
        .with_env("WEBHOOK_SIGNING_SECRET", SECRET)
        .with_config(&config.to_string());
    let mut kernel = tokio::task::spawn_blocking(|| Kernel::start(options)).await.unwrap();

    let pace = Duration::from_millis(15);
    let over = AtomicBool::new(false);
    let flow = async {
        tokio::join!(by_poll(&telegram.0.base, messages, pace), by_webhook(&ends.base, port, messages, pace));
        over.store(true, SeqCst);
    };
    let killer = async {
        let (mut killed, mut dice) = (0, seed);
        while killed < kills && !over.load(SeqCst) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis(200 + u64::try_from((dice >> 33) % 800).unwrap())).await;
            let (verified, again) = tokio::task::spawn_blocking(move || {
                kernel.restart();
                (kernel.cli(&["audit", "verify"]), kernel)
            })
            .await
            .unwrap();
            kernel = again;
            killed += 1;
            assert!(verified.status.success(), "after kill {killed}: {}", String::from_utf8_lossy(&verified.stderr));
        }
        (kernel, killed)
    };
    let ((), (kernel, killed)) = tokio::join!(flow, killer);
    assert!(killed * 2 >= kills, "only {killed} kills: the messages were over too soon");

    let uncertain = settled(&kernel, &telegram.0.base).await;
    let store = Store::open_reader(kernel.state(), StoreOptions::default()).unwrap();
    for phase in [RunPhase::Accepted, RunPhase::Running] {
        assert_eq!(store.runs_by_phase(phase, 10).await.unwrap(), [], "a turn did not end");
    }
    // The model says back what it was told: each message is the answer of one turn, in the order of its conversation.
    let mut runs = store.runs_ended_before(i64::MAX as u64, usize::MAX).await.unwrap();
    runs.sort_by_key(|r| r.run);
    let mut turns: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for run in &runs {
        let last = run.last.as_ref().unwrap();
        assert_eq!(last["type"], "completed", "{last}");
        let (who, n) = read(last["text"].as_str().unwrap()).unwrap();
        turns.entry(who).or_default().push(n);
    }
    for platform in ["poll", "webhook"] {
        for person in 0..PEOPLE {
            let expected: Vec<usize> = (0..messages).filter(|n| n % PEOPLE == person).map(|n| n / PEOPLE).collect();
            assert_eq!(turns.get(&format!("{platform} {person}")), Some(&expected), "{platform}, person {person}");
        }
    }
    assert_eq!(runs.len(), messages * 2);

    // What arrived: on the platform that takes no key, once or listed; by webhook, again under the same id at most.
    let sent = get(format!("{}/control/sent", telegram.0.base)).await;
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for message in sent["result"].as_array().unwrap() {
        *arrived.entry(message["text"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(arrived.values().all(|n| *n == 1), "said twice: {arrived:?}");
    for n in 0..messages {
        let text = text("poll", n);
        assert!(arrived.contains_key(&text) || uncertain.contains(&text), "`{text}` did not arrive, and is not listed");
    }
    assert!(uncertain.len() <= killed * PEOPLE, "one send in flight for each conversation and kill: {uncertain:?}");
    let received = get(format!("{}/received", ends.base)).await;
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    for one in received.as_array().unwrap() {
        let (said, key) = (one["body"]["text"].as_str().unwrap(), one["headers"]["webhook-id"].as_str().unwrap());
        assert_eq!(one["ok"], true, "{one}");
        let first = keys.entry(said.to_owned()).or_insert_with(|| key.to_owned());
        assert_eq!(first, key, "`{said}` came under two ids");
    }
    let missing: Vec<String> = (0..messages).map(|n| text("webhook", n)).filter(|t| !keys.contains_key(t)).collect();
    assert!(missing.iter().all(|t| uncertain.contains(t)), "did not arrive, and not listed: {missing:?}");
    eprintln!(
        "{killed} kills; {} sends are listed as uncertain, {} arrived",
        uncertain.len(),
        arrived.len() + keys.len()
    );
}

/// Waits until everything that was said has been taken, answered and sent; gives what the sends say whose fate nobody knows.
async fn settled(kernel: &Kernel, telegram: &str) -> Vec<String> {
    let begin = Instant::now();
    loop {
        // In this order: what is not unread any more has been accepted.
        let unread = get(format!("{telegram}/control/waiting")).await["result"].as_u64().unwrap();
        let waiting: u64 = listed(kernel, &["channels", "list", "--json"])
            .iter()
            .map(|c| c["waiting"].as_u64().unwrap_or_default())
            .sum();
        let parts = listed(kernel, &["outbox", "list", "--json"]);
        if unread == 0 && waiting == 0 && parts.iter().all(|p| p["state"] == "uncertain") {
            return parts.iter().map(|p| p["text"].as_str().unwrap().to_owned()).collect();
        }
        assert!(begin.elapsed() < PATIENCE, "{unread} unread, {waiting} waiting, {parts:?}\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
