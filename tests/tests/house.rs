//! The house rules that no compiler checks: which room may know which, and which words may stand where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads the source tree, and stops at the first thing that is not as it should be"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each room may stand on. Imports go down, never up or sideways.
const FLOORS: &[(&str, &[&str])] = &[
    ("carapace-contract", &[]),
    ("carapace-config", &["contract"]),
    ("carapace-store", &["contract"]),
    ("carapace-egress", &["contract"]),
    ("carapace-registry", &["contract"]),
    ("carapace-runtime", &["contract", "registry"]),
    ("carapace-host", &["contract", "config", "store", "egress", "registry", "runtime"]),
    ("carapace-agent", &["contract", "config", "store"]),
    // The agent for its tests: it reaches the assistant through a port.
    ("carapace-courier", &["contract", "config", "store", "agent"]),
    ("carapace-gateway", &["contract", "config", "store", "agent"]),
    // The SDK is of the components' workspace; it stands on nothing here.
    ("carapace-test-host", &["contract", "registry", "runtime", "sdk"]),
    (
        "carapace-cli",
        &[
            "contract",
            "config",
            "store",
            "egress",
            "registry",
            "runtime",
            "host",
            "agent",
            "courier",
            "gateway",
            "test-host",
        ],
    ),
    ("xtask", &[]),
];

/// Names of chat platforms that mean nothing else, in any case. (`signal`, `matrix`, `line` and `teams` are also ordinary words.)
const PLATFORMS: &[&str] = &[
    "telegram",
    "discord",
    "whatsapp",
    "signal-cli",
    "mattermost",
    "imessage",
    "bluebubbles",
    "msteams",
    "viber",
    "wechat",
    "feishu",
    "lark",
    "zalo",
    "nostr",
    "twitch",
    "irc",
    "googlechat",
    "dingtalk",
    "qqbot",
];

/// A platform whose name is also an ordinary word (a buffer has slack), as only the platform is written.
const AS_WRITTEN: &[&str] = &["Slack", "\"slack\"", "slack.com", "slack_bot", "Signal messenger", "signal.org"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// One dependency of a workspace crate.
#[derive(Debug)]
struct Needs {
    crate_name: String,
    dependency: String,
    dev: bool,
}

fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let out = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn needs() -> Vec<Needs> {
    let mut found = Vec::new();
    for package in metadata()["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            found.push(Needs {
                crate_name: package["name"].as_str().unwrap().to_owned(),
                dependency: dependency["name"].as_str().unwrap().to_owned(),
                dev: dependency["kind"].as_str() == Some("dev"),
            });
        }
    }
    assert!(found.len() > 100, "cargo metadata lists only {} dependencies", found.len());
    found
}

/// Asserts that nobody but `shipped` depends on `library`, and nobody but those and `in_tests` for its tests.
fn only(library: &str, shipped: &[&str], in_tests: &[&str]) {
    for need in needs().iter().filter(|need| need.dependency == library) {
        let name = need.crate_name.as_str();
        // The end-to-end crate is nothing but tests.
        let for_tests = need.dev || name == "carapace-tests";
        let allowed = shipped.contains(&name) || (for_tests && in_tests.contains(&name));
        assert!(allowed, "{name} depends on {library}; only {shipped:?} may, and for tests {in_tests:?}");
    }
    let known = needs().iter().any(|need| need.dependency == library);
    assert!(known, "nothing depends on {library} any more; this rule needs another name");
}

/// All text files below, without build output and repository data.
fn files(below: &str) -> Vec<(PathBuf, String)> {
    const SKIPPED: &[&str] = &["target", ".git", "node_modules", "book", "corpus", "artifacts", "__pycache__"];
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no file below {below}");
    found
}

/// Whether `word` stands in `line` and is not part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric();
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[test]
fn imports_go_down_the_floors() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    for need in needs() {
        let Some(room) = need.dependency.strip_prefix("carapace-") else { continue };
        if need.crate_name == "carapace-tests" {
            continue;
        }
        let below = floors.get(need.crate_name.as_str()).unwrap_or_else(|| panic!("{} has no floor", need.crate_name));
        assert!(below.contains(&room), "{} imports {}; it may import only {below:?}", need.crate_name, need.dependency);
    }
}

#[test]
fn every_workspace_crate_has_a_floor() {
    let floors: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        assert!(floors.contains(name) || name == "carapace-tests", "{name} has no floor; add it to FLOORS");
    }
}

#[test]
fn only_runtime_and_host_know_the_engine() {
    only("wasmtime", &["carapace-runtime", "carapace-host"], &["carapace-tests"]);
    only("wasmtime-wasi", &["carapace-runtime"], &[]);
    only("wasmtime-wasi-http", &["carapace-runtime"], &[]);
}

#[test]
fn only_egress_opens_client_sockets() {
    only("reqwest", &["carapace-egress"], &["carapace-gateway", "carapace-tests"]);
    only("tokio-tungstenite", &["carapace-egress"], &["carapace-gateway", "carapace-tests"]);
}

#[test]
fn only_the_store_opens_the_database_and_the_keyring() {
    only("rusqlite", &["carapace-store"], &[]);
    only("keyring", &["carapace-store"], &[]);
}

#[test]
fn only_the_command_line_knows_argument_parsing_and_pretty_errors() {
    only("clap", &["carapace-cli"], &[]);
    only("miette", &["carapace-cli"], &[]);
}

#[test]
fn the_kernel_names_no_chat_platform() {
    for (path, text) in files("kernel") {
        for (index, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let named = PLATFORMS.iter().find(|name| has_word(&lower, name));
            let named = named.or_else(|| AS_WRITTEN.iter().find(|name| has_word(line, name)));
            let place = format!("{}:{}", path.display(), index + 1);
            assert_eq!(named, None, "{place} names a chat platform; platforms belong into components");
        }
    }
}

#[test]
fn platform_names_are_found_as_words_only() {
    assert!(has_word("the telegram api", "telegram"));
    assert!(has_word("name = \"signal-cli\"", "signal-cli"));
    assert!(has_word("telegram_token", "telegram"));
    assert!(has_word("posts to Slack", "Slack"));
    assert!(!has_word("const SLACK: usize", "Slack"));
    assert!(!has_word("a circle", "irc"));
    assert!(!has_word("tokio::signal::ctrl_c", "signal-cli"));
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let homes = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    for (path, text) in files(".") {
        for (index, line) in text.lines().enumerate() {
            for home in homes {
                let named = line.match_indices(home).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}>)~*".contains(c))
                });
                assert!(!named, "{}:{}: `{home}` is a path of one machine", path.display(), index + 1);
            }
        }
    }
}

#[test]
fn every_crate_takes_the_shared_lints() {
    let mut manifests: Vec<PathBuf> = files(".").into_iter().map(|(path, _)| path).collect();
    manifests.retain(|path| path.file_name().is_some_and(|name| name == "Cargo.toml") && !path.starts_with("fuzz"));
    let mut crates = 0;
    for path in manifests {
        let text = read(&path);
        if !text.lines().any(|line| line.trim() == "[package]") || path.starts_with("sdk/templates")
            // As a stranger has it.
            || path.starts_with("tests/foreign")
        {
            continue;
        }
        crates += 1;
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
        assert_eq!(
            lines.next(),
            Some("workspace = true"),
            "{}: after [lints] stands `workspace = true`",
            path.display()
        );
    }
    assert!(crates > 10, "only {crates} crates were found");
}

/// The keys of a workspace's `[workspace.dependencies]` that are not our own.
fn shared_dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let section = text.lines().skip_while(|line| line.trim() != "[workspace.dependencies]").skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| !name.starts_with('#') && !name.starts_with("carapace-"))
        .collect()
}

#[test]
fn every_shared_dependency_is_explained_and_nothing_else_is() {
    let text = read("docs/src/dependencies.md");
    let explained: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let shared = shared_dependencies("Cargo.toml");
    let unexplained: Vec<_> = shared.difference(&explained).collect();
    assert!(unexplained.is_empty(), "docs/src/dependencies.md has no line for {unexplained:?}");
    let gone: Vec<_> = explained.difference(&shared).collect();
    assert!(gone.is_empty(), "docs/src/dependencies.md explains {gone:?}, which Cargo.toml does not have");

    let components = text.split_once("\n## Components").expect("a section on components").1;
    for name in shared_dependencies("components/Cargo.toml") {
        assert!(components.contains(&format!("`{name}`")), "docs/src/dependencies.md: components need `{name}`; why?");
    }
}

#[test]
fn every_shared_dependency_is_used() {
    let used: BTreeSet<String> = needs().into_iter().map(|need| need.dependency).collect();
    let unused: Vec<_> = shared_dependencies("Cargo.toml").into_iter().filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "Cargo.toml shares dependencies that no crate uses: {unused:?}");
}

#[test]
fn every_bundled_component_has_a_manifest_the_sdk_and_the_shared_profile() {
    for family in ["providers", "tools", "channels", "filters"] {
        let Ok(entries) = std::fs::read_dir(root().join("components").join(family)) else { continue };
        for folder in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            assert!(folder.join("carapace.toml").is_file(), "{} has no carapace.toml", folder.display());
            let text = read(folder.join("Cargo.toml"));
            assert!(!text.contains("[profile"), "{}: profiles belong into components/Cargo.toml", folder.display());
            let by_sdk = text.contains("\ncarapace-sdk.workspace = true\n") && !text.contains("wit-bindgen");
            assert!(by_sdk, "{}: components are written with the SDK, as an author's are", folder.display());
        }
    }
}
