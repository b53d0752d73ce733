//! What the tutorial tells an author to do, done from its own text with the crate that it contains, up to the answer of the tool.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads what authors read, runs the binary, and stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::routing::get;
use carapace_tests::author::{Dev, done, edit, files, line, lines, new, printed, root, workshop};
use carapace_tests::kernel::command;
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers, turns};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where `cargo xtask test` has built the crates.
fn crates() -> PathBuf {
    match std::env::var_os("CARAPACE_TEST_AUTHORS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/authors"),
    }
}

/// A crate's manifest and core module, in a folder of the test's own, at the places where the author has them.
fn author(name: &str, file: &str) -> tempfile::TempDir {
    let (from, to) = (crates().join(name), tempfile::tempdir().unwrap());
    let core = format!("target/wasm32-unknown-unknown/release/{file}.wasm");
    for part in ["carapace.toml", &core] {
        std::fs::create_dir_all(to.path().join(part).parent().unwrap()).unwrap();
        let copied = std::fs::copy(from.join(part), to.path().join(part));
        copied.unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask test`", from.join(part).display()));
    }
    std::fs::create_dir(to.path().join("bundle")).unwrap();
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_leads_from_nothing_to_a_published_and_installed_tool_that_answers() {
    let page = std::fs::read_to_string(root().join("docs/src/authors/first-tool.md")).unwrap();
    let (beside, state) =
        (tempfile::tempdir().unwrap(), tempfile::Builder::new().prefix("carapace-e2e-").tempdir().unwrap());
    let (folder, mut key, mut digest) = (beside.path().join("dice"), String::new(), String::new());
    let told = lines(&page);
    assert!(told.len() >= 14 && told[0].starts_with("carapace plugin new dice"), "{told:?}");
    for (n, step) in told.iter().enumerate() {
        // What goes on until somebody stops it is done in the test below.
        if step.starts_with("carapace plugin dev") || step.starts_with("carapace start") {
            continue;
        }
        let here = if n == 0 { beside.path() } else { &folder };
        // Without a terminal the owner's yes is a digest.
        let yes =
            if step.starts_with("carapace plugin install") { format!(" --accept {digest}") } else { String::new() };
        let printed = line(here, state.path(), &format!("{}{yes}", step.replace("ed25519:…", &key)));
        if n == 0 {
            let written = files(&page);
            let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["carapace.toml", "src/lib.rs"]);
            written.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
            std::fs::copy(root().join("components/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        } else if step.starts_with("carapace plugin keygen") {
            key = printed.split_whitespace().find(|w| w.starts_with("ed25519:")).expect("a public key").to_owned();
        } else if step.starts_with("carapace plugin test") {
            assert_eq!(printed.matches("each_die_has_six_faces ... ok").count(), 2, "{printed}");
        } else if step.starts_with("carapace plugin check") {
            let used = "The most that one of";
            assert!(printed.contains("Nothing ") && printed.contains(used), "{printed}");
        } else if step.starts_with("carapace plugin build") {
            digest = printed.split("sha256:").nth(1).and_then(|d| d.get(..64)).map(|d| format!("sha256:{d}")).unwrap();
        } else if step.starts_with("carapace plugin inspect") {
            assert!(printed.contains("NOT TRUSTED") && printed.contains("keeps up to 1 MiB"), "{printed}");
            let (_, imports) = printed.split_once("Imports:").unwrap();
            let imports: Vec<&str> =
                imports.lines().filter_map(|l| l.trim().strip_prefix("carapace:plugin/")?.split('@').next()).collect();
            assert_eq!(imports, ["kv", "log", "random", "tools"], "what it calls, and what it exports: {printed}");
        } else if step.starts_with("carapace plugin verify") || step.starts_with("carapace plugin install") {
            assert!(printed.contains("me/dice"), "{printed}");
        }
    }

    let model = peer!("aimock", peers::aimock(&rolls(), &[]));
    let kernel = Kernel::start_in(state, KernelOptions::openai(&format!("{}/v1", model.base)));
    let last = kernel.call("dice_last").await;
    let (text, is_error) = last.result();
    assert!(is_error && text.contains("nothing was rolled yet"), "{text}");
    let roll = kernel.turn("roll", "carapace", "Roll three dice.").await;
    let (rolled, is_error) = roll.result();
    let faces: Vec<u8> = rolled.split(' ').map(|f| f.parse().unwrap()).collect();
    assert!(!is_error && faces.len() == 3 && faces.iter().all(|f| (1..=6).contains(f)), "{rolled}");
    let last = kernel.turn("last", "carapace", "Please call <dice_last>.").await;
    assert_eq!(last.result(), (rolled, false), "another instance finds what the first one stored");
    // The schema of the type is what the kernel holds the model's arguments to.
    let many = kernel.turn("many", "carapace", "Roll a thousand dice.").await;
    assert!(many.result().1 && many.result().0.contains("100"), "{many:?}");
}

fn rolls() -> serde_json::Value {
    let mut fixtures = turns::script(&["dice_last"]);
    for (ask, count) in [("Roll three dice.", 3), ("Roll a thousand dice.", 1000)] {
        let call = json!({"match": {"userMessage": ask, "hasToolResult": false},
            "response": {"toolCalls": [{"name": "dice_roll", "arguments": {"count": count}}]}});
        fixtures.as_array_mut().unwrap().insert(0, call);
    }
    fixtures
}

#[test]
fn the_template_of_a_tool_is_a_package_that_asks_for_what_it_says() {
    let (folder, state) = (author("template-tool", "my_tool"), tempfile::tempdir().unwrap());
    let core = "target/wasm32-unknown-unknown/release/my_tool.wasm";
    let build = format!("carapace plugin build --core {core} --manifest carapace.toml --out bundle/my-tool.wasm");
    line(folder.path(), state.path(), &build);
    let shown = line(folder.path(), state.path(), "carapace plugin inspect bundle/my-tool.wasm");
    assert!(shown.contains("https://api.example.com/v1") && shown.contains("my_tool_find"), "{shown}");
}

#[test]
fn the_template_of_a_provider_is_a_package_that_asks_for_what_it_says() {
    let (folder, state) = (author("template-provider", "my_provider"), tempfile::tempdir().unwrap());
    let core = "target/wasm32-unknown-unknown/release/my_provider.wasm";
    let build = format!("carapace plugin build --core {core} --manifest carapace.toml --out bundle/my-provider.wasm");
    line(folder.path(), state.path(), &build);
    let shown = line(folder.path(), state.path(), "carapace plugin inspect bundle/my-provider.wasm");
    assert!(shown.contains("https://api.example.com/v1") && shown.contains("api-key"), "{shown}");
}

#[test]
fn the_template_of_a_channel_is_a_package_that_asks_for_what_it_says() {
    let (folder, state) = (author("template-channel", "my_channel"), tempfile::tempdir().unwrap());
    let core = "target/wasm32-unknown-unknown/release/my_channel.wasm";
    let build = format!("carapace plugin build --core {core} --manifest carapace.toml --out bundle/my-channel.wasm");
    line(folder.path(), state.path(), &build);
    let shown = line(folder.path(), state.path(), "carapace plugin inspect bundle/my-channel.wasm");
    assert!(shown.contains("https://chat.example.com/v1") && shown.contains("speaks with people"), "{shown}");
}

#[test]
fn a_folder_is_made_only_for_a_good_name_and_only_where_nothing_is() {
    let (state, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str]| {
        workshop(beside.path(), state.path()).args(["plugin", "new"]).args(arguments).output().unwrap()
    };
    let refused = |arguments: &[&str], why: &str| {
        let out = run(arguments);
        assert!(out.status.code() == Some(2) && printed(&out).contains(why), "{arguments:?}: {}", printed(&out));
    };
    refused(&["Dice", "--kind", "tool"], "is not a name");
    refused(&["async", "--kind", "tool"], "cannot be the name of a crate");
    refused(&["dice", "--kind", "tool", "--sdk", "."], "is not the SDK");
    assert_eq!(std::fs::read_dir(beside.path()).unwrap().count(), 0, "what is refused leaves nothing");

    assert!(run(&["dice", "--kind", "tool"]).status.success());
    refused(&["dice", "--kind", "provider"], "is there already");
    let sdk = root().join("sdk/rust");
    let made = run(&["brain", "--kind", "provider", "--dir", "elsewhere", "--sdk", sdk.to_str().unwrap()]);
    assert!(made.status.success(), "{}", printed(&made));
    let cargo_toml = std::fs::read_to_string(beside.path().join("elsewhere/Cargo.toml")).unwrap();
    assert!(cargo_toml.contains("name = \"brain\"") && cargo_toml.contains("/sdk/rust\""), "{cargo_toml}");
    assert!(!beside.path().join("elsewhere/vendor").exists());
}

#[test]
fn the_same_source_gives_the_same_bytes_wherever_it_lies() {
    let (state, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = new(state.path(), beside.path(), "same-bytes", "tool");
    let other = beside.path().join("a folder/deeper/of-another-name");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-r").arg(&one).arg(&other).status().unwrap().success());
    let built = |folder: &Path| {
        let told = done(workshop(beside.path(), state.path()).args(["plugin", "build"]).arg(folder));
        assert!(told.contains("Compiling same-bytes"), "it was compiled here: {told}");
        std::fs::read(folder.join("bundle/same-bytes.wasm")).unwrap()
    };
    let (one, other) = (built(&one), built(&other));
    assert!(one == other, "{} and {} bytes", one.len(), other.len());
    let text = String::from_utf8_lossy(&one);
    assert!(!text.contains(beside.path().to_str().unwrap()) && !text.contains(root().to_str().unwrap()));
    let (_, manifest) = carapace_registry::package::read_manifest(&one).unwrap();
    assert!(manifest.contains("[build]\ncompiler = \"rustc 1."), "{manifest}");
}

/// A model that calls `forecast_find`, and then repeats what came of it.
fn finds(request: &Value) -> Vec<Piece> {
    let last = request["messages"].as_array().unwrap().last().unwrap();
    match last["role"].as_str() {
        Some("tool") => vec![Piece::Text("There.".into())],
        _ => vec![Piece::Call("call_1".into(), "forecast_find".into(), json!({ "name": "Bergen" }))],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tool_answers_while_it_is_written_and_what_it_was_told_becomes_a_test() {
    let places = get(|| async { axum::Json(json!([{ "name": "Bergen", "country": "NO" }])) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server =
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/places", places)).await.unwrap() });
    let model = Model::start(finds, Duration::ZERO).await;
    let options = KernelOptions::openai(&model.base).with_config("{ agent: { route: ['openai/mock'] } }");
    let kernel = Kernel::start(options.with_env("FORECAST_URL", &base));
    let beside = tempfile::tempdir().unwrap();
    let folder = new(kernel.state(), beside.path(), "forecast", "tool");
    let url = "url = \"https://api.example.com/v1\"";
    edit(&folder.join("carapace.toml"), url, &format!("{url}\nurl-env = \"FORECAST_URL\""));
    let code = folder.join("src/lib.rs");
    let call =
        async |session: &str| kernel.turn(session, "openai/mock", "Where is Bergen?").await.result().0.to_owned();

    // From the folder to an answer, and from a change to another answer.
    let dev = Dev::start(&folder, kernel.state(), &["--yes"]);
    let said = dev.until(&["Watching"]);
    assert!(said.contains("offers the tool `forecast_find`") && said.contains("running after"), "{said}");
    assert_eq!(call("first").await, "Bergen, NO");
    let recording = beside.path().join("find.jsonl");
    let mut record = command(kernel.state(), &[]);
    record.args(["plugin", "record", "forecast", "--out"]).arg(&recording).stderr(Stdio::piped());
    let mut record = record.spawn().unwrap();
    let mut told = BufReader::new(record.stderr.take().unwrap()).lines();
    assert!(told.next().unwrap().unwrap().starts_with("Recording"));
    assert_eq!(call("recorded").await, "Bergen, NO");
    assert!(record.wait().unwrap().success());

    edit(&code, "{}, {}", "{} ({})");
    dev.until(&["running after"]);
    assert_eq!(call("changed").await, "Bergen (NO)");

    // What does not compile is shown, and what ran goes on.
    edit(&code, "fn find(", "fn find((");
    let said = dev.until(&["runs on as it was"]);
    assert!(said.contains("src/lib.rs:") && said.contains("could not be compiled"), "{said}");
    assert_eq!(call("broken").await, "Bergen (NO)");
    edit(&code, "fn find((", "fn find(");
    // The same source; the quick build may not give the same bytes.
    dev.until(&["is as it was", "running after"]);
    let end = dev.interrupt();
    assert!(end.contains("local/forecast stays installed"), "{end}");
    assert_eq!(call("after").await, "Bergen (NO)");

    // More than was granted is shown, and not taken unread.
    let dev = Dev::start(&folder, kernel.state(), &[]);
    dev.until(&["Watching"]);
    edit(&folder.join("carapace.toml"), "uses = [\"http:api\"]", "uses = [\"http:api\", \"kv\"]\n\n[kv]");
    let said = dev.until(&["runs on as it was"]);
    assert!(said.contains("asks for more than you granted before") && said.contains("kv"), "{said}");
    assert_eq!(call("not-grown").await, "Bergen (NO)");
    drop(dev);
    edit(&folder.join("carapace.toml"), "uses = [\"http:api\", \"kv\"]\n\n[kv]", "uses = [\"http:api\"]");

    // The recording tells the two apart, without the server.
    server.abort();
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["plugin", "list", "--json"])).unwrap();
    let is_it = |i: &&Value| i["instance"] == "local/forecast/main";
    let digest = list.as_array().unwrap().iter().find(is_it).unwrap()["digest"].as_str().unwrap().to_owned();
    let now = kernel.state().join("packages").join(format!("{}.wasm", digest.trim_start_matches("sha256:")));
    let file = recording.to_str().unwrap();
    let out = owner::cli(kernel.state(), &["plugin", "replay", file, "--component", now.to_str().unwrap()]);
    let said = printed(&out);
    assert!(out.status.code() == Some(1) && said.contains("Bergen, NO") && said.contains("Bergen (NO)"), "{said}");

    // It becomes a test of the component, and its answers another one.
    std::fs::create_dir_all(folder.join("tests/recordings")).unwrap();
    std::fs::copy(&recording, folder.join("tests/recordings/find.jsonl")).unwrap();
    let test = "    #[carapace_sdk::test]\n    fn as_it_was_recorded(host: &mut TestHost) {\n        \
        host.replies(include_str!(\"../tests/recordings/find.jsonl\"));\n        \
        assert_eq!(host.call_tool(\"forecast_find\", json!({ \"name\": \"Bergen\" })).unwrap().text(), \"Bergen, NO\");\n    }\n\n";
    edit(&code, "{} ({})", "{}, {}");
    edit(
        &code,
        "    #[carapace_sdk::test]\n    fn what_the_model",
        &format!("{test}    #[carapace_sdk::test]\n    fn what_the_model"),
    );
    let told = done(workshop(&folder, kernel.state()).args(["plugin", "test"]));
    let both = told.matches("as_it_was_recorded ... ok").count();
    assert!(both == 2 && told.contains("recording find.jsonl ... ok") && told.contains("All passed."), "{told}");
    let mut check = workshop(&folder, kernel.state());
    let out = check.args(["plugin", "check", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", printed(&out)));
    assert_eq!((&report["name"], &report["problems"]), (&json!("forecast"), &json!([])));
    assert!(report["used"]["fuel"].as_u64().unwrap() > 0 && report["used"]["calls"].as_u64().unwrap() >= 5, "{report}");
    let memory = report["limits"].as_array().unwrap().iter().find(|l| l["key"] == "memory").unwrap();
    assert!(memory["line"].as_str().unwrap().starts_with("memory = \""), "{report}");
}

/// A person who answers what `carapace plugin dev` asks; see `terminal.py`.
fn at_a_terminal(folder: &Path, state: &Path, script: &Value) -> Command {
    let mut dev = workshop(folder, state);
    dev.args(["plugin", "dev"]).current_dir(folder);
    let mut python = peers::at_a_terminal(&dev, script);
    python.stdout(Stdio::piped());
    python
}

#[test]
fn an_author_at_a_terminal_is_asked_and_a_question_about_what_has_changed_is_withdrawn() {
    let kernel = Kernel::start(KernelOptions::openai("http://127.0.0.1:2"));
    let beside = tempfile::tempdir().unwrap();
    let folder = new(kernel.state(), beside.path(), "asked", "tool");
    // The first question stands until the manifest changes; the second is answered; Ctrl-C ends it.
    let script =
        json!([["Grant this?", null], ["Not asked any more", null], ["Grant this?", "y"], ["running after", "\u{3}"]]);
    let mut terminal = at_a_terminal(&folder, kernel.state(), &script).spawn().unwrap();
    let mut shown = terminal.stdout.take().unwrap();
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&all).contains("Grant this?") {
        shown.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    edit(&folder.join("carapace.toml"), "uses = [\"http:api\"]", "uses = [\"http:api\", \"kv\"]\n\n[kv]");
    shown.read_to_end(&mut all).unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(terminal.wait().unwrap().success() && all.trim_end().ends_with("\n0"), "{all}");
    let (_, second) = all.split_once("Not asked any more").unwrap();
    assert!(
        second.contains("carapace.toml has changed") && second.contains("kv") && second.contains("running after"),
        "{all}"
    );
    assert!(second.contains("local/asked stays installed"), "{all}");
    let granted = owner::done(kernel.state(), &["plugin", "grants", "asked"]);
    assert!(granted.contains("keeps"), "{granted}");

    // A no is one, and what runs goes on; Ctrl-C at a question ends it, too.
    edit(&folder.join("carapace.toml"), "\"kv\"]", "\"kv\", \"memory\"]\n\n[memory]");
    let script = json!([["Grant this?", "n"], ["Watching", "\u{3}"]]);
    let out = at_a_terminal(&folder, kernel.state(), &script).output().unwrap();
    let said = printed(&out);
    assert!(out.status.success() && said.contains("you said no"), "{said}");
    let script = json!([["Grant this?", "\u{3}"]]);
    let out = at_a_terminal(&folder, kernel.state(), &script).output().unwrap();
    assert!(out.status.success() && !printed(&out).contains("running after"), "{}", printed(&out));
    let granted = owner::done(kernel.state(), &["plugin", "grants", "asked"]);
    assert!(granted.contains("using http:api and kv\n"), "{granted}");
}
