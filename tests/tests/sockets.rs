//! A channel over a WebSocket that the kernel keeps: the real binary, a real component, a line that is cut, floods and falls silent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

const TOKEN: &str = "wire-token/3f9a+51==end";
const PATIENCE: Duration = Duration::from_secs(90);

/// What a connection is told to do.
enum Order {
    Say(String),
    HangUp,
    /// Reads nothing any more, so that no ping is answered.
    Sleep,
}

/// The platform: it repeats what was not acknowledged to whoever logs in.
#[derive(Default)]
struct Line {
    messages: Mutex<Vec<(u64, String, String)>>,
    acknowledged: Mutex<BTreeSet<u64>>,
    /// What was answered, by key: the platform drops a second one.
    answers: Mutex<BTreeMap<String, String>>,
    connections: Mutex<Vec<mpsc::UnboundedSender<Order>>>,
    /// With which codes connections ended.
    ends: Mutex<Vec<Option<u16>>>,
}

impl Line {
    async fn start() -> (Arc<Self>, String, String) {
        let line = Arc::new(Self::default());
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ws = format!("ws://{}/line", sockets.local_addr().unwrap());
        let at = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((stream, _)) = sockets.accept().await {
                tokio::spawn(Arc::clone(&at).talk(stream));
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/say", post(said)).with_state(Arc::clone(&line));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (line, ws, http)
    }

    async fn talk(self: Arc<Self>, stream: TcpStream) {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let Some(Ok(Message::Text(login))) = socket.next().await else { return };
        assert_eq!(serde_json::from_str::<Value>(&login).unwrap(), json!({ "op": "login", "token": TOKEN }));
        let (orders, mut queue) = mpsc::unbounded_channel();
        // Nothing is said between what is repeated and what is new.
        {
            let messages = self.messages.lock().unwrap();
            let acknowledged = self.acknowledged.lock().unwrap();
            for message in messages.iter().filter(|m| !acknowledged.contains(&m.0)) {
                orders.send(Order::Say(shown(message))).unwrap();
            }
            self.connections.lock().unwrap().push(orders);
        }
        let end = loop {
            tokio::select! {
                order = queue.recv() => match order {
                    Some(Order::Say(text)) => if socket.send(Message::text(text)).await.is_err() { break None },
                    Some(Order::HangUp) => { let _ = socket.close(None).await; }
                    Some(Order::Sleep) => std::future::pending().await,
                    None => break None,
                },
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => {
                        let told: Value = serde_json::from_str(&text).unwrap();
                        assert_eq!(told["op"], "ack", "{told}");
                        self.acknowledged.lock().unwrap().insert(told["id"].as_u64().unwrap());
                    }
                    Some(Ok(Message::Close(frame))) => break frame.map(|f| u16::from(f.code)),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                },
            }
        };
        self.ends.lock().unwrap().push(end);
    }

    fn order(&self, order: Order) {
        let _ = self.connections.lock().unwrap().last().unwrap().send(order);
    }

    /// Somebody writes.
    fn says(&self, from: &str, text: &str) -> u64 {
        let message = {
            let mut messages = self.messages.lock().unwrap();
            let id = messages.len() as u64 + 1;
            messages.push((id, from.to_owned(), text.to_owned()));
            messages.last().unwrap().clone()
        };
        if let Some(line) = self.connections.lock().unwrap().last() {
            let _ = line.send(Order::Say(shown(&message)));
        }
        message.0
    }

    fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    fn answers(&self) -> BTreeSet<String> {
        self.answers.lock().unwrap().values().cloned().collect()
    }

    fn acknowledged(&self, id: u64) -> bool {
        self.acknowledged.lock().unwrap().contains(&id)
    }
}

fn shown((id, from, text): &(u64, String, String)) -> String {
    json!({ "op": "message", "id": id, "from": from, "text": text }).to_string()
}

async fn said(State(line): State<Arc<Line>>, Json(spoken): Json<Value>) -> &'static str {
    let (key, text) = (spoken["key"].as_str().unwrap(), spoken["text"].as_str().unwrap());
    line.answers.lock().unwrap().insert(key.to_owned(), text.to_owned());
    "{}"
}

/// The fixture, in a version.
fn wire(version: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = std::env::var_os("CARAPACE_TEST_AUTHORS").map_or_else(|| root.join("target/authors"), PathBuf::from);
    let core = folder.join("wire/target/wasm32-unknown-unknown/release/carapace_fixture_wire.wasm");
    assert!(core.is_file(), "{} is missing; run `cargo xtask test`", core.display());
    let manifest = std::fs::read_to_string(folder.join("wire/carapace.toml")).unwrap();
    let manifest = manifest.replacen("version = \"0.1.0\"", &format!("version = \"{version}\""), 1);
    let dir = tempfile::tempdir().unwrap();
    let (toml, out) = (dir.path().join("carapace.toml"), dir.path().join("wire.wasm"));
    std::fs::write(&toml, manifest).unwrap();
    let mut build = carapace_tests::kernel::command(dir.path(), &[]);
    build.args(["plugin", "build", "--core"]).arg(core).arg("--manifest").arg(toml).arg("--out").arg(&out);
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(out).unwrap()
}

/// A model that repeats what it was told last.
async fn parrot() -> Model {
    let repeat = |request: &Value| {
        let last = request["messages"].as_array().unwrap().iter().rev().find(|m| m["role"] == "user").unwrap();
        let text = match &last["content"] {
            Value::String(text) => text.clone(),
            parts => parts.as_array().unwrap().iter().filter_map(|p| p["text"].as_str()).collect(),
        };
        vec![Piece::Text(format!("re: {text}"))]
    };
    Model::start(repeat, Duration::ZERO).await
}

fn options(model: &Model, ws: &str, http: &str) -> KernelOptions {
    options_with(model, ws, http, "")
}

/// The same; `config`: what else stands in the instance's section.
fn options_with(model: &Model, ws: &str, http: &str, config: &str) -> KernelOptions {
    let endpoints = format!("endpoints: {{ api: '{http}', line: '{ws}' }}");
    let channel = format!("channel: {{ owner: ['1'], uncertain: 'resend' }}, {config}");
    KernelOptions::openai(&model.base)
        .with_package("wire", wire("0.1.0"))
        .with_env("WIRE_TOKEN", TOKEN)
        .with_config(&format!("{{ instances: {{ wire: {{ {endpoints}, {channel} }} }} }}"))
}

async fn until<T>(what: &str, kernel: &Kernel, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen; the kernel's log:\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn status(kernel: &Kernel) -> Value {
    serde_json::from_str(&owner::done(kernel.state(), &["channels", "status", "local/wire/main", "--json"])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_over_a_socket_survives_kill_9_with_nothing_lost_and_nothing_twice() {
    let (line, ws, http) = Line::start().await;
    let model = parrot().await;
    let mut kernel = Kernel::start(options(&model, &ws, &http));
    let mut n = 0;
    for round in 1..=4 {
        until("a connection", &kernel, || (line.connections() >= round).then_some(())).await;
        for _ in 0..10 {
            n += 1;
            line.says("1", &format!("m{n}"));
        }
        // In the middle of it: some are acknowledged, some are answered.
        let answered = n - 7;
        until("some answers", &kernel, || (line.answers().len() >= answered).then_some(())).await;
        kernel.restart();
    }
    let wanted: BTreeSet<String> = (1..=n).map(|n| format!("re: m{n}")).collect();
    until("every answer", &kernel, || (line.answers() == wanted).then_some(())).await;
    until("every acknowledgement", &kernel, || (line.acknowledged.lock().unwrap().len() == n).then_some(())).await;
    assert_eq!(line.answers.lock().unwrap().len(), n, "each once, and under one key");
    line.says("1", "one more");
    until("one more answer", &kernel, || line.answers().contains("re: one more").then_some(())).await;
    let socket = &status(&kernel)["sockets"][0];
    assert_eq!((socket["endpoint"].as_str(), socket["last_frame_ms"].is_u64()), (Some("line"), true));
    let shown = owner::done(kernel.state(), &["channels", "status", "local/wire/main"]);
    assert!(shown.contains("socket line: open for"), "{shown}");
    assert!(kernel.metrics().await.contains("carapace_channel_sockets{instance=\"local/wire/main\"} 1"));
    assert!(!kernel.log().contains(TOKEN), "the token is in the log");
    owner::done(kernel.state(), &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_may_be_handed_over_fall_silent_flood_and_talk_nonsense() {
    let (line, ws, http) = Line::start().await;
    let model = parrot().await;
    let kernel = Kernel::start(options(&model, &ws, &http));
    let connected = async |n: usize| {
        until("another connection", &kernel, || (line.connections() == n).then_some(())).await;
    };
    let answered = async |text: &str| {
        line.says("1", text);
        let wanted = format!("re: {text}");
        until(text, &kernel, || line.answers().contains(&wanted).then_some(())).await;
    };
    connected(1).await;
    answered("first").await;

    // The platform asks to move: the old line is closed once the new one is open.
    line.order(Order::Say(json!({ "op": "refresh" }).to_string()));
    connected(2).await;
    until("a farewell", &kernel, || (*line.ends.lock().unwrap() == [Some(1000)]).then_some(())).await;
    answered("after moving").await;

    // Nobody answers pings, and the message that is said now comes through the next line.
    line.order(Order::Sleep);
    answered("into the silence").await;
    connected(3).await;

    // The platform hangs up.
    line.order(Order::HangUp);
    connected(4).await;
    answered("after hanging up").await;

    // More than the manifest allows.
    line.order(Order::Say("x".repeat((64 << 10) + 1)));
    connected(5).await;
    answered("after too much").await;

    // What the component breaks on is put aside; the line stays.
    line.order(Order::Say("nonsense".to_owned()));
    answered("after nonsense").await;
    let dead: Value = serde_json::from_str(&owner::done(kernel.state(), &["events", "list", "--json"])).unwrap();
    assert_eq!((dead.as_array().unwrap().len(), &dead[0]["body"]["type"]), (1, &json!("frame")), "{dead}");

    // A stranger who floods is bounded, and stops nobody.
    let mut last = 0;
    for n in 0..3_000 {
        last = line.says("9", &format!("{n} {}", "y".repeat(1_000)));
    }
    answered("in the flood").await;
    until("the flood is over", &kernel, || line.acknowledged(last).then_some(())).await;
    assert_eq!(line.connections(), 5);
    assert_eq!(line.answers().len(), 8, "the owner's seven, and one pairing code for the stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_breaks_on_each_fifth_message_loses_none_and_on_poison_that_one() {
    let (line, ws, http) = Line::start().await;
    let model = parrot().await;
    let kernel = Kernel::start(options_with(&model, &ws, &http, "config: { breaksOnEach: 5 }"));
    until("a connection", &kernel, || (line.connections() == 1).then_some(())).await;
    let all = 300;
    for n in 1..=all {
        line.says("1", &format!("m{n}"));
        if n == all / 2 {
            line.order(Order::Say("poison".to_owned()));
        }
    }
    let wanted: BTreeSet<String> = (1..=all).map(|n| format!("re: m{n}")).collect();
    until("every answer", &kernel, || (line.answers() == wanted).then_some(())).await;
    until("every acknowledgement", &kernel, || (line.acknowledged.lock().unwrap().len() == all).then_some(())).await;
    assert_eq!((line.answers.lock().unwrap().len(), line.connections()), (all, 1), "each once, through one line");
    let dead: Vec<Value> = serde_json::from_str(&owner::done(kernel.state(), &["events", "dead", "--json"])).unwrap();
    assert_eq!(dead.len(), 1, "the poison alone: {dead:?}");
    let metrics = kernel.metrics().await;
    let broken = metrics.lines().find(|l| l.starts_with("carapace_channel_events_total") && l.contains("\"broken\""));
    let times: usize = broken.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(times >= all / 5, "it broke {times} times only");
    let status = status(&kernel);
    assert_eq!((&status["state"], &status["waiting"]), (&json!("running"), &json!(0)), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_under_load_keeps_the_line_and_every_message() {
    let (line, ws, http) = Line::start().await;
    let model = parrot().await;
    let kernel = Kernel::start(options(&model, &ws, &http));
    until("a connection", &kernel, || (line.connections() == 1).then_some(())).await;
    let dir = tempfile::tempdir().unwrap();
    let mut n = 0;
    for version in ["0.2.0", "0.3.0"] {
        let file = dir.path().join(format!("wire-{version}.wasm"));
        std::fs::write(&file, wire(version)).unwrap();
        let file = file.to_str().unwrap();
        owner::done(kernel.state(), &["plugin", "sign", file]);
        let talking = async {
            for _ in 0..40 {
                n += 1;
                line.says("1", &format!("m{n}"));
                tokio::task::yield_now().await;
            }
        };
        let state = kernel.state().to_owned();
        let file = file.to_owned();
        let update = tokio::task::spawn_blocking(move || owner::done(&state, &["plugin", "update", "wire", &file]));
        talking.await;
        update.await.unwrap();
    }
    let wanted: BTreeSet<String> = (1..=n).map(|n| format!("re: m{n}")).collect();
    until("every answer", &kernel, || (line.answers() == wanted).then_some(())).await;
    assert_eq!(line.answers.lock().unwrap().len(), n, "each once");
    assert_eq!(line.connections(), 1, "the line was kept");
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["plugin", "list", "--json"])).unwrap();
    let wire = list.as_array().unwrap().iter().find(|i| i["instance"] == "local/wire/main").unwrap();
    assert_eq!(wire["version"], "0.3.0");
}

#[test]
fn a_server_that_no_one_here_wrote_takes_the_kernel_for_a_good_client() {
    let python = peer!("websockets", peers::python()).join("python");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_line, _, http) = Line::start().await;
        let model = parrot().await;
        let dir = tempfile::tempdir().unwrap();
        let heard = dir.path().join("heard");
        let mut command = Command::new(python);
        command.arg(peers::script("socket_line.py")).arg(TOKEN).arg(&heard).stderr(Stdio::inherit());
        let find = |line: &str| line.starts_with("ws://").then(|| line.trim().to_owned());
        let server = carapace_tests::server::Server::start(command, find);
        let kernel = Kernel::start(options(&model, &server.base, &http));
        let story = until("the whole story", &kernel, || {
            let text = std::fs::read_to_string(&heard).unwrap_or_default();
            text.contains("over").then_some(text)
        })
        .await;
        // Which of the two lines hears first what was sent at once, nobody knows.
        let (farewell, story): (Vec<&str>, Vec<&str>) = story.lines().partition(|line| line.starts_with("closed"));
        assert_eq!(farewell, ["closed 1000 moved"]);
        assert_eq!(story, ["login 1", "pong", "ack 1", "ack 2", "ping", "login 2", "ack 3", "over"]);
    });
}
