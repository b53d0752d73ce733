//! The examples and lists of the book, held against the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads the source tree and runs the binary, and stops at the first thing that is not as it should be"
)]

use carapace_contract::limits::Limits;
use carapace_contract::manifest::Manifest;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join("docs/src").join(path)).unwrap()
}

/// The pages of a part of the book, by file name.
fn pages(part: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = std::fs::read_dir(root().join("docs/src").join(part))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .map(|path| {
            let name = format!("{part}/{}", path.file_name().unwrap().to_str().unwrap());
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        open = match (line.strip_prefix("```"), open.take()) {
            (Some(word), None) => Some((word == language, String::new())),
            (Some(_), Some((wanted, block))) => {
                if wanted {
                    found.push(block);
                }
                None
            }
            (None, Some((wanted, block))) => Some((wanted, block + line + "\n")),
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

fn carapace(args: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(carapace_tests::binary());
    command.env_remove("CARAPACE_CONFIG_PATH").env("CARAPACE_STATE_DIR", state.path()).args(args).output().unwrap()
}

#[test]
fn every_configuration_example_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (name, text) in pages("operators") {
        for example in blocks(&text, "json5") {
            let file = dir.path().join("carapace.json5");
            std::fs::write(&file, &example).unwrap();
            let out = carapace(&["config", "check", "--json", "--config", file.to_str().unwrap()]);
            let report = String::from_utf8_lossy(&out.stdout);
            assert!(out.status.success(), "{name}:\n{example}\n{report}");
            assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["problems"], serde_json::json!([]), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "the examples were not found");
}

/// Dotted keys of a schema's object; a map's own keys are not part of it.
fn keys(schema: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if inner["properties"].is_object() {
            keys(inner, &path, found);
        } else {
            found.insert(path);
        }
    }
}

/// What stands in the first column of a page's tables, without the backquotes.
fn first_column(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(cell, _)| cell.to_owned())
        .collect()
}

#[test]
fn the_configuration_page_has_every_key_and_no_other() {
    let out = carapace(&["config", "schema"]);
    let schema: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut known = BTreeSet::new();
    keys(&schema, "", &mut known);
    // Limits have a table of their own, for both places where they may stand.
    known.retain(|k| !k.starts_with("limits.ceiling."));
    known.insert("limits.ceiling".to_owned());
    let instance = &schema["properties"]["instances"]["additionalProperties"];
    known.extend(instance["properties"].as_object().unwrap().keys().cloned());
    known.extend(instance["properties"]["limits"]["properties"].as_object().unwrap().keys().cloned());
    assert!(known.contains("gateway.port") && known.contains("endpoints") && known.contains("kvBytes"), "{known:?}");
    assert_eq!(first_column(&page("operators/configuration.md")), known);
}

#[test]
fn every_manifest_example_is_valid() {
    let mut checked = 0;
    for (name, text) in pages("authors") {
        for example in blocks(&text, "toml").into_iter().filter(|b| b.contains("[component]")) {
            if let Err(e) = Manifest::parse(&example) {
                panic!("{name}:\n{example}\n{e}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 2, "the examples were not found");
}

#[test]
fn the_manifest_page_has_every_limit() {
    let page = first_column(&page("authors/manifest.md"));
    for key in Limits::KEYS {
        assert!(page.contains(key), "authors/manifest.md lacks the limit `{key}`");
    }
}

/// `carapace` and the words after it, where a page writes a command: in a code span, or at the beginning of a line.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let is_word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_lowercase()) && !w.contains(|c| c != '-' && !char::is_ascii_lowercase(&c))
    };
    let mut found = BTreeSet::new();
    for (at, name) in text.match_indices("carapace ") {
        if matches!(text[..at].chars().next_back(), Some('`' | '\n')) {
            let rest = &text[at + name.len()..];
            let end = rest.find(['`', '\n']).unwrap_or(rest.len());
            found.insert(rest[..end].split(' ').take_while(|w| is_word(w)).map(str::to_owned).collect());
        }
    }
    found
}

#[test]
fn every_command_that_the_book_names_exists() {
    let groups = ["plugin", "publisher", "secrets", "config", "audit"];
    let mut named = BTreeSet::new();
    for (_, text) in [pages("operators"), pages("authors"), pages("reference")].concat() {
        for words in commands(&text) {
            // What follows a command that has no commands of its own is an argument.
            let depth = if words.first().is_some_and(|w| groups.contains(&w.as_str())) { 2 } else { 1 };
            named.insert(words.into_iter().take(depth).collect::<Vec<_>>());
        }
    }
    // `carapace help COMMAND` is another way to say `carapace COMMAND --help`.
    named.retain(|words| words.first().is_some_and(|w| w != "help"));
    assert!(named.len() > 20, "{named:?}");
    for words in named {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let out = carapace(&args);
        assert!(out.status.success(), "`carapace {}` does not exist", words.join(" "));
    }
}

#[test]
fn the_command_line_page_has_every_command() {
    let page = page("reference/command-line.md");
    let listed = |args: &[&str]| -> Vec<String> {
        let out = carapace(&[args, &["--help"]].concat());
        let help = String::from_utf8(out.stdout).unwrap();
        let commands = help.split("Commands:\n").nth(1).expect("a list of commands");
        let lines = commands.lines().take_while(|l| !l.is_empty());
        // A command stands two columns in; the rest of its text further in.
        lines
            .filter(|l| !l.starts_with("   "))
            .filter_map(|l| l.split_whitespace().next())
            .filter(|c| *c != "help")
            .map(str::to_owned)
            .collect()
    };
    for command in listed(&[]) {
        let inner = match command.as_str() {
            "plugin" | "publisher" | "secrets" | "config" | "audit" => listed(&[&command]),
            _ => vec![String::new()],
        };
        for inner in inner {
            let whole = format!("| `carapace {command} {inner}").trim_end().to_owned();
            assert!(page.contains(&whole), "reference/command-line.md lacks `carapace {command} {inner}`");
        }
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_metrics_page_has_every_series_and_no_other() {
    let mut files = Vec::new();
    for room in std::fs::read_dir(root().join("kernel")).unwrap() {
        rust_files(&room.unwrap().path().join("src"), &mut files);
    }
    let mut named = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for (at, _) in text.match_indices("\"carapace_") {
            let name: String = text[at + 1..].chars().take_while(|c| *c != '"').collect();
            let plain = !name.contains(|c: char| !c.is_ascii_lowercase() && c != '_');
            // The names of crates, in log filters and the like, are no series.
            let ends = ["_total", "_seconds", "_bytes", "_info", "_ready", "_connections", "_sockets"];
            if plain && ends.iter().any(|e| name.ends_with(e)) {
                named.insert(name);
            }
        }
    }
    assert!(named.len() > 20, "{named:?}");
    assert_eq!(first_column(&page("reference/metrics.md")), named);
}

#[test]
fn every_attack_that_the_book_lists_is_a_test() {
    let text = page("security-model.md");
    let table = text.split("## Attacks that are tried").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut sources = Vec::new();
    for folder in ["tests/tests", "registry/src", "kernel"] {
        rust_files(&root().join(folder), &mut sources);
    }
    let sources: String = sources.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 20, "{table}");
    for row in rows {
        let tests: Vec<&str> = row.rsplit("| ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}()")), "there is no test `{test}`: {row}");
        }
    }
}
