use super::*;
use crate::index::FORMAT as INDEX_FORMAT;
use crate::testing::key;
use std::collections::BTreeMap;

const NOW: u64 = 1_000;

fn house() -> Name {
    "house".parse().unwrap()
}

fn book() -> RegistryBook {
    let mut book = RegistryBook::empty();
    book.add(house(), "https://example.com/r".parse().unwrap(), key(9).public(), 0).unwrap();
    book
}

/// An index of nothing with that version, good until `expires_ms`.
fn index(version: u64, expires_ms: u64) -> Index {
    Index {
        format: INDEX_FORMAT,
        registry: house(),
        version,
        issued_ms: 0,
        expires_ms,
        keys: BTreeMap::new(),
        packages: Vec::new(),
    }
}

fn offer(book: &mut RegistryBook, index: &Index, by: u8) -> Result<Index, RegistryError> {
    book.accept(&house(), &index.sign(&key(by)).unwrap(), NOW, false)
}

#[test]
fn an_index_moves_only_forward() {
    let mut book = book();
    offer(&mut book, &index(2, NOW), 9).unwrap();
    offer(&mut book, &index(2, NOW), 9).unwrap();
    offer(&mut book, &index(5, NOW), 9).unwrap();
    let error = offer(&mut book, &index(4, NOW), 9).unwrap_err();
    assert_eq!(error.code(), "E-REG-010");
    assert!(error.to_string().contains("version 4") && error.to_string().contains("version 5"), "{error}");
    assert_eq!(book.get(&house()).unwrap().seen.as_ref().unwrap().version, 5);
}

#[test]
fn two_indexes_of_one_version_are_a_fork() {
    let mut book = book();
    offer(&mut book, &index(2, NOW), 9).unwrap();
    assert_eq!(offer(&mut book, &index(2, NOW + 1), 9).unwrap_err().code(), "E-REG-011");
}

#[test]
fn an_expired_index_is_refused_unless_the_owner_takes_it_as_it_is() {
    let mut book = book();
    let old = index(1, NOW - 1);
    let error = offer(&mut book, &old, 9).unwrap_err();
    assert_eq!(error.code(), "E-REG-009");
    assert!(error.fix().contains("--accept-expired"), "{}", error.fix());
    assert!(book.get(&house()).unwrap().seen.is_none(), "what was refused was not seen");
    book.accept(&house(), &old.sign(&key(9)).unwrap(), NOW, true).unwrap();
}

#[test]
fn another_key_is_refused_with_the_way_to_follow_it() {
    let error = offer(&mut book(), &index(1, NOW), 8).unwrap_err();
    assert_eq!(error.code(), "E-REG-006");
    assert!(error.fix().contains("carapace registry rotate"), "{}", error.fix());
}

#[test]
fn a_rotation_by_the_old_key_is_followed_and_a_retired_key_stays_retired() {
    let mut book = book();
    let statement = rotation(&house(), &key(9), &key(10).public(), true).unwrap();
    let rotated = book.rotate(&statement, NOW).unwrap();
    assert_eq!((rotated.old, rotated.new, rotated.retired), (key(9).public(), key(10).public(), true));
    assert_eq!(offer(&mut book, &index(1, NOW), 9).unwrap_err().code(), "E-REG-006");
    offer(&mut book, &index(1, NOW), 10).unwrap();
    assert!(book.rotate(&statement, NOW).is_err(), "a replay");
    let back = rotation(&house(), &key(10), &key(9).public(), false).unwrap();
    assert!(book.rotate(&back, NOW).unwrap_err().to_string().contains("known here already"));
}

#[test]
fn a_stranger_and_a_publisher_cannot_rotate_a_registrys_key() {
    let mut book = book();
    let by_stranger = rotation(&house(), &key(8), &key(10).public(), true).unwrap();
    assert!(book.rotate(&by_stranger, NOW).is_err());
    let other_registry = rotation(&"other".parse().unwrap(), &key(9), &key(10).public(), true).unwrap();
    assert!(book.rotate(&other_registry, NOW).is_err());
    let as_publisher = crate::publisher::rotation(&key(9), &key(10).public(), true).unwrap();
    assert!(book.rotate(&as_publisher, NOW).is_err());
    offer(&mut book, &index(1, NOW), 9).unwrap();
}

#[test]
fn the_book_survives_its_file_and_a_damaged_one_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registries.json");
    assert!(RegistryBook::load(&path).unwrap().is_empty());
    let mut book = book();
    offer(&mut book, &index(7, NOW), 9).unwrap();
    book.save(&path).unwrap();
    assert_eq!(RegistryBook::load(&path).unwrap(), book);
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(RegistryBook::load(&path).unwrap_err().code(), "E-REG-014");
}

#[test]
fn a_registry_is_added_once() {
    let mut book = book();
    let again = book.add(house(), "https://example.org".parse().unwrap(), key(1).public(), 0);
    assert!(again.unwrap_err().to_string().contains("carapace registry remove house"));
    book.remove(&house()).unwrap();
    assert!(book.remove(&house()).is_err());
}

#[test]
fn a_place_is_an_absolute_path_or_https() {
    for good in [
        "/media/stick",
        "https://example.com",
        "https://example.com/a/b/",
        "http://127.0.0.1:8000/r",
        "http://[::1]:1/",
    ] {
        good.parse::<Location>().unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    let base: Location = "https://example.com/a".parse().unwrap();
    assert_eq!(base.to_string(), "https://example.com/a/", "names below it stay below it");
    let bad = [
        "relative",
        "",
        "http://example.com",
        "http://127.0.0.1.example.com/",
        "ftp://x/",
        "https://u:p@example.com",
        "https://example.com/?q",
        "https://example.com/#f",
        "https://exa mple.com",
        "file:///etc",
    ];
    for bad in bad {
        assert_eq!(bad.parse::<Location>().unwrap_err().code(), "E-REG-001", "{bad}");
    }
}
