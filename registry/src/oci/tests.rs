//! A registry in memory, with and without the referrers API. The real one is met in `tests/tests/oci.rs`.

use super::*;
use crate::fetch::{FetchError, FetchResponse};
use crate::source::Expected;
use crate::testing::{self, key};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Mutex;
use zeroize::Zeroizing;

#[derive(Default)]
struct Memory {
    /// Blobs and manifests by path.
    kept: Mutex<BTreeMap<String, Bytes>>,
    asked: Mutex<Vec<String>>,
    /// It lists referrers itself.
    referrers_api: bool,
    /// It wants a token, and for that a password.
    guarded: bool,
}

impl Memory {
    fn new(referrers_api: bool) -> Self {
        Self { referrers_api, ..Self::default() }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> FetchResponse {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        FetchResponse { status, headers, body: body.into() }
    }

    /// All manifests that refer to `subject`.
    fn referrers(&self, subject: &str) -> Vec<u8> {
        let kept = self.kept.lock().unwrap();
        let mut index = ImageIndex::default();
        for (path, bytes) in kept.iter().filter(|(path, _)| path.contains("/manifests/sha256:")) {
            let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { continue };
            if manifest.subject.is_some_and(|s| s.digest.to_string() == subject) {
                let entry = Descriptor::of(MANIFEST, bytes);
                assert!(path.ends_with(&entry.digest.to_string()));
                index.manifests.push(Descriptor { artifact_type: manifest.artifact_type, ..entry });
            }
        }
        serde_json::to_vec(&index).unwrap()
    }

    fn swap(&self, what: &str, with: &[u8]) {
        let mut kept = self.kept.lock().unwrap();
        let path = kept.keys().find(|path| path.contains(what)).unwrap().clone();
        kept.insert(path, Bytes::copy_from_slice(with));
    }
}

#[async_trait]
impl Fetch for Memory {
    async fn send(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let path = request.url.path().to_owned();
        self.asked.lock().unwrap().push(format!("{} {}", request.method, path));
        let header = |name: &str| request.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        if request.url.host_str() == Some("auth.example.com") {
            assert_eq!(request.url.query(), Some("service=r&scope=repository%3Aacme%2Fnotes%3Apull%2Cpush"));
            let known = header("authorization") == Some("Basic bWU6aHVudGVyMg==");
            return Ok(if known {
                Self::answer(200, &[], "{\"token\":\"t0k3n\"}")
            } else {
                Self::answer(401, &[], "")
            });
        }
        if self.guarded && header("authorization") != Some("Bearer t0k3n") {
            let scope = "repository:acme/notes:pull,push";
            let challenge = format!("Bearer realm=\"https://auth.example.com/token\",service=\"r\",scope=\"{scope}\"");
            return Ok(Self::answer(401, &[("www-authenticate", &challenge)], ""));
        }
        if let Some((_, subject)) = path.split_once("/referrers/") {
            let subject = subject.to_owned();
            return Ok(if self.referrers_api {
                Self::answer(200, &[], self.referrers(&subject))
            } else {
                Self::answer(404, &[], "")
            });
        }
        let mut kept = self.kept.lock().unwrap();
        Ok(match request.method {
            "GET" | "HEAD" => match kept.get(&path) {
                Some(bytes) if bytes.len() as u64 > request.max && request.method == "GET" => {
                    return Err(FetchError::TooLarge(request.max));
                }
                Some(bytes) => {
                    Self::answer(200, &[], if request.method == "GET" { bytes.clone() } else { Bytes::new() })
                }
                None => Self::answer(404, &[], ""),
            },
            "POST" => Self::answer(202, &[("location", &format!("{path}session?state=1"))], ""),
            "PUT" if path.contains("/uploads/") => {
                let digest = request.url.query_pairs().find(|(k, _)| k == "digest").unwrap().1.into_owned();
                assert_eq!(Digest::of(&request.body).to_string(), digest);
                let (repository, _) = path.split_once("/blobs/").unwrap();
                kept.insert(format!("{repository}/blobs/{digest}"), request.body);
                Self::answer(201, &[], "")
            }
            "PUT" => {
                let manifest: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(manifest["mediaType"].as_str(), header("content-type"));
                let (before, _) = path.split_once("/manifests/").unwrap();
                kept.insert(format!("{before}/manifests/{}", Digest::of(&request.body)), request.body.clone());
                let subject = manifest["subject"]["digest"].as_str().filter(|_| self.referrers_api);
                let headers: Vec<(&str, &str)> = subject.map(|s| ("oci-subject", s)).into_iter().collect();
                let answer = Self::answer(201, &headers, "");
                kept.insert(path, request.body.clone());
                answer
            }
            other => panic!("{other}"),
        })
    }
}

fn package() -> (Vec<u8>, Vec<u8>) {
    let manifest = testing::manifest("notes", "1.2.0", "[[tool]]\nname = \"look\"\n");
    testing::package(testing::component(&["log"], &["tools"]), &manifest, &key(0))
}

fn there() -> Reference {
    "oci://registry.example.com/acme/notes".parse().unwrap()
}

/// Pushes the package and gives the pinned reference.
async fn pushed(memory: &Memory) -> Pushed {
    let (bytes, bundle) = package();
    push(&there(), &bytes, &bundle, None, memory).await.unwrap()
}

#[tokio::test]
async fn what_is_pushed_is_pulled_and_verified_with_and_without_the_referrers_api() {
    for referrers_api in [true, false] {
        let memory = Memory::new(referrers_api);
        let pushed = pushed(&memory).await;
        assert_eq!(pushed.referrers_api, referrers_api);
        assert!(pushed.reference.to_string().starts_with("oci://registry.example.com/acme/notes:1.2.0@sha256:"));
        for reference in [there().tagged("1.2.0"), pushed.reference] {
            let fetched = pull(&reference, None, &memory).await.unwrap();
            let (verified, _) = fetched.verify(&testing::trust("acme", &key(0)), Expected::Any).unwrap();
            assert_eq!(verified.id().to_string(), "acme/notes");
            assert!(fetched.source.contains("@sha256:"), "{}", fetched.source);
        }
    }
}

#[tokio::test]
async fn the_tag_never_leads_to_an_unsigned_package() {
    let memory = Memory::new(false);
    pushed(&memory).await;
    let asked = memory.asked.lock().unwrap();
    assert_eq!(asked.last().unwrap(), "PUT /v2/acme/notes/manifests/1.2.0");
}

#[tokio::test]
async fn pushing_again_uploads_nothing_and_lists_nothing_twice() {
    let memory = Memory::new(false);
    let first = pushed(&memory).await;
    memory.asked.lock().unwrap().clear();
    assert_eq!(pushed(&memory).await, first, "the same package is the same artifact");
    assert!(!memory.asked.lock().unwrap().iter().any(|a| a.starts_with("POST")));
    assert_eq!(pull(&there().tagged("1.2.0"), None, &memory).await.unwrap().bundles.len(), 1);
}

#[tokio::test]
async fn a_changed_blob_and_a_changed_manifest_are_refused() {
    let memory = Memory::new(false);
    let pinned = pushed(&memory).await.reference;
    let (bytes, _) = package();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    memory.swap(&format!("blobs/{}", Digest::of(&bytes)), &changed);
    let error = pull(&pinned, None, &memory).await.unwrap_err();
    assert!(error.code() == "E-REG-032" && error.to_string().contains("it sent a blob"), "{error}");
    let other = Artifact::of(
        &testing::package(
            testing::component(&[], &["tools"]),
            &testing::manifest("other", "1.0.0", "[[tool]]\nname = \"x\"\n"),
            &key(0),
        )
        .0,
    )
    .unwrap();
    memory.swap(&format!("manifests/{}", pinned.digest.unwrap()), &other.manifest);
    let error = pull(&pinned, None, &memory).await.unwrap_err();
    assert!(error.to_string().contains("its manifest is"), "{error}");
}

#[tokio::test]
async fn a_longer_blob_than_its_descriptor_says_is_not_read() {
    let memory = Memory::new(false);
    let pinned = pushed(&memory).await.reference;
    let (mut bytes, _) = package();
    let path = format!("blobs/{}", Digest::of(&bytes));
    bytes.extend_from_slice(&[0; 100]);
    memory.swap(&path, &bytes);
    assert_eq!(pull(&pinned, None, &memory).await.unwrap_err().code(), "E-REG-004");
}

#[tokio::test]
async fn an_image_for_containers_is_named_for_what_it_is() {
    let memory = Memory::new(false);
    pushed(&memory).await;
    for (config, layer, count, says) in [
        ("application/vnd.oci.image.config.v1+json", "application/wasm", 1, "its configuration is"),
        ("application/vnd.wasm.config.v0+json", "application/vnd.oci.image.layer.v1.tar+gzip", 1, "its layer is"),
        ("application/vnd.wasm.config.v0+json", "application/wasm", 2, "it has 2 layers"),
    ] {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            artifact_type: None,
            config: Descriptor::of(config, b"{}"),
            layers: vec![Descriptor::of(layer, b"x"); count],
            subject: None,
            annotations: BTreeMap::new(),
        };
        memory.swap("manifests/1.2.0", &serde_json::to_vec(&manifest).unwrap());
        let error = pull(&there().tagged("1.2.0"), None, &memory).await.unwrap_err();
        assert!(error.code() == "E-REG-032" && error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_package_without_a_signature_says_so_and_a_strangers_referrer_does_no_harm() {
    let memory = Memory::new(true);
    let pinned = pushed(&memory).await.reference;
    // Somebody else's bundle about the same package, listed first or last.
    let (bytes, _) = package();
    let foreign = crate::package::sign(&bytes, &key(7)).unwrap();
    push(&there(), &bytes, &foreign, None, &memory).await.unwrap();
    let fetched = pull(&pinned, None, &memory).await.unwrap();
    assert_eq!(fetched.bundles.len(), 2);
    assert!(fetched.verify(&testing::trust("acme", &key(0)), Expected::Any).is_ok());
    assert!(fetched.verify(&testing::trust("acme", &key(5)), Expected::Any).is_err());
    let bare = Memory { kept: Mutex::new(memory.kept.lock().unwrap().clone()), ..Memory::default() };
    let error = pull(&pinned, None, &bare).await.unwrap_err();
    assert!(error.code() == "E-REG-033" && error.fix().contains("plugin publish"), "{error}");
}

#[tokio::test]
async fn credentials_become_a_token_and_without_them_the_registry_is_named() {
    let memory = Memory { guarded: true, ..Memory::new(true) };
    let (bytes, bundle) = package();
    let error = push(&there(), &bytes, &bundle, None, &memory).await.unwrap_err();
    assert_eq!(error.code(), "E-REG-034");
    assert!(error.fix().contains("registry.example.com"), "{}", error.fix());
    let me = Credentials { username: "me".into(), password: Zeroizing::new("hunter2".into()) };
    push(&there(), &bytes, &bundle, Some(&me), &memory).await.unwrap();
    pull(&there().tagged("1.2.0"), Some(&me), &memory).await.unwrap();
}

#[test]
fn a_reference_is_read_and_written_the_same() {
    let digest = Digest::of(b"x");
    for good in [
        "oci://ghcr.io/acme/notes".to_owned(),
        "oci://localhost:5000/notes:1.0.0".to_owned(),
        "oci://[::1]:5000/a/b__c/d-e.f:v1".to_owned(),
        format!("oci://ghcr.io/acme/notes:1@{digest}"),
        format!("oci://ghcr.io/acme/notes@{digest}"),
    ] {
        let reference: Reference = good.parse().unwrap_or_else(|e| panic!("{good}: {e}"));
        assert_eq!(reference.to_string(), good);
    }
    let scheme = |r: &str| r.parse::<Reference>().unwrap().base().scheme().to_owned();
    assert_eq!((scheme("oci://ghcr.io/a"), scheme("oci://127.0.0.1:5000/a")), ("https".into(), "http".into()));
    let bad = [
        "ghcr.io/a",
        "oci://ghcr.io",
        "oci://ghcr.io/",
        "oci:///a",
        "oci://ghcr.io/A",
        "oci://ghcr.io/../a",
        "oci://ghcr.io/a/../b",
        "oci://ghcr.io/a//b",
        "oci://u:p@ghcr.io/a",
        "oci://ghcr.io/a:",
        "oci://ghcr.io/a:t/x",
        "oci://ghcr.io/a@sha512:00",
        "oci://ghcr.io/a@latest",
        "oci://ghcr.io/a?x",
        "oci://ghcr.io/a#x",
        "oci://gh cr.io/a",
    ];
    for bad in bad {
        assert_eq!(bad.parse::<Reference>().unwrap_err().code(), "E-REG-030", "{bad}");
    }
}
