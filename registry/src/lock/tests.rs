use super::*;
use std::collections::BTreeSet;

fn locked(id: &str, version: &str, source: &str) -> Locked {
    Locked {
        id: id.parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(id.as_bytes()),
        source: source.to_owned(),
        grants: None,
    }
}

#[test]
fn a_lock_reads_well_and_comes_back_as_it_was() {
    let mut lock = Lock::default();
    lock.put(locked("zeta/weather", "1.0.0", "oci://ghcr.io/zeta/weather"));
    lock.put(Locked {
        grants: Some(grants(&CapabilitySet::none()).unwrap()),
        ..locked("acme/notes", "0.2.0", "house")
    });
    lock.put(locked("zeta/weather", "1.0.1", "house"));
    let text = lock.text().unwrap();
    assert_eq!(Lock::parse(&text).unwrap(), lock);
    // The digest of a grant is compared in its own test: here it would change with every new capability.
    let shown: String = text.lines().filter(|l| !l.starts_with("grants")).map(|l| format!("{l}\n")).collect();
    insta::assert_snapshot!(shown, @r#"
    # Written by carapace: what the owner installed. `carapace plugin sync` brings the same to another machine.
    format = 1

    [[package]]
    id = "acme/notes"
    version = "0.2.0"
    digest = "sha256:9bafbc7c6b387445b87961c44f14403d5b44a762eb211734bd89046047add962"
    source = "house"

    [[package]]
    id = "zeta/weather"
    version = "1.0.1"
    digest = "sha256:1852d6bbd5277ef69fa424f8c2396bf6c833ec77d949f68819e11a2d8b528a3a"
    source = "house"
    "#);
    assert!(lock.remove(&"acme/notes".parse().unwrap()));
    assert!(!lock.remove(&"acme/notes".parse().unwrap()));
}

#[test]
fn the_file_is_written_whole_and_a_missing_one_locks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    assert_eq!(Lock::load(&path).unwrap(), Lock::default());
    let mut lock = Lock::default();
    lock.put(locked("acme/notes", "0.2.0", "file"));
    lock.save(&path).unwrap();
    assert_eq!(Lock::load(&path).unwrap(), lock);
}

#[test]
fn what_is_no_lock_is_refused() {
    for bad in ["", "format = 2", "format = 1\nextra = 1", "format = 1\n[[package]]\nid = \"x\"", "\0"] {
        assert_eq!(Lock::parse(bad).unwrap_err().code(), "E-REG-014", "{bad:?}");
    }
    let one = "[[package]]\nid = \"a/b\"\nversion = \"1.0.0\"\ndigest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\nsource = \"file\"\n";
    assert!(Lock::parse(&format!("format = 1\n{one}")).is_ok());
    let twice = Lock::parse(&format!("format = 1\n{one}{one}")).unwrap_err().to_string();
    assert!(twice.contains("`a/b` stands there twice"), "{twice}");
}

#[test]
fn the_digest_of_a_grant_changes_with_the_grant_only() {
    let none = CapabilitySet::none();
    let more = CapabilitySet { kv: true, optional: BTreeSet::from(["kv".to_owned()]), ..none.clone() };
    assert_eq!(grants(&none).unwrap(), grants(&none.clone()).unwrap());
    assert_ne!(grants(&none).unwrap(), grants(&more).unwrap());
}
