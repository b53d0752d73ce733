//! The test host, with a component that does what it should not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads what was built, and stops at the first thing that is not as it should be"
)]

use carapace_registry::{package, testing};
use carapace_sdk::__private::{Manifest, ToolDecl};
use carapace_sdk::testing::FakeHost;
use carapace_sdk::testing::protocol::{Answered, Ask, Call, Greeting, Outcome, VERSION};
use carapace_sdk::{Context, ToolError};
use carapace_test_host::{HostError, TestHost, serve};
use std::path::{Path, PathBuf};

static MANIFEST: Manifest = Manifest {
    name: "misbehaving",
    sections: &["component", "limits", "kv", "tool"],
    kv_schema: 1,
    endpoints: &[],
    public_http: false,
    secrets: &[],
    // That `reads_what_it_does_not_name` may read is a lie: the fakes would allow it, and only the kernel's own linking is left to refuse.
    tools: &[
        ToolDecl { name: "reads", uses: &["kv"] },
        ToolDecl { name: "reads_what_it_does_not_name", uses: &["kv"] },
    ],
    warm: false,
};

/// The package, from what `cargo xtask test` has built.
fn misbehaving() -> Vec<u8> {
    let built = match std::env::var_os("CARAPACE_TEST_AUTHORS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/authors"),
    };
    let folder = built.join("misbehaving");
    let core = folder.join("target/wasm32-unknown-unknown/release/carapace_fixture_misbehaving.wasm");
    let core = std::fs::read(&core).unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask test`", core.display()));
    package::build(&core, &std::fs::read_to_string(folder.join("carapace.toml")).unwrap()).unwrap()
}

fn tool(name: &str) -> Call {
    let context = Context { call_id: "1".to_owned(), session: "session".to_owned(), timezone: None, extra: Vec::new() };
    Call::Tool { name: name.to_owned(), arguments: "{}".to_owned(), context }
}

async fn call(name: &str) -> Answered {
    let mut host = TestHost::load(misbehaving()).await.unwrap();
    host.call(1, tool(name), FakeHost::of(&MANIFEST)).await
}

fn ended(answered: &Answered) -> &str {
    match &answered.outcome {
        Outcome::Ended(text) => text,
        other => panic!("it answered: {other:?}"),
    }
}

/// The lines in the journal's log.
fn logged(answered: &Answered) -> Vec<String> {
    let fake = serde_json::to_value(&answered.fake).unwrap();
    let lines = fake["logged"].as_array().unwrap().iter();
    lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_panics_text_arrives_in_the_journals_log() {
    let answered = call("panics").await;
    assert!(ended(&answered).contains("E-RUNTIME-001"), "{}", ended(&answered));
    let lines = logged(&answered);
    assert_eq!(lines[0], "about to give up");
    assert!(lines[1].contains("no luck today") && lines[1].contains("lib.rs"), "{lines:?}");
}

#[tokio::test]
async fn a_limit_of_the_manifest_ends_the_call_as_in_the_kernel() {
    let spins = call("spins").await;
    assert!(ended(&spins).contains("CPU limit 100 ms per call exceeded [E-RUNTIME-003]"), "{}", ended(&spins));
    let hoards = call("hoards").await;
    assert!(ended(&hoards).contains("memory limit 4 MiB exceeded [E-RUNTIME-005]"), "{}", ended(&hoards));
    assert!(logged(&hoards).len() < 4, "{:?}", logged(&hoards));
}

#[tokio::test]
async fn a_tool_is_linked_to_what_its_uses_name_and_to_nothing_else() {
    assert!(matches!(call("reads").await.outcome, Outcome::Tool(Ok(_))));
    let refused = call("reads_what_it_does_not_name").await.outcome;
    let Outcome::Tool(Err(ToolError::Denied(text))) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("local/misbehaving/main") && text.contains("E-RUNTIME-023"), "{text}");
}

#[tokio::test]
async fn a_tool_that_the_manifest_does_not_have_is_answered_by_the_component() {
    assert!(matches!(call("other").await.outcome, Outcome::Tool(Err(ToolError::NotFound(_)))));
}

#[tokio::test]
async fn a_component_that_imports_what_its_manifest_does_not_ask_for_is_not_run() {
    let manifest = testing::manifest("greedy", "0.1.0", "[[tool]]\nname = \"run\"\n");
    let package = testing::assemble(testing::component(&["kv"], &["tools"]), manifest.as_bytes());
    let error = TestHost::load(package.clone()).await.unwrap_err().to_string();
    assert!(error.contains("kv"), "{error}");

    // The test's process is told, too.
    let mut output = Vec::new();
    let served = tokio::task::spawn_blocking(move || {
        let served = serve(package, &b""[..], &mut output, |_| Ok(()));
        (served, output)
    });
    let (served, output) = served.await.unwrap();
    assert!(matches!(served, Err(HostError::Component(_))));
    let greeting: Greeting = serde_json::from_slice(&output).unwrap();
    assert!(greeting.component.unwrap_err().contains("kv"));
}

#[test]
fn it_greets_with_its_version_and_answers_until_the_input_ends() {
    let ask = Ask::Call { test: 1, call: Box::new(Call::List), fake: Box::new(FakeHost::of(&MANIFEST)) };
    let input = format!("{}\n{}\n", serde_json::to_string(&ask).unwrap(), "{\"Over\":{\"test\":1}}");
    let mut output = Vec::new();
    serve(misbehaving(), input.as_bytes(), &mut output, |_| Ok(())).unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    let greeting: Greeting = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((greeting.protocol, greeting.component), (VERSION, Ok("misbehaving".to_owned())));
    let fake = serde_json::to_value(greeting.fake.expect("a world to begin with")).unwrap();
    assert_eq!(fake["declared"]["tools"]["reads"], serde_json::json!(["kv"]), "{fake}");
    let answered: Answered = serde_json::from_str(lines[1]).unwrap();
    let names = ["panics", "spins", "hoards", "reads", "reads_what_it_does_not_name"];
    assert_eq!(answered.outcome, Outcome::List(names.map(str::to_owned).to_vec()));
    assert_eq!(lines.len(), 2, "that a test is over has no answer");
}

#[test]
fn a_message_of_another_version_ends_it_with_an_error_that_says_so() {
    let error = serve(misbehaving(), &b"{\"Dream\":{}}\n"[..], Vec::new(), |_| Ok(())).unwrap_err();
    assert!(matches!(error, HostError::Protocol(_)));
    assert!(error.to_string().contains(&format!("must be of one version (test protocol {VERSION})")), "{error}");
}
