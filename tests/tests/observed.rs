//! What an owner sees of running components: recordings that are replayed without them, logs, and what they use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test starts programs and reads files, and stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use carapace_tests::components::{tool_package, wat};
use carapace_tests::kernel::command;
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, bundle, owner};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

const KEY: &str = "sk-test-0123456789abcdefghij";

/// A model that calls the tool it is told to (`TOOL JSON`), and then repeats what came of it.
fn obey(request: &Value) -> Vec<Piece> {
    let last = request["messages"].as_array().unwrap().last().unwrap();
    let text = match &last["content"] {
        Value::String(text) => text.clone(),
        parts => parts[0]["text"].as_str().unwrap().to_owned(),
    };
    match (last["role"].as_str(), text.split_once(' ')) {
        (Some("user"), Some((tool, arguments))) => {
            vec![Piece::Call("call_1".into(), tool.to_owned(), serde_json::from_str(arguments).unwrap())]
        }
        _ => vec![Piece::Text(text)],
    }
}

/// A server on this machine, until it is aborted.
async fn serve(app: Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

/// `carapace plugin record`, once it says that it records.
fn recording(kernel: &Kernel, instance: &str, out: &Path) -> Child {
    let mut command = command(kernel.state(), &[]);
    command.args(["plugin", "record", instance, "--out"]).arg(out);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().expect("it says something").unwrap();
    assert!(first.starts_with("Recording the next call"), "{first}");
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn finished(mut child: Child, out: &Path) -> String {
    assert!(child.wait().unwrap().success());
    std::fs::read_to_string(out).unwrap()
}

fn all(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_fetch_is_replayed_without_a_kernel_and_a_component_that_does_otherwise_is_found() {
    let page = get(|| async { ([("set-cookie", "sid=a-session-of-somebody")], "The page says hello.") });
    let (address, server) = serve(Router::new().route("/page", page)).await;
    let model = Model::start(obey, Duration::ZERO).await;
    let config = json!({"agent": {"route": ["openai/mock"]}, "instances": {"web": {"publicAllow": [address]}}});
    let kernel = Kernel::start(KernelOptions::openai(&model.base).with_config(&config.to_string()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fetch.jsonl");
    let out = file.to_str().unwrap();

    let record = recording(&kernel, "web", &file);
    let url = format!("http://{address}/page");
    let turn = kernel.turn("fetch", "openai/mock", &format!("web_fetch {}", json!({ "url": url }))).await;
    assert!(turn.result().0.contains("The page says hello."), "{turn:?}");
    let text = finished(record, &file);
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["carapace-recording"], &lines[0]["instance"]), (&json!(1), &json!("local/web/main")));
    let called = &lines[1];
    assert_eq!((&called["event"], &called["arguments"]["name"]), (&json!("called"), &json!("web_fetch")));
    let sent = lines.iter().find(|l| l["import"] == "http.send").expect("the request");
    assert_eq!(sent["arguments"]["request"]["target"], json!({ "public": url }));
    assert_eq!((&sent["result"]["ok"]["status"], &sent["tainted"]), (&json!(200), &json!(true)));
    assert!(text.contains("The page says hello.") && !text.contains("a-session-of-somebody"), "{text}");
    assert_eq!(lines.last().unwrap()["event"], "returned");
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777,
        0o600
    );

    // What is there already is not written over.
    let again = kernel.cli(&["plugin", "record", "web", "--out", out]);
    assert_eq!(again.status.code(), Some(2), "{}", all(&again));

    // Neither the server nor an assistant is there any more.
    server.abort();
    let state = kernel.stop();
    let replayed = owner::cli(state.path(), &["plugin", "replay", out]);
    assert!(replayed.status.success() && all(&replayed).contains("1 call as recorded"), "{}", all(&replayed));
    let web = bundle().join("web.wasm");
    let named = owner::cli(state.path(), &["plugin", "replay", out, "--component", web.to_str().unwrap()]);
    assert!(named.status.success(), "{}", all(&named));

    // Another component that answers without asking.
    let changed = dir.path().join("changed.wasm");
    std::fs::write(&changed, tool_package("web_fetch", wat::ECHO, "", "")).unwrap();
    let differs =
        owner::cli(state.path(), &["plugin", "replay", out, "--component", changed.to_str().unwrap(), "--json"]);
    assert_eq!(differs.status.code(), Some(1), "{}", all(&differs));
    let said: Value = serde_json::from_slice(&differs.stdout).unwrap();
    let (difference, at) = (&said["difference"], text.lines().position(|l| l.contains("http.send")).unwrap() + 1);
    assert_eq!((&difference["call"], &difference["line"]), (&json!(1), &json!(at)));
    assert_eq!(difference["expected"]["import"], "http.send");
    assert_eq!(difference["got"]["event"], "returned");

    // The same component, told otherwise: it answers otherwise, and that is found at the end.
    let other = dir.path().join("other.jsonl");
    std::fs::write(&other, text.replace("{\"text\":\"The page says hello.\"}", "{\"text\":\"The page says bye.\"}"))
        .unwrap();
    let differs = owner::cli(state.path(), &["plugin", "replay", other.to_str().unwrap()]);
    let (code, printed) = (differs.status.code(), all(&differs));
    assert_eq!(code, Some(1), "{printed}");
    let both = printed.contains("recorded  it answered") && printed.contains("now       it answered");
    assert!(both && printed.contains("The page says bye."), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_stands_in_a_recording_however_the_server_gives_it_back() {
    // It tells everybody what key it was sent: plainly, and in base64.
    let chat = post(|headers: HeaderMap| async move {
        use base64::Engine as _;
        let sent = headers["authorization"].to_str().unwrap().to_owned();
        assert_eq!(sent, format!("Bearer {KEY}"));
        let told = format!("{sent} or {}", base64::engine::general_purpose::STANDARD.encode(KEY));
        let chunk = |delta: Value, finish: Value| {
            let chunk = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "mock",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
            format!("data: {chunk}\n\n")
        };
        let body = chunk(json!({"content": told}), Value::Null) + &chunk(json!({}), json!("stop")) + "data: [DONE]\n\n";
        ([("content-type", "text/event-stream"), ("x-told", "key")], body)
    });
    let models = get(|| async { axum::Json(json!({"object": "list", "data": [{"id": "mock", "object": "model"}]})) });
    let app = Router::new().route("/v1/chat/completions", chat).route("/v1/models", models);
    let (address, server) = serve(app).await;
    let options =
        KernelOptions::openai(&format!("http://{address}/v1")).with_config("{ agent: { route: ['openai/mock'] } }");
    let kernel = Kernel::start(options);
    owner::set_secret(kernel.state(), "api-key", "local/openai/main", KEY);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("completion.jsonl");

    let record = recording(&kernel, "local/openai/main", &file);
    kernel.ask("keys", "What is your key?").await;
    let text = finished(record, &file);
    assert!(
        text.contains("provider.complete") && text.contains("What is your key?") && text.contains("completion.emit"),
        "{text}"
    );
    assert!(text.contains("[redacted]"), "{text}");
    let mut forms = vec![KEY.to_owned()];
    forms.push({
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(KEY)
    });
    for form in forms {
        assert!(!text.contains(&form), "{form} stands in {text}");
    }

    server.abort();
    let state = kernel.stop();
    let replayed = owner::cli(state.path(), &["plugin", "replay", file.to_str().unwrap()]);
    assert!(replayed.status.success(), "{}", all(&replayed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_logs_and_uses_is_shown_and_so_is_what_ended_it() {
    let model = Model::start(obey, Duration::ZERO).await;
    let config = "{ agent: { route: ['openai/mock'] }, instances: { chatter: { limits: { cpuMsPerCall: 200 } } } }";
    let options = KernelOptions::openai(&model.base)
        .with_config(config)
        .with_package("chatter", tool_package("chatter", wat::CHATTER, "", ""));
    let kernel = Kernel::start(options);
    let none = kernel.cli(&["plugin", "logs", "chatter"]);
    assert!(none.status.success() && all(&none).contains("has logged nothing"), "{}", all(&none));

    // One that follows from before the first line.
    let mut follow = command(kernel.state(), &[]);
    let mut follow =
        follow.args(["plugin", "logs", "chatter", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(kernel.turn("chatter", "openai/mock", "chatter {}").await.result().1);
    let first: Value = serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["n"], &first["kernel"]), (&json!(1), &json!(false)));
    follow.kill().unwrap();
    follow.wait().unwrap();

    let shown = owner::done(kernel.state(), &["plugin", "logs", "chatter"]);
    // Its manifest allows 600 lines a minute, and the minute may have turned once.
    assert!((600..=1_201).contains(&shown.lines().count()), "{}", shown.lines().count());
    let errors = owner::done(kernel.state(), &["plugin", "logs", "chatter", "--level", "error"]);
    assert!(errors.lines().count() == 1 && errors.contains("(kernel)") && errors.contains("E-RUNTIME-0"), "{errors}");

    let table = owner::done(kernel.state(), &["top", "--once"]);
    let row = table.lines().find(|l| l.starts_with("local/chatter/main")).unwrap_or_else(|| panic!("{table}"));
    assert!(table.contains("DENIED") && row.split_whitespace().count() >= 9, "{table}");
    let rows: Value = serde_json::from_str(&owner::done(kernel.state(), &["top", "--once", "--json"])).unwrap();
    let row = rows.as_array().unwrap().iter().find(|r| r["instance"] == "local/chatter/main").unwrap();
    // Listing its tools was a call, too.
    assert_eq!((&row["total"]["calls"], &row["total"]["traps"]), (&json!(2), &json!(1)));
    assert!(row["total"]["fuel"].as_u64().unwrap() > 0 && row["total"]["peak_memory"].as_u64().unwrap() > 0, "{row}");
    assert_eq!(rows[0]["instance"], "local/chatter/main", "the busiest is first: {rows}");

    let unknown = kernel.cli(&["plugin", "record", "nobody", "--out", "never.jsonl"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", all(&unknown));
    assert!(all(&unknown).contains("E-HOST-002") && !Path::new("never.jsonl").exists(), "{}", all(&unknown));
}

#[test]
fn a_command_whose_reader_has_had_enough_ends_without_a_word() {
    let state = tempfile::tempdir().unwrap();
    let mut schema = command(state.path(), &[]);
    let mut child = schema.args(["config", "schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}
