//! `kill -9` at random moments, many times, while turns with side effects run: nothing is lost, nothing is done or said twice.
//!
//! `CARAPACE_CRASH_TURNS` and `CARAPACE_CRASH_KILLS` say how much (default 200 and 25), `CARAPACE_CRASH_SEED` repeats a run's choices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: its functions fail by panicking, its size is the environment's"
)]

use carapace_contract::InstanceId;
use carapace_store::{LogRow, Reader, RunPhase, RunRow, Store, StoreOptions};
use carapace_tests::components::{tool_package, wat};
use carapace_tests::model::{Model, Piece};
use carapace_tests::socket::Socket;
use carapace_tests::{Kernel, KernelOptions, kernel};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients that speak at the same time, each in sessions of its own.
const CLIENTS: usize = 8;
/// Turns of one session.
const PER_SESSION: usize = 25;
/// The model sends at least about so many chunks for one turn.
const CHUNKS_PER_TURN: u64 = 6;
const INTERRUPTED: &str = "interrupted: ";

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn name(turn: usize) -> String {
    format!("T{turn:05}")
}

fn session(turn: usize) -> String {
    format!("crash-{}-{}", turn % CLIENTS, turn / CLIENTS / PER_SESSION)
}

/// What a turn is to do: one to three marks.
fn marks(turn: &str) -> Vec<String> {
    let many = 1 + turn.bytes().map(usize::from).sum::<usize>() % 3;
    (0..many).map(|n| format!("{turn}-{n}")).collect()
}

fn done(turn: &str) -> String {
    format!("All marks of {turn} are made.")
}

/// The model: two marks at once, then one after the other, then it says so. What was interrupted it tries again, once.
fn script(request: &Value) -> Vec<Piece> {
    let messages = request["messages"].as_array().unwrap();
    let asked = |m: &Value| m["content"].as_str().and_then(|t| t.strip_prefix("Mark ")).map(str::to_owned);
    let at = messages.iter().rposition(|m| m["role"] == "user" && asked(m).is_some()).expect("somebody asked");
    let turn = asked(&messages[at]).unwrap();
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut results: BTreeMap<String, String> = BTreeMap::new();
    for message in &messages[at + 1..] {
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            calls.push((call["id"].as_str().unwrap().to_owned(), arguments["mark"].as_str().unwrap().to_owned()));
        }
        if message["role"] == "tool" {
            let content = message["content"].as_str().unwrap().to_owned();
            results.insert(message["tool_call_id"].as_str().unwrap().to_owned(), content);
        }
    }
    let call = |id: String, mark: &str| Piece::Call(id, "mark".into(), json!({ "mark": mark }));
    let again: Vec<Piece> = calls
        .iter()
        .filter(|(id, mark)| results[id].contains(INTERRUPTED) && calls.iter().filter(|(_, m)| m == mark).count() == 1)
        .map(|(id, mark)| call(format!("{id}-again"), mark))
        .collect();
    if !again.is_empty() {
        return again;
    }
    let planned = marks(&turn);
    let left = planned.iter().filter(|mark| !calls.iter().any(|(_, m)| m == *mark));
    let most = if calls.is_empty() { 2 } else { 1 };
    let next: Vec<Piece> = left.take(most).map(|mark| call(format!("call-{mark}"), mark)).collect();
    if next.is_empty() {
        return done(&turn).split_inclusive(' ').map(|word| Piece::Text(word.to_owned())).collect();
    }
    next
}

/// Where the kernel of the moment is.
#[derive(Debug, Clone)]
struct Door {
    life: usize,
    base: String,
    token: String,
}

/// What became of a message that was sent.
enum Sent {
    /// Accepted, and its end was seen.
    Ended,
    /// Accepted; then the kernel died.
    Accepted,
    /// Nobody said that it was accepted.
    Unknown,
}

async fn by_socket(socket: &mut Option<(usize, Socket)>, door: &Door, turn: &str, session: &str) -> Sent {
    if socket.as_ref().is_none_or(|(life, _)| *life != door.life) {
        *socket = Socket::connect(&door.base, &door.token).await.ok().map(|s| (door.life, s));
    }
    let Some((_, connected)) = socket else { return Sent::Unknown };
    let send = json!({"sessionKey": session, "message": format!("Mark {turn}"), "idempotencyKey": turn});
    let Ok(accepted) = connected.request("chat.send", send).await else {
        *socket = None;
        return Sent::Unknown;
    };
    if accepted["status"] != "started" {
        // It was accepted just before an earlier life ended.
        assert!(["in_flight", "ok"].contains(&accepted["status"].as_str().unwrap()), "{turn}: {accepted}");
        return Sent::Accepted;
    }
    match connected.outcome(turn, |_| ()).await {
        Ok(last) => {
            assert_eq!(last["state"], "final", "{turn}: {last}");
            assert_eq!(last["message"]["content"][0]["text"], done(turn), "{turn}");
            Sent::Ended
        }
        Err(_) => {
            *socket = None;
            Sent::Accepted
        }
    }
}

async fn by_http(http: &reqwest::Client, door: &Door, turn: &str, session: &str) -> Sent {
    let response = http
        .post(format!("{}/v1/chat/completions", door.base))
        .bearer_auth(&door.token)
        .header("x-carapace-session-key", session)
        .header("idempotency-key", turn)
        .json(&json!({"stream": true, "messages": [{"role": "user", "content": format!("Mark {turn}")}]}))
        .send()
        .await;
    let Ok(response) = response else { return Sent::Unknown };
    assert_eq!(response.status(), 200, "{turn}");
    let mut body = response.bytes_stream();
    let mut heard = Vec::new();
    while let Some(Ok(bytes)) = body.next().await {
        heard.extend(bytes);
    }
    let heard = String::from_utf8(heard).unwrap();
    assert!(!heard.contains("\"error\""), "{turn}: {heard}");
    if heard.trim_end().ends_with("data: [DONE]") { Sent::Ended } else { Sent::Accepted }
}

/// One client: its turns one after the other, each sent until somebody says that it was accepted and then never again.
async fn client(number: usize, turns: usize, mut doors: watch::Receiver<Door>) -> usize {
    let http = kernel::client(reqwest::header::HeaderMap::new());
    let mut socket = None;
    let mut seen_to_end = 0;
    for turn in (number..turns).step_by(CLIENTS) {
        let (name, session) = (name(turn), session(turn));
        loop {
            let door = doors.borrow_and_update().clone();
            let sent = match turn / CLIENTS % 2 {
                0 => by_socket(&mut socket, &door, &name, &session).await,
                _ => by_http(&http, &door, &name, &session).await,
            };
            match sent {
                Sent::Ended => seen_to_end += 1,
                Sent::Accepted => {}
                Sent::Unknown => {
                    let next = doors.wait_for(|next| next.life > door.life).await;
                    next.unwrap_or_else(|_| panic!("{name} was not accepted, and nobody had killed the kernel"));
                    continue;
                }
            }
            break;
        }
    }
    seen_to_end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kernel_killed_again_and_again_loses_no_message_and_does_nothing_twice() {
    let turns = usize::try_from(number("CARAPACE_CRASH_TURNS", 200)).unwrap();
    let kills = number("CARAPACE_CRASH_KILLS", turns as u64 / 8).max(1);
    let seed = number("CARAPACE_CRASH_SEED", RandomState::new().hash_one("crash"));
    eprintln!("{turns} turns, {kills} kills, CARAPACE_CRASH_SEED={seed}");
    let mut dice = Dice(seed);

    let mut model = Model::start(script, Duration::from_millis(1)).await;
    let mark = tool_package("mark", wat::MARK, "\"kv\"", "effects = [\"write\"]\n[kv]\n");
    let options = KernelOptions::openai(&model.base)
        .with_package("mark", mark)
        .with_config("{ agent: { route: ['openai/mock'] }, budget: { dailyTokens: null, dailyUsd: null }, \
             limits: { ceiling: { httpRequestsPerMinute: 1000000 } }, instances: { openai: { limits: { httpRequestsPerMinute: 1000000 } } } }");
    let mut kernel = tokio::task::spawn_blocking(|| Kernel::start(options)).await.unwrap();
    let door = |life: usize, kernel: &Kernel| Door { life, base: kernel.base.clone(), token: kernel.token.clone() };
    let (opened, doors) = watch::channel(door(0, &kernel));
    let mut clients: JoinSet<usize> = (0..CLIENTS).map(|n| client(n, turns, doors.clone())).collect();
    drop(doors);

    let (mut killed, mut seen_to_end) = (0, 0);
    let mean = (CHUNKS_PER_TURN * turns as u64 / (kills + 1)).max(2);
    let mut running = CLIENTS;
    while killed < kills && running > 0 {
        let target = *model.chunks.borrow() + 1 + dice.below(2 * mean);
        let moment = Duration::from_micros(dice.below(20_000));
        tokio::select! {
            reached = model.chunks.wait_for(|sent| *sent >= target) => drop(reached.unwrap()),
            ended = clients.join_next() => {
                seen_to_end += ended.unwrap().unwrap();
                running -= 1;
                continue;
            }
        }
        // Somewhere between this chunk and what comes after it.
        tokio::time::sleep(moment).await;
        let (verified, again) = tokio::task::spawn_blocking(move || {
            kernel.restart();
            (kernel.cli(&["audit", "verify"]), kernel)
        })
        .await
        .unwrap();
        kernel = again;
        killed += 1;
        opened.send_replace(door(usize::try_from(killed).unwrap(), &kernel));
        assert!(verified.status.success(), "after kill {killed}: {}", String::from_utf8_lossy(&verified.stderr));
    }
    // From here on nobody kills it: a client that waits for the next life would wait for ever, and says so.
    drop(opened);
    while let Some(ended) = clients.join_next().await {
        seen_to_end += ended.unwrap();
    }
    assert!(killed * 2 >= kills, "only {killed} kills: the turns were over too soon");

    let mut socket = Socket::connect(&kernel.base, &kernel.token).await.unwrap();
    let store = Store::open_reader(kernel.state(), StoreOptions::default()).unwrap();
    wait_for_all(&store, &mut socket).await;
    let runs = all_ended_well(&store, turns).await;
    let found = histories(&mut socket, turns).await;
    let counted = counters(&store).await;
    let summary = check_calls(&found, &counted, turns);
    let written: BTreeMap<&str, usize> = intents(&store, &runs).await;
    eprintln!(
        "{turns} turns, {killed} kills, {seen_to_end} seen to their end by the client that sent them; {} calls: {} done, {} interrupted \
         ({} of these had happened, {} had not); rows: {written:?}",
        summary.done + summary.interrupted,
        summary.done,
        summary.interrupted,
        summary.happened,
        summary.interrupted - summary.happened,
    );
    drop(store);

    let state = kernel.stop();
    let out = kernel::command(state.path(), &[]).args(["audit", "verify"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Waits until every accepted run has ended.
async fn wait_for_all(store: &Reader, socket: &mut Socket) {
    for phase in [RunPhase::Accepted, RunPhase::Running] {
        for run in store.runs_by_phase(phase, usize::MAX).await.unwrap() {
            let wait = json!({"runId": run.run.to_string(), "timeoutMs": 60_000});
            let state = socket.request("agent.wait", wait).await.unwrap();
            assert_eq!(state["status"], "ok", "{}: {state}", run.run);
        }
    }
}

/// Every message became one run, and every run was completed.
async fn all_ended_well(store: &Reader, turns: usize) -> Vec<RunRow> {
    for phase in [RunPhase::Accepted, RunPhase::Running] {
        assert_eq!(store.runs_by_phase(phase, 10).await.unwrap(), [], "a run did not end");
    }
    let runs = store.runs_ended_before(i64::MAX as u64, usize::MAX).await.unwrap();
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for run in &runs {
        let last = run.last.as_ref().unwrap();
        assert_eq!(last["type"], "completed", "{}: {last}", run.run);
        let turn = run.idempotency_key.as_ref().unwrap().rsplit(':').next().unwrap().to_owned();
        assert_eq!(last["text"], done(&turn), "{}", run.run);
        *of.entry(turn).or_default() += 1;
    }
    let lost: Vec<String> = (0..turns).map(name).filter(|turn| !of.contains_key(turn)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    assert!(of.values().all(|n| *n == 1), "accepted twice: {of:?}");
    assert_eq!(of.len(), turns);
    runs
}

/// A call as the history shows it.
#[derive(Debug)]
struct Call {
    mark: String,
    result: String,
    is_error: bool,
}

/// The calls of all turns, from what a client is shown; each message stands there once and is answered once.
async fn histories(socket: &mut Socket, turns: usize) -> Vec<Call> {
    let (mut asked, mut answered) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let mut calls = Vec::new();
    for session in (0..turns).map(session).collect::<BTreeSet<_>>() {
        let history = socket.request("chat.history", json!({"sessionKey": session, "limit": 1_000})).await.unwrap();
        assert_eq!(history["truncated"], false, "{session}");
        let messages = history["messages"].as_array().unwrap();
        for message in messages {
            for part in message["content"].as_array().unwrap() {
                let text = part["text"].as_str().unwrap_or_default();
                match (message["role"].as_str().unwrap(), part["type"].as_str().unwrap()) {
                    ("user", _) => *asked.entry(text.strip_prefix("Mark ").unwrap().to_owned()).or_default() += 1,
                    ("assistant", "text") => *answered.entry(text.to_owned()).or_default() += 1,
                    ("assistant", "toolCall") => calls.push(call(messages, part)),
                    ("toolResult", _) => {}
                    other => panic!("{other:?} in {session}: {message}"),
                }
            }
        }
    }
    for turn in (0..turns).map(name) {
        assert_eq!(asked.remove(&turn), Some(1), "{turn} stands in the history");
        assert_eq!(answered.remove(&done(&turn)), Some(1), "{turn} was answered");
    }
    assert!(asked.is_empty() && answered.is_empty(), "nobody sent {asked:?}, nobody asked for {answered:?}");
    calls
}

fn call(messages: &[Value], part: &Value) -> Call {
    let results: Vec<&Value> = messages.iter().filter(|m| m["toolCallId"] == part["id"]).collect();
    assert_eq!(results.len(), 1, "{} has {} results", part["id"], results.len());
    Call {
        mark: part["arguments"]["mark"].as_str().unwrap().to_owned(),
        result: results[0]["content"][0]["text"].as_str().unwrap().to_owned(),
        is_error: results[0]["isError"].as_bool().unwrap(),
    }
}

/// How often the tool itself was called for each mark.
async fn counters(store: &Reader) -> BTreeMap<String, usize> {
    let namespace = "local/mark/main".parse::<InstanceId>().unwrap().to_string();
    let mut counted = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let keys = store.kv_keys(&namespace, "", after.as_deref(), 1_000).await.unwrap();
        let keys: Vec<String> = keys.into_iter().map(|k| k.key).collect();
        let Some(last) = keys.last() else { return counted };
        after = Some(last.clone());
        for key in keys {
            let arguments: Value = serde_json::from_str(&key).unwrap();
            let times = store.kv_get(&namespace, &key).await.unwrap().unwrap().value.len();
            counted.insert(arguments["mark"].as_str().unwrap().to_owned(), times);
        }
    }
}

#[derive(Debug, Default)]
struct Summary {
    done: usize,
    interrupted: usize,
    happened: usize,
}

/// Compares what the history says with what the tool counted.
fn check_calls(found: &[Call], counted: &BTreeMap<String, usize>, turns: usize) -> Summary {
    let mut summary = Summary::default();
    let mut of: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in found {
        of.entry(&call.mark).or_default().push(call);
    }
    for mark in (0..turns).flat_map(|turn| marks(&name(turn))) {
        let times = counted.get(&mark).copied().unwrap_or_default();
        assert!(times <= 1, "{mark} was done {times} times");
        match of.remove(mark.as_str()).as_deref() {
            Some([call]) => {
                assert_eq!((call.result.as_str(), call.is_error, times), ("marked", false, 1), "{mark}");
                summary.done += 1;
            }
            Some([call, again]) => {
                assert!(call.is_error && call.result.starts_with(INTERRUPTED), "{call:?}");
                // The model's second try is refused: the first may have happened.
                assert!(again.is_error && again.result.contains("was interrupted before"), "{again:?}");
                summary.interrupted += 1;
                summary.happened += times;
            }
            other => panic!("{mark}: {other:?}"),
        }
    }
    assert!(of.is_empty(), "calls nobody asked for: {of:?}");
    summary
}

/// Every call that was begun was ended, one way or the other; counts the rows by kind.
async fn intents(store: &Reader, runs: &[RunRow]) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for run in runs {
        for call in store.calls_of_run(run.run).await.unwrap() {
            assert!(call.outcome.is_some(), "{} is still open", call.row.call_id);
        }
        let rows: Vec<LogRow> = store.run_rows(run.run).await.unwrap();
        for row in rows {
            let kind = ["user", "assistant", "tool-call", "tool-result"].into_iter().find(|k| *k == row.kind);
            *kinds.entry(kind.unwrap_or("other")).or_default() += 1;
        }
    }
    kinds
}
