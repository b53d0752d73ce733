//! The page of error codes and the code say the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads the source tree, and stops at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every `E-<ROOM>-<NNN>` in a text.
fn codes(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("E-").map(|(at, _)| at);
    let code = |at: usize| {
        let rest = text.get(at + 2..)?;
        let room: String = rest.chars().take_while(char::is_ascii_uppercase).collect();
        let number: String = rest.strip_prefix(&room)?.strip_prefix('-')?.chars().take(3).collect();
        let whole = !room.is_empty() && number.len() == 3 && number.chars().all(|c| c.is_ascii_digit());
        whole.then(|| format!("E-{room}-{number}"))
    };
    starts.filter_map(code).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Integration tests may use codes of their own making.
            if path.file_name().is_none_or(|name| name != "tests" || path.parent().is_some_and(|p| p.ends_with("src")))
            {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn in_code() -> BTreeSet<String> {
    let mut files = Vec::new();
    for room in ["kernel", "registry"] {
        sources(&root().join(room), &mut files);
    }
    assert!(files.len() > 100, "the sources were not found");
    files.iter().flat_map(|f| codes(&std::fs::read_to_string(f).unwrap())).collect()
}

fn on_page() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/src/reference/errors.md")).unwrap();
    page.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| codes(line).pop_first()).collect()
}

#[test]
fn every_code_has_its_line_on_the_page() {
    let page: BTreeSet<String> = on_page().into_iter().collect();
    let missing: Vec<String> = in_code().difference(&page).cloned().collect();
    assert!(missing.is_empty(), "docs/src/reference/errors.md lacks {missing:?}");
}

#[test]
fn every_line_of_the_page_is_a_code_that_can_be_met() {
    let code = in_code();
    let stale: Vec<String> = on_page().into_iter().filter(|c| !code.contains(c)).collect();
    assert!(stale.is_empty(), "docs/src/reference/errors.md still has {stale:?}");
}

#[test]
fn no_code_stands_on_the_page_twice() {
    let mut seen = BTreeSet::new();
    let twice: Vec<String> = on_page().into_iter().filter(|c| !seen.insert(c.clone())).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn a_code_is_found_in_any_surroundings() {
    let found = codes("[E-GATE-001]; \"E-TURN-020\" E-X-1 E--001 E-room-001 EE-HOST-0071");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["E-GATE-001", "E-HOST-007", "E-TURN-020"]);
}
