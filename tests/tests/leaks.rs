//! Packages that come and go leave nothing: no file, no open file, no thread, no row, and no memory that is never given back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_store::{Store, StoreOptions, Unlocker};
use carapace_tests::components::{manifest, pack, tool, wat};
use carapace_tests::owner;
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, peer, peers};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Above what allocators keep for themselves. A package that stayed in memory with its code would be several times that over the rounds.
const TOLERANCE: u64 = 24 << 20;
/// What compiled code is mapped from.
const ARTEFACT: &str = "/memfd:carapace-aot (deleted)";
/// Memories that the pool keeps for the next call, with the artefact that they begin as.
const WARM: usize = 32;
/// What every round adds on purpose: the chained record of what the owner did, and the contents that it hashes.
const RECORD: [&str; 2] = ["audit", "content"];

fn file(state: &Path, dir: &Path, version: &str) -> (String, String) {
    let text = manifest("gadget", version, "[[tool]]\nname = \"gadget\"\nuses = []\n");
    let package = pack(&tool(wat::ECHO, &["gadget"]), &text);
    let path = dir.join(format!("{version}.wasm"));
    std::fs::write(&path, &package).unwrap();
    owner::done(state, &["plugin", "sign", path.to_str().unwrap()]);
    (path.to_str().unwrap().to_owned(), Digest::of(&package).to_string())
}

struct Seen {
    files: BTreeSet<PathBuf>,
    /// What the kernel has open, by kind. Connections come and go with their other ends, which are asked for below.
    open: BTreeMap<String, usize>,
    threads: usize,
    rows: BTreeMap<String, u64>,
}

fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found)
        } else {
            assert!(found.insert(entry.path()))
        }
    }
}

/// What a process has open: devices and files by name, anything else by what it is.
fn open(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap) {
        let Ok(to) = std::fs::read_link(fd.path()) else { continue };
        let kind = to.display().to_string();
        let kind = if kind.starts_with('/') { kind } else { kind.split('[').next().unwrap().to_owned() };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

async fn look(kernel: &Kernel) -> Seen {
    let mut files = BTreeSet::new();
    walk(kernel.state(), &mut files);
    let unlocker = Unlocker::Password("correct horse battery staple".to_owned().into());
    let reader = Store::open_reader(kernel.state(), StoreOptions { unlocker, ..StoreOptions::default() }).unwrap();
    let mut rows = reader.table_rows().await.unwrap();
    RECORD.iter().for_each(|table| assert!(rows.remove(*table).is_some(), "{rows:?}"));
    let threads = std::fs::read_dir(format!("/proc/{}/task", kernel.pid())).unwrap().count();
    Seen { files, open: open(kernel.pid()), threads, rows }
}

/// Bytes of memory that are the kernel's own.
fn memory(kernel: &Kernel) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", kernel.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// `CARAPACE_TEST_ROUNDS` says how often; each round installs, updates, rolls back, updates and uninstalls.
#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going_leaves_nothing() {
    let model = peer!("aimock", peers::aimock(&script(&["gadget"]), &[]));
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)));
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (first, digest) = file(state, dir.path(), "0.1.0");
    let (second, _) = file(state, dir.path(), "0.2.0");
    let rounds: u32 = std::env::var("CARAPACE_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    let settled = rounds / 4;
    let mut before = None;
    for round in 0..rounds {
        owner::done(state, &["plugin", "install", &first, "--accept", &digest, "--allow-downgrade"]);
        let answer = kernel.turn("session", "carapace", "Please call <gadget>.").await;
        assert_eq!(answer.result(), ("{}", false), "round {round}");
        owner::done(state, &["plugin", "update", "gadget", &second]);
        owner::done(state, &["plugin", "rollback", "gadget"]);
        owner::done(state, &["plugin", "update", "gadget", &second]);
        owner::done(state, &["plugin", "uninstall", "gadget", "--yes", "--delete-data"]);
        if round == settled {
            before = Some((look(&kernel).await, memory(&kernel)));
        }
    }
    let (mut was, memory_was) = before.unwrap();
    let mut is = look(&kernel).await;
    // Conversations are kept; this one had a turn each round.
    for table in ["log", "inbox", "run", "intent", "meter", "usage"] {
        assert_eq!(was.rows.remove(table).is_some(), is.rows.remove(table).is_some());
    }
    let (few, many) = (was.open.remove("socket:").unwrap_or(0), is.open.remove("socket:").unwrap_or(0));
    assert!(many < few + usize::try_from(rounds - settled).unwrap() / 4 + 8, "{few} connections, then {many}");
    // A mapped artefact is let go with its code, but for those whose memories the pool keeps warm: they are bounded, not gone.
    let (_, mapped) = (was.open.remove(ARTEFACT), is.open.remove(ARTEFACT).unwrap_or(0));
    let loaded = kernel.cli_json(&["plugin", "list", "--json"]).as_array().unwrap().len();
    assert!(mapped <= loaded + WARM, "{mapped} artefacts are mapped for {loaded} components");
    let lost: Vec<_> = was.files.symmetric_difference(&is.files).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!((was.open, was.threads, was.rows), (is.open.clone(), is.threads, is.rows));
    let grown = memory(&kernel).saturating_sub(memory_was);
    println!(
        "{rounds} rounds: {} files, {} threads, {few} and {many} connections, {grown} bytes more",
        is.files.len(),
        is.threads
    );
    assert!(grown < TOLERANCE, "{grown} bytes more after {rounds} rounds");
    assert!(kernel.cli_json(&["plugin", "grants", "--json"]).to_string().find("gadget").is_none());
    kernel.still_answers().await;
}
