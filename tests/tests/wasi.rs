//! Components that were built for WASI 0.2 by toolchains that know nothing of us: what they find, and what they do not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use carapace_registry::package;
use carapace_tests::obedient::{call, obedient};
use carapace_tests::{Kernel, KernelOptions, foreign, peer};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that a stranger's component can be granted, but for what `more` and the tool's `uses` add.
fn manifest(wasi: &str, uses: &str, more: &str) -> String {
    format!(
        "[component]\nname = \"foreign\"\nversion = \"0.1.0\"\ncontract = \"0.1\"\ndescription = \"A stranger's\"\n\
         [limits]\nmemory = \"32MiB\"\ncpu-per-call = \"1s\"\nwall-per-call = \"5s\"\nhost-calls-per-call = 20_000\n[wasi]\n{wasi}\n{more}\n\
         [[tool]]\nname = \"foreign_do\"\nuses = [{uses}]\n[[tool]]\nname = \"foreign_plain\"\n"
    )
}

const WHOLE: &str = "clocks = true\nrandom = true\nstdio = true\n";
const API: &str = "[[http]]\nendpoint = \"api\"\nurl = \"https://api.example.com/v1\"\nmethods = [\"GET\", \"POST\"]\n\
    auth = { scheme = \"bearer\", secret = \"key\" }\n[secrets.key]\nprompt = \"Key\"\nenv = \"FOREIGN_KEY\"\n";
const DIRECTORIES: &str = "[[wasi.directory]]\nname = \"notes\"\nprompt = \"Notes\"\n\
    [[wasi.directory]]\nname = \"drafts\"\nprompt = \"Drafts\"\nwrite = true\noptional = true\n";

struct Stranger {
    kernel: Kernel,
    _model: carapace_tests::model::Model,
}

impl Stranger {
    /// A kernel with a stranger's component, `config` as its section.
    async fn with(component: &[u8], manifest: &str, config: Value) -> Self {
        let model = obedient().await;
        let packed = package::build(component, manifest).unwrap_or_else(|e| panic!("{e}\n{manifest}"));
        let config = json!({"agent": {"route": ["openai/mock"]}, "instances": {"foreign": config}});
        let options = KernelOptions::openai(&model.base)
            .with_config(&config.to_string())
            .with_package("foreign", packed)
            .with_env("FOREIGN_KEY", "k-5f1c0f6a2f")
            .with_env("RUST_LOG_OF_THE_OWNER", "secret of the environment")
            .with_env("CARAPACE_LOG", "warn,guest=debug");
        Self { kernel: Kernel::start(options), _model: model }
    }

    async fn does(&self, what: &str, with: &str) -> String {
        self.asks("foreign_do", json!({"do": what, "with": with})).await
    }

    async fn asks(&self, tool: &str, arguments: Value) -> String {
        // A session each: what came from outside in one is no business of the next.
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed).to_string();
        self.kernel.say(&session, &call(tool, &arguments)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_wasip2_finds_an_empty_world_and_what_was_granted() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let stranger = Stranger::with(&component, &manifest(WHOLE, "\"http:api\"", API), json!({})).await;
    let shown = stranger.kernel.cli(&["plugin", "inspect", &in_bundle(&stranger.kernel)]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("wasi:sockets/tcp@0.2") && shown.contains("was built for WASI"), "{shown}");

    assert_eq!(stranger.does("environment", "").await, "[] []", "no variable and no argument of the owner's");
    assert_eq!(stranger.does("input", "").await, "0 bytes");
    let time = stranger.does("time", "").await;
    let [now, fine, slept]: [u64; 3] = numbers(&time).try_into().unwrap_or_else(|_| panic!("{time}"));
    assert!(now > 1_700_000_000 && fine == 0 && slept >= 29, "whole milliseconds, and sleep sleeps: {time}");
    let (one, other) = (stranger.does("random", "1").await, stranger.does("random", "2").await);
    assert!(one.len() > 20 && one != other, "{one} {other}");
    assert_eq!(stranger.does("print", "hello\u{1b}[2J").await, "printed");
    let log = stranger.kernel.log();
    assert!(log.contains("out: hello [2J") && log.contains("err: hello"), "printed lines are logged, tamed: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_socket_is_opened_and_no_name_resolved() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let stranger = Stranger::with(&component, &manifest(WHOLE, "\"http:api\"", API), json!({})).await;
    // Something listens there: it is not that nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap().to_string();
    for (what, with) in [
        ("connect", there.as_str()),
        ("listen", "127.0.0.1:0"),
        ("datagram", "127.0.0.1:0"),
        ("resolve", "localhost:80"),
    ] {
        let answer = stranger.does(what, with).await;
        // The C library has a word of its own for a name that it may not look up.
        let refused = ["PermissionDenied", "failed to lookup address"].iter().any(|r| answer.contains(r));
        assert!(refused, "{what}: {answer}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_holds_for_a_component_of_wasi_too() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let stranger = Stranger::with(&component, &manifest(WHOLE, "\"http:api\"", API), json!({})).await;
    for (what, code) in [
        ("spin", "E-RUNTIME-00"),
        ("sleep", "E-RUNTIME-004"),
        ("hoard", "E-RUNTIME-005"),
        ("ask", "E-RUNTIME-011"),
        ("exit", "E-RUNTIME-018"),
    ] {
        let answer = stranger.does(what, "3").await;
        assert!(answer.contains(code), "{what}: {answer}");
    }
    let exited = stranger.does("exit", "0").await;
    assert!(exited.contains("ended its program instead of answering, with status 0"), "{exited}");
    assert!(stranger.does("much-random", "").await.contains("E-RUNTIME"), "64 KiB of chance a call");
    assert_eq!(stranger.does("environment", "").await, "[] []", "the next call is a fresh one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_what_the_owner_named_and_a_tool_uses_and_nothing_around_it() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let home = tempfile::tempdir().unwrap();
    let (notes, drafts) = (home.path().join("notes"), home.path().join("drafts"));
    std::fs::create_dir_all(notes.join("deep")).unwrap();
    std::fs::create_dir_all(&drafts).unwrap();
    std::fs::write(notes.join("deep/a.txt"), "Anna plays the viola.").unwrap();
    std::fs::write(home.path().join("private.txt"), "not for you").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(home.path().join("private.txt"), notes.join("link")).unwrap();
    let uses = "\"http:api\", \"directory:notes\", \"directory:drafts\"";
    let text = manifest(WHOLE, uses, &format!("{DIRECTORIES}{API}"));
    let config = json!({"directories": {"notes": notes, "drafts": drafts}});
    let stranger = Stranger::with(&component, &text, config).await;

    assert_eq!(stranger.does("list", "/notes").await, if cfg!(unix) { "deep link" } else { "deep" });
    assert_eq!(stranger.does("read", "/notes/deep/a.txt").await, "Anna plays the viola.");
    for around in
        ["/notes/../private.txt", "/private.txt", "/notes/link", "/etc/passwd", "/notes/deep/../../private.txt"]
    {
        let answer = stranger.does("read", around).await;
        assert!(!answer.contains("not for you") && !answer.contains("root:"), "{around}: {answer}");
    }
    // Read-only means it, for every way to change something.
    for (what, at) in [("write", "/notes/new.txt"), ("write", "/notes/deep/a.txt"), ("remove", "/notes/deep/a.txt")] {
        let answer = stranger.asks("foreign_do", json!({"do": what, "with": at, "text": "x"})).await;
        assert!(
            answer.contains("ermission") || answer.contains("ead-only") || answer.contains("EROFS"),
            "{what} {at}: {answer}"
        );
    }
    assert_eq!(std::fs::read_to_string(notes.join("deep/a.txt")).unwrap(), "Anna plays the viola.");
    // The tool that says it uses none finds none.
    let plain = stranger.asks("foreign_plain", json!({"do": "read", "with": "/notes/deep/a.txt"})).await;
    assert!(!plain.contains("viola"), "{plain}");
    // Writing is an effect: after text from outside, which any file may be, it takes a human.
    let write = json!({"do": "write", "with": "/drafts/d.txt", "text": "a draft"});
    assert_eq!(stranger.asks("foreign_do", write.clone()).await, "written");
    assert_eq!(std::fs::read_to_string(drafts.join("d.txt")).unwrap(), "a draft");
    let read = call("foreign_do", &json!({"do": "read", "with": "/notes/deep/a.txt"}));
    let both = stranger.kernel.say("both", &format!("{read}\n{}", call("foreign_do", &write))).await;
    assert!(both.contains("viola") && both.contains("E-CHECK-"), "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_missing_or_the_kernels_own_keeps_the_component_from_loading() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let text = manifest(WHOLE, "\"directory:notes\", \"directory:drafts\"", DIRECTORIES);
    let text = text
        .replace("[[tool]]\nname = \"foreign_plain\"\n", "[[tool]]\nname = \"foreign_plain\"\nuses = [\"http:api\"]\n")
        + API;
    let stranger = Stranger::with(&component, &text, json!({})).await;
    let log = stranger.kernel.log();
    assert!(log.contains("E-HOST-020") && log.contains("directories: {"), "{log}");
    drop(stranger);
    let Stranger { mut kernel, _model } =
        Stranger::with(&component, &text, json!({"directories": {"notes": "/"}})).await;
    let log = kernel.log();
    assert!(log.contains("E-HOST-021") && log.contains("overlaps the kernel's own"), "{log}");
    let state = kernel.state().join("keys");
    std::fs::write(
        kernel.state().join("carapace.json5"),
        json!({"instances": {"foreign": {"directories": {"notes": state}}}}).to_string(),
    )
    .unwrap();
    kernel.restart();
    assert!(kernel.log().matches("E-HOST-021").count() >= 1, "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_what_a_component_is_doing_in_its_directory() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let notes = tempfile::tempdir().unwrap();
    std::fs::write(notes.path().join("a.txt"), "text").unwrap();
    let text =
        manifest(WHOLE, "\"http:api\", \"directory:notes\", \"directory:drafts\"", &format!("{DIRECTORIES}{API}"))
            .replace(
                "cpu-per-call = \"1s\"\nwall-per-call = \"5s\"",
                "cpu-per-call = \"100s\"\nwall-per-call = \"100s\"\nfuel-per-call = 50_000_000_000",
            );
    let stranger = Stranger::with(&component, &text, json!({"directories": {"notes": notes.path()}})).await;
    let watching = stranger.does("watch", "/notes/a.txt");
    let revoke = async {
        let running = |status: &Value| {
            let all = status["instances"].as_array().unwrap();
            let it = all.iter().find(|i| i["instance"] == "local/foreign/main").unwrap_or_else(|| panic!("{status}"));
            it["meter"]["calls"].as_u64().unwrap() > 1
        };
        while !running(&stranger.kernel.cli_json(&["status", "--json"])) {
            tokio::task::yield_now().await;
        }
        stranger.kernel.cli(&["plugin", "revoke", "local/foreign/main"])
    };
    let (answer, revoked) = tokio::join!(watching, revoke);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    assert!(answer.contains("E-RUNTIME-019"), "{answer}");
}

/// An API that says what it was asked.
async fn api() -> String {
    async fn answer(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> String {
        let header = |n: &str| headers.get(n).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        let credential =
            if header("authorization") == "Bearer k-5f1c0f6a2f" { "with the key" } else { "without a key" };
        format!("{method} {uri} {credential}, from {}: {body}", header("x-from"))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/base", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_wasi_http_leave_through_the_one_door_under_the_same_rules() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let base = api().await;
    let api = API.replace("methods =", "paths = [\"/open/*\"]\nmethods =");
    // The owner may point an endpoint elsewhere; the component goes on asking for the address that was signed.
    let stranger =
        Stranger::with(&component, &manifest(WHOLE, "\"http:api\"", &api), json!({"endpoints": {"api": base}})).await;
    let answer = stranger.does("fetch", "https://api.example.com/v1/open/x?q=1").await;
    assert_eq!(answer, "200 GET /base/open/x?q=1 with the key, from wasi: ");
    let long = "x".repeat(10_000);
    let posted = json!({"do": "post", "with": "https://api.example.com/v1/open/y", "text": long});
    let answer = stranger.asks("foreign_do", posted).await;
    assert!(answer.contains("POST /base/open/y with the key") && answer.contains(&long), "{answer}");
    for (denied, why) in [
        ("https://api.example.com/v1/closed/x", "E-EGRESS"),
        ("https://api.example.com/other", "E-GRANT-002"),
        ("https://elsewhere.example.com/v1/open/x", "E-GRANT-002"),
        ("http://127.0.0.1:1/v1/open/x", "E-GRANT-002"),
    ] {
        let answer = stranger.does("fetch", denied).await;
        assert!(answer.contains("HttpRequestDenied"), "{denied}: {answer}");
        assert!(stranger.kernel.log().contains(why), "{denied}: the owner reads why: {}", stranger.kernel.log());
    }
    let plain =
        stranger.asks("foreign_plain", json!({"do": "fetch", "with": "https://api.example.com/v1/open/x"})).await;
    assert!(plain.contains("HttpRequestDenied"), "a tool that uses no endpoint: {plain}");
    assert!(!stranger.kernel.log().contains("k-5f1c0f6a2f"), "the key is nowhere");
}

#[test]
fn what_the_manifest_does_not_ask_for_is_refused_before_it_is_installed_with_the_line_to_add() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    for (without, line) in [
        (manifest("random = true\nstdio = true", "\"http:api\"", API), "`clocks = true` under `[wasi]`"),
        (manifest("clocks = true\nstdio = true", "\"http:api\"", API), "`random = true` under `[wasi]`"),
        (manifest("clocks = true\nrandom = true", "\"http:api\"", API), "`stdio = true` under `[wasi]`"),
        (manifest(WHOLE, "", ""), "`[wasi]`, and an `[[http]]` endpoint"),
        (manifest("", "\"http:api\"", API).replace("[wasi]\n", ""), "`[wasi]`"),
    ] {
        let error = package::build(&component, &without).unwrap_err().to_string();
        assert!(error.contains(line), "{line}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_component_answers_and_keeps_what_it_saw() {
    let component = peer!("componentize-py", foreign::component("words"));
    let model = obedient().await;
    let packed =
        package::build(&component, &foreign::manifest("sdk/examples/python")).unwrap_or_else(|e| panic!("{e}"));
    let options = KernelOptions::openai(&model.base)
        .with_config("{ agent: { route: ['openai/mock'] } }")
        .with_package("words", packed)
        .with_env("CARAPACE_LOG", "warn,guest=debug");
    let kernel = Kernel::start(options);
    let none = kernel.say("first", &call("words_longest", &json!({}))).await;
    assert!(none.contains("no word was seen yet"), "{none}");
    let counted = kernel.say("count", &call("words_count", &json!({"text": "to be or not to be Übermut"}))).await;
    assert_eq!(counted, "to: 2\nbe: 2\nor: 1\nnot: 1\nübermut: 1");
    assert_eq!(kernel.say("longest", &call("words_longest", &json!({}))).await, "übermut");
    let empty = kernel.say("empty", &call("words_count", &json!({"text": " "}))).await;
    assert!(empty.contains("has no words"), "{empty}");
    let log = kernel.log();
    assert!(log.contains("counting 7 words") && log.contains("a longer word"), "print and log: {log}");
}

#[test]
fn a_test_in_any_language_can_ask_the_test_host_about_a_component_of_wasi() {
    let component = peer!("wasm32-wasip2", foreign::component("foreign"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("foreign.wasm");
    std::fs::write(&file, package::build(&component, &manifest(WHOLE, "\"http:api\"", API)).unwrap()).unwrap();
    let mut host = carapace_tests::kernel::command(folder.path(), &[])
        .args(["plugin", "test-host"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map(|l| l.unwrap());
    let greeting: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let mut fake = greeting["fake"].clone();
    fake["exchanges"] = json!([{"method": "GET", "target": "api:/x", "answer":
        {"status": 200, "headers": [], "url": null, "chunks": [[104, 105]], "breaks": null, "fails": null}}]);
    let mut input = host.stdin.take().unwrap();
    let mut ask = |what: &str, with: &str| -> String {
        let arguments = json!({"do": what, "with": with}).to_string();
        let context = json!({"call_id": "1", "session": "s", "timezone": null, "extra": []});
        let call = json!({"Tool": {"name": "foreign_do", "arguments": arguments, "context": context}});
        writeln!(input, "{}", json!({"Call": {"test": 1, "call": call, "fake": fake}})).unwrap();
        let answered: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        fake = answered["fake"].clone();
        answered["outcome"]["Tool"]["Ok"][0]["Text"].as_str().unwrap_or_else(|| panic!("{answered}")).to_owned()
    };
    assert!(ask("time", "").starts_with("1782909296 "), "the test's time");
    assert_eq!(ask("fetch", "https://api.example.com/v1/x"), "200 hi");
    assert_eq!(ask("print", "hello"), "printed");
    drop(input);
    let logged: Vec<&str> = fake["logged"].as_array().unwrap().iter().map(|l| l["message"].as_str().unwrap()).collect();
    assert_eq!(logged, ["out: hello", "err: hello"]);
    assert!(host.wait().unwrap().success());
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(' ').filter_map(|n| n.parse().ok()).collect()
}

fn in_bundle(kernel: &Kernel) -> String {
    Path::new(kernel.state()).join("bundle/foreign.wasm").display().to_string()
}
