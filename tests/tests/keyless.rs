//! Signatures without a key: what this kernel accepts and refuses, and Sigstore's own clients with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_contract::manifest::Manifest;
use carapace_registry::testing::sigstore::{Holder, Sigstore, Wrong};
use carapace_registry::testing::{self, trust_keyless};
use carapace_tests::components::{manifest, pack, tool, wat};
use carapace_tests::gadget::call;
use carapace_tests::{gadget_kernel, owner, peer, peers};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const RULE: &str =
    "issuer=https://token.actions.githubusercontent.com repository-id=42 workflow=.github/workflows/release.yml";

fn release() -> Holder {
    Holder::workflow("acme/gadget", 42, ".github/workflows/release.yml", "refs/tags/v1")
}

/// A small package, and the statement about it.
fn gadget() -> (Vec<u8>, Vec<u8>) {
    let text = manifest("gadget", "1.0.0", "[[tool]]\nname = \"gadget\"\nuses = []\n");
    let package = pack(&tool(wat::ECHO, &["gadget"]), &text);
    let statement = testing::statement(&package, &Manifest::parse(&text).unwrap());
    (package, statement)
}

fn all(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let file = dir.join(name);
    std::fs::write(&file, bytes).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Changes one character of what stands there in base64.
fn spoil(place: &mut Value) {
    let mut text = place.as_str().unwrap().to_owned();
    let middle = text.len() / 2;
    let other = if &text[middle..=middle] == "A" { "B" } else { "A" };
    text.replace_range(middle..=middle, other);
    *place = text.into();
}

/// Bundles about one package, each with whether it should be accepted.
fn bundles(sigstore: &mut Sigstore, statement: &[u8]) -> Vec<(&'static str, bool, Value)> {
    let good = sigstore.sign(&release(), statement);
    let changed = |change: fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        bundle
    };
    let mut all = vec![
        ("hashes", false, changed(|b| spoil(&mut entry(b)["inclusionProof"]["hashes"][0]))),
        ("promise", false, changed(|b| spoil(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"]))),
        ("time", false, changed(|b| entry(b)["integratedTime"] = "1700000000".into())),
        (
            "checkpoint",
            false,
            changed(|b| {
                let note = &mut entry(b)["inclusionProof"]["checkpoint"]["envelope"];
                *note = note.as_str().unwrap().replacen("log.test.invalid\n", "log.test.invalid.\n", 1).into();
            }),
        ),
        ("payload", false, changed(|b| spoil(&mut b["dsseEnvelope"]["payload"]))),
    ];
    for (name, wrong) in [
        ("no-sct", Wrong::NoSct),
        ("late", Wrong::Late),
        ("other-key", Wrong::OtherKey),
        ("other-entry", Wrong::OtherEntry),
    ] {
        all.push((name, false, sigstore.sign_wrongly(&release(), statement, wrong)));
    }
    all.push(("another-log", false, Sigstore::new().sign(&release(), statement)));
    all.push(("good", true, good));
    all
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

/// Asks a client about every bundle: it must agree with what this kernel says.
fn agrees(client: impl Fn(&str, &str, &str) -> Output) {
    let (package, statement) = gadget();
    let mut sigstore = Sigstore::new();
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "gadget.wasm", &package);
    let all_bundles = bundles(&mut sigstore, &statement);
    let root = sigstore.trusted_root();
    let trust = trust_keyless("acme", RULE, &root);
    let root = write(dir.path(), "root.json", root.to_string());
    for (name, good, bundle) in all_bundles {
        let ours = carapace_registry::verify(package.clone(), bundle.to_string().as_bytes(), &trust);
        assert_eq!(ours.is_ok(), good, "{name}: {ours:?}");
        let bundle = write(dir.path(), &format!("{name}.json"), bundle.to_string());
        let out = client(&root, &bundle, &file);
        assert_eq!(out.status.success(), good, "{name}: {}", all(&out));
        if good {
            assert!(all(&out).contains("verified gadget 1.0.0"), "{}", all(&out));
            let other = write(dir.path(), "other.wasm", &package[1..]);
            assert!(!client(&root, &bundle, &other).status.success(), "another file");
        }
    }
}

#[test]
fn sigstores_python_client_accepts_and_refuses_the_same() {
    let bin = peer!("PyPI sigstore", peers::python());
    agrees(|root, bundle, file| {
        let mut python = Command::new(bin.join("python"));
        python.arg(peers::script("sigstore_verify.py")).args([root, bundle, file, ISSUER, &release().subject]);
        python.stdin(Stdio::null()).output().unwrap()
    });
}

fn node(modules: &Path, args: &[&str]) -> Output {
    let mut node = Command::new("node");
    node.arg(peers::script("sigstore_verify.mjs")).arg(modules).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn npms_client_accepts_and_refuses_the_same() {
    let modules = peer!("npm @sigstore/verify", peers::npm());
    agrees(|root, bundle, file| node(&modules, &[root, bundle, file]));
}

#[test]
fn what_a_key_signed_verifies_with_npms_client_too() {
    let modules = peer!("npm @sigstore/verify", peers::npm());
    let (package, _) = gadget();
    let key = testing::key(1);
    let bundle = carapace_registry::package::sign(&package, &key).unwrap();
    let spki = |key: &carapace_registry::PublicKey| {
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        BASE64.encode([&head[..], key.as_bytes()].concat())
    };
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "gadget.wasm", &package);
    let root = write(dir.path(), "root.json", Sigstore::new().trusted_root().to_string());
    let good = write(dir.path(), "good.json", &bundle);
    let out = node(&modules, &[&root, &good, &file, &spki(&key.public())]);
    assert!(out.status.success() && all(&out).contains("verified gadget 1.0.0"), "{}", all(&out));
    assert!(!node(&modules, &[&root, &good, &file, &spki(&testing::key(2).public())]).status.success(), "another key");
    let mut changed: Value = serde_json::from_slice(&bundle).unwrap();
    spoil(&mut changed["dsseEnvelope"]["payload"]);
    let changed = write(dir.path(), "changed.json", changed.to_string());
    assert!(!node(&modules, &[&root, &changed, &file, &spki(&key.public())]).status.success(), "another statement");
}

#[test]
fn an_owner_pins_a_workflow_and_its_packages_are_good() {
    let (package, statement) = gadget();
    let mut sigstore = Sigstore::new();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let file = write(dir.path(), "gadget.wasm", &package);
    write(dir.path(), "gadget.sigstore.json", sigstore.sign(&release(), &statement).to_string());
    let refused = |code: &str| {
        let out = owner::cli(&state, &["plugin", "verify", &file]);
        assert_eq!(out.status.code(), Some(3), "{}", all(&out));
        assert!(all(&out).contains(code), "{}", all(&out));
    };
    // The public instance's root knows nothing of this one's logs.
    refused("E-TRUST-025");
    let root = write(dir.path(), "root.json", sigstore.trusted_root().to_string());
    let key = dir.path().join("root.pem");
    let public = owner::done(&state, &["plugin", "keygen", "--out", key.to_str().unwrap()]);
    let signed = dir.path().join("signed.json");
    let signed = signed.to_str().unwrap();
    let make =
        ["plugin", "trusted-root", &root, "--key", key.to_str().unwrap(), "--root-version", "1", "--out", signed];
    owner::done(&state, &make);
    let early = owner::cli(&state, &["publisher", "trusted-root", signed]);
    assert!(all(&early).contains("pin-root-key"), "{}", all(&early));
    owner::done(&state, &["publisher", "pin-root-key", public.trim()]);
    owner::done(&state, &["publisher", "trusted-root", signed]);
    refused("E-TRUST-021");

    let mut add = vec!["publisher", "add", "acme", "--keyless"];
    add.extend(RULE.split(' '));
    owner::done(&state, &add);
    let said = owner::done(&state, &["plugin", "verify", &file]);
    assert!(said.contains("acme/gadget 1.0.0") && said.contains("repository number 42"), "{said}");
    let shown = owner::done(&state, &["plugin", "inspect", &file]);
    for line in
        ["publisher  acme", "issuer     https://token.actions", "number 42, called https://github.com/acme/gadget"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json: Value = serde_json::from_str(&owner::done(&state, &["plugin", "verify", &file, "--json"])).unwrap();
    assert_eq!(json["keyless"]["build"]["repositoryId"], 42, "{json}");
    assert!(owner::done(&state, &["publisher", "list"]).contains(RULE));

    owner::done(&state, &["publisher", "remove", "acme"]);
    refused("E-TRUST-021");
    let named = owner::cli(
        &state,
        &["publisher", "add", "acme", "--keyless", "issuer=https://x.test", "repository-id=a/b", "workflow=c"],
    );
    assert!(!named.status.success() && all(&named).contains("somebody else can register it"), "{}", all(&named));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_verified_anew_when_the_root_is_replaced() {
    let (kernel, _model) = gadget_kernel!();
    let (state, dir) = (kernel.state(), tempfile::tempdir().unwrap());
    let (package, statement) = gadget();
    let mut sigstore = Sigstore::new();
    let file = write(dir.path(), "gadget.wasm", &package);
    write(dir.path(), "gadget.sigstore.json", sigstore.sign(&release(), &statement).to_string());
    let key = dir.path().join("root.pem");
    let key = key.to_str().unwrap();
    let public = owner::done(state, &["plugin", "keygen", "--out", key]);
    owner::done(state, &["publisher", "pin-root-key", public.trim()]);
    let replace = |version: &str, root: &Value| {
        let root = write(dir.path(), "root.json", root.to_string());
        let signed = dir.path().join(format!("{version}.json"));
        let signed = signed.to_str().unwrap();
        owner::done(
            state,
            &["plugin", "trusted-root", &root, "--key", key, "--root-version", version, "--out", signed],
        );
        owner::done(state, &["publisher", "trusted-root", signed])
    };
    assert!(!replace("1", &sigstore.trusted_root()).contains("stopped"));
    let mut add = vec!["publisher", "add", "acme", "--keyless"];
    add.extend(RULE.split(' '));
    owner::done(state, &add);
    let digest = carapace_contract::Digest::of(&package).to_string();
    owner::done(state, &["plugin", "install", &file, "--accept", &digest]);
    assert!(!call(&kernel, "before").await.1);

    let printed = replace("2", &Sigstore::new().trusted_root());
    assert!(printed.contains("stopped: acme/gadget/main") && printed.contains("E-TRUST-025"), "{printed}");
    assert!(call(&kernel, "after").await.0.contains("there is no tool"));
}

/// The folder of public bundles in the sources of `sigstore-verify`, where cargo put them.
fn public_bundles() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let args = ["metadata", "--locked", "--format-version", "1", "--manifest-path", manifest];
    let out = Command::new(env!("CARGO")).args(args).output().unwrap();
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = metadata["packages"].as_array().unwrap();
    let found = all.iter().find(|p| p["name"] == "sigstore-verify").unwrap()["manifest_path"].as_str().unwrap();
    Path::new(found).with_file_name("test_data").join("bundles")
}

/// A file of the npm registry.
fn npm_pack(package: &str, into: &Path) -> Result<String, String> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", package]).current_dir(into).stdin(Stdio::null());
    let out = npm.output().map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(all(&out));
    }
    Ok(into.join(String::from_utf8_lossy(&out.stdout).trim()).to_str().unwrap().to_owned())
}

#[test]
fn a_public_release_is_verified_by_the_number_of_its_repository() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let file = peer!("npm sigstore@2.0.0", npm_pack("sigstore@2.0.0", dir.path()));
    let bundle = public_bundles().join("sigstore.js@2.0.0-provenance.sigstore.json");
    let verify_at = |file: &str, rule: &[&str], at: &[&str]| {
        let mut args = vec!["verify-release", file, "--signature", bundle.to_str().unwrap()];
        args.extend(at);
        if !rule.is_empty() {
            args.push("--keyless");
            args.extend(rule);
        }
        owner::cli(&state, &args)
    };
    let issuer = format!("issuer={ISSUER}");
    let rule = [issuer.as_str(), "repository-id=495574555", "workflow=.github/workflows/release.yml"];
    // That project releases from its branch; a release of this one is made at a tag.
    let branch = verify_at(&file, &rule, &[]);
    assert!(!branch.status.success() && all(&branch).contains("E-TRUST-034"), "{}", all(&branch));
    let verify = |file: &str, rule: &[&str]| verify_at(file, rule, &["--ref", "refs/heads/main"]);
    let good = verify(&file, &rule);
    assert!(good.status.success() && all(&good).contains("https://github.com/sigstore/sigstore-js"), "{}", all(&good));

    let other = [issuer.as_str(), "repository-id=495574556", "workflow=.github/workflows/release.yml"];
    let other = verify(&file, &other);
    assert!(!other.status.success() && all(&other).contains("E-TRUST-020"), "{}", all(&other));
    let changed = write(dir.path(), "changed.tgz", [&std::fs::read(&file).unwrap()[..], b"x"].concat());
    let changed = verify(&changed, &rule);
    assert!(!changed.status.success() && all(&changed).contains("E-TRUST-007"), "{}", all(&changed));
    // Built here, and not by the project's workflow: it believes nobody by itself.
    let unknown = verify(&file, &[]);
    assert!(!unknown.status.success() && all(&unknown).contains("--keyless issuer="), "{}", all(&unknown));
}

#[test]
fn an_old_root_is_a_finding_of_the_doctor() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let hint = || {
        let out = owner::cli(&state, &["doctor", "--json"]);
        let findings: Value = serde_json::from_slice(&out.stdout).unwrap();
        let found = findings.as_array().unwrap().iter().find(|f| f["id"] == "publishers" && f["level"] == "hint");
        found.map_or(Value::Null, |f| f["problem"].clone())
    };
    let mut add = vec!["publisher", "add", "acme", "--keyless"];
    add.extend(RULE.split(' '));
    owner::done(&state, &add);
    let key = testing::key(1);
    let content =
        carapace_registry::keyless::RootContent { version: 1, fetched_ms: 0, root: Sigstore::new().trusted_root() };
    let mut root = carapace_registry::keyless::TrustedRoot::built_in();
    root.pin(key.public()).unwrap();
    root.update(&carapace_registry::keyless::root::sign(&content, &key).unwrap()).unwrap();
    root.save(&state.join("trusted-root.json")).unwrap();
    let problem = hint();
    assert!(problem.as_str().is_some_and(|p| p.contains("trusted root (version 1)")), "{problem}");
}
