use super::*;
use crate::testing::key;

fn book() -> PublisherBook {
    let mut book = PublisherBook::empty();
    book.pin("acme".parse().unwrap(), key(1).public(), 10).unwrap();
    book
}

fn state(book: &PublisherBook, n: u8) -> Option<KeyState> {
    book.by_fingerprint(&key(n).public().fingerprint()).map(|(_, k)| k.state)
}

#[test]
fn an_empty_book_knows_nobody() {
    assert!(PublisherBook::empty().is_empty());
    assert_eq!(state(&PublisherBook::empty(), 1), None);
}

#[test]
fn two_publishers_cannot_share_a_key() {
    let mut book = book();
    let e = book.pin("other".parse().unwrap(), key(1).public(), 11).unwrap_err();
    assert!(matches!(&e, PublisherError::Shared { owner, .. } if owner.as_str() == "acme"), "{e}");
    assert!(book.get(&"other".parse().unwrap()).is_none(), "a refused pin leaves nothing behind");
    assert!(matches!(book.pin("acme".parse().unwrap(), key(1).public(), 11), Err(PublisherError::Known { .. })));
}

#[test]
fn a_removed_publisher_is_forgotten() {
    let mut book = book();
    let id = "acme".parse().unwrap();
    assert_eq!(book.remove(&id).unwrap().added_ms, 10);
    assert_eq!(state(&book, 1), None);
    assert!(matches!(book.remove(&id), Err(PublisherError::Unknown(_))));
}

#[test]
fn a_book_is_written_privately_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("publishers.json");
    assert!(PublisherBook::load(&path).unwrap().is_empty(), "no file yet");
    let mut book = book();
    book.save(&path).unwrap();
    book.pin("other".parse().unwrap(), key(2).public(), 12).unwrap();
    book.save(&path).unwrap();
    assert_eq!(PublisherBook::load(&path).unwrap(), book);
    assert!(!crate::files::is_exposed(&path).unwrap());
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["publishers.json"], "no temporary file stays");
}

#[test]
fn a_damaged_book_is_never_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("publishers.json");
    let k = key(1).public();
    let entry =
        |id: &str| format!(r#"{{"id":"{id}","added_ms":1,"keys":[{{"key":"{k}","state":"active","added_ms":1}}]}}"#);
    let file = |entries: &str| format!(r#"{{"format":1,"publishers":[{entries}]}}"#);
    std::fs::write(&path, file(&entry("a"))).unwrap();
    assert!(!PublisherBook::load(&path).unwrap().is_empty());
    for bad in [
        String::new(),
        "{}".into(),
        file(&entry("a")).replace("\"format\":1", "\"format\":2"),
        file(&format!("{},{}", entry("a"), entry("a"))),
        file(&format!("{},{}", entry("a"), entry("b"))),
        file(&entry("NOT A NAME")),
        file(&entry("a").replace("active", "superb")),
        file(&entry("a").replace("\"added_ms\":1,", "\"added_ms\":1,\"trusted\":true,")),
        file(&entry("a").replace(&k.to_string(), "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
    ] {
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(PublisherBook::load(&path), Err(PublisherError::Content { .. })), "{bad}");
    }
}

#[test]
fn a_rotation_by_an_active_key_adds_the_new_one() {
    let mut book = book();
    let done = book.rotate(&rotation(&key(1), &key(2).public(), false).unwrap(), 20).unwrap();
    assert_eq!((done.publisher.as_str(), done.retired), ("acme", false));
    assert_eq!((state(&book, 1), state(&book, 2)), (Some(KeyState::Active), Some(KeyState::Active)));
    book.rotate(&rotation(&key(2), &key(3).public(), true).unwrap(), 30).unwrap();
    assert_eq!((state(&book, 2), state(&book, 3)), (Some(KeyState::Retired), Some(KeyState::Active)));
}

#[test]
fn a_retired_key_cannot_rotate_and_cannot_be_revived() {
    let mut book = book();
    let back = rotation(&key(1), &key(5).public(), false).unwrap();
    book.rotate(&rotation(&key(1), &key(2).public(), true).unwrap(), 20).unwrap();
    assert!(matches!(book.rotate(&back, 21), Err(PublisherError::NotOurs)));
    let revive = rotation(&key(2), &key(1).public(), false).unwrap();
    let e = book.rotate(&revive, 22).unwrap_err();
    assert!(matches!(&e, PublisherError::Known { state: "retired", .. }), "{e}");
    assert!(book.pin("acme".parse().unwrap(), key(1).public(), 23).is_err());
}

#[test]
fn a_rotation_by_a_stranger_or_onto_a_neighbour_is_refused() {
    let mut book = book();
    book.pin("other".parse().unwrap(), key(9).public(), 11).unwrap();
    let before = book.clone();
    let stranger = rotation(&key(4), &key(5).public(), true).unwrap();
    assert!(matches!(book.rotate(&stranger, 20), Err(PublisherError::NotOurs)));
    let neighbour = rotation(&key(1), &key(9).public(), true).unwrap();
    assert!(matches!(book.rotate(&neighbour, 20), Err(PublisherError::Shared { .. })));
    assert_eq!(book, before, "a refused rotation changes nothing");
}

#[test]
fn a_rotation_statement_says_what_was_signed_and_nothing_else() {
    let mut book = book();
    let sign = |old: u8, subject: u8, new: u8, kind: &str| {
        let predicate = Rotation { old_key: key(old).public(), new_key: key(new).public(), retire_old: true };
        let digest = Digest::from_bytes(key(subject).public().der_digest());
        let statement = Statement::new(kind, "publisher key", digest, predicate).to_json().unwrap();
        serde_json::to_vec(&Envelope::sign(IN_TOTO, &statement, &key(1))).unwrap()
    };
    for (bad, why) in [
        (sign(3, 2, 2, ROTATION_PREDICATE), "speaks for another key"),
        (sign(1, 3, 2, ROTATION_PREDICATE), "not the new key"),
        (sign(1, 2, 2, crate::bundle::PACKAGE_PREDICATE), "predicateType"),
        (b"{}".to_vec(), "missing field"),
    ] {
        let e = book.rotate(&bad, 20).unwrap_err().to_string();
        assert!(e.contains(why), "{e}");
    }
    assert!(book.rotate(&sign(1, 2, 2, ROTATION_PREDICATE), 20).is_ok());
}
