//! The store as its callers see it, and as someone who edits its file sees it.
#![allow(clippy::disallowed_methods, reason = "tests look at files and start themselves as a child process")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may be blunt"
)]
#![cfg(unix)]

mod blob;
mod chain;
mod channel;
mod commit;
mod crash;
mod delivery;
mod files;
mod kv;
mod memory;
mod package;
mod request;
mod secrets;
mod trust;

use carapace_store::{Clock, LogRow, Store, StoreOptions, Ulid, Unlocker};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tempfile::TempDir;

/// No test asks the keyring of the machine it runs on.
fn options() -> StoreOptions {
    StoreOptions { unlocker: Unlocker::None, ..StoreOptions::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

fn fresh() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

/// A store whose clock shows what the test says.
fn timed() -> (TempDir, Store, Arc<AtomicU64>) {
    let dir = tempfile::tempdir().unwrap();
    let hand = Arc::new(AtomicU64::new(1_000_000));
    let options = StoreOptions { clock: Clock::manual(Arc::clone(&hand)), ..options() };
    let store = Store::open(dir.path(), options).unwrap();
    (dir, store, hand)
}

fn row(session: &str, kind: &str, content: impl Into<Value>) -> LogRow {
    LogRow {
        id: Ulid::generate(),
        session: session.into(),
        run: None,
        kind: kind.into(),
        content: content.into(),
        tainted: false,
        at_ms: 5,
    }
}

/// The file, as someone with an SQLite shell sees it.
fn raw(dir: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(dir.join("carapace.db")).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
    conn
}
