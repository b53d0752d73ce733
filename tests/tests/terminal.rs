//! A conversation in the terminal in which the assistant was started, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]

use carapace_tests::kernel::{command, private_bundle};
use carapace_tests::{KernelOptions, peers};
use serde_json::{Value, json};

/// What the terminal showed, whether it was left as it was found, and the exit code.
fn started(person: &Value) -> (String, String, i32) {
    let state = tempfile::tempdir().unwrap();
    let options = KernelOptions::openai("http://127.0.0.1:2");
    let bundle = private_bundle(state.path(), &options);
    let mut start = command(state.path(), &options.env);
    start.env("TERM", "xterm").args(["start", "--accept-bundled", "--port", "0", "--bundle"]).arg(bundle);
    let out = peers::at_a_terminal(&start, person).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{shown}{}", String::from_utf8_lossy(&out.stderr));
    let (rest, code) = shown.trim_end().rsplit_once('\n').unwrap();
    let (screen, left) = rest.rsplit_once('\n').unwrap();
    assert!(!state.path().join("run.json").exists(), "it has not said that it ended: {screen}");
    (screen.to_owned(), left.to_owned(), code.parse().unwrap())
}

#[test]
fn who_closes_the_terminal_ends_the_assistant_that_was_started_in_it() {
    let (_, _, code) = started(&json!([["Ctrl-D ends.", null], ["you", { "close": true }]]));
    assert_eq!(code, 0);
}

#[test]
fn an_assistant_that_is_told_to_end_waits_for_no_key_and_leaves_the_terminal_as_it_was() {
    let (screen, left, code) = started(&json!([["Ctrl-D ends.", null], ["you", { "signal": 15 }]]));
    assert!(screen.contains("Stopping"), "{screen}");
    assert_eq!((left.as_str(), code), ("cooked", 0));
}

#[test]
fn who_types_the_end_ends_it() {
    let (screen, left, code) = started(&json!([["Ctrl-D ends.", null], ["you", "/quit\r"]]));
    assert!(screen.contains("Stopping"), "{screen}");
    assert_eq!((left.as_str(), code), ("cooked", 0));
}
