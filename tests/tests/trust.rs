//! Who may run what: signatures, publishers, versions, the deny-list, compiled artefacts, grants, and what the owner is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_contract::Digest;
use carapace_registry::deny::{self, DenyContent};
use carapace_registry::{DenyList, testing};
use carapace_tests::components::{manifest, pack, tool, tool_package, wat};
use carapace_tests::kernel::signed_bundle;
use carapace_tests::owner::{self, error};
use carapace_tests::turns::{DONE, script};
use carapace_tests::{Kernel, KernelOptions, peer, peers};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// A small tool `gadget` of that version.
fn gadget(version: &str, uses: &str, more: &str) -> Vec<u8> {
    let text = manifest("gadget", version, &format!("[[tool]]\nname = \"gadget\"\nuses = [{uses}]\n{more}"));
    pack(&tool(wat::ECHO, &["gadget"]), &text)
}

/// Puts a package into the state directory's bundle, signed by its local publisher.
fn bundle_has(state: &Path, name: &str, package: &[u8]) -> PathBuf {
    let file = signed_bundle(state, &[]).join(format!("{name}.wasm"));
    std::fs::write(&file, package).unwrap();
    owner::done(state, &["plugin", "sign", file.to_str().unwrap()]);
    file
}

fn all(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The state of an instance as `plugin list` shows it.
fn state_of(state: &Path, instance: &str) -> Option<String> {
    let list: Value = serde_json::from_str(&owner::done(state, &["plugin", "list", "--json"])).unwrap();
    let found = list.as_array().unwrap().iter().find(|i| i["instance"] == instance)?;
    Some(found["state"].as_str().unwrap().to_owned())
}

/// Changes the first occurrence of `from` in a file.
fn tamper(file: &Path, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap_or_else(|| panic!("not in {}", file.display()));
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(file, bytes).unwrap();
}

/// Flips a bit in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn with_extension(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let found: Vec<_> = files.filter(|p| p.extension().is_some_and(|x| x == extension)).collect();
    assert!(!found.is_empty(), "no .{extension} in {}", dir.display());
    found
}

#[test]
fn whatever_is_changed_after_signing_is_noticed_and_named() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path();
    let file = bundle_has(state, "gadget", &gadget("0.1.0", "", ""));
    let file_name = file.to_str().unwrap();
    let signature = file.with_extension("sigstore.json");
    let (package, bundle) = (std::fs::read(&file).unwrap(), std::fs::read_to_string(&signature).unwrap());
    let shown: Value = serde_json::from_str(&owner::done(state, &["plugin", "verify", "--json", file_name])).unwrap();
    assert_eq!((&shown["verified"], &shown["component"]), (&json!(true), &json!("local/gadget")));
    assert_eq!(shown["digest"], Digest::of(&package).to_string());
    let refused = |code: &str, what: &str| {
        let out = owner::cli(state, &["plugin", "verify", "--json", file_name]);
        assert_eq!(out.status.code(), Some(3), "{what}: {}", all(&out));
        let error = error(&out);
        assert_eq!(error["code"], code, "{what}: {error}");
        std::fs::write(&file, &package).unwrap();
        std::fs::write(&signature, &bundle).unwrap();
        error["help"].as_str().unwrap_or_default().to_owned()
    };

    damage(&file);
    assert!(refused("E-TRUST-007", "the code").contains("again"));
    tamper(&file, b"version = \"0.1.0\"", b"version = \"0.9.0\"");
    refused("E-TRUST-007", "the manifest");

    let parsed: Value = serde_json::from_str(&bundle).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = parsed.clone();
        change(&mut changed);
        std::fs::write(&signature, changed.to_string()).unwrap();
    };
    with(&|b| {
        let signature = &mut b["dsseEnvelope"]["signatures"][0]["sig"];
        let mut bytes = BASE64.decode(signature.as_str().unwrap()).unwrap();
        bytes[10] ^= 1;
        *signature = json!(BASE64.encode(bytes));
    });
    refused("E-TRUST-005", "the signature");
    with(&|b| {
        let payload = &mut b["dsseEnvelope"]["payload"];
        let text = String::from_utf8(BASE64.decode(payload.as_str().unwrap()).unwrap()).unwrap();
        assert!(text.contains("0.1.0"), "{text}");
        *payload = json!(BASE64.encode(text.replace("0.1.0", "0.2.0")));
    });
    refused("E-TRUST-005", "the statement");
    // A true signature of another package.
    let other = testing::key(3);
    owner::done(state, &["publisher", "add", "other", &other.public().to_string()]);
    let text = manifest("gadget", "0.1.0", "[[tool]]\nname = \"gadget\"\n");
    let kinds = carapace_contract::manifest::Manifest::parse(&text).unwrap();
    std::fs::write(&signature, testing::bundle_for(b"another package", &kinds, &other)).unwrap();
    refused("E-TRUST-007", "another package's signature");
    std::fs::write(&signature, "{}").unwrap();
    refused("E-TRUST-002", "no bundle at all");
    std::fs::remove_file(&signature).unwrap();
    let out = owner::cli(state, &["plugin", "verify", file_name]);
    assert_eq!(out.status.code(), Some(3));
    assert!(all(&out).contains("carapace plugin sign"), "{}", all(&out));
    std::fs::write(&signature, &bundle).unwrap();

    // Nobody knows this key; pinned, it is trusted; forgotten, it is not any more.
    let stranger = testing::key(4);
    std::fs::write(&signature, testing::bundle_for(&package, &kinds, &stranger)).unwrap();
    let verify = || owner::cli(state, &["plugin", "verify", "--json", file_name]);
    let unknown = error(&verify());
    assert_eq!(unknown["code"], "E-TRUST-003", "{unknown}");
    assert!(unknown["help"].as_str().unwrap().contains("carapace publisher add"), "{unknown}");
    let inspected: Value =
        serde_json::from_str(&owner::done(state, &["plugin", "inspect", "--json", file_name])).unwrap();
    assert_eq!((&inspected["publisher"]["trusted"], &inspected["name"]), (&json!(false), &json!("gadget")));
    owner::done(state, &["publisher", "add", "stranger", &stranger.public().to_string()]);
    let listed: Value = serde_json::from_str(&owner::done(state, &["publisher", "list", "--json"])).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|p| p["id"] == "stranger"), "{listed}");
    assert!(String::from_utf8_lossy(&verify().stdout).contains("stranger/gadget"), "{}", all(&verify()));
    let again = owner::cli(state, &["publisher", "add", "impostor", &stranger.public().to_string()]);
    assert_eq!(again.status.code(), Some(3), "one key for two names: {}", all(&again));
    owner::done(state, &["publisher", "remove", "stranger"]);
    assert_eq!(error(&verify())["code"], "E-TRUST-003");
    let out = owner::cli(state, &["publisher", "add", "Not A Name", &stranger.public().to_string()]);
    assert_eq!(out.status.code(), Some(2), "{}", all(&out));
    std::fs::write(&signature, &bundle).unwrap();
    assert!(verify().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_nothing_is_granted_silently_and_an_update_that_asks_for_more_is_shown() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget"]), &[]));
    let state = tempfile::tempdir().unwrap();
    bundle_has(state.path(), "gadget", &gadget("0.1.0", "", ""));
    let out = owner::start_fails(state.path(), &[]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains("--accept-bundled"), "{}", all(&out));
    for words in ["local/openai", "api.openai.com", "OPENAI_API_KEY", "local/gadget 0.1.0"] {
        assert!(String::from_utf8_lossy(&out.stderr).contains(words), "{words} is not shown: {}", all(&out));
    }
    assert_eq!(state_of(state.path(), "local/gadget/main"), None, "nothing may be installed before it is granted");

    let options = KernelOptions::openai(&format!("{}/v1", model.base));
    let kernel = Kernel::start_in(state, options.clone());
    assert_eq!(kernel.call("gadget").await.result(), ("{}", false));
    // Two kernels would each believe that the state is theirs.
    let out = owner::start_fails(kernel.state(), &["--accept-bundled"]);
    assert_eq!(out.status.code(), Some(1), "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains("carapace stop"), "{}", all(&out));
    assert_eq!(kernel.call("math_eval").await.result(), ("42", false));
    let state = kernel.stop();

    // The same requests in a newer version are no reason to ask; the conversation starts its own kernel, without a word of consent.
    let bundle = signed_bundle(state.path(), &[]);
    let chat = |state: &Path| {
        let env = [("OPENAI_BASE_URL".to_owned(), format!("{}/v1", model.base))];
        let mut c = carapace_tests::kernel::command(state, &env);
        c.args(["chat", "-m", "Are you there?", "--bundle"]).arg(&bundle).output().unwrap()
    };
    bundle_has(state.path(), "gadget", &gadget("0.2.0", "", ""));
    let out = chat(state.path());
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("Yes."), "{}", all(&out));
    // More is.
    bundle_has(state.path(), "gadget", &gadget("0.3.0", "\"kv\"", "[kv]\n"));
    let out = owner::start_fails(state.path(), &[]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    let shown = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(shown.contains("asks for more than you granted before") && shown.contains("kv"), "{shown}");
    assert!(!shown.contains("local/math"), "what did not change is not asked again: {shown}");
    let out = chat(state.path());
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    // A flag in a service's file agreed to what was new then, and to nothing since.
    let out = owner::start_fails(state.path(), &["--accept-bundled"]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains("--accept-growth"), "{}", all(&out));

    let args = vec!["--accept-growth".to_owned()];
    let kernel = Kernel::start_in(state, KernelOptions { args, ..options });
    let list = kernel.cli_json(&["plugin", "list", "--json"]);
    let installed = list.as_array().unwrap().iter().find(|i| i["instance"] == "local/gadget/main").unwrap().clone();
    assert_eq!((&installed["version"], &installed["state"]), (&json!("0.3.0"), &json!("ready")));
    let state = kernel.stop();

    // Back is not a way forward, not even with the flag.
    bundle_has(state.path(), "gadget", &gadget("0.2.9", "", ""));
    let out = owner::start_fails(state.path(), &["--accept-bundled"]);
    assert_eq!((out.status.code(), &error(&out)["code"]), (Some(3), &json!("E-TRUST-012")), "{}", all(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_or_denied_on_the_disk_is_not_run_and_the_rest_is() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget", "time"]), &[]));
    let options = KernelOptions::openai(&format!("{}/v1", model.base))
        .with_package("gadget", gadget("0.1.0", "", ""))
        .with_package("trinket", tool_package("trinket", wat::ECHO, "", ""));
    let mut kernel = Kernel::start(options);
    kernel.still_answers().await;

    // Compiled artefacts are native code: changed, they are thrown away unmapped and made again.
    kernel.kill();
    let aot = kernel.state().join("aot");
    with_extension(&aot, "cwasm").iter().for_each(|f| damage(f));
    kernel.restart();
    kernel.still_answers().await;
    let dropped = |kernel: &Kernel| kernel.log().matches("E-RUNTIME-040").count();
    let first = dropped(&kernel);
    assert_eq!(first, with_extension(&aot, "cwasm").len(), "{}", kernel.log());
    kernel.kill();
    for index in with_extension(&aot, "json") {
        // A well-formed index that the kernel did not write.
        let mut entry: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        entry["mac"] = json!(hex::encode([7; 32]));
        std::fs::write(&index, entry.to_string()).unwrap();
    }
    kernel.restart();
    kernel.still_answers().await;
    assert_eq!(dropped(&kernel), 2 * first, "{}", kernel.log());
    // Untouched, they are used.
    kernel.restart();
    assert_eq!(dropped(&kernel), 2 * first, "{}", kernel.log());

    // An installed package that was changed, and one that the deny-list names.
    kernel.kill();
    let digest = |name: &str| {
        Digest::of(std::fs::read(kernel.state().join("bundle").join(format!("{name}.wasm"))).unwrap().as_slice())
    };
    damage(&kernel.state().join("packages").join(format!("{}.wasm", digest("gadget").hex())));
    let signer = testing::key(8);
    let mut list = DenyList::none();
    list.pin(signer.public()).unwrap();
    let content =
        DenyContent { version: 1, expires_ms: u64::MAX, digests: [digest("trinket")].into(), ..DenyContent::default() };
    list.update(&deny::sign(&content, &signer).unwrap()).unwrap();
    list.save(&kernel.state().join("deny-list.json")).unwrap();
    kernel.restart();
    let gadget = state_of(kernel.state(), "local/gadget/main").unwrap();
    assert!(gadget.contains("[E-TRUST-007]"), "{gadget}");
    let trinket = state_of(kernel.state(), "local/trinket/main").unwrap();
    assert!(trinket.contains("[E-TRUST-011]") && trinket.contains("deny-list"), "{trinket}");
    kernel.still_answers().await;
    let turn = kernel.call("gadget").await;
    assert!(turn.result().0.contains("there is no tool"), "{turn:?}");

    // A deny-list that was changed is never taken for none.
    kernel.kill();
    damage(&kernel.state().join("deny-list.json"));
    let out = owner::start_fails(kernel.state(), &["--accept-bundled"]);
    assert!(all(&out).contains("deny-list"), "{}", all(&out));
}

/// Waits until the log has this text so many times: what is waited for is written by another process.
async fn until_logged(kernel: &Kernel, text: &str, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while kernel.log().matches(text).count() < times {
        assert!(Instant::now() < deadline, "`{text}` was not logged {times} times:\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_bites_between_two_host_calls_and_given_back_it_holds_again() {
    let model = peer!("aimock", peers::aimock(&script(&["kv_twice"]), &[]));
    let package = tool_package("kv_twice", wat::KV_TWICE, "\"kv\"", "[kv]\n[limits]\nwall-per-call = \"120s\"\n");
    let options = KernelOptions::openai(&format!("{}/v1", model.base)).with_package("kv_twice", package);
    let mut kernel = Kernel::start(options);
    let looks = "the first look ok";

    for round in 1..=2 {
        let session = format!("round-{round}");
        let (turn, ()) = tokio::join!(kernel.turn(&session, "carapace", "Please call <kv_twice>."), async {
            until_logged(&kernel, looks, round).await;
            owner::done(kernel.state(), &["plugin", "revoke", "local/kv-twice"]);
        });
        let (content, is_error) = turn.result();
        assert!(is_error && content.contains("[E-GRANT-001]"), "{content}");
        assert!(content.contains("carapace plugin grant local/kv-twice/main"), "{content}");
        assert_eq!(turn.text(), DONE);
        // It is not even on offer now, and the next call does not begin.
        let turn = kernel.turn(&format!("after-{round}"), "carapace", "Please call <kv_twice>.").await;
        assert!(turn.result().1, "{turn:?}");
        assert!(state_of(kernel.state(), "local/kv-twice/main").unwrap().contains("E-GRANT-001"));
        assert_eq!(kernel.log().matches(looks).count(), round);
        if round == 1 {
            // What a grant means is read before it is given.
            let out = owner::cli(kernel.state(), &["plugin", "grant", "local/kv-twice"]);
            assert_eq!(out.status.code(), Some(5), "{}", all(&out));
            assert!(all(&out).contains("keeps up to 16 MiB") && all(&out).contains("--yes"), "{}", all(&out));
            owner::done(kernel.state(), &["plugin", "grant", "--yes", "local/kv-twice"]);
            assert_eq!(state_of(kernel.state(), "local/kv-twice/main").as_deref(), Some("ready"));
        }
    }
    // A restart with --accept-bundled does not give it back.
    kernel.restart();
    assert!(state_of(kernel.state(), "local/kv-twice/main").unwrap().contains("E-GRANT-001"));
    kernel.still_answers().await;
    // Nor does it matter whether a kernel runs when the owner decides.
    let state = kernel.stop();
    assert_eq!(state_of(state.path(), "local/kv-twice/main").as_deref(), Some("revoked"));
    owner::done(state.path(), &["plugin", "grant", "--yes", "local/kv-twice"]);
    assert_eq!(state_of(state.path(), "local/kv-twice/main").as_deref(), Some("installed"));
    owner::done(state.path(), &["plugin", "revoke", "local/kv-twice"]);
    assert_eq!(state_of(state.path(), "local/kv-twice/main").as_deref(), Some("revoked"));
    let out = owner::cli(state.path(), &["plugin", "revoke", "local/unheard-of"]);
    assert!(!out.status.success() && all(&out).contains("local/unheard-of"), "{}", all(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_commands_say_the_same_with_a_kernel_and_without() {
    let model = peer!("aimock", peers::aimock(&script(&[]), &[]));
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)));
    let pinned = |state: &Path| {
        let list: Value = serde_json::from_str(&owner::done(state, &["secrets", "list", "--json"])).unwrap();
        list.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let keeps_secrets = |state: &Path| {
        owner::set_secret(state, "api-key", "local/openai", "a-value-for-the-store");
        assert_eq!(pinned(state), ["local/openai/main/api-key"]);
        let out =
            owner::with_input(state, &["secrets", "set", "nothing", "--instance", "local/openai"], "a-longer-value");
        assert_eq!(out.status.code(), Some(3), "{}", all(&out));
        assert!(all(&out).contains("api-key"), "the one there is should be named: {}", all(&out));
        let out = owner::with_input(state, &["secrets", "set", "api-key", "--instance", "local/openai"], "");
        assert_eq!(out.status.code(), Some(2), "{}", all(&out));
        owner::done(state, &["secrets", "rm", "api-key", "--instance", "local/openai"]);
        assert_eq!(pinned(state), [""; 0]);
        let out = owner::cli(state, &["secrets", "rm", "api-key", "--instance", "local/openai"]);
        assert_eq!(out.status.code(), Some(1), "{}", all(&out));
    };
    let checks = |state: &Path| {
        let report: Value = serde_json::from_str(&owner::done(state, &["audit", "verify", "--json"])).unwrap();
        assert!(report["rows"].as_u64().unwrap() > 0 && report["first_broken"].is_null(), "{report}");
        owner::done(state, &["config", "check"]);
    };

    kernel.still_answers().await;
    keeps_secrets(kernel.state());
    checks(kernel.state());
    let found = kernel.cli(&["doctor", "--json"]);
    let findings: Value = serde_json::from_slice(&found.stdout).unwrap();
    let wrong: Vec<_> = findings.as_array().unwrap().iter().filter(|f| f["ok"] != true).collect();
    // The memory pool may not fit into the address space that a test machine allows; that is a hint.
    assert!(wrong.iter().all(|f| f["id"] == "engine" && f["level"] == "hint"), "{wrong:?}");
    assert_eq!(found.status.code(), Some(0));

    let state = kernel.stop();
    let state = state.path();
    keeps_secrets(state);
    checks(state);
    let found = owner::cli(state, &["doctor", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&found.stdout).unwrap();
    let running = findings.as_array().unwrap().iter().find(|f| f["check"] == "an assistant is running").unwrap();
    assert_eq!((&running["level"], &running["fix"]), (&json!("hint"), &json!("carapace start")));
    let model = findings.as_array().unwrap().iter().find(|f| f["id"] == "model").unwrap();
    assert_eq!(model["level"], "wrong", "this terminal names no server, and the file does not: {model}");
    assert_eq!(owner::cli(state, &["status"]).status.code(), Some(4));
    assert_eq!(owner::cli(state, &["stop"]).status.code(), Some(4));

    std::fs::write(state.join("carapace.json5"), "{ agent: { maxTurn: 3 }, gateway: { port: 99999 } }").unwrap();
    let out = owner::cli(state, &["config", "check", "--json"]);
    assert_eq!(out.status.code(), Some(2), "{}", all(&out));
    let problems = serde_json::from_slice::<Value>(&out.stdout).unwrap()["problems"].clone();
    assert_eq!(problems.as_array().map(Vec::len), Some(2), "{problems}");
    assert!(problems.to_string().contains("maxTurns"), "the nearest known key is named: {problems}");
    assert_eq!(
        owner::cli(state, &["audit", "verify"]).status.code(),
        Some(2),
        "nothing runs with a broken configuration"
    );
    std::fs::remove_file(state.join("carapace.json5")).unwrap();

    // One letter of the record, in a copy.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(state).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    owner::done(copy.path(), &["audit", "verify"]);
    let database = copy.path().join("carapace.db");
    let bytes = std::fs::read(&database).unwrap();
    let needle = b"\"by\":\"owner, first run\"";
    let mut changed = bytes.clone();
    for at in (0..bytes.len() - needle.len()).filter(|at| bytes[*at..].starts_with(needle)) {
        changed[at + 6] = b'O';
    }
    assert_ne!(bytes, changed, "the record does not say who granted");
    std::fs::write(&database, changed).unwrap();
    let out = owner::cli(copy.path(), &["audit", "verify"]);
    assert_eq!(out.status.code(), Some(3), "{}", all(&out));
    assert!(all(&out).contains("audit"), "{}", all(&out));
    let out = owner::cli(copy.path(), &["audit", "verify", "--json"]);
    assert_eq!(out.status.code(), Some(3), "{}", all(&out));
    owner::done(state, &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_trusted_no_longer_is_stopped_in_a_running_kernel_and_stays_stopped() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget", "trinket"]), &[]));
    let state = tempfile::tempdir().unwrap();
    let bundle = signed_bundle(state.path(), &[("trinket".into(), tool_package("trinket", wat::ECHO, "", ""))]);
    // One of them is by somebody else.
    let maker = testing::key(6);
    owner::done(state.path(), &["publisher", "add", "maker", &maker.public().to_string()]);
    let package = gadget("0.1.0", "", "");
    let kinds =
        carapace_contract::manifest::Manifest::parse(&manifest("gadget", "0.1.0", "[[tool]]\nname = \"gadget\"\n"))
            .unwrap();
    std::fs::write(bundle.join("gadget.wasm"), &package).unwrap();
    std::fs::write(bundle.join("gadget.sigstore.json"), testing::bundle_for(&package, &kinds, &maker)).unwrap();
    let mut kernel = Kernel::start_in(state, KernelOptions::openai(&format!("{}/v1", model.base)));
    let call = async |kernel: &Kernel, round: &str, tool: &str| {
        let turn = kernel.turn(&format!("{round}-{tool}"), "carapace", &format!("Please call <{tool}>.")).await;
        (turn.result().0.to_owned(), turn.result().1)
    };
    assert_eq!(call(&kernel, "before", "gadget").await, ("{}".to_owned(), false));
    assert_eq!(call(&kernel, "before", "trinket").await, ("{}".to_owned(), false));

    let printed = owner::done(kernel.state(), &["publisher", "remove", "maker"]);
    assert!(printed.contains("stopped: maker/gadget/main"), "{printed}");
    let (answer, is_error) = call(&kernel, "removed", "gadget").await;
    assert!(is_error && answer.contains("there is no tool"), "{answer}");

    // The deny-list: signed by whom the owner pinned for it, and only forwards.
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (key, list) = (at("deny.key"), at("list.json"));
    let public = owner::done(kernel.state(), &["plugin", "keygen", "--out", &key]);
    let digest = Digest::of(&std::fs::read(bundle.join("trinket.wasm")).unwrap()).to_string();
    let version = |version: &str, digests: &[&str]| {
        let mut args = vec!["plugin", "deny-list", "--key", &key, "--out", &list, "--list-version", version];
        digests.iter().for_each(|d| args.extend(["--digest", d]));
        owner::done(kernel.state(), &args);
        owner::cli(kernel.state(), &["publisher", "deny", &list])
    };
    let out = version("2", &[&digest]);
    assert_eq!(out.status.code(), Some(3), "nobody was pinned for it: {}", all(&out));
    assert!(all(&out).contains("no key is pinned here for the deny-list"), "{}", all(&out));
    assert!(!call(&kernel, "not-yet", "trinket").await.1);
    owner::done(kernel.state(), &["publisher", "pin-deny-key", public.trim()]);
    let out = version("2", &[&digest]);
    assert!(out.status.success() && all(&out).contains("stopped: local/trinket/main"), "{}", all(&out));
    let (answer, is_error) = call(&kernel, "denied", "trinket").await;
    assert!(is_error && answer.contains("there is no tool"), "{answer}");
    let out = version("1", &[]);
    assert_eq!(out.status.code(), Some(3), "an older list: {}", all(&out));
    kernel.still_answers().await;

    // The next start knows it, too. What a forgotten publisher signed is no part of a bundle any more.
    std::fs::remove_file(bundle.join("gadget.wasm")).unwrap();
    kernel.restart();
    for (instance, code) in [("maker/gadget/main", "[E-TRUST-003]"), ("local/trinket/main", "[E-TRUST-011]")] {
        let found = state_of(kernel.state(), instance).unwrap();
        assert!(found.contains(code), "{instance}: {found}");
    }
    kernel.still_answers().await;
}
