//! What the owner does at the command line.

use crate::kernel::{command, signed_bundle};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};

/// Runs a command on a state directory.
pub fn cli(state: &Path, args: &[&str]) -> Output {
    with_input(state, args, "")
}

/// Runs a command and types `input`.
pub fn with_input(state: &Path, args: &[&str], input: &str) -> Output {
    let mut command = command(state, &[]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing closes its end first.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a command that must succeed; its standard output.
pub fn done(state: &Path, args: &[&str]) -> String {
    succeeded(args, cli(state, args))
}

/// Stores a secret.
pub fn set_secret(state: &Path, name: &str, instance: &str, value: &str) {
    let args = ["secrets", "set", name, "--instance", instance];
    succeeded(&args, with_input(state, &args, value));
}

fn succeeded(args: &[&str], out: Output) -> String {
    assert!(
        out.status.success(),
        "{args:?} ended with {}: {}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Runs `carapace start` on the state directory's own bundle, which must fail; what it printed.
pub fn start_fails(state: &Path, more: &[&str]) -> Output {
    let bundle = signed_bundle(state, &[]);
    let mut command = command(state, &[]);
    command.args(["start", "--json", "--port", "0", "--bundle"]).arg(bundle).args(more);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if line.contains("\"ready\":true") {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it started: {line}");
        }
        printed.extend_from_slice(line.as_bytes());
        printed.push(b'\n');
    }
    let out = child.wait_with_output().unwrap();
    assert!(!out.status.success());
    Output { stdout: printed, ..out }
}

/// The error that a failed `--json` command printed as its last line; panics if there is none.
pub fn error(out: &Output) -> Value {
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.trim().lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last)
        .unwrap_or_else(|e| panic!("no error ({e}): {text}{}", String::from_utf8_lossy(&out.stderr)));
    assert!(value["error"].is_object(), "{value}");
    value["error"].clone()
}
