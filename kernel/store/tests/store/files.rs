//! The state directory.

use crate::{fresh, open, options, raw, row};
use carapace_store::{Batch, Store, StoreError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_directory_and_everything_in_it_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    let store = open(&state);
    store.commit(Batch::new().append(row("main", "user", "hi"))).await.unwrap();
    assert_eq!(mode(&state), 0o700);
    let mut names = vec![];
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["carapace.db", "carapace.db-shm", "carapace.db-wal", "carapace.lock", "chain.key"]);
}

#[test]
fn a_directory_that_others_could_read_is_narrowed() {
    let (dir, store) = fresh();
    drop(store);
    for (path, wide) in
        [(dir.path().to_owned(), 0o755), (dir.path().join("chain.key"), 0o644), (dir.path().join("carapace.db"), 0o666)]
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(wide)).unwrap();
    }
    let store = open(dir.path());
    drop(store);
    assert_eq!(mode(dir.path()), 0o700);
    assert_eq!(mode(&dir.path().join("carapace.db")), 0o600);
}

#[tokio::test]
async fn a_second_kernel_on_the_same_directory_is_told_who_is_there() {
    let (dir, store) = fresh();
    // As another process would find it: the lock is taken, the name in it is not ours.
    std::fs::write(dir.path().join("carapace.lock"), "4242").unwrap();
    let refused = Store::open(dir.path(), options()).unwrap_err();
    assert!(refused.is_held());
    let text = refused.to_string();
    assert!(text.contains("pid 4242") && text.contains("CARAPACE_STATE_DIR"), "{text}");
    store.close().await;
    open(dir.path()).close().await;
    let pid = std::fs::read_to_string(dir.path().join("carapace.lock")).unwrap();
    assert_eq!(pid, std::process::id().to_string());
}

#[tokio::test]
async fn whoever_asks_is_told_who_owns_the_directory_and_keeps_nobody_out() {
    let (dir, store) = fresh();
    let holder = Store::holder(dir.path()).unwrap().expect("the store is open");
    assert_eq!(holder.pid, Some(std::process::id()));
    store.close().await;
    assert_eq!(Store::holder(dir.path()).unwrap(), None);
    open(dir.path()).close().await;
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(Store::holder(nothing.path()).unwrap(), None);
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "asking makes nothing");
}

#[tokio::test]
async fn a_reader_works_beside_a_running_kernel_and_without_one() {
    let (dir, store) = fresh();
    let reader = Store::open_reader(dir.path(), options()).unwrap();
    assert!(reader.sessions(9).await.unwrap().is_empty());
    store.commit(Batch::new().append(row("main", "user", "hi"))).await.unwrap();
    assert_eq!(reader.sessions(9).await.unwrap().len(), 1);
    store.close().await;
    assert_eq!(reader.session("main").await.unwrap().unwrap().rows, 1);
    let reader = Store::open_reader(dir.path(), options()).unwrap();
    assert_eq!(reader.verify().await.unwrap().first_broken, None);
    let nothing = tempfile::tempdir().unwrap();
    let refused = Store::open_reader(nothing.path(), options()).unwrap_err();
    assert!(matches!(refused, StoreError::NoDatabase(_)));
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "looking makes nothing");
}

/// What a crash leaves, or a copy made while the kernel runs: rows that are only in the write-ahead log.
#[tokio::test]
async fn a_reader_sees_what_is_still_in_the_write_ahead_log_of_a_dead_kernel() {
    let (dir, store) = fresh();
    store.commit(Batch::new().append(row("main", "user", "hi"))).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["carapace.db", "carapace.db-wal", "chain.key"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let reader = Store::open_reader(copy.path(), options()).unwrap();
    assert_eq!(reader.session("main").await.unwrap().unwrap().rows, 1);
    assert_eq!(reader.verify().await.unwrap().first_broken, None);
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let (dir, store) = fresh();
    drop(store);
    open(dir.path());
    let file = raw(dir.path());
    let version: i64 = file.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    file.pragma_update(None, "user_version", version + 1).unwrap();
    for refused in
        [Store::open(dir.path(), options()).unwrap_err(), Store::open_reader(dir.path(), options()).unwrap_err()]
    {
        assert!(matches!(refused, StoreError::NewerSchema { found, known, .. } if found == known + 1), "{refused}");
    }
}

#[test]
fn a_database_behind_a_symbolic_link_is_refused() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("carapace.db")).unwrap();
    let refused = Store::open(dir.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("symbolic link"), "{refused}");
    assert_eq!(std::fs::read(&target).unwrap(), b"");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("carapace.db"),
        "this is a text of more than one hundred characters, so that it cannot be mistaken for an empty file",
    )
    .unwrap();
    let refused = Store::open(dir.path(), options()).unwrap_err().to_string();
    assert!(refused.contains("not a database"), "{refused}");
}
