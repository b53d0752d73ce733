//! What the tutorial tells an author to do, done from its own text with the crate that it contains, up to the answer of the tool.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads what authors read, runs the binary, and stops at the first thing that is not as it should be"
)]

use carapace_tests::kernel::command;
use carapace_tests::{Kernel, KernelOptions, peer, peers, turns};
use serde_json::json;
use std::path::{Path, PathBuf};

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

/// Runs a line that begins with `carapace` in a folder; what it printed.
fn line(folder: &Path, state: &Path, line: &str) -> String {
    let mut command = command(state, &[]);
    command.current_dir(folder).args(line.split_whitespace().skip(1));
    let out = command.output().unwrap();
    let printed = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "`{line}`: {printed}{}", String::from_utf8_lossy(&out.stderr));
    printed
}

/// The lines of a section's shell blocks that call `carapace`.
fn lines(page: &str, section: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|s| s.starts_with(section)).unwrap();
    let blocks = section.split("```bash\n").skip(1).map(|b| b.split("```").next().unwrap());
    blocks.flat_map(str::lines).filter(|l| l.starts_with("carapace ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_leads_from_its_text_to_a_tool_that_answers() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/src/authors/first-tool.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (dice, state) = (author("dice", "dice"), tempfile::tempdir().unwrap());
    let mut key = String::new();
    let told = lines(&page, "4.");
    assert!(told.len() >= 6, "{told:?}");
    for step in told {
        let printed = line(dice.path(), state.path(), &step.replace("ed25519:…", &key));
        if step.starts_with("carapace plugin keygen") {
            key = printed.split_whitespace().find(|w| w.starts_with("ed25519:")).expect("a public key").to_owned();
        } else if step.starts_with("carapace plugin inspect") {
            assert!(printed.contains("NOT TRUSTED") && printed.contains("keeps up to 1 MiB"), "{printed}");
            let (_, imports) = printed.split_once("Imports:").unwrap();
            let imports: Vec<&str> =
                imports.lines().filter_map(|l| l.trim().strip_prefix("carapace:plugin/")?.split('@').next()).collect();
            assert_eq!(imports, ["kv", "log", "random", "tools"], "what it calls, and what it exports: {printed}");
        } else if step.starts_with("carapace plugin verify") {
            assert!(printed.contains("me/dice"), "{printed}");
        }
    }

    let model = peer!("aimock", peers::aimock(&rolls(), &[]));
    let package = std::fs::read(dice.path().join("bundle/dice.wasm")).unwrap();
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)).with_package("dice", package));
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
