use super::*;
use crate::keyless::TrustedRoot;
use crate::testing::{self, key, trust};
use crate::verify::Trust;
use std::fs;
use std::path::Path;

const NOW: u64 = 1_000_000_000_000;

fn registry() -> Name {
    "house".parse().unwrap()
}

/// A package of `local` by key 0.
fn package(name: &str, version: &str) -> (Vec<u8>, Vec<u8>) {
    let more = "[kv]\n[[tool]]\nname = \"look\"\nuses = [\"kv\"]\n";
    testing::package(testing::component(&["kv"], &["tools"]), &testing::manifest(name, version, more), &key(0))
}

fn keeper() -> Trust {
    Trust { now_ms: NOW, ..trust("local", &key(0)) }
}

fn making<'a>(key: &'a SigningKey, trust: &'a Trust) -> Making<'a> {
    Making {
        registry: registry(),
        key,
        earlier_key: None,
        trust,
        days: 30,
        yank: BTreeMap::new(),
        unyank: BTreeSet::new(),
    }
}

fn read(dir: &Path, key: &SigningKey) -> Result<Index, RegistryError> {
    let bytes = fs::read(dir.join(INDEX_FILE)).unwrap();
    Ok(Index::open(&registry(), &bytes, [key.public()].iter())?.0)
}

fn code<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn an_index_says_what_the_packages_say() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bundle) = package("notes", "1.2.0");
    place(dir.path(), &bytes, &bundle).unwrap();
    let made = make(dir.path(), &making(&key(9), &keeper())).unwrap();
    assert_eq!(made, Made { version: 1, packages: 1, yanked: 0 });
    let index = read(dir.path(), &key(9)).unwrap();
    let entry = index.packages.first().unwrap();
    assert_eq!(entry.id.to_string(), "local/notes");
    assert_eq!((entry.digest, entry.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!((entry.description.as_str(), entry.contract.as_str()), ("A fixture", "0.1"));
    assert_eq!(entry.kinds, BTreeSet::from(["tool".to_owned()]));
    assert_eq!(entry.asks, BTreeSet::from(["kv".to_owned()]));
    assert_eq!(entry.signer, SignedBy::Key(key(0).public().fingerprint()));
    assert_eq!(index.expires_ms, NOW + 30 * 86_400_000);
    assert!(index.keys[&"local".parse::<Name>().unwrap()].contains(&key(0).public()));
    entry.holds_for(&registry(), &bytes, &bundle, &TrustedRoot::built_in()).unwrap();
}

#[test]
fn renewing_counts_up_and_keeps_what_was_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bundle) = package("notes", "1.0.0");
    let digest = place(dir.path(), &bytes, &bundle).unwrap();
    let (trust, signer) = (keeper(), key(9));
    let yank = Making { yank: BTreeMap::from([(digest, "loses notes".to_owned())]), ..making(&signer, &trust) };
    assert_eq!(make(dir.path(), &yank).unwrap().yanked, 1);
    let made = make(dir.path(), &making(&signer, &trust)).unwrap();
    assert_eq!((made.version, made.yanked), (2, 1));
    let unyank = Making { unyank: BTreeSet::from([digest]), ..making(&signer, &trust) };
    assert_eq!(make(dir.path(), &unyank).unwrap(), Made { version: 3, packages: 1, yanked: 0 });
    assert_eq!(digests_of(&read(dir.path(), &signer).unwrap(), &["local/notes@1.0.0".into()]).unwrap().len(), 1);
}

#[test]
fn another_key_renews_only_if_the_earlier_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bundle) = package("notes", "1.0.0");
    place(dir.path(), &bytes, &bundle).unwrap();
    let trust = keeper();
    make(dir.path(), &making(&key(9), &trust)).unwrap();
    let new = key(10);
    assert_eq!(code(make(dir.path(), &making(&new, &trust))), "E-REG-006");
    let told = Making { earlier_key: Some(key(9).public()), ..making(&new, &trust) };
    assert_eq!(make(dir.path(), &told).unwrap().version, 2);
}

#[test]
fn a_keeper_lists_only_what_its_own_trust_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let stranger = testing::package(
        testing::component(&[], &["tools"]),
        &testing::manifest("x", "1.0.0", "[[tool]]\nname = \"x\"\n"),
        &key(5),
    );
    place(dir.path(), &stranger.0, &stranger.1).unwrap();
    let error = make(dir.path(), &making(&key(9), &keeper())).unwrap_err();
    assert_eq!(error.code(), "E-REG-015");
    assert!(error.to_string().contains("E-TRUST-003"), "{error}");
}

#[test]
fn a_file_that_is_not_called_by_its_digest_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bundle) = package("notes", "1.0.0");
    place(dir.path(), &bytes, &bundle).unwrap();
    let (component, signature) = package_files(&Digest::of(&bytes));
    let elsewhere = dir.path().join(PACKAGES).join("notes.wasm");
    fs::rename(dir.path().join(component), &elsewhere).unwrap();
    fs::rename(dir.path().join(signature), elsewhere.with_extension("sigstore.json")).unwrap();
    let error = make(dir.path(), &making(&key(9), &keeper())).unwrap_err().to_string();
    assert!(error.contains("notes.wasm") && error.contains("not called so"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_is_no_package() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(PACKAGES)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join(PACKAGES).join("a.wasm")).unwrap();
    assert_eq!(code(make(dir.path(), &making(&key(9), &keeper()))), "E-REG-005");
}

#[test]
fn two_packages_of_one_version_are_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let (first, bundle) = package("notes", "1.0.0");
    place(dir.path(), &first, &bundle).unwrap();
    let other = testing::package(
        testing::component(&[], &["tools"]),
        &testing::manifest("notes", "1.0.0", "[[tool]]\nname = \"x\"\n"),
        &key(0),
    );
    place(dir.path(), &other.0, &other.1).unwrap();
    let error = make(dir.path(), &making(&key(9), &keeper())).unwrap_err().to_string();
    assert!(error.contains(&Digest::of(&first).to_string()) && error.contains(&Digest::of(&other.0).to_string()));
}

#[test]
fn an_author_cannot_write_an_entry_because_every_field_is_compared() {
    let (bytes, bundle) = package("notes", "1.2.0");
    let honest = Entry::describe("local".parse().unwrap(), &bytes, &bundle, &TrustedRoot::built_in()).unwrap();
    let lies: Vec<(&str, Entry)> = vec![
        ("the name", Entry { id: "local/nodes".parse().unwrap(), ..honest.clone() }),
        ("the version", Entry { version: Version::new(1, 3, 0), ..honest.clone() }),
        ("the contract", Entry { contract: "0.2".into(), ..honest.clone() }),
        ("the description", Entry { description: "Better".into(), ..honest.clone() }),
        ("the kinds", Entry { kinds: BTreeSet::from(["provider".into()]), ..honest.clone() }),
        ("that it asks for", Entry { asks: BTreeSet::new(), ..honest.clone() }),
        ("the signer", Entry { signer: SignedBy::Key(key(3).public().fingerprint()), ..honest.clone() }),
    ];
    for (field, lie) in lies {
        let error = lie.holds_for(&registry(), &bytes, &bundle, &TrustedRoot::built_in()).unwrap_err();
        assert!(matches!(&error, RegistryError::Misdescribed { what, .. } if *what == field), "{field}: {error}");
    }
    let resized = Entry { size: honest.size + 1, ..honest.clone() };
    assert_eq!(code(resized.holds_for(&registry(), &bytes, &bundle, &TrustedRoot::built_in())), "E-REG-012");
    let swapped = package("notes", "1.2.1");
    assert_eq!(code(honest.holds_for(&registry(), &swapped.0, &swapped.1, &TrustedRoot::built_in())), "E-REG-012");
}

/// An index with `n` packages that nobody made.
fn index(n: u64) -> Index {
    let packages = (0..n)
        .map(|i| Entry {
            id: format!("acme/tool-{i:06}").parse().unwrap(),
            version: Version::new(1, 0, i),
            contract: "0.1".into(),
            digest: Digest::of(&i.to_be_bytes()),
            size: i,
            description: format!("Does the {i}th thing"),
            kinds: BTreeSet::from(["tool".into()]),
            asks: BTreeSet::from(["http:api.example.com".into(), "secret:token".into()]),
            signer: SignedBy::Key(key(0).public().fingerprint()),
            yanked: None,
        })
        .collect();
    Index {
        format: FORMAT,
        registry: registry(),
        version: 3,
        issued_ms: NOW,
        expires_ms: NOW + 1,
        keys: BTreeMap::new(),
        packages,
    }
}

fn open(index: &Index, by: &SigningKey) -> Result<Index, RegistryError> {
    Ok(Index::open(&registry(), &index.sign(by).unwrap(), [key(9).public()].iter())?.0)
}

#[test]
fn ten_thousand_packages_fit_with_room_to_spare() {
    let big = index(10_000);
    let bytes = big.sign(&key(9)).unwrap();
    assert!(bytes.len() < MAX_BYTES / 4, "{}", bytes.len());
    let read = open(&big, &key(9)).unwrap();
    assert_eq!(read, big);
    let hits = search([&read], &["tool-0099".into()]);
    assert_eq!(hits.len(), 100);
}

#[test]
fn an_index_by_another_key_is_refused() {
    assert_eq!(code(open(&index(2), &key(8))), "E-REG-006");
    let bytes = index(2).sign(&key(9)).unwrap();
    assert_eq!(code(Index::open(&registry(), &bytes, [].iter())), "E-REG-006");
}

#[test]
fn another_registrys_index_is_named() {
    let other = Index { registry: "other".parse().unwrap(), ..index(1) };
    let error = open(&other, &key(9)).unwrap_err();
    assert_eq!(error.code(), "E-REG-008");
    assert!(error.to_string().contains("`other`") && error.to_string().contains("`house`"), "{error}");
}

#[test]
fn entries_stand_once_and_in_order() {
    let mut twice = index(3);
    twice.packages.insert(1, twice.packages[0].clone());
    assert_eq!(code(open(&twice, &key(9))), "E-REG-007");
    let mut turned = index(3);
    turned.packages.reverse();
    assert_eq!(code(open(&turned, &key(9))), "E-REG-007");
}

#[test]
fn a_text_that_reaches_into_the_terminal_is_refused() {
    let texts = ["\u{1b}[2Jgone", "right \u{202e}ot tfel", "zero\u{200b}width", &"x".repeat(MAX_TEXT + 1)];
    for text in texts {
        let mut bad = index(1);
        bad.packages[0].description = text.to_owned();
        assert_eq!(code(open(&bad, &key(9))), "E-REG-007", "{text:?}");
        let mut bad = index(1);
        bad.packages[0].asks.insert(text.to_owned());
        assert_eq!(code(open(&bad, &key(9))), "E-REG-007", "{text:?}");
    }
}

#[test]
fn a_format_of_the_future_says_so() {
    let future = Index { format: 2, ..index(1) };
    let error = open(&future, &key(9)).unwrap_err().to_string();
    assert!(error.contains("its format is 2"), "{error}");
}

#[test]
fn more_than_the_cap_is_not_even_parsed() {
    let blown = vec![b' '; MAX_BYTES + 1];
    assert_eq!(code(Index::open(&registry(), &blown, [key(9).public()].iter())), "E-REG-004");
}

#[test]
fn names_are_found_before_descriptions_and_the_newest_version_speaks() {
    let entry = |id: &str, version: &str, description: &str| Entry {
        id: id.parse().unwrap(),
        version: version.parse().unwrap(),
        description: description.into(),
        ..index(1).packages[0].clone()
    };
    let mut index = Index {
        packages: vec![
            entry("acme/clock", "1.0.0", "Weather by the hour"),
            entry("acme/weather", "1.0.0", "Old"),
            entry("acme/weather", "1.1.0", "New"),
            entry("zeta/weather-map", "0.1.0", "Maps"),
        ],
        ..index(0)
    };
    let found = |index: &Index, words: &[&str]| -> Vec<String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        search([index], &words).iter().map(|h| format!("{} {}", h.entry.id, h.entry.version)).collect()
    };
    assert_eq!(found(&index, &["Weather"]), ["acme/weather 1.1.0", "zeta/weather-map 0.1.0", "acme/clock 1.0.0"]);
    assert_eq!(found(&index, &["weather", "zeta"]), ["zeta/weather-map 0.1.0"]);
    assert_eq!(found(&index, &["nothing"]), [""; 0]);
    index.packages[2].yanked = Some("broken".into());
    assert_eq!(found(&index, &["weather", "acme", "old"]), ["acme/weather 1.0.0"]);
}

proptest::proptest! {
    #[test]
    fn no_change_and_no_cut_of_an_index_is_accepted(at in 0usize..4000, with in 0u8..=255, cut in 0usize..4000) {
        let honest = index(3);
        let bytes = honest.sign(&key(9)).unwrap();
        let mut changed = bytes.clone();
        let at = at % bytes.len();
        changed[at] = with;
        if let Ok((read, _)) = Index::open(&registry(), &changed, [key(9).public()].iter()) {
            // White space and the unsigned hint may change; what it says may not.
            proptest::prop_assert_eq!(read, honest);
        }
        let shorter = &bytes[..cut % bytes.len()];
        proptest::prop_assert!(Index::open(&registry(), shorter, [key(9).public()].iter()).is_err());
    }

    #[test]
    fn noise_is_no_index(noise in proptest::collection::vec(0u8..=255, 0..2000)) {
        proptest::prop_assert!(Index::open(&registry(), &noise, [key(9).public()].iter()).is_err());
    }
}

#[test]
fn a_package_signed_without_a_key_is_listed_and_recognised_by_its_rule() {
    use crate::testing::sigstore::{Holder, Sigstore};
    const RULE: &str =
        "issuer=https://token.actions.githubusercontent.com repository-id=42 workflow=.github/workflows/release.yml";
    let text = testing::manifest("echo", "1.2.3", "[[tool]]\nname = \"echo\"\n");
    let bytes = testing::assemble(testing::component(&["log"], &["tools"]), text.as_bytes());
    let statement = testing::statement(&bytes, &carapace_contract::manifest::Manifest::parse(&text).unwrap());
    let mut sigstore = Sigstore::new();
    let holder = Holder::workflow("acme/tools", 42, ".github/workflows/release.yml", "refs/tags/v1");
    let bundle = sigstore.sign(&holder, &statement).to_string();
    let keeper = Trust { now_ms: NOW, ..testing::trust_keyless("acme", RULE, &sigstore.trusted_root()) };
    let dir = tempfile::tempdir().unwrap();
    place(dir.path(), &bytes, bundle.as_bytes()).unwrap();
    make(dir.path(), &making(&key(9), &keeper)).unwrap();
    let index = read(dir.path(), &key(9)).unwrap();
    let entry = &index.packages[0];
    assert_eq!(entry.signer.to_string(), RULE);
    entry.holds_for(&registry(), &bytes, bundle.as_bytes(), &keeper.root).unwrap();
    let here = testing::trust_keyless("tools-by-acme", RULE, &sigstore.trusted_root());
    assert_eq!(entry.signer.known(&here.publishers).unwrap().0.id.as_str(), "tools-by-acme");
    // Another instance of Sigstore vouches for nothing here.
    let other = testing::trust_keyless("acme", RULE, &Sigstore::new().trusted_root());
    assert_eq!(code(entry.holds_for(&registry(), &bytes, bundle.as_bytes(), &other.root)), "E-REG-012");
}
