use super::*;
use crate::deny::{DenyContent, sign};
use crate::index::FORMAT;
use crate::testing::key;
use carapace_contract::Digest;
use std::collections::BTreeSet;

/// What the tests know: `acme` (key 0) and `zeta` (key 1) are pinned, nothing is installed or denied.
struct Here {
    publishers: PublisherBook,
    deny: DenyList,
    installed: BTreeMap<ComponentId, Version>,
}

impl Here {
    fn new() -> Self {
        let mut publishers = PublisherBook::empty();
        publishers.pin("acme".parse().unwrap(), key(0).public(), 0).unwrap();
        publishers.pin("zeta".parse().unwrap(), key(1).public(), 0).unwrap();
        Self { publishers, deny: DenyList::none(), installed: BTreeMap::new() }
    }

    fn with_installed(mut self, id: &str, version: &str) -> Self {
        self.installed.insert(id.parse().unwrap(), version.parse().unwrap());
        self
    }

    fn known(&self) -> Known<'_> {
        Known { publishers: &self.publishers, deny: &self.deny, installed: &self.installed }
    }

    fn ask(&self, what: &str, indexes: &[&Index]) -> Result<(String, Vec<String>), RegistryError> {
        let found = resolve(&what.parse()?, indexes, &self.known())?;
        Ok((format!("{}@{}", found.id, found.entry.version), found.warnings))
    }

    fn code(&self, what: &str, indexes: &[&Index]) -> &'static str {
        self.ask(what, indexes).unwrap_err().code()
    }
}

/// `publisher/name`, version, number of the key that signed it.
fn index(registry: &str, packages: &[(&str, &str, u8)]) -> Index {
    let entry = |(id, version, by): &(&str, &str, u8)| Entry {
        id: id.parse().unwrap(),
        version: version.parse().unwrap(),
        contract: carapace_contract::manifest::CONTRACT.to_owned(),
        digest: Digest::of(format!("{id}{version}{by}").as_bytes()),
        size: 1,
        description: "A thing".into(),
        kinds: BTreeSet::new(),
        asks: BTreeSet::new(),
        signer: SignedBy::Key(key(*by).public().fingerprint()),
        yanked: None,
    };
    Index {
        format: FORMAT,
        registry: registry.parse().unwrap(),
        version: 1,
        issued_ms: 0,
        expires_ms: 0,
        keys: BTreeMap::new(),
        packages: packages.iter().map(entry).collect(),
    }
}

#[test]
fn a_name_is_its_highest_version_and_a_requirement_narrows_it() {
    let here = Here::new();
    let i = index(
        "house",
        &[
            ("acme/notes", "1.0.0", 0),
            ("acme/notes", "1.4.0", 0),
            ("acme/notes", "2.0.0", 0),
            ("acme/notes", "3.0.0-rc.1", 0),
        ],
    );
    let ask = |what: &str| here.ask(what, &[&i]).unwrap().0;
    assert_eq!(ask("notes"), "acme/notes@2.0.0");
    assert_eq!(ask("acme/notes"), "acme/notes@2.0.0");
    assert_eq!(ask("notes@1"), "acme/notes@1.4.0");
    assert_eq!(ask("notes@=1.0.0"), "acme/notes@1.0.0");
    assert_eq!(ask("notes@<1.4"), "acme/notes@1.0.0");
    assert_eq!(ask("notes@=3.0.0-rc.1"), "acme/notes@3.0.0-rc.1");
    let error = here.ask("notes@4", &[&i]).unwrap_err();
    assert_eq!(error.code(), "E-REG-022");
    assert!(error.to_string().contains("3.0.0-rc.1, 2.0.0, 1.4.0 and 1.0.0"), "{error}");
}

#[test]
fn what_is_no_request_is_named() {
    for bad in ["", "Notes", "a/b/c", "../x", "notes@", "notes@latest", "a/", "/b", "notes@1@2"] {
        assert_eq!(bad.parse::<Request>().unwrap_err().code(), "E-REG-027", "{bad:?}");
    }
}

#[test]
fn an_unknown_name_comes_with_its_nearest() {
    let error = Here::new().ask("notse", &[&index("house", &[("acme/notes", "1.0.0", 0)])]).unwrap_err();
    assert_eq!(error.code(), "E-REG-020");
    assert!(error.to_string().contains("acme/notes"), "{error}");
}

#[test]
fn two_publishers_of_one_name_are_both_named() {
    let here = Here::new();
    let i = index("house", &[("acme/notes", "1.0.0", 0), ("zeta/notes", "9.0.0", 1)]);
    let error = here.ask("notes", &[&i]).unwrap_err();
    assert_eq!(error.code(), "E-REG-021");
    assert!(error.to_string().contains("acme and zeta"), "{error}");
    let (found, warnings) = here.ask("zeta/notes", &[&i]).unwrap();
    assert_eq!((found.as_str(), warnings.len()), ("zeta/notes@9.0.0", 0));
}

#[test]
fn a_publisher_is_called_as_it_is_called_here() {
    let here = Here::new();
    let i = index("house", &[("acme-corp/notes", "1.0.0", 0)]);
    assert_eq!(here.ask("acme/notes", &[&i]).unwrap().0, "acme/notes@1.0.0");
    assert_eq!(here.code("acme-corp/notes", &[&i]), "E-REG-020");
}

#[test]
fn a_pinned_name_with_a_strangers_key_is_an_impostor() {
    let here = Here::new();
    let i = index("house", &[("acme/notes", "1.0.0", 7)]);
    assert_eq!(here.code("notes", &[&i]), "E-REG-026");
    assert_eq!(here.code("acme/notes", &[&i]), "E-REG-026");
    let both = index("house", &[("acme/notes", "1.0.0", 0), ("acme/notes", "2.0.0", 7)]);
    assert_eq!(here.code("notes", &[&both]), "E-REG-026");
    assert_eq!(here.ask("acme/notes", &[&both]).unwrap().0, "acme/notes@1.0.0");
}

#[test]
fn another_contract_is_passed_over_with_a_word_or_refused_before_anything_is_fetched() {
    let here = Here::new();
    let mut i = index("house", &[("acme/notes", "1.0.0", 0), ("acme/notes", "2.0.0", 0)]);
    i.packages[1].contract = "0.9".into();
    let (found, warnings) = here.ask("notes", &[&i]).unwrap();
    assert_eq!(found, "acme/notes@1.0.0");
    assert!(warnings[0].contains("contract 0.9 is not spoken") && warnings[0].contains("taking 1.0.0"), "{warnings:?}");
    let error = here.ask("notes@2", &[&i]).unwrap_err();
    assert_eq!(error.code(), "E-REG-023");
    assert!(error.to_string().contains("nothing was fetched"), "{error}");
}

#[test]
fn what_was_withdrawn_is_taken_only_by_its_exact_version() {
    let here = Here::new();
    let mut i = index("house", &[("acme/notes", "1.0.0", 0), ("acme/notes", "1.1.0", 0)]);
    i.packages[1].yanked = Some("loses notes".into());
    assert_eq!(here.ask("notes", &[&i]).unwrap().0, "acme/notes@1.0.0");
    let error = here.ask("notes@^1.1", &[&i]).unwrap_err();
    assert_eq!((error.code(), error.fix().as_str()), ("E-REG-024", "`acme/notes@=1.1.0` names it nevertheless"));
    let (found, warnings) = here.ask("notes@=1.1.0", &[&i]).unwrap();
    assert_eq!(found, "acme/notes@1.1.0");
    assert!(warnings[0].contains("loses notes"), "{warnings:?}");
}

#[test]
fn what_the_deny_list_names_is_not_taken_at_all() {
    let mut here = Here::new();
    let i = index("house", &[("acme/notes", "1.0.0", 0)]);
    here.deny.pin(key(20).public()).unwrap();
    let digests = BTreeSet::from([i.packages[0].digest]);
    here.deny.update(&sign(&DenyContent { version: 1, digests, ..DenyContent::default() }, &key(20)).unwrap()).unwrap();
    assert_eq!(here.code("notes", &[&i]), "E-REG-029");
    assert_eq!(here.code("notes@=1.0.0", &[&i]), "E-REG-029");
}

#[test]
fn a_strangers_look_alike_is_refused_until_it_is_named_in_full() {
    let here = Here::new().with_installed("acme/weather", "1.0.0");
    for name in ["weathen", "wheather", "weahter", "we-ather", "vveather"] {
        let i = index("house", &[(&format!("mallory/{name}"), "1.0.0", 7)]);
        let error = here.ask(name, &[&i]).unwrap_err();
        assert_eq!(error.code(), "E-REG-025", "{name}");
        assert!(error.to_string().contains("acme/weather"), "{error}");
        let (_, warnings) = here.ask(&format!("mallory/{name}"), &[&i]).unwrap();
        assert!(warnings[0].contains("acme/weather"), "{warnings:?}");
    }
    let same = index("house", &[("mallory/weather", "1.0.0", 7)]);
    assert_eq!(here.code("weather", &[&same]), "E-REG-025");
    let other = index("house", &[("mallory/feather", "1.0.0", 7), ("mallory/calendar", "1.0.0", 7)]);
    assert_eq!(here.ask("calendar", &[&other]).unwrap().1.len(), 0);
}

#[test]
fn a_publisher_that_looks_like_a_pinned_one_and_a_package_like_a_pinned_ones_are_named() {
    let mut here = Here::new();
    here.publishers.pin("modern-tools".parse().unwrap(), key(2).public(), 0).unwrap();
    let publisher = index("house", &[("rnodern-tools/anything", "1.0.0", 7)]);
    let error = here.ask("anything", &[&publisher]).unwrap_err();
    assert!(error.code() == "E-REG-025" && error.to_string().contains("modern-tools"), "{error}");
    let package = index("house", &[("acme/calendar", "1.0.0", 0), ("mallory/calender", "1.0.0", 7)]);
    let error = here.ask("calender", &[&package]).unwrap_err();
    assert!(error.code() == "E-REG-025" && error.to_string().contains("acme/calendar"), "{error}");
}

#[test]
fn a_publishers_own_names_may_be_alike() {
    let here = Here::new().with_installed("acme/timer", "1.0.0");
    let i = index("house", &[("acme/times", "1.0.0", 0)]);
    assert_eq!(here.ask("times", &[&i]).unwrap().1.len(), 0);
}

#[test]
fn two_registries_may_not_offer_two_packages_as_one_version() {
    let here = Here::new();
    let (one, mut two) =
        (index("house", &[("acme/notes", "1.0.0", 0)]), index("mirror", &[("acme/notes", "1.0.0", 0)]));
    let found = resolve(&"notes".parse().unwrap(), &[&one, &two], &here.known()).unwrap();
    assert_eq!(found.registry.as_str(), "house");
    two.packages[0].digest = Digest::of(b"another");
    let error = here.ask("notes", &[&one, &two]).unwrap_err();
    assert_eq!(error.code(), "E-REG-028");
    assert!(error.to_string().contains("`house`") && error.to_string().contains("`mirror`"), "{error}");
}

#[test]
fn outdated_is_what_the_same_publisher_offers_in_a_newer_version() {
    let here = Here::new()
        .with_installed("acme/notes", "1.0.0")
        .with_installed("zeta/clock", "2.0.0")
        .with_installed("local/own", "0.1.0");
    let i = index(
        "house",
        &[
            ("acme/notes", "1.0.0", 0),
            ("acme/notes", "1.1.0", 0),
            ("mallory/notes", "9.0.0", 7),
            ("zeta/clock", "2.0.0", 1),
        ],
    );
    let found: Vec<String> = outdated(&[&i], &here.known())
        .iter()
        .map(|(old, new)| format!("{} {old} {}", new.id, new.entry.version))
        .collect();
    assert_eq!(found, ["acme/notes 1.0.0 1.1.0"]);
}

proptest::proptest! {
    #[test]
    fn a_request_that_parses_prints_as_itself(text in "[a-z0-9/@.=^~*-]{0,24}") {
        if let Ok(request) = text.parse::<Request>() {
            proptest::prop_assert_eq!(request.to_string().parse::<Request>().unwrap(), request);
        }
    }

    #[test]
    fn likeness_is_mutual(a in "[a-z0-9-]{1,12}", b in "[a-z0-9-]{1,12}") {
        proptest::prop_assert_eq!(alike(&a, &b), alike(&b, &a));
    }
}
