//! Packages in OCI registries: Debian's `docker-registry`, one with the referrers API, and PyPI's `oras` as the other client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_tests::components::{tool_package, wat};
use carapace_tests::kernel::command;
use carapace_tests::owner::{self, error};
use carapace_tests::registries::{DockerRegistry, with_referrers_api};
use carapace_tests::{peer, peers};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// A publisher's state directory, with a signed package `gadget` 0.1.0 beside it.
struct Author {
    state: TempDir,
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Author {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("gadget.wasm");
        let bytes = tool_package("gadget", wat::ECHO, "", "");
        std::fs::write(&file, &bytes).unwrap();
        owner::done(state.path(), &["plugin", "sign", file.to_str().unwrap()]);
        Self { state, file, bytes }
    }

    fn publish(&self, to: &str) -> String {
        owner::done(self.state.path(), &["plugin", "publish", self.file.to_str().unwrap(), "--to", to])
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Somebody else's state directory, where this author is pinned as `acme`.
    fn reader(&self) -> TempDir {
        let listed: Value =
            serde_json::from_str(&owner::done(self.state.path(), &["publisher", "list", "--json"])).unwrap();
        let key = listed[0]["keys"][0]["key"].as_str().unwrap();
        let reader = tempfile::tempdir().unwrap();
        owner::done(reader.path(), &["publisher", "add", "acme", key]);
        reader
    }
}

fn install(state: &Path, author: &Author, from: &str) -> Output {
    let accept = author.digest().to_string();
    owner::cli(state, &["plugin", "install", from, "--accept", &accept, "--json"])
}

fn assert_installed(state: &Path, out: &Output) {
    let all = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{all}");
    assert!(owner::done(state, &["plugin", "list"]).contains("acme/gadget"), "{all}");
}

#[test]
fn what_carapace_pushes_oras_reads_and_another_owner_installs() {
    let registry = peer!("docker-registry", DockerRegistry::start(false));
    let oras = peer!("oras", peers::oras());
    let author = Author::new();
    let target = format!("{}/acme/gadget:0.1.0", registry.host());
    let said = author.publish(&format!("oci://{}/acme/gadget", registry.host()));
    assert!(said.contains(&format!("oci://{target}@sha256:")) && said.contains("listed under a tag"), "{said}");

    let out = tempfile::tempdir().unwrap();
    let script = peers::script("oras_client.py");
    let script = script.to_str().unwrap();
    let pulled: Vec<PathBuf> =
        serde_json::from_str(&peers::runs(&oras, &[script, "pull", &target, out.path().to_str().unwrap()])).unwrap();
    assert_eq!(pulled, [out.path().join("gadget.wasm")]);
    assert_eq!(std::fs::read(&pulled[0]).unwrap(), author.bytes);
    let referrers: Value = serde_json::from_str(&peers::runs(&oras, &[script, "referrers", &target])).unwrap();
    assert_eq!(referrers[0]["artifactType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(referrers[0]["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");

    let reader = author.reader();
    assert_installed(reader.path(), &install(reader.path(), &author, &format!("oci://{target}")));
    // Pushing again changes nothing.
    author.publish(&format!("oci://{}/acme/gadget", registry.host()));
    let again: Value = serde_json::from_str(&peers::runs(&oras, &[script, "referrers", &target])).unwrap();
    assert_eq!(again, referrers);

    let stranger = tempfile::tempdir().unwrap();
    let refused = error(&install(stranger.path(), &author, &format!("oci://{target}")));
    assert_eq!(refused["code"], "E-TRUST-003", "{refused}");
    let nothing = error(&install(reader.path(), &author, &format!("oci://{}/acme/nothing:1", registry.host())));
    assert_eq!(nothing["code"], "E-REG-003", "{nothing}");
}

#[test]
fn what_oras_pushes_carapace_installs() {
    let registry = peer!("docker-registry", DockerRegistry::start(false));
    let oras = peer!("oras", peers::oras());
    let author = Author::new();
    let target = format!("{}/acme/gadget:by-oras", registry.host());
    let config = author.state.path().join("config.json");
    std::fs::write(&config, "{\"architecture\":\"wasm\",\"os\":\"wasip2\"}").unwrap();
    let bundle = author.file.with_extension("sigstore.json");
    let script = peers::script("oras_client.py");
    let files = [&author.file, &config, &bundle].map(|f| f.to_str().unwrap().to_owned());
    let [wasm, config, bundle] = &files;
    peers::runs(&oras, &[script.to_str().unwrap(), "push", &target, wasm, config, bundle]);
    let reader = author.reader();
    assert_installed(reader.path(), &install(reader.path(), &author, &format!("oci://{target}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_the_referrers_api_is_asked_by_it() {
    let host = with_referrers_api().await;
    let author = Author::new();
    let said = author.publish(&format!("oci://{host}/acme/gadget:latest"));
    assert!(!said.contains("listed under a tag"), "{said}");
    let tags: Value = reqwest_json(&format!("http://{host}/v2/acme/gadget/tags/list")).await;
    assert_eq!(tags["tags"], serde_json::json!(["latest"]));
    let reader = author.reader();
    assert_installed(reader.path(), &install(reader.path(), &author, &format!("oci://{host}/acme/gadget:latest")));
}

async fn reqwest_json(url: &str) -> Value {
    let client = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    client.get(url).send().await.unwrap().json().await.unwrap()
}

#[test]
fn an_account_is_taken_from_the_environment_and_its_password_is_never_shown() {
    let registry = peer!("docker-registry", DockerRegistry::start(true));
    let author = Author::new();
    let to = format!("oci://{}/acme/gadget", registry.host());
    let file = author.file.to_str().unwrap();
    let publish_as = |at: &str, password: Option<&str>| {
        let env = password.map(|p| {
            vec![
                ("CARAPACE_OCI_REGISTRY".into(), at.to_owned()),
                ("CARAPACE_OCI_USERNAME".into(), "me".into()),
                ("CARAPACE_OCI_PASSWORD".into(), p.to_owned()),
            ]
        });
        let mut command = command(author.state.path(), &env.unwrap_or_default());
        let out = command.args(["plugin", "publish", file, "--to", &to]).stdin(Stdio::null()).output().unwrap();
        (
            out.status.success(),
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
        )
    };
    let publish = |password| publish_as(registry.host(), password);
    let (done, said) = publish(None);
    assert!(!done && said.contains("E-REG-034") && said.contains("CARAPACE_OCI_PASSWORD"), "{said}");
    let (done, said) = publish_as("registry.example", Some("hunter2"));
    assert!(!done && said.contains("E-REG-034"), "the account is for another registry: {said}");
    let (done, said) = publish(Some("wrong-horse"));
    assert!(!done && said.contains("E-REG-034") && !said.contains("wrong-horse"), "{said}");
    let (done, said) = publish(Some("hunter2"));
    assert!(done && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_blob_that_was_changed_in_the_registry_is_refused() {
    let registry = peer!("docker-registry", DockerRegistry::start(false));
    let author = Author::new();
    let from = format!("oci://{}/acme/gadget:0.1.0", registry.host());
    author.publish(&from);
    let blob = registry.blob(&author.digest().hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let reader = author.reader();
    let refused = error(&install(reader.path(), &author, &from));
    assert_eq!(refused["code"], "E-REG-032", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains(&author.digest().to_string()), "{refused}");
}

#[test]
fn of_two_publishers_signatures_the_one_that_is_meant_counts() {
    let registry = peer!("docker-registry", DockerRegistry::start(false));
    let (author, other) = (Author::new(), Author::new());
    assert_eq!(author.bytes, other.bytes);
    let from = format!("oci://{}/acme/gadget:0.1.0", registry.host());
    // Whoever may push there attaches a signature of their own, and is pinned here for something else.
    other.publish(&from);
    author.publish(&from);
    let reader = author.reader();
    let listed: Value =
        serde_json::from_str(&owner::done(other.state.path(), &["publisher", "list", "--json"])).unwrap();
    let key = listed[0]["keys"][0]["key"].as_str().unwrap();
    owner::done(reader.path(), &["publisher", "add", "zeta", key]);
    let refused = error(&install(reader.path(), &author, &from));
    assert_eq!(refused["code"], "E-TRUST-015", "{refused}");
    assert!(refused["help"].as_str().unwrap().contains("--publisher acme"), "{refused}");
    let accept = author.digest().to_string();
    let by = |publisher: &str| {
        owner::cli(
            reader.path(),
            &["plugin", "install", &from, "--accept", &accept, "--json", "--publisher", publisher],
        )
    };
    assert_installed(reader.path(), &by("acme"));
    let nobody = error(&by("nobody"));
    assert_eq!(nobody["code"], "E-TRUST-013", "{nobody}");
    // What follows an installed component is its publisher's, whatever else lies there.
    owner::done(reader.path(), &["plugin", "update", "acme/gadget", &from]);
}
