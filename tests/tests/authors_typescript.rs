//! An author who writes TypeScript: from `plugin new` to answers that change with the code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test does what authors do, and stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::routing::get;
use carapace_tests::author::{Dev, done, edit, printed, root, workshop};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions, foreign, owner, peer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The folder that `plugin new` makes, with what npm brings.
fn new(state: &Path, beside: &Path, name: &str, kind: &str) -> PathBuf {
    let told = done(workshop(beside, state).args(["plugin", "new", name, "--kind", kind, "--lang", "ts"]));
    assert!(told.contains(&format!("cd {name}\n  npm install\n")), "{told}");
    let folder = beside.join(name);
    // What the page tells to do first is said by who does not.
    let early = workshop(&folder, state).args(["plugin", "test"]).output().unwrap();
    assert!(early.status.code() == Some(2) && printed(&early).contains("npm install"), "{}", printed(&early));
    done(npm(&folder).args(["install", "--no-audit", "--no-fund"]));
    folder
}

fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A model that calls `forecast_find`, and then says what came of it.
fn finds(request: &Value) -> Vec<Piece> {
    let last = request["messages"].as_array().unwrap().last().unwrap();
    match last["role"].as_str() {
        Some("tool") => vec![Piece::Text(last["content"].as_str().unwrap().to_owned())],
        _ => vec![Piece::Call("call_1".into(), "forecast_find".into(), json!({ "name": "Bergen" }))],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tool_in_typescript_answers_while_it_is_written() {
    let _ = peer!("npm", foreign::component("todo"));
    let places = get(|| async { axum::Json(json!([{ "name": "Bergen", "country": "NO" }])) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/places", places)).await.unwrap() });
    let model = Model::start(finds, Duration::ZERO).await;
    let options = KernelOptions::openai(&model.base).with_config("{ agent: { route: ['openai/mock'] } }");
    let kernel = Kernel::start(options.with_env("FORECAST_URL", &base));
    let beside = tempfile::tempdir().unwrap();
    let folder = new(kernel.state(), beside.path(), "forecast", "tool");
    let url = "url = \"https://api.example.com/v1\"";
    edit(&folder.join("carapace.toml"), url, &format!("{url}\nurl-env = \"FORECAST_URL\""));
    let code = folder.join("src/index.ts");

    let dev = Dev::start(&folder, kernel.state(), &["--yes"]);
    let said = dev.until(&["Watching"]);
    assert!(said.contains("offers the tool `forecast_find`") && said.contains("running after"), "{said}");
    assert_eq!(kernel.say("first", "Where is Bergen?").await, "Bergen, NO");
    edit(&code, "${p.name}, ${p.country}", "${p.name} (${p.country})");
    dev.until(&["running after"]);
    assert_eq!(kernel.say("changed", "Where is Bergen?").await, "Bergen (NO)");

    // What is of the wrong type is shown, and what ran goes on.
    edit(&code, "const name = args.name.trim()", "const name: number = args.name.trim()");
    let said = dev.until(&["runs on as it was"]);
    assert!(said.contains("src/index.ts(") && said.contains("could not be compiled"), "{said}");
    assert_eq!(kernel.say("broken", "Where is Bergen?").await, "Bergen (NO)");
    edit(&code, "const name: number = args.name.trim()", "const name = args.name.trim()");
    dev.until(&["is as it was", "running after"]);
    let end = dev.interrupt();
    assert!(end.contains("local/forecast stays installed"), "{end}");
    assert_eq!(kernel.say("after", "Where is Bergen?").await, "Bergen (NO)");

    // The tests say what has changed, and with the code of before all is well.
    let failed = workshop(&folder, kernel.state()).args(["plugin", "test"]).output().unwrap();
    let told = printed(&failed);
    assert!(failed.status.code() == Some(1) && told.contains("failed: the tests against the component"), "{told}");
    edit(&code, "${p.name} (${p.country})", "${p.name}, ${p.country}");
    let out = workshop(&folder, kernel.state()).args(["plugin", "check", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", printed(&out)));
    assert_eq!((&report["name"], &report["problems"]), (&json!("forecast"), &json!([])));
    assert!(report["used"]["fuel"].as_u64().unwrap() > 0 && report["used"]["calls"].as_u64().unwrap() >= 3, "{report}");
    assert!(report["build"]["compiler"].as_str().unwrap().starts_with("componentize-qjs 0."), "{report}");
    done(workshop(&folder, kernel.state()).args(["plugin", "build"]));
    let file = folder.join("bundle/forecast.wasm");
    owner::done(kernel.state(), &["plugin", "sign", file.to_str().unwrap()]);
    let shown = owner::done(kernel.state(), &["plugin", "inspect", file.to_str().unwrap()]);
    assert!(shown.contains("forecast_find") && !shown.contains("wasi:"), "{shown}");
}

#[test]
fn what_new_makes_in_typescript_passes_its_tests() {
    let _ = peer!("npm", foreign::component("todo"));
    let (beside, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let page = std::fs::read_to_string(root().join("docs/src/authors/typescript.md")).unwrap();
    let examples: Vec<&str> = page.split("```typescript\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    for (kind, least, export) in [("tool", 3, "tools"), ("provider", 6, "provider"), ("channel", 8, "channel")] {
        let folder = new(state.path(), beside.path(), &format!("my-own-{kind}"), kind);
        let told = done(workshop(&folder, state.path()).args(["plugin", "test"]));
        let passed = told.lines().find_map(|l| l.split_once("pass ")?.1.trim().parse::<u32>().ok());
        assert!(passed >= Some(least) && told.contains("All passed."), "{kind}: {told}");
        // The page's example is in the place of the template's code what it says it is.
        let example = examples.iter().find(|e| e.contains(&format!("export const {export} ="))).unwrap();
        std::fs::write(folder.join("src/index.ts"), example).unwrap();
        let file = folder.join(format!("bundle/my-own-{kind}.wasm"));
        done(workshop(&folder, state.path()).args(["plugin", "build"]));
        let surface = carapace_registry::imports::decode(&std::fs::read(file).unwrap()).unwrap();
        assert!(surface.exports.iter().any(|e| e.contains(export)), "{:?}", surface.exports);
        // The SDK's folder is none of a component.
        let refused =
            workshop(&folder, state.path()).args(["plugin", "build", "vendor/carapace-sdk"]).output().unwrap();
        assert!(
            refused.status.code() == Some(2) && printed(&refused).contains("no carapace.toml"),
            "{}",
            printed(&refused)
        );
    }
}
