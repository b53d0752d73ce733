//! What an owner agreed to is what is granted: no more, no other thing, and for no other publisher.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_contract::manifest::Manifest;
use carapace_registry::testing;
use carapace_tests::components::{manifest, wat};
use carapace_tests::gadget::{all, call, control, file, gadget, listed, stage, version};
use carapace_tests::kernel::command;
use carapace_tests::owner::{self, error};
use carapace_tests::{Kernel, gadget_kernel, peers};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_brings_no_yes_grants_nothing() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (path, digest) = file(state, dir.path(), "gadget", &gadget("0.1.0", wat::ECHO, "", ""));
    let staged = stage(state, &path, &digest);
    let ask = async |more: Value| {
        let mut request = json!({ "do": "package-bring", "stage": staged.id, "digest": digest });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        control(&kernel, request).await
    };
    let (status, answer) = ask(json!({})).await;
    assert!(status >= 400 && answer.to_string().contains("E-GRANT-012"), "{status}: {answer}");
    // A yes to something else is none.
    let (status, answer) = ask(json!({ "shown": digest })).await;
    assert!(status >= 400 && answer.to_string().contains("E-GRANT-011"), "{status}: {answer}");
    assert!(listed(state).is_none());
    let shown = json!({ "do": "package-show", "stage": staged.id, "digest": digest });
    let shown = control(&kernel, shown).await.1["shown"].clone();
    // A stage is a name, and never a way; and it holds what was shown.
    let (status, answer) = ask(json!({ "shown": shown, "stage": "../../bundle" })).await;
    assert!(status >= 400 && listed(state).is_none(), "{status}: {answer}");
    let (status, answer) = ask(json!({ "shown": shown, "digest": Digest::of(b"another") })).await;
    assert!(status >= 400 && answer.to_string().contains("E-TRUST-007"), "{status}: {answer}");
    let (status, answer) = ask(json!({ "shown": shown })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(version(state), "0.1.0");
    let place = staged.signature.clone();
    assert!(place.exists(), "what a command still holds is not swept");
    drop(staged);
    owner::done(state, &["plugin", "uninstall", "gadget", "--yes"]);
    assert!(!place.exists(), "and what nobody holds is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_counts_only_for_what_was_shown() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let optional = "[kv]\noptional = true\n";
    let (first, digest) = file(state, dir.path(), "first", &gadget("0.1.0", wat::KV, "\"kv\"", optional));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    let (second, grown) = file(
        state,
        dir.path(),
        "second",
        &gadget("0.2.0", wat::KV, "\"kv\", \"memory\"", &format!("{optional}[memory]\noptional = true\n")),
    );
    let staged = stage(state, &second, &grown);
    let request = |what: &str| json!({ "do": what, "stage": staged.id, "digest": grown });
    let show = || control(&kernel, request("package-show"));
    let bring = |shown: &Value| {
        let mut request = request("package-bring");
        request["shown"] = shown.clone();
        control(&kernel, request)
    };
    let (_, shown) = show().await;
    assert_eq!(shown["optional"][0]["capability"], "memory", "{shown}");
    assert_eq!(shown["shown"], show().await.1["shown"], "the same twice, if nothing changed");

    // The grant changed; another version came; the publisher is another one.
    owner::done(state, &["plugin", "revoke", "gadget", "kv"]);
    let (status, answer) = bring(&shown["shown"]).await;
    assert!(status >= 400 && answer["error"]["code"] == "E-GRANT-011", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("look again"), "{answer}");
    let (_, shown) = show().await;
    let (between, other) = file(state, dir.path(), "between", &gadget("0.1.5", wat::KV, "\"kv\"", optional));
    owner::done(state, &["plugin", "update", "gadget", &between, "--accept", &other]);
    assert_eq!(bring(&shown["shown"]).await.1["error"]["code"], "E-GRANT-011");
    let (_, shown) = show().await;
    let key = testing::key(6);
    owner::done(state, &["publisher", "remove", "local"]);
    owner::done(state, &["publisher", "add", "local", &key.public().to_string()]);
    let by_another = carapace_registry::package::sign(&std::fs::read(&second).unwrap(), &key).unwrap();
    std::fs::write(&staged.signature, by_another).unwrap();
    assert_eq!(bring(&shown["shown"]).await.1["error"]["code"], "E-GRANT-011");
    assert_eq!(listed(state).unwrap()["version"], "", "stopped, and not replaced");
    let (_, shown) = show().await;
    assert!(shown["new"] == true && shown["warnings"].to_string().contains("another publisher"), "{shown}");
    let (status, answer) = bring(&shown["shown"]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(version(state), "0.2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_capability_is_refused_given_and_taken_back_alone() {
    let (mut kernel, _model) = gadget_kernel!();
    let dir = tempfile::tempdir().unwrap();
    let optional = "[kv]\noptional = true\n";
    let (first, digest) = file(kernel.state(), dir.path(), "first", &gadget("0.1.0", wat::KV, "\"kv\"", optional));
    let accept = ["plugin", "install", &first, "--accept", &digest];
    let out = kernel.cli(&[&accept[..], &["--without", "memory", "--json"]].concat());
    assert_eq!(error(&out)["code"], "E-GRANT-014", "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains("kv"), "{}", all(&out));
    owner::done(kernel.state(), &[&accept[..], &["--without", "kv"]].concat());
    let is_refused = async |kernel: &Kernel, session: &str| {
        let (content, is_error) = call(kernel, session).await;
        assert!(is_error && content.contains("carapace plugin grant local/gadget/main kv"), "{content}");
    };
    is_refused(&kernel, "refused").await;
    let grants = owner::done(kernel.state(), &["plugin", "grants", "gadget"]);
    assert!(grants.contains("refused: kv") && !grants.contains("keeps up to"), "{grants}");
    // It stays refused in the next version, without a question, and after a restart.
    let (second, _) = file(kernel.state(), dir.path(), "second", &gadget("0.2.0", wat::KV, "\"kv\"", optional));
    owner::done(kernel.state(), &["plugin", "update", "gadget", &second]);
    is_refused(&kernel, "updated").await;
    kernel.restart();
    is_refused(&kernel, "restarted").await;

    let out = kernel.cli(&["plugin", "grant", "gadget", "kv"]);
    assert_eq!(out.status.code(), Some(5), "read first: {}", all(&out));
    assert!(all(&out).contains("data of its own"), "{}", all(&out));
    owner::done(kernel.state(), &["plugin", "grant", "gadget", "kv", "--yes"]);
    assert!(!call(&kernel, "given").await.1);
    owner::done(kernel.state(), &["plugin", "revoke", "gadget", "kv"]);
    is_refused(&kernel, "taken").await;
    // Going back does not give it back, although that version was granted it.
    owner::done(kernel.state(), &["plugin", "rollback", "gadget"]);
    assert_eq!(version(kernel.state()), "0.1.0");
    is_refused(&kernel, "rolled-back").await;
    owner::done(kernel.state(), &["plugin", "grant", "gadget", "kv", "--yes"]);
    assert!(!call(&kernel, "given-again").await.1);
    // For one call, and for a while; neither is left after a restart.
    owner::done(kernel.state(), &["plugin", "revoke", "gadget", "kv"]);
    owner::done(kernel.state(), &["plugin", "grant", "gadget", "kv", "--once", "--yes"]);
    let grants = owner::done(kernel.state(), &["plugin", "grants", "gadget"]);
    assert!(grants.contains("granted for the next call: kv") && grants.contains("refused: kv"), "{grants}");
    assert!(!call(&kernel, "once").await.1);
    is_refused(&kernel, "twice").await;
    owner::done(kernel.state(), &["plugin", "grant", "gadget", "kv", "--for", "1h", "--yes"]);
    assert!(!call(&kernel, "for-a-while").await.1 && !call(&kernel, "still").await.1);
    kernel.restart();
    is_refused(&kernel, "after-a-restart").await;
    let out = kernel.cli(&["plugin", "revoke", "gadget", "limits"]);
    assert!(all(&out).contains("E-GRANT-014"), "{}", all(&out));
    owner::done(kernel.state(), &["audit", "verify"]);
}

#[test]
fn at_a_terminal_each_optional_capability_is_asked_about_and_enter_alone_refuses_it() {
    let state = tempfile::tempdir().unwrap();
    let (state, dir) = (state.path(), tempfile::tempdir().unwrap());
    let more = "[kv]\noptional = true\n[memory]\noptional = true\n";
    let (path, _) = file(state, dir.path(), "gadget", &gadget("0.1.0", wat::KV, "\"kv\", \"memory\"", more));
    let answers = json!([["Grant this?", "y"], ["Optional, `kv`", "y"], ["Optional, `memory`", ""]]);
    let mut install = command(state, &[]);
    install.args(["plugin", "install", &path]);
    let out = peers::at_a_terminal(&install, &answers).output().unwrap();
    assert!(out.status.success() && all(&out).contains("is installed"), "{}", all(&out));
    assert!(all(&out).contains("(optional: memory)"), "{}", all(&out));
    let grants = owner::done(state, &["plugin", "grants", "gadget"]);
    assert!(grants.contains("optional, and granted: kv") && grants.contains("refused: memory"), "{grants}");
    // Without a kernel, too, what was refused is given by its name, and nothing is granted for a while.
    let out = owner::cli(state, &["plugin", "grant", "gadget", "memory", "--once", "--yes"]);
    assert_eq!(out.status.code(), Some(4), "{}", all(&out));
    owner::done(state, &["plugin", "grant", "gadget", "memory", "--yes"]);
    let grants = owner::done(state, &["plugin", "grants", "gadget"]);
    assert!(grants.contains("optional, and granted: kv, memory") && !grants.contains("refused"), "{grants}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_needs_what_was_taken_back_returns_only_with_a_yes() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (first, digest) = file(state, dir.path(), "first", &gadget("0.1.0", wat::KV, "\"kv\"", "[kv]\n"));
    let (second, _) = file(state, dir.path(), "second", &gadget("0.2.0", wat::KV, "\"kv\"", "[kv]\noptional = true\n"));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    owner::done(state, &["plugin", "update", "gadget", &second]);
    owner::done(state, &["plugin", "revoke", "gadget", "kv"]);
    let out = kernel.cli(&["plugin", "rollback", "gadget"]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(all(&out).contains("you took it back since") && all(&out).contains(&digest), "{}", all(&out));
    let (status, answer) = control(&kernel, json!({ "do": "package-rollback", "component": "local/gadget" })).await;
    assert!(status >= 400 && answer["error"]["code"] == "E-GRANT-012", "{answer}");
    assert_eq!(version(state), "0.2.0");
    owner::done(state, &["plugin", "rollback", "gadget", "--accept", &digest]);
    assert_eq!((version(state).as_str(), call(&kernel, "back").await.1), ("0.1.0", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_capability_that_is_taken_back_ends_at_the_next_host_call_of_a_call_in_flight() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let more = "[kv]\noptional = true\n[limits]\nwall-per-call = \"120s\"\n";
    let (path, digest) = file(state, dir.path(), "gadget", &gadget("0.1.0", wat::KV_TWICE, "\"kv\"", more));
    owner::done(state, &["plugin", "install", &path, "--accept", &digest]);
    let ((content, is_error), ()) = tokio::join!(call(&kernel, "in-flight"), async {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !kernel.log().contains("the first look ok") {
            assert!(Instant::now() < deadline, "{}", kernel.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        owner::done(state, &["plugin", "revoke", "gadget", "kv"]);
    });
    assert!(is_error && content.contains("[E-GRANT-002]"), "{content}");
    assert!(content.contains("carapace plugin grant local/gadget/main kv"), "{content}");
    assert_eq!(listed(state).unwrap()["state"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_replaced_is_stopped_by_the_deny_list_while_it_runs_and_its_successor_goes_on() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let more = "[kv]\n[limits]\nwall-per-call = \"120s\"\n";
    let (first, digest) = file(state, dir.path(), "first", &gadget("0.1.0", wat::KV_TWICE, "\"kv\"", more));
    let (second, _) = file(state, dir.path(), "second", &gadget("0.2.0", wat::KV, "\"kv\"", more));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let public = owner::done(state, &["plugin", "keygen", "--out", &at("deny.key")]);
    owner::done(state, &["publisher", "pin-deny-key", public.trim()]);
    let list = ["--key", &at("deny.key"), "--out", &at("list.json"), "--list-version", "1", "--digest", &digest];
    owner::done(state, &[&["plugin", "deny-list"], &list[..]].concat());
    let ((content, is_error), ()) = tokio::join!(call(&kernel, "in-flight"), async {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !kernel.log().contains("the first look ok") {
            assert!(Instant::now() < deadline, "{}", kernel.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        owner::done(state, &["plugin", "update", "gadget", &second]);
        let printed = owner::done(state, &["publisher", "deny", &at("list.json")]);
        assert!(printed.contains("local/gadget/main") && printed.contains("E-TRUST-011"), "{printed}");
    });
    assert!(is_error && content.contains("[E-TRUST-011]"), "{content}");
    assert!(!call(&kernel, "after").await.1);
    assert_eq!((version(state).as_str(), listed(state).unwrap()["state"].as_str()), ("0.2.0", Some("ready")));
    // Nor does it come back.
    let out = kernel.cli(&["plugin", "rollback", "gadget", "--json"]);
    assert_eq!(error(&out)["code"], "E-TRUST-011", "{}", all(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_pinned_anew_with_another_key_inherits_nothing() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (old, new) = (testing::key(6), testing::key(7));
    let secret = "[kv]\n[secrets.token]\nprompt = \"a token\"\nhmac = true\n";
    let signed = |version: &str, key: &carapace_registry::SigningKey| {
        let package = gadget(version, wat::KV, "\"kv\"", secret);
        let text = manifest("gadget", version, &format!("[[tool]]\nname = \"gadget\"\nuses = [\"kv\"]\n{secret}"));
        let file = dir.path().join(format!("{version}.wasm"));
        std::fs::write(&file, &package).unwrap();
        let bundle = testing::bundle_for(&package, &Manifest::parse(&text).unwrap(), key);
        std::fs::write(file.with_extension("sigstore.json"), bundle).unwrap();
        (file.to_str().unwrap().to_owned(), Digest::of(&package).to_string())
    };
    let pin = |key: &carapace_registry::SigningKey| {
        owner::done(state, &["publisher", "add", "maker", &key.public().to_string()]);
    };
    let secrets = || owner::done(state, &["secrets", "list"]);
    pin(&old);
    let (first, digest) = signed("0.1.0", &old);
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    owner::set_secret(state, "token", "maker/gadget", "a-secret-of-the-first");
    assert!(secrets().contains("maker/gadget/main/token"));

    owner::done(state, &["publisher", "remove", "maker"]);
    pin(&new);
    let (second, other) = signed("0.2.0", &new);
    // The same request by the same name: asked in full, and told.
    let out = kernel.cli(&["plugin", "update", "maker/gadget", &second]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(all(&out).contains("It asks to:") && all(&out).contains("another publisher"), "{}", all(&out));
    assert!(secrets().contains("maker/gadget/main/token"), "nothing is deleted before the owner agrees");
    owner::done(state, &["plugin", "update", "maker/gadget", &second, "--accept", &other]);
    assert!(!secrets().contains("maker/gadget/main/token"), "{}", secrets());
    let grants = owner::done(state, &["plugin", "grants", "maker/gadget"]);
    assert!(grants.contains("maker/gadget/main"), "{grants}");

    // Also of what is uninstalled, and kept its data.
    owner::set_secret(state, "token", "maker/gadget", "a-secret-of-the-second");
    owner::done(state, &["plugin", "uninstall", "maker/gadget", "--yes"]);
    owner::done(state, &["publisher", "remove", "maker"]);
    pin(&old);
    let (third, digest) = signed("0.3.0", &old);
    owner::done(state, &["plugin", "install", &third, "--accept", &digest]);
    assert!(!secrets().contains("maker/gadget/main/token"), "{}", secrets());

    // The very package that is installed, signed by another one under its name: it is not loaded on the old grant.
    owner::done(state, &["publisher", "remove", "maker"]);
    pin(&new);
    let (again, _) = signed("0.3.0", &new);
    let signature = format!("packages/{}.maker.sigstore.json", digest.trim_start_matches("sha256:"));
    assert!(state.join(&signature).is_file());
    std::fs::copy(Path::new(&again).with_extension("sigstore.json"), state.join(signature)).unwrap();
    let mut kernel = kernel;
    kernel.restart();
    let list = kernel.cli_json(&["plugin", "list", "--json"]);
    let found = list.as_array().unwrap().iter().find(|i| i["instance"] == "maker/gadget/main").unwrap();
    assert!(found["state"].as_str().unwrap().contains("E-GRANT-007"), "{found}");
    let out = kernel.cli(&["plugin", "grant", "maker/gadget"]);
    assert!(all(&out).contains("never granted") && all(&out).contains("another publisher"), "{}", all(&out));
    owner::done(kernel.state(), &["plugin", "grant", "maker/gadget", "--yes"]);
    let list = kernel.cli_json(&["plugin", "list", "--json"]);
    let found = list.as_array().unwrap().iter().find(|i| i["instance"] == "maker/gadget/main").unwrap();
    assert_eq!(found["state"], "ready", "{found}");
}
