use super::*;
use crate::bundle::{self, IN_TOTO, PACKAGE_PREDICATE, PackagePredicate, Statement};
use crate::deny::{self, DenyContent};
use crate::dsse::Envelope;
use crate::key::SigningKey;
use crate::testing;
use proptest::prelude::*;

const TOOL: &str = "[[tool]]\nname = \"echo\"\n";

struct Fixture {
    key: SigningKey,
    trust: Trust,
    bytes: Vec<u8>,
    bundle: Vec<u8>,
}

fn fixture(version: &str) -> Fixture {
    let key = testing::key(1);
    let manifest = testing::manifest("echo", version, TOOL);
    let (bytes, bundle) = testing::package(testing::component(&["log"], &["tools"]), &manifest, &key);
    Fixture { trust: testing::trust("acme", &key), key, bytes, bundle }
}

impl Fixture {
    fn verify(&self) -> Result<VerifiedPackage, TrustError> {
        verify(self.bytes.clone(), &self.bundle, &self.trust)
    }
    fn refused(&self) -> TrustError {
        self.verify().expect_err("the package was accepted")
    }
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bundle).unwrap()
    }
    fn with_json(mut self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut json = self.json();
        change(&mut json);
        self.bundle = serde_json::to_vec(&json).unwrap();
        self
    }
    /// A bundle around whatever statement, well signed.
    fn signing(mut self, payload_type: &str, payload: &[u8]) -> Self {
        let envelope = Envelope::sign(payload_type, payload, &self.key);
        self.bundle = bundle::wrap(envelope, self.key.public().fingerprint()).unwrap();
        self
    }
    fn stating(self, name: &str, version: &str) -> Self {
        let predicate = PackagePredicate { name: name.into(), version: version.into(), contract: "0.1".into() };
        let digest = Digest::of(&self.bytes);
        let statement = Statement::new(PACKAGE_PREDICATE, &format!("{name}.wasm"), digest, predicate);
        self.signing(IN_TOTO, &statement.to_json().unwrap())
    }
}

#[test]
fn a_package_by_a_pinned_publisher_is_verified() {
    let f = fixture("1.2.3");
    let package = f.verify().unwrap();
    assert_eq!(package.id().to_string(), "acme/echo");
    assert_eq!(package.version().to_string(), "1.2.3");
    assert_eq!(package.digest(), Digest::of(&f.bytes));
    assert_eq!(&package.bytes()[..], &f.bytes[..]);
    assert_eq!(package.signer(), &Signer::Key(f.key.public()));
    assert_eq!(package.manifest_text(), testing::manifest("echo", "1.2.3", TOOL));
    assert!(package.capabilities().tools.contains_key("echo"));
    assert!(package.warnings().is_empty(), "{:?}", package.warnings());
}

#[test]
fn an_empty_book_trusts_nobody_and_says_how_to_pin() {
    let mut f = fixture("1.0.0");
    f.trust.publishers = PublisherBook::empty();
    let e = f.refused();
    assert_eq!(e.code(), "E-TRUST-003");
    assert_eq!(e.publisher(), None);
    assert!(e.fix().contains("carapace publisher add ID KEY"), "{e}");
    assert!(e.to_string().contains(f.key.public().fingerprint().as_str()), "{e}");
}

#[test]
fn an_unknown_publisher_is_refused_whatever_it_claims() {
    let mut f = fixture("1.0.0");
    f.trust = testing::trust("acme", &testing::key(2));
    assert_eq!(f.refused().code(), "E-TRUST-003");
    // Naming a pinned key does not help: the signature is not by it.
    let hint = testing::key(2).public().fingerprint();
    let f = f.with_json(|j| j["verificationMaterial"]["publicKey"]["hint"] = hint.as_str().into());
    assert_eq!(f.refused().code(), "E-TRUST-005");
}

#[test]
fn the_right_name_by_another_publisher_is_another_component() {
    let mut f = fixture("1.0.0");
    let other = testing::key(9);
    f.trust.publishers.pin("other".parse().unwrap(), other.public(), 0).unwrap();
    let bundle = package::sign(&f.bytes, &other).unwrap();
    let expected = "acme/echo".parse().unwrap();
    let e = verify_as(&expected, f.bytes.clone(), &bundle, &f.trust).unwrap_err();
    assert_eq!(e.code(), "E-TRUST-013");
    assert_eq!(e.publisher().unwrap().as_str(), "other");
    assert!(e.to_string().contains("`other/echo`") && e.to_string().contains("`acme/echo`"), "{e}");
    assert!(verify_as(&expected, f.bytes.clone(), &f.bundle, &f.trust).is_ok());
}

#[test]
fn changed_code_is_refused() {
    let mut f = fixture("1.0.0");
    let at = f.bytes.windows(5).position(|w| w == b"touch").unwrap();
    f.bytes[at] = b'T';
    let e = f.refused();
    assert_eq!(e.code(), "E-TRUST-007");
    assert_eq!(e.publisher().unwrap().as_str(), "acme", "whose signature it was stays known");
}

#[test]
fn a_changed_manifest_is_refused() {
    let mut f = fixture("1.0.0");
    let at = f.bytes.windows(9).position(|w| w == b"A fixture").unwrap();
    f.bytes[at] = b'B';
    assert_eq!(f.refused().code(), "E-TRUST-007");
}

#[test]
fn a_bundle_of_another_package_is_refused() {
    let mut f = fixture("1.0.0");
    f.bundle = fixture("1.0.1").bundle;
    assert_eq!(f.refused().code(), "E-TRUST-007");
}

#[test]
fn a_changed_signature_or_payload_is_refused() {
    let swap = |text: &str| {
        let first = if text.starts_with('A') { "B" } else { "A" };
        serde_json::Value::from(format!("{first}{}", &text[1..]))
    };
    let f = fixture("1.0.0").with_json(|j| {
        let sig = &mut j["dsseEnvelope"]["signatures"][0]["sig"];
        *sig = swap(sig.as_str().unwrap());
    });
    assert_eq!(f.refused().code(), "E-TRUST-005");
    let f = fixture("1.0.0").with_json(|j| {
        let payload = &mut j["dsseEnvelope"]["payload"];
        *payload = swap(payload.as_str().unwrap());
    });
    assert_eq!(f.refused().code(), "E-TRUST-005");
}

#[test]
fn another_payload_type_is_refused_even_if_signed() {
    let f = fixture("1.0.0").with_json(|j| j["dsseEnvelope"]["payloadType"] = "text/plain".into());
    assert_eq!(f.refused().code(), "E-TRUST-002");
    let f = fixture("1.0.0").signing("text/plain", b"{}");
    assert_eq!(f.refused().code(), "E-TRUST-002");
}

#[test]
fn a_second_signature_is_refused() {
    let f = fixture("1.0.0").with_json(|j| {
        let signatures = j["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
        signatures.push(signatures[0].clone());
    });
    let e = f.refused();
    assert_eq!(e.code(), "E-TRUST-002");
    assert!(e.to_string().contains("2 signatures"), "{e}");
    let f = fixture("1.0.0").with_json(|j| j["dsseEnvelope"]["signatures"] = serde_json::json!([]));
    assert!(f.refused().to_string().contains("0 signatures"));
}

#[test]
fn fields_and_kinds_that_are_not_expected_are_refused() {
    let changes: [fn(&mut serde_json::Value); 6] = [
        |j| j["extra"] = 1.into(),
        |j| j["dsseEnvelope"]["extra"] = 1.into(),
        |j| j["verificationMaterial"]["certificate"] = serde_json::json!({}),
        |j| j["verificationMaterial"]["tlogEntries"] = serde_json::json!([{ "logIndex": "1" }]),
        |j| j["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.2+json".into(),
        |j| j["messageSignature"] = serde_json::json!({}),
    ];
    for change in changes {
        assert_eq!(fixture("1.0.0").with_json(change).refused().code(), "E-TRUST-002");
    }
    let mut f = fixture("1.0.0");
    f.bundle.extend_from_slice(b"{}");
    assert_eq!(f.refused().code(), "E-TRUST-002", "text after the bundle");
    f.bundle = vec![b' '; bundle::MAX_BYTES + 1];
    assert_eq!(f.refused().code(), "E-TRUST-002", "too long");
    let doubled = String::from_utf8(fixture("1.0.0").bundle).unwrap();
    f.bundle = doubled.replacen("{\"mediaType\"", "{\"mediaType\":\"x\",\"mediaType\"", 1).into_bytes();
    assert_eq!(f.refused().code(), "E-TRUST-002", "a field twice");
}

#[test]
fn a_statement_about_something_else_is_refused_and_its_signer_named() {
    let predicate = serde_json::json!({ "name": "echo", "version": "1.0.0", "contract": "0.1" });
    let digest = Digest::of(&fixture("1.0.0").bytes).hex();
    let subject = serde_json::json!({ "name": "echo.wasm", "digest": { "sha256": digest } });
    let good = serde_json::json!({
        "_type": bundle::STATEMENT, "subject": [subject], "predicateType": PACKAGE_PREDICATE, "predicate": predicate,
    });
    let changes: [fn(&mut serde_json::Value); 8] = [
        |s| s["_type"] = "https://in-toto.io/Statement/v0.1".into(),
        |s| s["predicateType"] = crate::publisher::ROTATION_PREDICATE.into(),
        |s| s["subject"] = serde_json::json!([]),
        |s| s["subject"] = serde_json::json!([s["subject"][0], s["subject"][0]]),
        |s| s["subject"][0]["name"] = "other.wasm".into(),
        |s| s["subject"][0]["digest"]["sha512"] = "00".into(),
        |s| s["predicate"]["extra"] = 1.into(),
        |s| {
            s["subject"][0]["digest"]["sha256"] =
                s["subject"][0]["digest"]["sha256"].as_str().unwrap().to_uppercase().into()
        },
    ];
    assert!(fixture("1.0.0").signing(IN_TOTO, good.to_string().as_bytes()).verify().is_ok());
    for change in changes {
        let mut statement = good.clone();
        change(&mut statement);
        let e = fixture("1.0.0").signing(IN_TOTO, statement.to_string().as_bytes()).refused();
        assert_eq!(e.code(), "E-TRUST-006", "{statement}");
        assert_eq!(e.publisher().unwrap().as_str(), "acme");
    }
}

#[test]
fn the_statement_and_the_manifest_must_agree() {
    for (name, version, what) in [("other", "1.0.0", "name"), ("echo", "1.0.1", "version")] {
        let e = fixture("1.0.0").stating(name, version).refused();
        assert_eq!(e.code(), "E-TRUST-009");
        assert!(e.to_string().contains(what), "{e}");
    }
}

#[test]
fn a_package_without_exactly_one_last_manifest_is_refused() {
    let key = testing::key(1);
    let manifest = testing::manifest("echo", "1.0.0", TOOL);
    let wat = testing::component(&[], &["tools"]);
    let once = testing::assemble(&wat, manifest.as_bytes());
    let parsed = Manifest::parse(&manifest).unwrap();
    let plain = wat::parse_str(&wat).unwrap();
    let twice = testing::assemble(&once, manifest.as_bytes());
    let mut not_last = once;
    not_last.extend_from_slice(&[0, 2, 1, b'x']);
    for (bytes, words) in [(plain, "has no"), (twice, "more than one"), (not_last, "not the last one")] {
        let bundle = testing::bundle_for(&bytes, &parsed, &key);
        let e = verify(bytes, &bundle, &testing::trust("acme", &key)).unwrap_err();
        assert_eq!(e.code(), "E-TRUST-008");
        assert!(e.to_string().contains(words), "{e}");
    }
}

#[test]
fn an_import_that_was_not_asked_for_is_refused() {
    let key = testing::key(1);
    let manifest = testing::manifest("echo", "1.0.0", TOOL);
    let (bytes, bundle) = testing::package(testing::component(&["kv"], &["tools"]), &manifest, &key);
    let e = verify(bytes, &bundle, &testing::trust("acme", &key)).unwrap_err();
    assert_eq!(e.code(), "E-TRUST-010");
    assert!(e.to_string().contains("`[kv]`"), "{e}");
}

#[test]
fn an_older_version_is_refused_unless_it_was_let_in_by_name() {
    let mut f = fixture("1.0.0");
    let id: ComponentId = "acme/echo".parse().unwrap();
    f.trust.highest_seen.insert(id.clone(), Version::new(1, 0, 0));
    assert!(f.verify().is_ok(), "the same version again");
    f.trust.highest_seen.insert("other/echo".parse().unwrap(), Version::new(9, 0, 0));
    assert!(f.verify().is_ok(), "somebody else's version");
    f.trust.highest_seen.insert(id, Version::new(1, 0, 1));
    let e = f.refused();
    assert_eq!(e.code(), "E-TRUST-012");
    assert!(e.fix().contains(&Digest::of(&f.bytes).to_string()), "{e}");
    f.trust.allowed_downgrades.insert(Digest::of(&f.bytes));
    assert!(f.verify().is_ok());
}

#[test]
fn what_the_deny_list_names_is_refused() {
    let signer = testing::key(7);
    let f = fixture("1.0.0");
    let denying = |content: DenyContent| {
        let mut trust = f.trust.clone();
        trust.deny.pin(signer.public()).unwrap();
        trust.deny.update(&deny::sign(&content, &signer).unwrap()).unwrap();
        trust
    };
    let content = || DenyContent { version: 1, expires_ms: 10, ..DenyContent::default() };
    for content in [
        DenyContent { digests: [Digest::of(&f.bytes)].into(), ..content() },
        DenyContent { keys: [f.key.public()].into(), ..content() },
        DenyContent { publishers: ["acme".parse().unwrap()].into(), ..content() },
    ] {
        let trust = Trust { now_ms: 20, ..denying(content) };
        let e = verify(f.bytes.clone(), &f.bundle, &trust).unwrap_err();
        assert_eq!(e.code(), "E-TRUST-011", "an expired list is still applied");
        assert_eq!(e.fix(), "");
    }
    let trust = Trust { now_ms: 20, ..denying(content()) };
    let package = verify(f.bytes.clone(), &f.bundle, &trust).unwrap();
    assert!(package.warnings()[0].contains("expired"), "{:?}", package.warnings());
}

#[test]
fn a_retired_key_signs_nothing_any_more() {
    let mut f = fixture("1.0.0");
    let new = testing::key(2);
    let rotation = crate::publisher::rotation(&f.key, &new.public(), true).unwrap();
    f.trust.publishers.rotate(&rotation, 1).unwrap();
    let e = f.refused();
    assert_eq!(e.code(), "E-TRUST-004");
    assert_eq!(e.publisher().unwrap().as_str(), "acme");
    f.bundle = package::sign(&f.bytes, &new).unwrap();
    assert_eq!(f.verify().unwrap().id().to_string(), "acme/echo");
}

#[test]
fn a_denial_names_code_publisher_and_way_out() {
    let mut f = fixture("1.0.0");
    f.bytes.push(0);
    let denial: Denial = f.refused().into();
    assert_eq!(denial.code, "E-TRUST-007");
    assert!(denial.message.contains("signed by `acme`"), "{denial}");
    assert!(!denial.fix.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bit_of_a_bundle_can_be_flipped(at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let mut f = fixture("1.0.0");
        let at = at.index(f.bundle.len());
        f.bundle[at] ^= 1 << bit;
        prop_assert!(f.verify().is_err(), "byte {} of the bundle", at);
    }

    #[test]
    fn no_bit_of_a_package_can_be_flipped(at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let mut f = fixture("1.0.0");
        let at = at.index(f.bytes.len());
        f.bytes[at] ^= 1 << bit;
        prop_assert_eq!(f.verify().unwrap_err().code(), "E-TRUST-007");
    }

    #[test]
    fn no_bundle_makes_the_verifier_panic(json in "\\PC{0,200}") {
        let mut f = fixture("1.0.0");
        f.bundle = json.into_bytes();
        prop_assert!(f.verify().is_err());
    }

    #[test]
    fn no_signed_garbage_makes_the_verifier_panic(cut in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(), byte: u8) {
        let mut f = fixture("1.0.0");
        let at = at.index(f.bytes.len());
        f.bytes[at] = byte;
        let length = cut.index(f.bytes.len());
        f.bytes.truncate(length);
        prop_assert!(f.stating("echo", "1.0.0").verify().is_err());
    }
}

#[test]
fn what_was_let_in_before_is_let_in_no_longer_once_its_key_or_the_deny_list_says_so() {
    let (key, other) = (testing::key(0), testing::key(1));
    let package = testing::verified(
        testing::component(&[], &["tools"]),
        &testing::manifest("m", "0.1.0", "[[tool]]\nname = \"t\"\n"),
    );
    let mut trust = testing::trust("local", &key);
    trust.still(&package).unwrap();

    let renamed = testing::trust("someone-else", &key);
    assert_eq!(renamed.still(&package).unwrap_err().code(), "E-TRUST-003", "the same key under another name");
    assert_eq!(Trust::default().still(&package).unwrap_err().code(), "E-TRUST-003");

    let mut list = crate::DenyList::none();
    list.pin(other.public()).unwrap();
    let content = DenyContent { version: 1, digests: [package.digest()].into(), ..DenyContent::default() };
    list.update(&deny::sign(&content, &other).unwrap()).unwrap();
    let denied = Trust { deny: list, ..trust.clone() };
    assert_eq!(denied.still(&package).unwrap_err().code(), "E-TRUST-011");

    let statement = crate::publisher::rotation(&key, &other.public(), true).unwrap();
    trust.publishers.rotate(&statement, 0).unwrap();
    assert_eq!(trust.still(&package).unwrap_err().code(), "E-TRUST-004");
}

#[test]
fn a_publisher_is_told_from_another_that_was_pinned_under_its_name() {
    let (old, new) = (testing::key(1), testing::key(2));
    let manifest = testing::manifest("echo", "1.0.0", TOOL);
    let (bytes, by_old) = testing::package(testing::component(&[], &["tools"]), &manifest, &old);
    let by_new = package::sign(&bytes, &new).unwrap();
    let first = verify(bytes.clone(), &by_old, &testing::trust("acme", &old)).unwrap();
    assert!(first.is_of(first.mark()));
    // Forgotten, and the name given to another key: the same bytes, by somebody else.
    let second = verify(bytes.clone(), &by_new, &testing::trust("acme", &new)).unwrap();
    assert_eq!(first.id(), second.id());
    assert!(!second.is_of(first.mark()) && second.is_of(second.mark()));
    // One who rotated is who it was, also when the old key counts no more.
    let mut rotated = testing::trust("acme", &old);
    let statement = crate::publisher::rotation(&old, &new.public(), true).unwrap();
    rotated.publishers.rotate(&statement, 1).unwrap();
    let third = verify(bytes.clone(), &by_new, &rotated).unwrap();
    assert!(third.is_of(first.mark()) && third.is_of(second.mark()));
    // And so is one to whom the owner gave a second key.
    let mut both = testing::trust("acme", &old);
    both.publishers.pin("acme".parse().unwrap(), new.public(), 1).unwrap();
    assert!(verify(bytes, &by_new, &both).unwrap().is_of(first.mark()));
}
