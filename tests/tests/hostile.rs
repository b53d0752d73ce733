//! Components that mean harm, in the real kernel: each ends in a named error, and nothing else notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_registry::testing;
use carapace_tests::components::{manifest, pack, provider_package, tool, tool_package, wat};
use carapace_tests::kernel::signed_bundle;
use carapace_tests::owner::{self, error};
use carapace_tests::turns::{DONE, script};
use carapace_tests::{Kernel, KernelOptions, peer, peers};
use serde_json::Value;
use std::path::Path;

/// A kernel with these packages beside the bundled ones, and a model that calls these tools when asked to.
macro_rules! kernel {
    ($packages:expr, $tools:expr, $config:expr) => {{
        let model = peer!("aimock", peers::aimock(&script($tools), &[]));
        let mut options = KernelOptions::openai(&format!("{}/v1", model.base)).with_config($config(&model.base));
        for (name, package) in $packages {
            options = options.with_package(name, package);
        }
        (Kernel::start(options), model)
    }};
}

fn no_config(_: &str) -> &'static str {
    "{}"
}

/// Asks the model to call each tool, and expects these words in what it answers, as an error.
async fn each_ends_in(kernel: &Kernel, cases: &[(&str, &str, &str)]) {
    for (tool, code, words) in cases {
        let turn = kernel.call(tool).await;
        let (content, is_error) = turn.result();
        assert!(is_error, "{tool}: {content}");
        assert!(content.contains(&format!("[{code}]")), "{tool} should end in {code}: {content}");
        assert!(content.contains(words), "{tool}: {content}");
        // The model was told, and the turn went on.
        assert_eq!(turn.text(), DONE, "{tool}");
    }
}

async fn instance(kernel: &Kernel, id: &str) -> Value {
    let status = kernel.cli_json(&["status", "--json"]);
    let instances = status["instances"].as_array().unwrap();
    instances.iter().find(|i| i["instance"] == id).unwrap_or_else(|| panic!("no {id} in {status:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_uses_up_time_or_space_is_stopped_by_the_limit_it_meets() {
    let plenty = "fuel-per-call = 50_000_000_000\ncpu-per-call = \"200ms\"\nwall-per-call = \"20s\"\n";
    let tools = [
        ("endless", wat::LOOP, plenty),
        ("late_loop", wat::WAIT_THEN_LOOP, plenty),
        ("thirsty", wat::LOOP, "fuel-per-call = 1_000_000\ncpu-per-call = \"60s\"\n"),
        ("memory_bomb", wat::MEMORY_BOMB, "memory = \"4MiB\"\n"),
        ("table_bomb", wat::TABLE_BOMB, "memory = \"256KiB\"\n"),
        ("recursion", wat::RECURSION, ""),
        ("panics", wat::PANIC, ""),
        ("astray", wat::OUT_OF_BOUNDS, ""),
        ("giant_result", wat::GIANT_RESULT, ""),
        ("large_result", wat::LARGE_RESULT, "result-size = \"64KiB\"\n"),
        ("giant_argument", wat::GIANT_ARGUMENT, "host-call-bytes = \"1MiB\"\n"),
        ("sleeper", wat::SLEEP, "wall-per-call = \"200ms\"\n"),
        ("chatter", wat::CHATTER, "log-lines-per-minute = 10\nhost-calls-per-call = 1_000\n"),
    ];
    let names = tools.map(|(name, ..)| name);
    let packages =
        tools.map(|(name, fields, limits)| (name, tool_package(name, fields, "", &format!("[limits]\n{limits}"))));
    let (kernel, _model) = kernel!(packages, &names, no_config);
    let pid = kernel.pid();

    each_ends_in(
        &kernel,
        &[
            ("endless", "E-RUNTIME-003", "CPU limit 200 ms per call exceeded"),
            ("late_loop", "E-RUNTIME-003", "CPU limit 200 ms per call exceeded"),
            ("thirsty", "E-RUNTIME-002", "fuel limit 1000000 per call used up"),
            ("memory_bomb", "E-RUNTIME-005", "memory limit 4 MiB exceeded"),
            ("table_bomb", "E-RUNTIME-005", "memory limit 256 KiB exceeded"),
            ("recursion", "E-RUNTIME-006", "stack overflowed"),
            ("panics", "E-RUNTIME-001", "gave up"),
            ("astray", "E-RUNTIME-013", "out of bounds"),
            ("giant_result", "E-RUNTIME-007", "host call limit 8 MiB exceeded by one call's data"),
            ("large_result", "E-RUNTIME-012", "result limit 64 KiB exceeded"),
            ("giant_argument", "E-RUNTIME-007", "host call limit 1 MiB exceeded by one call's data"),
            ("sleeper", "E-RUNTIME-004", "wall time limit 200 ms per call exceeded"),
            ("chatter", "E-RUNTIME-011", "host call limit 1000 per call exceeded"),
        ],
    )
    .await;
    kernel.still_answers().await;
    assert_eq!(kernel.pid(), pid);

    // Each is accounted for, by the name of what ended it.
    for (id, kind) in
        [("local/endless/main", "cpu"), ("local/memory-bomb/main", "memory"), ("local/sleeper/main", "wall")]
    {
        let meter = instance(&kernel, id).await["meter"].clone();
        assert_eq!(meter["traps"][kind], 1, "{id}: {meter}");
    }
    // The flood of lines stayed outside the log, and is counted: 1,000 lines, 10 a minute, one turn of the minute at most.
    let metrics = kernel.metrics().await;
    let dropped = metrics
        .lines()
        .find(|l| l.starts_with("carapace_guest_log_dropped_total") && l.contains("local/chatter/main"))
        .and_then(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
        .unwrap_or_else(|| panic!("no line counts what was dropped:\n{metrics}"));
    assert!((980..=990).contains(&dropped), "{dropped}");
    let kept = kernel.log().lines().filter(|l| l.contains("local/chatter/main") && l.contains("guest")).count();
    assert_eq!(kept as u64 + dropped, 1_000, "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_more_than_its_share_of_the_kernels_things_is_refused() {
    let endpoint = "[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n";
    let nosy =
        manifest("nosy", "0.1.0", "[[tool]]\nname = \"nosy\"\n[[tool]]\nname = \"honest\"\nuses = [\"kv\"]\n[kv]\n");
    let packages = [
        ("kv_flood", tool_package("kv_flood", wat::KV_FLOOD, "\"kv\"", "[kv]\n[limits]\nkv-size = \"64KiB\"\n")),
        (
            "handle_flood",
            tool_package(
                "handle_flood",
                wat::HANDLE_FLOOD,
                "\"http:api\"",
                &format!("{endpoint}[limits]\nhandles = 8\n"),
            ),
        ),
        ("nosy", pack(&tool(wat::KV, &["nosy", "honest"]), &nosy)),
    ];
    let config =
        |base: &str| format!("{{ instances: {{ \"handle-flood\": {{ endpoints: {{ api: \"{base}\" }} }} }} }}");
    let model = peer!("aimock", peers::aimock(&script(&["kv_flood", "handle_flood", "nosy", "honest"]), &[]));
    let mut options = KernelOptions::openai(&format!("{}/v1", model.base)).with_config(&config(&model.base));
    for (name, package) in packages {
        options = options.with_package(name, package);
    }
    let kernel = Kernel::start(options);

    each_ends_in(&kernel, &[("handle_flood", "E-RUNTIME-008", "handle limit 8 exceeded")]).await;
    let turn = kernel.call("kv_flood").await;
    let (content, is_error) = turn.result();
    assert!(is_error && content.contains("65536"), "the quota is named: {content}");
    // A tool reaches what its own line of the manifest says; its neighbour in the same component may reach more.
    each_ends_in(&kernel, &[("nosy", "E-RUNTIME-023", "its `uses` in the manifest do not name it")]).await;
    assert_eq!(kernel.call("honest").await.result(), ("ok", false));
    assert_eq!(instance(&kernel, "local/nosy/main").await["meter"]["denials"]["E-RUNTIME-023"], 1);
    kernel.still_answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_nobody_granted_and_a_component_that_lies_about_its_tools_are_not_loaded() {
    // Signed, granted, and listing a tool that the owner never saw.
    let liar = manifest("liar", "0.1.0", "[[tool]]\nname = \"harmless\"\n");
    let packages = [
        ("liar", pack(&tool(wat::ECHO, &["harmless", "rm_rf"]), &liar)),
        ("second_math", tool_package("math_eval", wat::ECHO, "", "")),
        ("copied", tool_package("copied", wat::ECHO, "", "")),
    ];
    let (kernel, _model) =
        kernel!(packages, &["rm_rf", "harmless"], |_: &str| "{ instances: { \"copied:twin\": {} } }");

    let state = |id: &'static str| {
        let status = kernel.cli_json(&["status", "--json"]);
        let found = status["instances"].as_array().unwrap().iter().find(|i| i["instance"] == id).cloned();
        found.unwrap_or_else(|| panic!("no {id} in {status:#}"))["state"].as_str().unwrap().to_owned()
    };
    let liar = state("local/liar/main");
    assert!(liar.contains("[E-HOST-004]") && liar.contains("`rm_rf`"), "{liar}");
    let twin = state("local/copied/twin");
    assert!(twin.contains("[E-GRANT-004]") && twin.contains("carapace plugin grant local/copied/twin"), "{twin}");
    assert_eq!(state("local/copied/main"), "ready");
    // Another component may not take a tool's name either. Which of the two loads first is not said; one of them does.
    let (taken, math) = (state("local/math-eval/main"), state("local/math/main"));
    let refused = [&taken, &math].into_iter().filter(|s| s.contains("[E-HOST-006]")).count();
    assert_eq!(refused, 1, "{taken} / {math}");

    for tool in ["rm_rf", "harmless"] {
        let turn = kernel.call(tool).await;
        let (content, is_error) = turn.result();
        assert!(is_error && content.contains("there is no tool"), "{content}");
    }
    assert!(kernel.log().contains("E-HOST-004"), "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_breaks_is_passed_over_if_it_had_said_nothing_and_told_of_if_it_had() {
    let packages = [
        ("breaks", provider_package("breaks", wat::BREAKS, "")),
        ("breaks-off", provider_package("breaks-off", wat::BREAKS_OFF, "")),
    ];
    let (kernel, _model) =
        kernel!(packages, &[], |_: &str| "{ agent: { route: [\"breaks/any\", \"openai/gpt-4o\"] } }");

    // The next of the route answers, and the log says why.
    assert_eq!(kernel.say("first", "Are you there?").await, "Yes.");
    assert!(kernel.log().contains("E-RUNTIME-001"), "{}", kernel.log());
    // Half an answer cannot be taken back: the turn ends, with the reason.
    let turn = kernel.turn("second", "breaks-off/any", "Are you there?").await;
    assert_eq!(turn.code(), "E-MODEL-009", "{turn:?}");
    assert!(turn.body.to_string().contains("E-RUNTIME-001"), "{turn:?}");
    // The same conversation goes on with another model.
    let turn = kernel.turn("second", "openai/gpt-4o", "Are you there?").await;
    assert_eq!(turn.text(), "Yes.");
    kernel.still_answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_floods_the_kernel_with_events_is_cut_off() {
    let packages = [
        ("talks", provider_package("talks", wat::TALKS, "")),
        ("babbles", provider_package("babbles", wat::BABBLES, "[limits]\nhost-calls-per-call = 5_000\n")),
    ];
    let (kernel, _model) = kernel!(packages, &[], |_: &str| "{ agent: { route: [\"openai/gpt-4o\"] } }");

    let turn = kernel.turn("talks", "talks/any", "Are you there?").await;
    assert_eq!(turn.code(), "E-MODEL-009", "{}", turn.body["error"]);
    assert!(turn.body["error"]["message"].as_str().unwrap().contains("8388608 bytes"), "{}", turn.body["error"]);
    let turn = kernel.turn("babbles", "babbles/any", "Are you there?").await;
    assert_eq!(turn.code(), "E-MODEL-009", "{}", turn.body["error"]);
    assert!(turn.body["error"]["message"].as_str().unwrap().contains("[E-RUNTIME-011]"), "{}", turn.body["error"]);
    kernel.still_answers().await;
}

/// A signed file of the publisher `mallory`, whom the owner trusts: only what is wrong with it can refuse it.
fn signed(dir: &Path, name: &str, package: &[u8], bundle: &[u8]) {
    std::fs::write(dir.join(format!("{name}.wasm")), package).unwrap();
    std::fs::write(dir.join(format!("{name}.sigstore.json")), bundle).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_what_its_manifest_says_is_refused_though_a_trusted_publisher_signed_it() {
    let state = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cli = |args: &[&str]| owner::cli(state.path(), args);
    let key = testing::key(9);
    owner::done(state.path(), &["publisher", "add", "mallory", &key.public().to_string()]);

    let plain = tool(wat::ECHO, &["run"]);
    let text = manifest("trick", "0.1.0", "[[tool]]\nname = \"run\"\n");
    let kinds = carapace_contract::manifest::Manifest::parse(&text).unwrap();
    let sign = |package: &[u8]| testing::bundle_for(package, &kinds, &key);
    let with_section = |mut package: Vec<u8>, name: &str, data: &[u8]| {
        let mut body = vec![u8::try_from(name.len()).unwrap()];
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(data);
        assert!(body.len() < 128, "one byte of length");
        package.extend([0, u8::try_from(body.len()).unwrap()]);
        package.extend(body);
        package
    };
    let good = testing::assemble(&plain, text.as_bytes());
    let nested = {
        // A component in the component, with a manifest of its own.
        let inner = with_section(b"\0asm\x0d\0\x01\0".to_vec(), "carapace:manifest", b"[component]");
        let mut package = plain.clone();
        package.extend([4, u8::try_from(inner.len()).unwrap()]);
        package.extend(inner);
        testing::assemble(&package, text.as_bytes())
    };
    let renamed = manifest("trusted", "9.9.9", "[[tool]]\nname = \"run\"\n");
    let cases = [
        ("twice", testing::assemble(&good, text.as_bytes()), "E-TRUST-008", "more than one"),
        ("nested", nested, "E-TRUST-008", "nested"),
        ("not-last", with_section(good.clone(), "name", b"x"), "E-TRUST-008", "not the last"),
        ("missing", plain.clone(), "E-TRUST-008", "no `carapace:manifest`"),
        ("lying", testing::assemble(&plain, renamed.as_bytes()), "E-TRUST-009", "`trusted`"),
        (
            "undeclared",
            testing::assemble(tool(wat::KV, &["run"]), text.as_bytes()),
            "E-TRUST-010",
            "imports `carapace:plugin/kv@0.1.0-dev`",
        ),
        (
            "foreign",
            testing::assemble(testing::component(&["wasi:cli/environment@0.2.6"], &["tools"]), text.as_bytes()),
            "E-TRUST-010",
            "imports `wasi:cli/environment@0.2.6`",
        ),
        (
            "idle",
            testing::assemble(testing::component(&[], &[]), text.as_bytes()),
            "E-TRUST-010",
            "does not export `carapace:plugin/tools",
        ),
    ];
    for (name, package, code, words) in &cases {
        signed(dir.path(), name, package, &sign(package));
        let file = dir.path().join(format!("{name}.wasm"));
        let out = cli(&["plugin", "verify", "--json", file.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(3), "{name}: {}", String::from_utf8_lossy(&out.stdout));
        let error = error(&out);
        assert_eq!(error["code"], *code, "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{name}: {error}");
    }
    // The same component, honestly described, is good: what was refused was the lie.
    signed(dir.path(), "good", &good, &sign(&good));
    owner::done(state.path(), &["plugin", "verify", dir.path().join("good.wasm").to_str().unwrap()]);

    // A bundle with such a package installs nothing at all; without it, the same state directory starts.
    let bundle = signed_bundle(state.path(), &[]);
    let (_, package, code, _) = &cases[5];
    signed(&bundle, "undeclared", package, &sign(package));
    let out = owner::start_fails(state.path(), &["--accept-bundled"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(error(&out)["code"], *code);
    std::fs::remove_file(bundle.join("undeclared.wasm")).unwrap();
    let model = peer!("aimock", peers::aimock(&script(&[]), &[]));
    let kernel = Kernel::start_in(state, KernelOptions::openai(&format!("{}/v1", model.base)));
    kernel.still_answers().await;
    let built = std::fs::read_dir(&bundle).unwrap().map(|e| e.unwrap().path());
    let built = built.filter(|file| file.extension().is_some_and(|x| x == "wasm")).count();
    assert_eq!(kernel.cli_json(&["plugin", "list", "--json"]).as_array().map(Vec::len), Some(built));
    assert_eq!(kernel.say("s", "Are you there?").await, "Yes.");
}
