//! Bundles that Sigstore's public instances made, verified with the built-in root. They come with the sources of
//! `sigstore-verify`, where cargo put them, and none of them is kept here:
//!
//! - a conda package attested by a GitHub workflow (Rekor 1: inclusion proof, checkpoint, signed entry time),
//! - the same package attested by a person on the staging instance, which has a root of its own (Rekor 2: inclusion
//!   proof, checkpoint, RFC 3161 timestamp),
//! - npm's provenance of `sigstore` 2.0.0 (bundle 0.1, certificate chain).

use super::*;
use serde_json::{Value, json};
use sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;
use std::path::PathBuf;
use std::process::Command;

const WORKFLOW: &str = "issuer=https://token.actions.githubusercontent.com repository-id=";
const CONDA: &str = "https://schemas.conda.org/attestations-publish-1.schema.json";

/// The folder of bundles in the sources of `sigstore-verify`.
fn bundles() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    // Cargo brings what only other platforms need, if nobody has asked before.
    let command = ["metadata", "--locked", "--format-version", "1", "--manifest-path", root];
    let out = Command::new(env!("CARGO")).args(command).output().unwrap();
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = metadata["packages"].as_array().unwrap();
    let manifest = all.iter().find(|p| p["name"] == "sigstore-verify").unwrap()["manifest_path"].as_str().unwrap();
    PathBuf::from(manifest).with_file_name("test_data").join("bundles")
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(bundles().join(name)).unwrap()).unwrap()
}

/// A bundle of the public instance.
pub(super) fn conda() -> Bundle {
    Bundle::parse(read("conda-attestation.sigstore.json").to_string().as_bytes()).unwrap()
}

fn open(bundle: &Value) -> Result<Opened, Problem> {
    TrustedRoot::built_in().open(&Bundle::parse(bundle.to_string().as_bytes())?)
}

fn open_staged(bundle: &Value) -> Result<Opened, Problem> {
    let root = crate::testing::trusted_root(&serde_json::from_str(SIGSTORE_STAGING_TRUSTED_ROOT).unwrap());
    root.open(&Bundle::parse(bundle.to_string().as_bytes())?)
}

#[track_caller]
fn refused(bundle: &Value, code: &str, change: impl FnOnce(&mut Value)) {
    refused_by(open, bundle, code, change);
}

#[track_caller]
fn refused_by(
    open: fn(&Value) -> Result<Opened, Problem>,
    bundle: &Value,
    code: &str,
    change: impl FnOnce(&mut Value),
) {
    let mut changed = bundle.clone();
    change(&mut changed);
    let problem = open(&changed).expect_err("the bundle was accepted");
    assert_eq!(problem.code(), code, "{problem}");
}

/// Changes one character of what stands there in base64.
fn spoil(place: &mut Value) {
    spoil_at(place, 4);
}

/// The same after so many eighths of it.
fn spoil_at(place: &mut Value, eighths: usize) {
    let mut text = place.as_str().unwrap().to_owned();
    let at = text.len() * eighths / 8;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    text.replace_range(at..=at, other);
    *place = text.into();
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

#[test]
fn a_package_that_a_public_workflow_attested_is_verified() {
    let bundle = read("conda-attestation.sigstore.json");
    let opened = open(&bundle).unwrap();
    let build = opened.identity.build.as_ref().unwrap();
    assert_eq!(build.repository, "https://github.com/prefix-dev/sigstore-example");
    let id = build.repository_id;
    let rule: Rule = format!("{WORKFLOW}{id} workflow=.github/workflows/action.yaml").parse().unwrap();
    assert!(rule.matches(&opened.identity), "{}", opened.identity);
    assert_eq!(opened.identity.rule(), Some(rule));
    for other in [
        format!("{WORKFLOW}{} workflow=.github/workflows/action.yaml", id + 1),
        format!("{WORKFLOW}{id} workflow=.github/workflows/other.yaml"),
        format!("issuer=https://gitlab.com repository-id={id} workflow=.github/workflows/action.yaml"),
    ] {
        assert!(!other.parse::<Rule>().unwrap().matches(&opened.identity), "{other}");
    }
    let package = std::fs::read(bundles().join("signed-package-2.1.0-hb0f4dca_0.conda")).unwrap();
    assert_eq!(opened.names(&package, CONDA), Ok(true));
    assert_eq!(opened.names(&package[1..], CONDA), Ok(false), "another file");
    assert!(opened.names(&package, release::PROVENANCE).unwrap_err().contains("predicateType"));
    assert_eq!(opened.signed_ms / 86_400_000, 20_332, "1 September 2025");
}

#[test]
fn a_package_that_a_person_attested_with_a_timestamp_is_verified() {
    let bundle = read("conda-attestation-rekor2.sigstore.json");
    refused(&bundle, "E-TRUST-025", |_| ());
    let opened = open_staged(&bundle).unwrap();
    assert_eq!(opened.identity.build, None);
    let rule = opened.identity.rule().unwrap().to_string();
    assert!(rule.starts_with("issuer=https://github.com/login/oauth email="), "{rule}");
    let package = std::fs::read(bundles().join("signed-package-2.1.0-hb0f4dca_0.conda")).unwrap();
    assert_eq!(opened.names(&package, CONDA), Ok(true));
}

#[test]
fn npms_provenance_is_verified() {
    let opened = open(&read("sigstore.js@2.0.0-provenance.sigstore.json")).unwrap();
    let rule = format!("{WORKFLOW}495574555 workflow=.github/workflows/release.yml");
    assert!(rule.parse::<Rule>().unwrap().matches(&opened.identity), "{}", opened.identity);
    assert_eq!(opened.names(b"another tarball", release::PROVENANCE), Ok(false));
}

#[test]
fn each_part_of_a_public_bundle_is_refused_by_its_name_when_it_is_changed() {
    let one = read("conda-attestation.sigstore.json");
    refused(&one, "E-TRUST-026", |b| spoil(&mut entry(b)["inclusionProof"]["hashes"][0]));
    refused(&one, "E-TRUST-026", |b| entry(b)["inclusionProof"] = Value::Null);
    refused(&one, "E-TRUST-027", |b| {
        let note = &mut entry(b)["inclusionProof"]["checkpoint"]["envelope"];
        *note = note.as_str().unwrap().replacen("rekor.sigstore.dev - ", "rekor.sigstore.dev  - ", 1).into();
    });
    refused(&one, "E-TRUST-028", |b| spoil(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"]));
    refused(&one, "E-TRUST-028", |b| entry(b)["integratedTime"] = "1756700000".into());
    refused(&one, "E-TRUST-025", |b| spoil(&mut entry(b)["logId"]["keyId"]));
    refused(&one, "E-TRUST-031", |b| spoil(&mut b["dsseEnvelope"]["payload"]));
    // The statement of another bundle, for which this one's log entry and signature do not speak.
    let two = read("conda-attestation-rekor2.sigstore.json");
    refused(&one, "E-TRUST-031", |b| b["dsseEnvelope"]["payload"] = two["dsseEnvelope"]["payload"].clone());
    // What it says, what is signed about it, the signature. (In the middle lies a copy of the authority's certificate,
    // which nothing relies on: the trusted root has its own.)
    for eighths in [1, 6, 7] {
        refused_by(open_staged, &two, "E-TRUST-030", |b| {
            let times = &mut b["verificationMaterial"]["timestampVerificationData"];
            spoil_at(&mut times["rfc3161Timestamps"][0]["signedTimestamp"], eighths);
        });
    }
    refused_by(open_staged, &two, "E-TRUST-030", |b| {
        b["verificationMaterial"]["timestampVerificationData"] = json!({})
    });
    // The time of another signature.
    let token = read("cosign-v3-blob.sigstore.json");
    refused_by(open_staged, &two, "E-TRUST-030", |b| {
        let times = "timestampVerificationData";
        b["verificationMaterial"][times] = token["verificationMaterial"][times].clone();
    });
    refused_by(open_staged, &two, "E-TRUST-026", |b| spoil(&mut entry(b)["inclusionProof"]["hashes"][0]));
    // Another signer's certificate, by an authority that this root does not name.
    refused(&one, "E-TRUST-022", |b| {
        b["verificationMaterial"]["certificate"] = two["verificationMaterial"]["certificate"].clone();
    });
}

#[test]
fn what_the_public_log_never_promised_is_refused() {
    for (name, code) in [
        // GitHub's own instance signs for private repositories, without a log.
        ("github-private-attestation.sigstore.json", "E-TRUST-026"),
        ("dsse.sigstore.json", "E-TRUST-026"),
        ("cosign-v3-blob.sigstore.json", "E-TRUST-002"),
        ("bundle_no_log_entry.txt.sigstore", "E-TRUST-002"),
    ] {
        let problem = open(&read(name)).expect_err(name);
        assert_eq!(problem.code(), code, "{name}: {problem}");
    }
}
