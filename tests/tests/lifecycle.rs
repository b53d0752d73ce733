//! Packages come, follow each other and go on a running kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_registry::testing;
use carapace_tests::components::{manifest, pack, tool, wat};
use carapace_tests::gadget::{ID, all, call, file, gadget, listed, version};
use carapace_tests::owner::{self, error};
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, gadget_kernel, peer, peers};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn packages(state: &Path) -> BTreeSet<PathBuf> {
    let dirs = [state.join("packages"), state.join("aot")];
    dirs.iter().flat_map(|d| std::fs::read_dir(d).unwrap().map(|e| e.unwrap().path())).collect()
}

/// The gadget as it is listed once the owner is told something about it.
async fn noted(kernel: &Kernel) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let instance = listed(kernel.state()).unwrap();
        if !instance["note"].is_null() {
            return instance;
        }
        assert!(Instant::now() < deadline, "{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_installed_updated_rolled_back_and_removed_while_conversations_go_on() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (first, digest) = file(state, dir.path(), "first", &gadget("0.1.0", wat::ECHO, "", ""));
    let before = packages(state);

    // Nothing is granted unread, and what was not agreed to leaves nothing behind.
    let out = kernel.cli(&["plugin", "install", &first, "--json"]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains(&format!("--accept {digest}")), "{}", all(&out));
    let out = kernel.cli(&["plugin", "install", &first, "--accept", &Digest::of(b"another").to_string()]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert_eq!(packages(state), before);
    let printed = owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    assert!(printed.contains("local/gadget 0.1.0 is installed"), "{printed}");
    assert_eq!(call(&kernel, "installed").await, ("{}".to_owned(), false));
    let printed = owner::done(state, &["plugin", "install", &first]);
    assert!(printed.contains("installed already"), "{printed}");

    // Updates under a steady stream of calls: every one is answered.
    let done = AtomicBool::new(false);
    let stream = async |caller: u32| {
        let mut answered = 0;
        while !done.load(SeqCst) {
            let answer = call(&kernel, &format!("stream-{caller}-{answered}")).await;
            assert_eq!(answer, ("{}".to_owned(), false), "call {answered} of caller {caller}");
            answered += 1;
        }
        answered
    };
    let updates = async {
        for n in 2..=6 {
            let (newer, _) = file(state, dir.path(), "newer", &gadget(&format!("0.{n}.0"), wat::ECHO, "", ""));
            let state = state.to_owned();
            tokio::task::spawn_blocking(move || owner::done(&state, &["plugin", "update", "gadget", &newer]))
                .await
                .unwrap();
        }
        done.store(true, SeqCst);
    };
    let (one, two, ()) = tokio::join!(stream(1), stream(2), updates);
    assert!(one > 0 && two > 0, "{one} and {two} calls");
    assert_eq!(version(state), "0.6.0");
    assert_eq!(listed(state).unwrap()["previous"], "0.5.0");

    // More than was granted is shown, and not taken.
    let (grown, grown_digest) = file(state, dir.path(), "grown", &gadget("0.7.0", wat::KV, "\"kv\"", "[kv]\n"));
    let out = kernel.cli(&["plugin", "update", "gadget", &grown]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    assert!(all(&out).contains("asks for more than you granted before") && all(&out).contains("kv"), "{}", all(&out));
    assert_eq!(call(&kernel, "not-grown").await, ("{}".to_owned(), false));
    owner::done(state, &["plugin", "update", "gadget", &grown, "--accept", &grown_digest]);
    assert!(!call(&kernel, "grown").await.1);
    let grants = owner::done(state, &["plugin", "grants", "gadget"]);
    assert!(grants.contains("keeps up to 16 MiB") && grants.contains("owner, update"), "{grants}");

    // What does not come up changes nothing.
    let text = manifest("gadget", "0.8.0", "[[tool]]\nname = \"gadget\"\n");
    let (liar, _) = file(state, dir.path(), "liar", &pack(&tool(wat::ECHO, &["gadget", "rm_rf"]), &text));
    let out = kernel.cli(&["plugin", "update", "gadget", &liar]);
    assert!(!out.status.success() && all(&out).contains("E-HOST-004"), "{}", all(&out));
    assert_eq!((version(state).as_str(), call(&kernel, "as-it-was").await.1), ("0.7.0", false));

    // Back, with the grant that belonged to it.
    owner::done(state, &["plugin", "rollback", "gadget"]);
    assert_eq!((version(state).as_str(), call(&kernel, "back").await), ("0.6.0", ("{}".to_owned(), false)));
    let grants = owner::done(state, &["plugin", "grants", "gadget"]);
    assert!(!grants.contains("keeps up to"), "{grants}");

    owner::done(state, &["plugin", "disable", ID]);
    assert_eq!(listed(state).unwrap()["state"], "disabled");
    assert!(call(&kernel, "disabled").await.0.contains("there is no tool"));
    owner::done(state, &["plugin", "enable", ID]);
    assert_eq!(call(&kernel, "enabled").await, ("{}".to_owned(), false));

    let out = kernel.cli(&["plugin", "uninstall", "gadget"]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    owner::done(state, &["plugin", "uninstall", "gadget", "--yes"]);
    assert!(listed(state).is_none() && call(&kernel, "gone").await.0.contains("there is no tool"));
    assert_eq!(packages(state), before, "no file stays");
    // The highest version seen does.
    let out = kernel.cli(&["plugin", "install", &first, "--accept", &digest, "--json"]);
    assert_eq!(error(&out)["code"], "E-TRUST-012", "{}", all(&out));
    assert!(error(&out)["help"].as_str().unwrap().contains("--allow-downgrade"), "{}", all(&out));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest, "--allow-downgrade"]);
    assert_eq!(call(&kernel, "downgraded").await, ("{}".to_owned(), false));
    // And what was let in is let in at the next start, too.
    let mut kernel = kernel;
    kernel.restart();
    assert_eq!(call(&kernel, "restarted").await, ("{}".to_owned(), false));
    owner::done(kernel.state(), &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_right_after_its_update_is_rolled_back_by_itself() {
    let (mut kernel, _model) = gadget_kernel!();
    let dir = tempfile::tempdir().unwrap();
    let (good, digest) = file(kernel.state(), dir.path(), "good", &gadget("0.1.0", wat::ECHO, "", ""));
    let (bad, _) = file(kernel.state(), dir.path(), "bad", &gadget("0.2.0", wat::PANIC, "", ""));
    owner::done(kernel.state(), &["plugin", "install", &good, "--accept", &digest]);
    owner::done(kernel.state(), &["plugin", "update", "gadget", &bad]);
    for n in 0..3 {
        let (content, is_error) = call(&kernel, &format!("bad-{n}")).await;
        assert!(is_error && content.contains("E-RUNTIME-001"), "{content}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while version(kernel.state()) != "0.1.0" {
        assert!(Instant::now() < deadline, "{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(call(&kernel, "good-again").await, ("{}".to_owned(), false));
    let note = |kernel: &Kernel| listed(kernel.state()).unwrap()["note"].clone();
    assert!(note(&kernel).as_str().unwrap().contains("rolled back from 0.2.0"), "{}", note(&kernel));
    kernel.restart();
    assert!(note(&kernel).as_str().unwrap().contains("E-RUNTIME-001"), "{}", note(&kernel));
    owner::done(kernel.state(), &["plugin", "enable", ID]);
    assert_eq!((note(&kernel), version(kernel.state()).as_str()), (Value::Null, "0.1.0"));
}

#[test]
fn what_is_no_package_of_anybody_known_is_refused_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let (state, dir) = (state.path(), tempfile::tempdir().unwrap());
    let (good, digest) = file(state, dir.path(), "good", &gadget("0.1.0", wat::ECHO, "", ""));
    let signature = Path::new(&good).with_extension("sigstore.json");
    let refused = |args: &[&str], code: Value| {
        let out = owner::cli(state, &[&["plugin", "install", "--json", "--accept", &digest], args].concat());
        assert_eq!(error(&out)["code"], code, "{args:?}: {}", all(&out));
    };
    // Two gigabytes that are not there, refused before they are read; and a directory.
    let huge = dir.path().join("huge.wasm");
    std::fs::File::create(&huge).unwrap().set_len(2 << 30).unwrap();
    std::fs::copy(&signature, huge.with_extension("sigstore.json")).unwrap();
    refused(&[huge.to_str().unwrap()], json!("E-TRUST-001"));
    refused(&[dir.path().to_str().unwrap()], Value::Null);
    // Another package's signature, and a stranger's.
    let (other, _) = file(state, dir.path(), "other", &gadget("0.2.0", wat::ECHO, "", ""));
    let others = Path::new(&other).with_extension("sigstore.json");
    refused(&[&good, "--signature", others.to_str().unwrap()], json!("E-TRUST-007"));
    let text = manifest("gadget", "0.1.0", "[[tool]]\nname = \"gadget\"\n");
    let kinds = carapace_contract::manifest::Manifest::parse(&text).unwrap();
    let strange = dir.path().join("strange.json");
    let package = std::fs::read(&good).unwrap();
    std::fs::write(&strange, testing::bundle_for(&package, &kinds, &testing::key(5))).unwrap();
    refused(&[&good, "--signature", strange.to_str().unwrap()], json!("E-TRUST-003"));
    for name in ["../../gadget", "/etc", "local/gadget/..", ""] {
        let out = owner::cli(state, &["plugin", "uninstall", "--yes", name]);
        assert_eq!(out.status.code(), Some(2), "{name}: {}", all(&out));
    }
    let out = owner::cli(state, &["plugin", "install", &good, "--accept", &digest, "--instance", "../main"]);
    assert_eq!(out.status.code(), Some(2), "{}", all(&out));
    assert!(!state.join("packages").exists() || std::fs::read_dir(state.join("packages")).unwrap().next().is_none());

    // By whatever path it is named, it lies where its digest says. No kernel runs, and none is needed.
    let link = dir.path().join("link.wasm");
    std::os::unix::fs::symlink(&good, &link).unwrap();
    let around = format!("{}/../{}/link.wasm", dir.path().display(), dir.path().file_name().unwrap().display());
    owner::done(
        state,
        &["plugin", "install", &around, "--accept", &digest, "--signature", signature.to_str().unwrap()],
    );
    let hex = digest.trim_start_matches("sha256:");
    assert!(state.join("packages").join(format!("{hex}.wasm")).metadata().unwrap().is_file());
    assert_eq!(version(state), "0.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_killed_in_the_middle_of_an_update_starts_with_one_version_or_the_other() {
    let (mut kernel, _model) = gadget_kernel!();
    let dir = tempfile::tempdir().unwrap();
    let (first, digest) = file(kernel.state(), dir.path(), "first", &gadget("0.1.0", wat::ECHO, "", ""));
    owner::done(kernel.state(), &["plugin", "install", &first, "--accept", &digest]);
    for n in 2..6_u32 {
        let (newer, _) = file(kernel.state(), dir.path(), "newer", &gadget(&format!("0.{n}.0"), wat::ECHO, "", ""));
        let state = kernel.state().to_owned();
        let before = version(&state);
        let updating = std::thread::spawn(move || owner::cli(&state, &["plugin", "update", "gadget", &newer]));
        // As soon as the new file lies there, the update is on its way; each round a little further.
        let staged = kernel.state().join("packages");
        let count = |dir: &Path| std::fs::read_dir(dir).map(Iterator::count).unwrap_or_default();
        let known = count(&staged);
        while count(&staged) <= known && !updating.is_finished() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(u64::from(n - 2) * 40));
        kernel.restart();
        updating.join().unwrap();
        let now = listed(kernel.state()).unwrap();
        assert!(now["version"] == before || now["version"] == format!("0.{n}.0"), "{now}");
        assert_eq!(now["state"], "ready", "{now}");
        assert_eq!(call(&kernel, &format!("round-{n}")).await, ("{}".to_owned(), false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_by_another_publisher_take_nothing_from_the_first() {
    let (mut kernel, _model) = gadget_kernel!();
    let dir = tempfile::tempdir().unwrap();
    let package = gadget("0.1.0", wat::ECHO, "", "");
    let (path, digest) = file(kernel.state(), dir.path(), "gadget", &package);
    owner::done(kernel.state(), &["plugin", "install", &path, "--accept", &digest]);
    let other = testing::key(3);
    owner::done(kernel.state(), &["publisher", "add", "other", &other.public().to_string()]);
    let text = manifest("gadget", "0.1.0", "[[tool]]\nname = \"gadget\"\n");
    let kinds = carapace_contract::manifest::Manifest::parse(&text).unwrap();
    let signature = dir.path().join("other.json");
    std::fs::write(&signature, testing::bundle_for(&package, &kinds, &other)).unwrap();
    let bring = |kernel: &Kernel, more: &[&str]| {
        let args = ["plugin", "install", &path, "--signature", signature.to_str().unwrap()];
        kernel.cli(&[&args, more].concat())
    };

    // Not agreed to, and agreed to but not fit to run beside the first.
    let out = bring(&kernel, &[]);
    assert_eq!(out.status.code(), Some(5), "{}", all(&out));
    let out = bring(&kernel, &["--accept", &digest]);
    assert!(!out.status.success() && all(&out).contains("E-HOST-006"), "{}", all(&out));
    kernel.restart();
    assert_eq!(call(&kernel, "as-it-was").await, ("{}".to_owned(), false));

    // Both are installed; each is by its own publisher, also at the next start.
    owner::done(kernel.state(), &["plugin", "disable", ID]);
    let out = bring(&kernel, &["--accept", &digest]);
    assert!(out.status.success(), "{}", all(&out));
    kernel.restart();
    assert_eq!(call(&kernel, "the-others").await, ("{}".to_owned(), false));
    owner::done(kernel.state(), &["plugin", "uninstall", "other/gadget", "--yes"]);
    owner::done(kernel.state(), &["plugin", "enable", ID]);
    kernel.restart();
    assert_eq!(call(&kernel, "the-first-again").await, ("{}".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_disabled_stays_so_although_the_configuration_names_it() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget"]), &[]));
    let options =
        KernelOptions::openai(&format!("{}/v1", model.base)).with_config("{ instances: { math: { config: {} } } }");
    let mut kernel = Kernel::start(options);
    let is = |kernel: &Kernel, word: &str| {
        let list = kernel.cli_json(&["plugin", "list", "--json"]);
        let math = list.as_array().unwrap().iter().find(|i| i["instance"] == "local/math/main").unwrap().clone();
        assert_eq!(math["state"], word, "{math}");
    };
    is(&kernel, "ready");
    owner::done(kernel.state(), &["plugin", "disable", "math"]);
    is(&kernel, "disabled");
    kernel.restart();
    is(&kernel, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_run_into_a_limit_bring_no_older_version_back() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let limits = "[limits]\nfuel-per-call = 1_000_000\n";
    let (first, digest) = file(state, dir.path(), "first", &gadget("0.1.0", wat::ECHO, "", limits));
    let (second, _) = file(state, dir.path(), "second", &gadget("0.2.0", wat::LOOP, "", limits));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    owner::done(state, &["plugin", "update", "gadget", &second]);
    for n in 0..3 {
        let (content, is_error) = call(&kernel, &format!("loop-{n}")).await;
        assert!(is_error && content.contains("E-RUNTIME-002"), "{content}");
    }
    // The owner is told.
    let instance = noted(&kernel).await;
    assert_eq!(instance["version"], "0.2.0", "{instance}");
    assert!(instance["note"].as_str().unwrap().contains("ran into its limits"), "{instance}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_breaks_after_it_changed_the_datas_form_stays_and_the_owner_decides() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let ruin = wat::KV_SCHEMA.replace("(i32.store8 (i32.const 1026)", "(unreachable) (i32.store8 (i32.const 1026)");
    let package = |version, fields, schema| gadget(version, fields, "\"kv\"", &format!("[kv]\nschema = {schema}\n"));
    let (first, digest) = file(state, dir.path(), "first", &package("0.1.0", wat::KV_SCHEMA, 1));
    let (second, _) = file(state, dir.path(), "second", &package("0.2.0", &ruin, 2));
    owner::done(state, &["plugin", "install", &first, "--accept", &digest]);
    assert_eq!(call(&kernel, "first").await, ("1".to_owned(), false));
    owner::done(state, &["plugin", "update", "gadget", &second]);
    for n in 0..3 {
        let (content, is_error) = call(&kernel, &format!("ruin-{n}")).await;
        assert!(is_error && content.contains("E-RUNTIME-001"), "{content}");
    }
    let instance = noted(&kernel).await;
    assert_eq!(instance["version"], "0.2.0", "{instance}");
    let note = instance["note"].as_str().unwrap();
    assert!(note.contains("was not rolled back by itself") && note.contains("in form 2"), "{note}");
    assert!(note.contains("carapace plugin rollback"), "it says what the owner can do: {note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_keeps_out_or_names_in_vain_is_said_and_nothing_fails() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget"]), &[]));
    let options = KernelOptions::openai(&format!("{}/v1", model.base))
        .with_config("{ instances: { math: { enabled: false }, time: { config: {} } } }");
    let mut kernel = Kernel::start(options);
    let state = |kernel: &Kernel, id: &str| {
        let list = kernel.cli_json(&["plugin", "list", "--json"]);
        list.as_array().unwrap().iter().find(|i| i["instance"] == id).cloned()
    };
    assert!(state(&kernel, "local/math/main").is_none());
    let printed = owner::done(kernel.state(), &["plugin", "enable", "math"]);
    assert!(printed.contains("enabled: false"), "{printed}");
    assert!(state(&kernel, "local/math/main").is_none(), "the configuration keeps it out");
    owner::done(kernel.state(), &["plugin", "grant", "math", "--yes"]);
    assert!(state(&kernel, "local/math/main").is_none(), "a grant does not load it either");

    let printed = owner::done(kernel.state(), &["plugin", "uninstall", "time", "--yes"]);
    assert!(printed.contains("carapace.json5 still names it") && printed.contains("\"time\""), "{printed}");
    kernel.restart();
    let missing = state(&kernel, "local/time/main").unwrap();
    assert!(missing["state"].as_str().unwrap().contains("E-PACKAGE-004"), "{missing}");
    let turn = kernel.turn("s", "carapace", "Are you there?").await;
    assert_eq!(turn.text(), "Yes.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundle_updates_every_instance_and_does_not_undo_the_owners_choice() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget"]), &[]));
    let state = tempfile::tempdir().unwrap();
    let in_bundle = |state: &Path, package: &[u8]| {
        let file = carapace_tests::kernel::signed_bundle(state, &[]).join("gadget.wasm");
        std::fs::write(&file, package).unwrap();
        owner::done(state, &["plugin", "sign", file.to_str().unwrap()]);
        file.to_str().unwrap().to_owned()
    };
    let plain = |version: &str| {
        let text = manifest("gadget", version, "[provider]\n");
        pack(&carapace_tests::components::provider(wat::EMIT), &text)
    };
    let bundled = in_bundle(state.path(), &plain("0.1.0"));
    let mut kernel = Kernel::start_in(state, KernelOptions::openai(&format!("{}/v1", model.base)));
    let versions = |kernel: &Kernel| -> Vec<String> {
        let list = kernel.cli_json(&["plugin", "list", "--json"]);
        let of_it = list.as_array().unwrap().iter().filter(|i| i["instance"].as_str().unwrap().contains("/gadget/"));
        of_it
            .map(|i| {
                format!(
                    "{} {} {}",
                    i["instance"].as_str().unwrap(),
                    i["version"].as_str().unwrap(),
                    i["state"].as_str().unwrap()
                )
            })
            .collect()
    };
    let both =
        |version: &str| [format!("local/gadget/main {version} ready"), format!("local/gadget/work {version} ready")];
    let digest = Digest::of(&std::fs::read(&bundled).unwrap()).to_string();
    owner::done(kernel.state(), &["plugin", "install", &bundled, "--instance", "work", "--accept", &digest]);
    assert_eq!(versions(&kernel), both("0.1.0"));

    // A bundle with a newer version: all instances.
    in_bundle(kernel.state(), &plain("0.2.0"));
    kernel.restart();
    assert_eq!(versions(&kernel), both("0.2.0"));

    // The owner goes back to an older one by hand; what the bundle still holds does not undo it. A newer one it brings in.
    let dir = tempfile::tempdir().unwrap();
    let (old, digest) = file(kernel.state(), dir.path(), "old", &plain("0.1.0"));
    owner::done(kernel.state(), &["plugin", "update", "gadget", &old, "--accept", &digest, "--allow-downgrade"]);
    assert_eq!(versions(&kernel), both("0.1.0"));
    // A change of the bundle, so that it is looked at again.
    let other = carapace_tests::kernel::signed_bundle(kernel.state(), &[]).join("trinket.wasm");
    std::fs::write(&other, carapace_tests::components::tool_package("trinket", wat::ECHO, "", "")).unwrap();
    owner::done(kernel.state(), &["plugin", "sign", other.to_str().unwrap()]);
    kernel.restart();
    assert_eq!(versions(&kernel), both("0.1.0"));
    in_bundle(kernel.state(), &plain("0.3.0"));
    kernel.restart();
    assert_eq!(versions(&kernel), both("0.3.0"));
}
