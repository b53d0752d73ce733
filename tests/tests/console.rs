//! Programs on this computer: `carapace console`, and what anybody with the token can attach.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{stands, until};
use carapace_tests::kernel::command;
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const INSTANCE: &str = "local/console/main";

/// A model that says back what was said last, or how often something was said, one word every `pace`.
async fn echo(pace: Duration) -> Model {
    let say = |request: &Value| {
        let messages = request["messages"].as_array().unwrap();
        let text = match messages.last().unwrap()["content"].as_str().unwrap() {
            "how many?" => messages.iter().filter(|m| m["role"] == "user").count().to_string(),
            last => format!("re: {last}"),
        };
        text.split_inclusive(' ').map(|word| Piece::Text(word.to_owned())).collect()
    };
    Model::start(say, pace).await
}

fn options(model: &Model, more: &str) -> KernelOptions {
    let config = format!("{{ agent: {{ route: ['openai/mock'] }}, instances: {{ {more} }} }}");
    KernelOptions::openai(&model.base).with_config(&config)
}

/// `carapace console` at work.
struct Console {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

fn read(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

impl Console {
    fn start(kernel: &Kernel, args: &[&str]) -> Self {
        let mut command = command(kernel.state(), &[]);
        command.arg("console").args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, lines: read(out), errors: read(err) }
    }

    fn says(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn errors(&self) -> String {
        self.errors.lock().unwrap().join("\n")
    }

    /// No more is said: its exit code, when everything is answered.
    fn ends(mut self) -> (i32, Vec<String>, String) {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        // What the threads have not read yet was written before.
        for _ in 0..100 {
            if Arc::strong_count(&self.lines) == 1 && Arc::strong_count(&self.errors) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        (status.code().unwrap(), self.lines(), self.errors())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_in_is_a_message_and_its_answer_a_line_out() {
    let model = echo(Duration::ZERO).await;
    let kernel = Kernel::start(options(&model, ""));
    stands(&kernel, INSTANCE, "running").await;
    let out = owner::with_input(kernel.state(), &["console"], "one\n\ntwo\nthree");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "re: one\nre: two\nre: three\n");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    // Nothing to say, and nothing that waits.
    assert!(
        owner::with_input(kernel.state(), &["console", "local/console/main", "--as", "nobody"], "").stdout.is_empty()
    );

    // Each name is a conversation.
    for (name, so_many) in [("terminal", "4"), ("editor", "1")] {
        let out = owner::with_input(kernel.state(), &["console", "--as", name, "--json"], "how many?\n");
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(answer["text"], so_many, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_carry_ids_and_threads_and_what_is_wrong_is_said() {
    let model = echo(Duration::ZERO).await;
    let kernel = Kernel::start(options(&model, "console: { config: { format: 'json' } }"));
    stands(&kernel, INSTANCE, "running").await;
    let mut console = Console::start(&kernel, &[]);
    console.says(&json!({ "text": "one", "id": "q-1" }).to_string());
    console.says("just words");
    console.says(&json!({ "text": "two", "thread": "work" }).to_string());
    let (exit, mut lines, errors) = console.ends();
    assert_eq!(exit, 3, "{errors}");
    assert!(errors.contains("takes JSON") && errors.contains("E-CHANNEL-016"), "{errors}");
    assert!(errors.contains("1 lines were refused"), "{errors}");
    lines.sort();
    let answers: Vec<Value> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers[0], json!({ "text": "re: one", "answers": "q-1", "more": false }));
    assert_eq!((&answers[1]["text"], &answers[1]["thread"]), (&json!("re: two"), &json!("work")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_is_killed_loses_no_line_and_an_answer_waits_for_its_program() {
    let model = echo(Duration::from_millis(300)).await;
    let mut kernel = Kernel::start(options(&model, ""));
    stands(&kernel, INSTANCE, "running").await;
    let mut console = Console::start(&kernel, &["--as", "script"]);
    console.says("this takes a while to say");
    let mut chunks = model.chunks.clone();
    chunks.wait_for(|n| *n >= 2).await.unwrap();
    kernel.kill();
    console.says("and this comes while nobody is there");
    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(600)));
    kernel.restart();
    let (exit, lines, errors) = console.ends();
    assert_eq!(lines, ["re: this takes a while to say", "re: and this comes while nobody is there"], "{errors}");
    assert_eq!(exit, 0, "{errors}");
    assert!(errors.contains("the connection ended"), "{errors}");

    // The program goes before its answer is there, and another one of its name comes for it.
    let mut console = Console::start(&kernel, &["--as", "script"]);
    console.says("who will hear this?");
    let before = *chunks.borrow();
    chunks.wait_for(|n| *n > before + 1).await.unwrap();
    console.child.kill().unwrap();
    console.child.wait().unwrap();
    assert_eq!(console.lines(), [""; 0]);
    let waits = || {
        let list = owner::done(kernel.state(), &["outbox", "list", "--json"]);
        let list: Vec<Value> = serde_json::from_str(&list).unwrap();
        list.into_iter().find(|p| p["state"] == "pending" && p["attempts"].as_u64() > Some(0))
    };
    let part = until("a part that waits", &kernel, async || waits()).await;
    assert!(part["detail"]["error"].as_str().unwrap().contains("nobody is attached"), "{part}");
    let other = owner::with_input(kernel.state(), &["console", "--as", "other"], "");
    assert!(other.status.success() && other.stdout.is_empty());
    let back = owner::with_input(kernel.state(), &["console", "--as", "script"], "");
    assert_eq!(String::from_utf8(back.stdout).unwrap(), "re: who will hear this?\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_no_one_here_wrote_attaches_and_nobody_does_without_token_or_grant() {
    let python = peer!("websockets", peers::python()).join("python");
    let model = echo(Duration::ZERO).await;
    let kernel = Kernel::start(options(&model, ""));
    stands(&kernel, INSTANCE, "running").await;
    let client = |token: &str, name: &str, lines: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(peers::script("console_line.py")).args([&kernel.base, token, name]).args(lines);
        let out = command.stderr(Stdio::inherit()).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut heard = client(&kernel.token, "python", &["one", "two"]);
    assert_eq!(heard.pop().unwrap(), "closed 1000 everything is said");
    heard.sort();
    let said: Vec<Value> = heard.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        said,
        [
            json!({ "type": "line", "text": "re: one" }),
            json!({ "type": "line", "text": "re: two" }),
            json!({ "type": "taken", "id": "one" }),
            json!({ "type": "taken", "id": "two" }),
        ]
    );
    // The same lines again are the same lines.
    let heard = client(&kernel.token, "python", &["one", "two"]);
    assert_eq!(heard.len(), 3, "{heard:?}");

    assert_eq!(client("not-the-owners-token", "python", &["one"]), ["refused 401 invalid_api_key"]);
    assert_eq!(client(&kernel.token, "a%20b", &["one"]), ["refused 403 E-CHANNEL-014"]);
    let page = kernel.http().get(format!("{}/api/lines/console", kernel.base)).send().await.unwrap();
    assert_eq!(page.status(), 426);

    // Another channel is not talked to so, and this one only while it is granted.
    let out = owner::cli(kernel.state(), &["console", "telegram", "--json"]);
    assert_eq!(owner::error(&out)["code"], "E-CHANNEL-013");
    let mut attached = Console::start(&kernel, &["--as", "stays"]);
    attached.says("three");
    until("an answer", &kernel, async || (!attached.lines().is_empty()).then_some(())).await;
    owner::done(kernel.state(), &["plugin", "revoke", "console"]);
    attached.says("four");
    let (exit, lines, errors) = attached.ends();
    assert_eq!((exit, lines), (3, vec!["re: three".to_owned()]), "{errors}");
    assert!(errors.contains("E-CHANNEL-013"), "{errors}");
    assert_eq!(client(&kernel.token, "python", &["five"]), ["refused 403 E-CHANNEL-013"]);
}
