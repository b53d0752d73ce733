//! Channels under what goes wrong around them: platforms in a storm or in disorder, a clock that is set, a full disk, a second kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{Telegram, channels, get, post, stands, until};
use carapace_tests::mirror::Mirror;
use carapace_tests::model::{Model, Piece};
use carapace_tests::moods::Machine;
use carapace_tests::{Kernel, KernelOptions, owner, peer};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const INSTANCE: &str = "local/telegram/main";
const OWNER: &str = "channel: { drafts: false, owner: ['1', '2', '3'] }";
const HOUR_MS: i64 = 3_600_000;

/// A model that says back what it was told.
async fn parrot() -> Model {
    let repeat = |request: &Value| {
        let last = request["messages"].as_array().unwrap().last().unwrap();
        vec![Piece::Text(last["content"].as_str().unwrap().to_owned())]
    };
    Model::start(repeat, Duration::ZERO).await
}

fn on_telegram(telegram: &Telegram, model: &Model) -> KernelOptions {
    telegram.options_at(&model.base, OWNER, "agent: { route: ['openai/mock'] }")
}

/// What somebody was told, in order.
async fn told(telegram: &Telegram, who: i64, least: usize) -> Vec<String> {
    let sent = telegram.sent(least).await;
    let to = sent.into_iter().filter(|s| s["chat_id"] == who);
    to.map(|s| s["text"].as_str().unwrap().to_owned()).collect()
}

fn listed(kernel: &Kernel, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&owner::done(kernel.state(), args)).unwrap()
}

/// In the end nothing waits, is uncertain, was given up or put aside.
async fn is_clean(kernel: &Kernel) {
    // What has arrived is noted a moment later.
    until("an empty outbox", kernel, async || listed(kernel, &["outbox", "list", "--json"]).is_empty().then_some(()))
        .await;
    assert_eq!(listed(kernel, &["events", "list", "--json"]).len(), 0);
    let waiting = |c: &Value| c["waiting"].as_u64().unwrap();
    assert_eq!(channels(kernel).as_array().unwrap().iter().map(waiting).sum::<u64>(), 0);
    owner::done(kernel.state(), &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_too_many_requests_is_waited_out_and_everything_arrives_once_and_in_order() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = parrot().await;
    let kernel = Kernel::start(on_telegram(&telegram, &model));
    stands(&kernel, INSTANCE, "running").await;
    // With and without a word on how long.
    for n in 0..8 {
        let wait = if n % 2 == 0 { json!({ "retry_after": 1 }) } else { json!({}) };
        let body = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": wait });
        post(format!("{}/control/fail", telegram.0.base), json!({ "status": 429, "body": body })).await;
    }
    let said: Vec<String> = (0..4).map(|n| format!("message {n}")).collect();
    for text in &said {
        for who in 1..=3 {
            telegram.private(who, text).await;
        }
    }
    for who in 1..=3 {
        assert_eq!(told(&telegram, who, 12).await, said);
    }
    is_clean(&kernel).await;
    assert_eq!(telegram.sent(0).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_come_twice_and_in_any_order_are_one_turn_each() {
    let out = Mirror::start(None).await;
    let model = parrot().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({
        "webhooks": { "port": port },
        "agent": { "route": ["openai/mock"] },
        "instances": { "webhook": { "endpoints": { "out": out.base }, "channel": { "allow": ["ci"] } } },
    });
    let kernel = Kernel::start(KernelOptions::openai(&model.base).with_config(&config.to_string()));
    owner::set_secret(kernel.state(), "token", "local/webhook/main", "a-token-of-the-test");
    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    let url = format!("http://127.0.0.1:{port}/channels/webhook/token");
    until("the port being open", &kernel, async || {
        let answer = http.post(&url).send().await.ok()?;
        (answer.status().as_u16() == 401).then_some(())
    })
    .await;
    // Each three times; a step that shares no factor with their number meets each one once, in no order.
    let all: Vec<usize> = (0..180).map(|n| n * 77 % 180 / 3).collect();
    let send = async |n: usize| {
        let body = json!({ "id": format!("m-{n}"), "from": "ci", "conversation": format!("c-{}", n % 5), "text": format!("message {n}") });
        loop {
            let answer = http.post(&url).bearer_auth("a-token-of-the-test").json(&body).send().await.unwrap();
            match answer.status().as_u16() {
                202 => return,
                // So many at once.
                429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other}"),
            }
        }
    };
    let (a, b) = all.split_at(all.len() / 2);
    let half = async |half: &[usize]| {
        for chunk in half.chunks(6) {
            futures::future::join_all(chunk.iter().map(|n| send(*n))).await;
        }
    };
    tokio::join!(half(a), half(b));
    let texts = || -> Vec<String> {
        let body = |s: &carapace_tests::mirror::Seen| serde_json::from_str::<Value>(&s.body).unwrap();
        out.seen().iter().map(|s| body(s)["text"].as_str().unwrap().to_owned()).collect()
    };
    until("every answer", &kernel, async || (texts().len() >= 60).then_some(())).await;
    is_clean(&kernel).await;
    let (said, found): (BTreeSet<String>, Vec<String>) = ((0..60).map(|n| format!("message {n}")).collect(), texts());
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (60, said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_and_back_loses_doubles_and_stops_nothing() {
    let machine = peer!("a C compiler", Machine::new());
    let telegram = peer!("Telegram", Telegram::start());
    let model = parrot().await;
    let mut kernel = Kernel::start(machine.carries(on_telegram(&telegram, &model)));
    stands(&kernel, INSTANCE, "running").await;
    let mut said = Vec::new();
    // A part that waits for its next attempt, an open poll and a turn are there whenever it is set. Not a day forward at once: an answer is
    // worth sending for that long.
    for (n, ahead) in [0, 20, -4, 18, -2, 0].map(|hours| hours * HOUR_MS).into_iter().enumerate() {
        let busy = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": { "retry_after": 1 } });
        post(format!("{}/control/fail", telegram.0.base), json!({ "status": 429, "body": busy })).await;
        said.push(format!("before {n}"));
        telegram.private(1, &format!("before {n}")).await;
        machine.clock(ahead);
        said.push(format!("after {n}"));
        telegram.private(1, &format!("after {n}")).await;
        assert_eq!(told(&telegram, 1, said.len()).await, said, "{ahead} ms ahead");
        let since = channels(&kernel);
        let here = since.as_array().unwrap().iter().find(|c| c["instance"] == INSTANCE).unwrap();
        assert_eq!(here["state"], "running", "{here}");
        if n == 2 {
            // A start finds what a clock that was ahead has written. What arrived is noted before: else it would rightly be uncertain.
            is_clean(&kernel).await;
            kernel.restart();
        }
    }
    // A time that is far off shows that the clock was the test's.
    machine.clock(9_600 * HOUR_MS);
    let status = owner_of(&kernel, &["channels", "status", INSTANCE]);
    assert!(status.contains("last event: 4") && status.contains(" days ago"), "{status}");
    machine.clock(0);
    is_clean(&kernel).await;
}

/// A command that sees the same clock.
fn owner_of(kernel: &Kernel, args: &[&str]) -> String {
    let out = kernel.cli(args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_taken_and_with_room_again_everything_is_answered_once() {
    let machine = peer!("a C compiler", Machine::new());
    let telegram = peer!("Telegram", Telegram::start());
    let model = parrot().await;
    let kernel = Kernel::start(machine.carries(on_telegram(&telegram, &model)));
    stands(&kernel, INSTANCE, "running").await;
    telegram.private(1, "before").await;
    assert_eq!(told(&telegram, 1, 1).await, ["before"]);
    let unread = async || get(format!("{}/control/waiting", telegram.0.base)).await["result"].as_u64().unwrap();
    until("the offset passing it", &kernel, async || (unread().await == 0).then_some(())).await;

    machine.full(true);
    let said: Vec<String> = (0..5).map(|n| format!("message {n}")).collect();
    for text in &said {
        for who in 1..=3 {
            telegram.private(who, text).await;
        }
    }
    let why = stands(&kernel, INSTANCE, "degraded").await["why"].to_string();
    assert!(why.contains("full"), "{why}");
    assert_eq!(unread().await, 15, "an update was confirmed that is nowhere");
    assert_eq!(telegram.sent(0).await.len(), 1);

    machine.full(false);
    stands(&kernel, INSTANCE, "running").await;
    for who in 1..=3 {
        let all = told(&telegram, who, 16).await;
        assert_eq!(all[all.len() - 5..], said, "{who}");
    }
    is_clean(&kernel).await;
    assert_eq!(telegram.sent(0).await.len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_kernel_on_the_same_state_is_turned_away_and_the_first_one_goes_on() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = parrot().await;
    let kernel = Kernel::start(on_telegram(&telegram, &model));
    stands(&kernel, INSTANCE, "running").await;
    let mut said = Vec::new();
    for n in 0..3 {
        for _ in 0..4 {
            said.push(format!("message {}", said.len()));
            telegram.private(1, said.last().unwrap()).await;
        }
        let state = kernel.state().to_owned();
        let out = tokio::task::spawn_blocking(move || owner::start_fails(&state, &["--accept-bundled"])).await.unwrap();
        let why = owner::error(&out)["message"].to_string();
        assert!(why.contains("is running on it") && why.contains(&kernel.pid().to_string()), "attempt {n}: {why}");
    }
    assert_eq!(told(&telegram, 1, 12).await, said);
    is_clean(&kernel).await;
}
