use super::*;
use crate::testing::sigstore::{Holder, Sigstore, Wrong};
use crate::testing::{self, key, trust_keyless, trusted_root};
use crate::verify::{Signer, Trust, TrustError, TrustProblem, VerifiedPackage, verify};
use carapace_contract::manifest::Manifest;
use serde_json::{Value, json};
use sha2::Digest as _;
use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const RULE: &str =
    "issuer=https://token.actions.githubusercontent.com repository-id=42 workflow=.github/workflows/release.yml";
const MAIL: &str = "issuer=https://accounts.example.com email=ada@example.com";

fn release() -> Holder {
    Holder::workflow("acme/tools", 42, ".github/workflows/release.yml", "refs/tags/v1")
}

struct Fixture {
    sigstore: Sigstore,
    bytes: Vec<u8>,
    statement: Vec<u8>,
}

fn fixture() -> Fixture {
    let text = testing::manifest("echo", "1.2.3", "[[tool]]\nname = \"echo\"\n");
    let bytes = testing::assemble(testing::component(&["log"], &["tools"]), text.as_bytes());
    let statement = testing::statement(&bytes, &Manifest::parse(&text).unwrap());
    Fixture { sigstore: Sigstore::new(), bytes, statement }
}

impl Fixture {
    fn signed(&mut self, wrong: Wrong) -> Value {
        self.sigstore.sign_wrongly(&release(), &self.statement, wrong)
    }
    fn check(&self, bundle: &Value, rule: &str) -> Result<VerifiedPackage, TrustError> {
        let trust = trust_keyless("acme", rule, &self.sigstore.trusted_root());
        verify(self.bytes.clone(), bundle.to_string().as_bytes(), &trust)
    }
    #[track_caller]
    fn refused(&self, bundle: &Value, code: &str) -> String {
        let e = self.check(bundle, RULE).expect_err("the package was accepted");
        assert_eq!(e.code(), code, "{e}");
        e.to_string()
    }
}

/// Flips a bit of what stands there in base64.
fn flip(place: &mut Value) {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let mut bytes = engine.decode(place.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *place = engine.encode(bytes).into();
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

#[test]
fn a_package_of_a_publishers_workflow_is_verified_without_a_key() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let package = f.check(&bundle, RULE).unwrap();
    assert_eq!(package.id().to_string(), "acme/echo");
    let Signer::Keyless(identity) = package.signer() else { panic!("{:?}", package.signer()) };
    assert_eq!(
        identity.to_string(),
        "the workflow `.github/workflows/release.yml` at refs/tags/v1 of repository number 42 (https://github.com/acme/tools), vouched for by https://token.actions.githubusercontent.com"
    );
    assert_eq!(identity.rule().unwrap().to_string(), RULE);
}

#[test]
fn a_person_is_known_by_issuer_and_address() {
    let mut f = fixture();
    let bundle =
        f.sigstore.sign(&Holder::email("https://accounts.example.com", "ada@example.com"), &f.statement.clone());
    let package = f.check(&bundle, MAIL).unwrap();
    assert_eq!(package.signer().to_string(), "`ada@example.com`, vouched for by https://accounts.example.com");
    let other = f.check(&bundle, &MAIL.replace("ada", "bob")).unwrap_err();
    assert_eq!(other.code(), "E-TRUST-020", "{other}");
    assert!(other.fix().contains(&format!("carapace publisher add ID --keyless {MAIL}")), "{other}");
    let issuer = f.check(&bundle, &MAIL.replace("accounts.example.com", "login.example.com")).unwrap_err();
    assert_eq!(issuer.code(), "E-TRUST-021", "{issuer}");
}

#[test]
fn a_repository_is_its_number_and_not_its_name() {
    let mut f = fixture();
    let renamed = Holder::workflow("ada/renamed", 42, ".github/workflows/release.yml", "refs/heads/main");
    let bundle = f.sigstore.sign(&renamed, &f.statement.clone());
    f.check(&bundle, RULE).unwrap();
    let squatted = Holder::workflow("acme/tools", 43, ".github/workflows/release.yml", "refs/tags/v1");
    let bundle = f.sigstore.sign(&squatted, &f.statement.clone());
    let text = f.refused(&bundle, "E-TRUST-020");
    assert!(text.contains("repository number 43"), "{text}");
}

#[test]
fn another_workflow_issuer_or_subject_is_another_signer() {
    let mut f = fixture();
    let pull = Holder::workflow("acme/tools", 42, ".github/workflows/test.yml", "refs/pull/1/merge");
    // A file whose name goes on after what looks like the end of the path.
    let odd = Holder::workflow("acme/tools", 42, ".github/workflows/release.yml@x.yml", "refs/heads/main");
    let elsewhere = release().with(9, Some("https://github.com/evil/jobs/.github/workflows/sign.yml@refs/heads/main"));
    let outside =
        release().with(18, Some("https://github.com/evil/jobs/.github/workflows/release.yml@refs/heads/main"));
    let nameless = release().with(15, None);
    let worded = release().with(15, Some("acme/tools"));
    let unspoken = release().with(9, None);
    let mut mailed = release();
    mailed.subject = "ada@example.com".to_owned();
    for holder in [pull, odd, elsewhere, outside, nameless, worded, unspoken, mailed] {
        let bundle = f.sigstore.sign(&holder, &f.statement.clone());
        f.refused(&bundle, "E-TRUST-020");
    }
    let mut copied = release();
    copied.issuer = "https://gitlab.example.com".to_owned();
    let bundle = f.sigstore.sign(&copied, &f.statement.clone());
    let text = f.refused(&bundle, "E-TRUST-021");
    assert!(text.contains("https://gitlab.example.com"), "{text}");
}

#[test]
fn each_part_of_the_proof_is_refused_by_its_name_when_it_is_wrong() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 12] = [
        ("E-TRUST-026", |b| flip(&mut entry(b)["inclusionProof"]["hashes"][0])),
        ("E-TRUST-026", |b| {
            entry(b).as_object_mut().unwrap().remove("inclusionProof");
        }),
        ("E-TRUST-026", |b| *entry(b) = json!([])),
        ("E-TRUST-027", |b| flip(&mut entry(b)["inclusionProof"]["rootHash"])),
        ("E-TRUST-027", |b| {
            let note = &mut entry(b)["inclusionProof"]["checkpoint"]["envelope"];
            *note = note.as_str().unwrap().replacen("log.test.invalid\n", "log.test.invalid.\n", 1).into();
        }),
        ("E-TRUST-028", |b| flip(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"])),
        ("E-TRUST-028", |b| {
            let time = &mut entry(b)["integratedTime"];
            *time = (time.as_str().unwrap().parse::<u64>().unwrap() - 1).to_string().into();
        }),
        ("E-TRUST-030", |b| {
            entry(b).as_object_mut().unwrap().remove("inclusionPromise");
        }),
        ("E-TRUST-030", |b| {
            b["verificationMaterial"]["timestampVerificationData"] =
                json!({ "rfc3161Timestamps": [{ "signedTimestamp": "MAA=" }] });
        }),
        ("E-TRUST-025", |b| flip(&mut entry(b)["logId"]["keyId"])),
        ("E-TRUST-022", |b| flip(&mut b["verificationMaterial"]["certificate"]["rawBytes"])),
        ("E-TRUST-031", |b| {
            let sig = &mut b["dsseEnvelope"]["signatures"][0]["sig"];
            flip(sig);
        }),
    ];
    for (number, (code, change)) in changes.iter().enumerate() {
        let mut changed = bundle.clone();
        change(&mut changed);
        if number == 2 {
            changed["verificationMaterial"]["tlogEntries"] = json!([]);
        }
        let e = f.check(&changed, RULE).expect_err(&format!("change {number} was accepted"));
        assert_eq!(e.code(), *code, "change {number}: {e}");
    }
    f.check(&bundle, RULE).unwrap();
}

#[test]
fn each_part_that_was_wrong_from_the_start_is_refused_by_its_name() {
    for (wrong, code) in [
        (Wrong::NoSct, "E-TRUST-024"),
        (Wrong::Late, "E-TRUST-023"),
        (Wrong::OtherKey, "E-TRUST-031"),
        (Wrong::OtherEntry, "E-TRUST-029"),
    ] {
        let mut f = fixture();
        let bundle = f.signed(wrong);
        f.refused(&bundle, code);
    }
}

#[test]
fn another_instances_authorities_and_logs_count_for_nothing() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let other = Sigstore::new();
    for (part, code) in [("certificateAuthorities", "E-TRUST-022"), ("ctlogs", "E-TRUST-024"), ("tlogs", "E-TRUST-025")]
    {
        let root = f.sigstore.trusted_root_with(part, &other);
        let e = verify(f.bytes.clone(), bundle.to_string().as_bytes(), &trust_keyless("acme", RULE, &root));
        assert_eq!(e.unwrap_err().code(), code, "{part}");
    }
    let mut public = trust_keyless("acme", RULE, &f.sigstore.trusted_root());
    public.root = TrustedRoot::built_in();
    let e = verify(f.bytes.clone(), bundle.to_string().as_bytes(), &public).unwrap_err();
    assert_eq!(e.code(), "E-TRUST-025", "{e}");
}

#[test]
fn another_file_or_another_version_is_refused_as_with_a_key() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let other = testing::manifest("echo", "1.2.4", "[[tool]]\nname = \"echo\"\n");
    f.bytes = testing::assemble(testing::component(&["log"], &["tools"]), other.as_bytes());
    f.refused(&bundle, "E-TRUST-007");
    let claim = Manifest::parse(&other.replace("1.2.4", "1.2.3")).unwrap();
    f.statement = testing::statement(&f.bytes, &claim);
    let bundle = f.signed(Wrong::Nothing);
    let text = f.refused(&bundle, "E-TRUST-009");
    assert!(text.contains("a package signed by `acme`"), "{text}");
    f.statement = String::from_utf8(f.statement).unwrap().replace("attestation/package", "attestation/other").into();
    let bundle = f.signed(Wrong::Nothing);
    f.refused(&bundle, "E-TRUST-006");
}

#[test]
fn a_bundle_is_signed_either_with_a_key_or_without() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let with = |change: fn(&mut Value)| {
        let mut changed = bundle.clone();
        change(&mut changed);
        f.refused(&changed, "E-TRUST-002")
    };
    with(|b| b["verificationMaterial"]["publicKey"] = json!({ "hint": "x" }));
    with(|b| b["verificationMaterial"] = json!({}));
    with(|b| b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into());
    with(|b| {
        let certificate = b["verificationMaterial"]["certificate"].take();
        b["verificationMaterial"] = json!({ "x509CertificateChain": { "certificates": [certificate] } });
    });
    let bare = with(|b| {
        b.as_object_mut().unwrap().remove("dsseEnvelope");
        b["messageSignature"] = json!({ "messageDigest": { "algorithm": "SHA2_256",
            "digest": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }, "signature": "MAA=" });
    });
    assert!(bare.contains("a bare file"), "{bare}");
}

#[test]
fn what_was_verified_is_let_in_only_as_long_as_its_rule_is_pinned() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let mut trust = trust_keyless("acme", RULE, &f.sigstore.trusted_root());
    let package = verify(f.bytes.clone(), bundle.to_string().as_bytes(), &trust).unwrap();
    trust.still(&package).unwrap();
    let denied =
        crate::deny::DenyContent { version: 1, publishers: ["acme".parse().unwrap()].into(), ..Default::default() };
    trust.deny.pin(key(7).public()).unwrap();
    trust.deny.update(&crate::deny::sign(&denied, &key(7)).unwrap()).unwrap();
    assert!(matches!(trust.still(&package).unwrap_err().problem(), TrustProblem::Denied(_)));
    trust.deny = crate::DenyList::none();
    // Another root, under which none of it was ever signed.
    let root = std::mem::replace(&mut trust.root, trusted_root(&Sigstore::new().trusted_root()));
    assert_eq!(trust.still(&package).unwrap_err().code(), "E-TRUST-025", "the root was replaced");
    trust.root = root;
    trust.still(&package).unwrap();
    trust.publishers.remove(&"acme".parse().unwrap()).unwrap();
    assert_eq!(trust.still(&package).unwrap_err().code(), "E-TRUST-021");
    trust.publishers.pin_rule("other".parse().unwrap(), RULE.parse().unwrap(), 0).unwrap();
    assert_eq!(trust.still(&package).unwrap_err().code(), "E-TRUST-020", "another publisher now");
}

#[test]
fn a_rule_says_what_is_missing_and_reads_back_as_it_was_written() {
    for good in [RULE, MAIL] {
        let rule: Rule = good.parse().unwrap();
        assert_eq!(rule.to_string(), good);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
    }
    for (bad, says) in [
        ("", "needs the issuer"),
        ("repository-id=42 workflow=a.yml", "needs the issuer"),
        ("issuer=https://x.test", "either repository-id and workflow, or email"),
        ("issuer=https://x.test repository-id=42", "either repository-id and workflow, or email"),
        ("issuer=https://x.test repository-id=42 workflow=a.yml email=a@b", "either repository-id and workflow"),
        ("issuer=http://x.test email=a@b", "not an https URL"),
        ("issuer=https://x.test email=ada", "not an e-mail address"),
        ("issuer=https://x.test repository-id=acme/tools workflow=a.yml", "somebody else can register it"),
        ("issuer=https://x.test repository-id=0 workflow=a.yml", "not a repository's number"),
        ("issuer=https://x.test repository-id=1 workflow=/a.yml", "path within its repository"),
        ("issuer=https://x.test repository-id=1 workflow=a.yml@refs/heads/main", "without a ref"),
        ("issuer=https://x.test issuer=https://y.test email=a@b", "no part of a rule"),
        ("issuer=https://x.test subject=a@b", "no part of a rule"),
        ("issuer", "no part of a rule"),
    ] {
        let e = bad.parse::<Rule>().unwrap_err().to_string();
        assert!(e.contains(says), "{bad}: {e}");
    }
    for bad in [r#"{"issuer":"https://x.test"}"#, r#"{"issuer":"https://x.test","email":"a@b","more":1}"#] {
        assert!(serde_json::from_str::<Rule>(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_built_in_root_is_the_one_of_its_date() {
    let digest = hex::encode(sha2::Sha256::digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT));
    assert_eq!(
        digest, "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66",
        "the library brings another root: set `BUILT_IN_MS` to the day it was taken, and this digest"
    );
    let root = TrustedRoot::built_in();
    assert_eq!(root.warning(root::BUILT_IN_MS + root::MAX_AGE_MS), None);
    let old = root.warning(root::BUILT_IN_MS + root::MAX_AGE_MS + 86_400_000).unwrap();
    assert!(old.contains("181 days old") && old.contains("carapace publisher trusted-root"), "{old}");
}

#[test]
fn a_newer_root_is_taken_from_its_signer_only_and_kept() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing);
    let content = |version| RootContent { version, fetched_ms: 0, root: f.sigstore.trusted_root() };
    let mut root = TrustedRoot::built_in();
    let signed = root::sign(&content(2), &key(1)).unwrap();
    assert!(root.update(&signed).unwrap_err().to_string().contains("no key is pinned"));
    root.pin(key(1).public()).unwrap();
    assert!(root.update(&root::sign(&content(2), &key(2)).unwrap()).is_err(), "signed by another");
    assert!(root.update(&signed).unwrap());
    assert!(root.update(&root::sign(&content(1), &key(1)).unwrap()).unwrap_err().to_string().contains("moves forward"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trusted-root.json");
    root.save(&file).unwrap();
    let read = TrustedRoot::load(&file).unwrap();
    assert_eq!(read.content(), Some(&content(2)));
    assert!(read.warning(root::MAX_AGE_MS + 1).unwrap().contains("version 2"));
    read.open(&Bundle::parse(bundle.to_string().as_bytes()).unwrap()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&key(1).public().to_string(), &key(2).public().to_string())).unwrap();
    assert!(TrustedRoot::load(&file).is_err(), "a damaged root is never taken for none");
}

#[test]
fn a_root_that_trusts_nobody_or_nonsense_is_no_root() {
    let sigstore = Sigstore::new();
    for part in ["tlogs", "ctlogs", "certificateAuthorities"] {
        let mut root = sigstore.trusted_root();
        root[part] = json!([]);
        let e = root::sign(&RootContent { version: 1, fetched_ms: 0, root }, &key(1)).unwrap_err();
        assert!(e.to_string().contains("it names no"), "{part}: {e}");
    }
    for root in [json!({}), json!([]), json!({ "mediaType": "x", "tlogs": [{}] })] {
        assert!(root::sign(&RootContent { version: 1, fetched_ms: 0, root }, &key(1)).is_err());
    }
}

#[test]
fn an_old_root_is_a_warning_of_what_rests_on_it() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing).to_string();
    let mut trust: Trust = trust_keyless("acme", RULE, &f.sigstore.trusted_root());
    trust.now_ms = root::MAX_AGE_MS + 1;
    let package = verify(f.bytes.clone(), bundle.as_bytes(), &trust).unwrap();
    assert!(package.warnings().iter().any(|w| w.contains("trusted root")), "{:?}", package.warnings());
}

#[test]
fn a_release_is_its_workflows_and_about_that_file() {
    let mut sigstore = Sigstore::new();
    let file = b"carapace.tar.gz";
    let statement = |predicate: &str| {
        json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
            "subject": [{ "name": "carapace.tar.gz", "digest": { "sha256": hex::encode(sha2::Sha256::digest(file)) } }] })
        .to_string()
    };
    let good = sigstore.sign(&release(), statement(release::PROVENANCE).as_bytes()).to_string();
    let sbom = sigstore.sign(&release(), statement("https://spdx.dev/Document/v2.3").as_bytes()).to_string();
    let root = trusted_root(&sigstore.trusted_root());
    let rule: Rule = RULE.parse().unwrap();
    let code = |file: &[u8], bundle: &str, rule: &Rule| {
        release::verify(file, bundle.as_bytes(), rule, None, &root).map(|i| i.issuer).map_err(|e| e.code())
    };
    assert_eq!(code(file, &good, &rule), Ok(GITHUB.to_owned()));
    assert_eq!(code(b"another", &good, &rule), Err("E-TRUST-007"));
    assert_eq!(code(file, &sbom, &rule), Err("E-TRUST-006"));
    assert_eq!(code(file, &good, &RULE.replace("42", "43").parse().unwrap()), Err("E-TRUST-020"));
    assert_eq!(code(file, "{}", &rule), Err("E-TRUST-002"));
}

#[test]
fn a_release_is_made_at_a_tag_or_at_the_ref_that_was_named() {
    let mut sigstore = Sigstore::new();
    let file = b"carapace.tar.gz";
    let statement =
        json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": release::PROVENANCE, "predicate": {},
        "subject": [{ "name": "carapace.tar.gz", "digest": { "sha256": hex::encode(sha2::Sha256::digest(file)) } }] })
        .to_string();
    let rule: Rule = RULE.parse().unwrap();
    for (at, wanted, good) in [
        ("refs/tags/v1", None, true),
        ("refs/heads/main", None, false),
        ("refs/heads/refs/tags/v1", None, false),
        ("refs/pull/7/merge", None, false),
        ("refs/tags/v1", Some("refs/tags/v1"), true),
        ("refs/tags/v1", Some("refs/tags/v2"), false),
        ("refs/heads/main", Some("refs/heads/main"), true),
    ] {
        let holder = Holder::workflow("acme/tools", 42, ".github/workflows/release.yml", at);
        let bundle = sigstore.sign(&holder, statement.as_bytes()).to_string();
        let root = trusted_root(&sigstore.trusted_root());
        let found = release::verify(file, bundle.as_bytes(), &rule, wanted, &root).map(drop).map_err(|e| e.code());
        assert_eq!(found, if good { Ok(()) } else { Err("E-TRUST-034") }, "{at} for {wanted:?}");
    }
}

#[test]
fn an_identity_that_deceives_the_eye_is_nobodys() {
    let mut f = fixture();
    for issuer in ["https://accounts.\u{202e}moc.example", "https://accounts\u{200b}.example.com"] {
        let mail = Holder::email(issuer, "ada@example.com");
        let bundle = f.sigstore.sign(&mail, &f.statement.clone());
        f.refused(&bundle, "E-TRUST-033");
    }
    // A build whose fields deceive is no build, and its subject alone lets nobody in.
    let bundle = f
        .sigstore
        .sign(&release().with(18, Some("https://github.com/acme/tools/\u{2066}x@refs/tags/v1")), &f.statement.clone());
    f.refused(&bundle, "E-TRUST-020");
    assert!("issuer=https://a.example email=a\u{200b}da@example.com".parse::<Rule>().is_err());
}

#[test]
fn who_signs_without_a_key_is_denied_at_load_and_while_running() {
    let mut f = fixture();
    let bundle = f.signed(Wrong::Nothing).to_string();
    let mut trust = trust_keyless("acme", RULE, &f.sigstore.trusted_root());
    let package = verify(f.bytes.clone(), bundle.as_bytes(), &trust).unwrap();
    trust.deny.pin(key(9).public()).unwrap();
    for (version, rule, denied) in [(1, RULE.replace("42", "43"), false), (2, RULE.to_owned(), true)] {
        let content =
            crate::deny::DenyContent { version, keyless: [rule.parse().unwrap()].into(), ..Default::default() };
        trust.deny.update(&crate::deny::sign(&content, &key(9)).unwrap()).unwrap();
        let (again, still) = (verify(f.bytes.clone(), bundle.as_bytes(), &trust), trust.still(&package));
        for found in [again.map(drop), still] {
            assert_eq!(
                found.map_err(|e| e.code()),
                if denied { Err("E-TRUST-011") } else { Ok(()) },
                "version {version}"
            );
        }
    }
}

#[test]
fn a_kernels_own_root_counts_before_an_older_one_of_the_same_instance_only() {
    let bundle = public_tests::conda();
    let of = |fetched_ms, root: Value| {
        let mut signed = TrustedRoot::built_in();
        signed.pin(key(1).public()).unwrap();
        signed.update(&root::sign(&RootContent { version: 7, fetched_ms, root }, &key(1)).unwrap()).unwrap();
        signed
    };
    // The public instance's, but for its certificate authorities: what they signed is refused where this root counts.
    let other = Sigstore::new().trusted_root();
    let mut public: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    public["certificateAuthorities"] = other["certificateAuthorities"].clone();
    let older = of(root::BUILT_IN_MS - 1, public.clone());
    older.open(&bundle).unwrap();
    assert!(older.warning(root::BUILT_IN_MS).unwrap().contains("version 7"));
    let newer = of(root::BUILT_IN_MS, public);
    assert_eq!(newer.open(&bundle).unwrap_err().code(), "E-TRUST-022");
    assert_eq!(newer.warning(root::BUILT_IN_MS), None);
    // Another instance's is no older state of this one.
    assert_eq!(of(0, other).open(&bundle).unwrap_err().code(), "E-TRUST-025");
}
