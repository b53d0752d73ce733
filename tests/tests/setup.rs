//! `carapace setup` and `carapace doctor`: what they find, what they ask, and what they leave behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_tests::kernel::{command, signed_bundle};
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;

const KEY: &str = "the-right-key-of-it";
const WRONG: &str = "the-wrong-key-of-it";

fn fresh() -> TempDir {
    let state = tempfile::Builder::new().prefix("carapace-setup-").tempdir().unwrap();
    signed_bundle(state.path(), &[]);
    state
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Runs `carapace setup` with the state's own bundle and nothing to type at.
fn setup(state: &Path, variables: &[(&str, &str)], more: &[&str]) -> Output {
    let mut command = command(state, &env(variables));
    command.arg("setup").arg("--bundle").arg(state.join("bundle")).args(more).stdin(Stdio::null()).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn report(out: &Output) -> Value {
    assert!(out.status.success(), "{}", said(out));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(out)));
    assert_eq!(report["ready"], true, "{report}");
    assert!(report["answer"]["text"].as_str().is_some_and(|t| !t.is_empty()), "{report}");
    report
}

fn config(state: &Path) -> Option<String> {
    std::fs::read_to_string(state.join("carapace.json5")).ok()
}

fn secrets(state: &Path) -> Vec<String> {
    let list: Value = serde_json::from_str(&owner::done(state, &["secrets", "list", "--json"])).unwrap();
    list.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
}

/// What lies beside the configuration of an earlier setup.
fn leftovers(state: &Path) -> Vec<String> {
    let names = std::fs::read_dir(state).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.contains(".bak") || n.contains("setup")).collect()
}

#[track_caller]
fn no_file_holds(dir: &Path, secret: &str) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            no_file_holds(&entry.path(), secret);
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", entry.path().display());
        }
    }
}

#[test]
fn without_a_terminal_it_says_how_to_go_on() {
    let state = fresh();
    let out = setup(state.path(), &[], &[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("carapace setup --yes"), "{}", said(&out));
    assert_eq!(config(state.path()), None);
}

#[test]
fn where_nothing_can_answer_nothing_is_written() {
    let state = fresh();
    let out = setup(state.path(), &[], &["--yes", "--server", &peers::nowhere(), "--model", "openai:server/any"]);
    assert!(!out.status.success(), "{}", said(&out));
    assert_eq!((config(state.path()), leftovers(state.path()).len()), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_here_is_found_tried_and_kept_and_a_second_time_changes_nothing() {
    let llama = peer!("llama.cpp", peers::llama(None));
    let state = fresh();
    // A small model may ramble: its answers are kept short.
    std::fs::write(state.path().join("carapace.json5"), "{ agent: { maxOutputTokens: 24, temperature: 0 } }").unwrap();
    let zone = ("TZ", "Europe/Berlin");
    let first = report(&setup(state.path(), &[zone], &["--yes", "--json", "--server", &llama.base]));
    assert!(first["model"].as_str().unwrap().starts_with("openai:server/"), "{first}");
    assert_eq!(first["config"]["written"], true, "{first}");
    let written = config(state.path()).unwrap();
    assert!(written.contains(&llama.base) && written.contains("Europe/Berlin"), "{written}");
    owner::done(state.path(), &["config", "check"]);
    let beside = leftovers(state.path());

    let second = report(&setup(state.path(), &[zone], &["--yes", "--json"]));
    assert_eq!((&second["model"], &second["config"]["written"]), (&first["model"], &json!(false)), "{second}");
    assert_eq!((&second["undo"], config(state.path())), (&json!([]), Some(written)));
    assert_eq!(leftovers(state.path()), beside);

    // What it calls ready answers when it is started.
    let kernel = Kernel::start_in(state, KernelOptions::default());
    assert!(!kernel.say("after", "Say hello.").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_is_found_where_its_own_variable_says_and_comes_before_a_key() {
    let server = peer!("aimock", peers::aimock(&hello(), &[]));
    let state = fresh();
    // Ollama's way to write an address; a key of a cloud service lies beside it.
    let host = server.base.trim_start_matches("http://");
    let variables = [("OLLAMA_HOST", host), ("ANTHROPIC_API_KEY", KEY)];
    let out = setup(state.path(), &variables, &["--yes", "--json"]);
    let first = report(&out);
    assert!(first["model"].as_str().unwrap().starts_with("ollama/"), "{first}");
    assert!(config(state.path()).unwrap().contains(&server.base), "{:?}", config(state.path()));
    let names: Vec<_> = first["found"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(names.iter().any(|n| n.starts_with("anthropic/")), "{names:?}");
    assert!(!said(&out).contains(KEY) && secrets(state.path()).is_empty(), "{}", said(&out));
    let second = report(&setup(state.path(), &[], &["--yes", "--json"]));
    assert_eq!((&second["model"], &second["config"]["written"]), (&first["model"], &json!(false)), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_environment_is_sealed_and_shown_nowhere() {
    let server = peer!("aimock", peers::aimock_that_wants(Some(KEY), &hello(), &[]));
    let state = fresh();
    let base = format!("{}/v1", server.base);
    let named = [("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", KEY)];
    let out = setup(state.path(), &named, &["--yes", "--json", "--model", "openai/gpt-mock"]);
    let first = report(&out);
    assert!(!said(&out).contains(KEY), "{}", said(&out));
    assert!(first["undo"].to_string().contains("carapace secrets rm api-key --instance local/openai/main"), "{first}");
    assert_eq!(secrets(state.path()), ["local/openai/main/api-key"]);
    no_file_holds(state.path(), KEY);

    // From a terminal without the variables: the address is in the file, the key in the store.
    let second = report(&setup(state.path(), &[], &["--yes", "--json"]));
    assert_eq!((&second["config"]["written"], &second["undo"]), (&json!(false), &json!([])), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_is_told_and_nothing_of_it_is_kept() {
    let server = peer!("aimock", peers::aimock_that_wants(Some(KEY), &hello(), &[]));
    let state = fresh();
    let base = format!("{}/v1", server.base);
    let named = [("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", WRONG)];
    let out = setup(state.path(), &named, &["--yes", "--model", "openai/gpt-mock"]);
    assert!(!out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("openai/gpt-mock") && said(&out).contains("key"), "{}", said(&out));
    assert!(!said(&out).contains(WRONG), "{}", said(&out));
    assert_eq!((config(state.path()), secrets(state.path()).len()), (None, 0));
    assert!(leftovers(state.path()).is_empty(), "{:?}", leftovers(state.path()));
    no_file_holds(state.path(), WRONG);
}

#[test]
fn a_broken_configuration_is_named_and_left_as_it_is() {
    let state = fresh();
    let broken = "{ agent: { maxTurn: 3 } } // mine\n";
    std::fs::write(state.path().join("carapace.json5"), broken).unwrap();
    let out = setup(state.path(), &[], &["--yes", "--server", &peers::nowhere()]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("maxTurns"), "{}", said(&out));
    assert_eq!(config(state.path()).as_deref(), Some(broken));
    assert!(leftovers(state.path()).is_empty(), "{:?}", leftovers(state.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_wrote_stays_and_the_file_before_is_kept() {
    let server = peer!("aimock", peers::aimock(&hello(), &[]));
    let state = fresh();
    let mine = "// My own file.\n{\n  agent: { maxTurns: +5, /* enough */ },\n  budget: { dailyUsd: .5 }, // poor\n}\n";
    std::fs::write(state.path().join("carapace.json5"), mine).unwrap();
    let more = ["--yes", "--json", "--server", &server.base, "--model", "openai:server/gpt-mock"];
    let first = report(&setup(state.path(), &[], &more));
    let now = config(state.path()).unwrap();
    for kept in ["// My own file.", "maxTurns: +5,", "/* enough */", "budget: { dailyUsd: .5 }, // poor", "gpt-mock"] {
        assert!(now.contains(kept), "{kept} is gone:\n{now}");
    }
    let backup = first["config"]["backup"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(backup).unwrap(), mine);
    assert!(first["undo"].to_string().contains(backup), "{first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_assistant_is_asked_and_not_disturbed() {
    let server = peer!("aimock", peers::aimock(&hello(), &[]));
    let other = peer!("aimock", peers::aimock(&hello(), &[]));
    let kernel = Kernel::start(
        KernelOptions::openai(&format!("{}/v1", server.base))
            .with_config("{ agent: { route: [\"openai/gpt-mock\"] } }"),
    );
    let before = config(kernel.state());
    let out = kernel.cli(&["setup", "--yes", "--json"]);
    assert_eq!(report(&out)["model"], "openai/gpt-mock", "{}", said(&out));
    let out = kernel.cli(&["setup", "--yes", "--server", &other.base, "--model", "openai:server/gpt-mock"]);
    assert!(!out.status.success() && said(&out).contains("carapace stop"), "{}", said(&out));
    assert_eq!(config(kernel.state()), before);
    assert_eq!(kernel.say("after", "Say hello.").await, "Hello there.");
}

/// A person at a terminal, who types these answers; what the terminal showed, and the exit code.
fn typed(state: &Path, variables: &[(&str, &str)], more: &[&str], answers: &[(&str, &str)]) -> (String, i32) {
    let mut setup = command(state, &env(variables));
    setup.args(["setup", "--bundle"]).arg(state.join("bundle")).args(more);
    let out = peers::at_a_terminal(&setup, &json!(answers)).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    let (screen, code) = shown.trim_end().rsplit_once('\n').unwrap();
    (screen.to_owned(), code.parse().unwrap())
}

/// How often a person was asked for something.
fn questions(screen: &str) -> usize {
    ["[Y/n]", "[y/N]", "provider/model [", "Enter alone stops"].iter().map(|q| screen.matches(q).count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_four_questions_at_most_and_enter_answers_them() {
    let server = peer!("aimock", peers::aimock(&hello(), &[]));
    let state = fresh();
    let answers =
        [("Grant this?", ""), ("Which model", "openai:server/gpt-mock"), ("Grant this?", ""), ("Start it", "n")];
    let (screen, code) = typed(state.path(), &[], &["--server", &server.base], &answers);
    assert_eq!((code, questions(&screen)), (0, 4), "{screen}");
    assert!(screen.contains("openai:server/gpt-mock answered: "), "{screen}");
    assert!(config(state.path()).unwrap().contains("openai:server/gpt-mock"));

    // Again, with nothing but Enter: it is kept as it is, and only the start is asked about.
    let (screen, code) = typed(state.path(), &[], &[], &[("Which model", ""), ("Start it", "n")]);
    assert_eq!((code, questions(&screen)), (0, 2), "{screen}");
    assert!(screen.contains("No file was changed."), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_typed_is_not_shown() {
    let server = peer!("aimock", peers::aimock_that_wants(Some(KEY), &hello(), &[]));
    let state = fresh();
    let file = json!({"instances": {"openai": {"endpoints": {"api": format!("{}/v1", server.base)}}}});
    std::fs::write(state.path().join("carapace.json5"), file.to_string()).unwrap();
    let answers =
        [("Grant this?", ""), ("Which model", "openai/gpt-mock"), ("Enter alone stops", KEY), ("Start it", "n")];
    let (screen, code) = typed(state.path(), &[], &[], &answers);
    assert_eq!((code, questions(&screen)), (0, 4), "{screen}");
    assert!(!screen.contains(KEY), "{screen}");
    assert_eq!(secrets(state.path()), ["local/openai/main/api-key"]);
    no_file_holds(state.path(), KEY);
}

#[test]
fn who_stops_in_the_middle_changed_nothing() {
    let state = fresh();
    // The end of the input, at the first question after the consent.
    let (screen, code) =
        typed(state.path(), &[("OPENAI_API_KEY", KEY)], &[], &[("Grant this?", ""), ("Which model", "\u{4}")]);
    assert_eq!((code, config(state.path())), (130, None), "{screen}");
    assert!(secrets(state.path()).is_empty());
}

/// Whatever is said, the answer is `Hello there.`
fn hello() -> Value {
    let mut fixtures = script(&[]);
    fixtures
        .as_array_mut()
        .unwrap()
        .push(json!({"match": {"userMessage": "hello"}, "response": {"content": "Hello there."}}));
    fixtures
}

fn findings(out: &Output) -> Vec<Value> {
    serde_json::from_slice::<Value>(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", said(out)))
        .as_array()
        .unwrap()
        .clone()
}

fn doctor(state: &Path, variables: &[(&str, &str)]) -> (Vec<Value>, Option<i32>) {
    let mut command = command(state, &env(variables));
    command.args(["doctor", "--json", "--bundle"]).arg(state.join("bundle"));
    let out = command.stdin(Stdio::null()).output().unwrap();
    (findings(&out), out.status.code())
}

#[track_caller]
fn found<'a>(findings: &'a [Value], id: &str) -> &'a Value {
    findings.iter().find(|f| f["id"] == id).unwrap_or_else(|| panic!("no {id} in {findings:?}"))
}

#[test]
fn before_the_first_start_there_are_only_hints() {
    let state = fresh();
    let free = "{ gateway: { port: 0 } }";
    std::fs::write(state.path().join("carapace.json5"), free).unwrap();
    let (findings, code) = doctor(state.path(), &[]);
    assert_eq!(code, Some(0), "{findings:?}");
    assert_eq!(found(&findings, "public-allow")["level"], "ok");
    for id in ["running", "grants", "model"] {
        let finding = found(&findings, id);
        assert_eq!((&finding["level"], &finding["ok"]), (&json!("hint"), &json!(false)), "{finding}");
        assert!(finding["fix"].as_str().unwrap().contains("carapace"), "{finding}");
    }
    for id in ["config", "state-private", "bundle", "publishers", "port", "disk", "clock"] {
        assert_eq!(found(&findings, id)["level"], "ok", "{findings:?}");
    }
}

#[test]
fn a_broken_configuration_is_a_finding_and_not_the_end_of_them() {
    let state = fresh();
    std::fs::write(state.path().join("carapace.json5"), "{ agent: { maxTurn: 3 }, gateway: { port: 0 } }").unwrap();
    let (findings, code) = doctor(state.path(), &[]);
    let finding = found(&findings, "config");
    assert_eq!((code, &finding["level"]), (Some(1), &json!("wrong")), "{findings:?}");
    assert!(finding["fix"].as_str().unwrap().contains("maxTurns"), "the nearest key is named: {finding}");
    assert!(findings.len() > 8, "{findings:?}");
}

#[test]
fn what_is_opened_to_public_fetches_is_a_hint() {
    let state = fresh();
    let config = json!({"gateway": {"port": 0}, "instances": {"web": {"publicAllow": ["127.0.0.1:8080"]}}});
    std::fs::write(state.path().join("carapace.json5"), config.to_string()).unwrap();
    let (findings, code) = doctor(state.path(), &[]);
    let finding = found(&findings, "public-allow");
    assert_eq!((code, &finding["level"]), (Some(0), &json!("hint")), "{finding}");
    assert!(finding["problem"].as_str().unwrap().contains("`127.0.0.1:8080`"), "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("instances.\"web\".publicAllow"), "{finding}");
}

#[cfg(unix)]
#[test]
fn what_others_can_read_is_named_with_the_command_that_closes_it() {
    use std::os::unix::fs::PermissionsExt;
    let state = fresh();
    let key = state.path().join("keys/local.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (findings, code) = doctor(state.path(), &[]);
    let finding = found(&findings, "state-private");
    assert_eq!((code, &finding["fix"]), (Some(1), &json!(format!("chmod 600 {}", key.display()))), "{finding}");
}

#[test]
fn a_port_that_is_taken_and_a_bundle_that_nobody_signed_are_found() {
    let state = fresh();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(state.path().join("carapace.json5"), json!({"gateway": {"port": port}}).to_string()).unwrap();
    std::fs::remove_file(state.path().join("bundle/openai.sigstore.json")).unwrap();
    let (findings, code) = doctor(state.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(found(&findings, "port")["problem"].as_str().unwrap().contains(&port.to_string()), "{findings:?}");
    let bundle = found(&findings, "bundle");
    assert!(bundle["problem"].as_str().unwrap().contains("openai.wasm has no signature"), "{bundle}");
    assert!(bundle["fix"].as_str().unwrap().starts_with("carapace plugin sign"), "{bundle}");
}
