//! Packages in OCI registries: the few requests of the distribution specification that it takes, over [`Fetch`].
//!
//! A package is CNCF's Wasm OCI artifact: a manifest, a configuration and one `application/wasm` layer. Its Sigstore
//! bundle refers to that manifest, so that `cosign` and `oras` find it; a registry without the referrers API keeps the
//! list of referrers under the tag `sha256-<hex>`, which its clients maintain.
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md>
//!
//! Nothing here is trusted: digests are compared all the way down from what was asked for, and who signed the package
//! is found out by [`crate::verify()`] alone.

mod artifact;
mod reference;
mod session;

pub use artifact::{Artifact, Descriptor, ImageIndex, Manifest};
pub use reference::{Reference, SCHEME};
pub use session::Credentials;

use crate::bundle;
use crate::error::{RegistryError, shown};
use crate::fetch::{Fetch, FetchRequest};
use crate::package;
use crate::source::Fetched;
use artifact::{EMPTY_BYTES, INDEX, MANIFEST, MAX_SIGNATURES, signature};
use bytes::Bytes;
use carapace_contract::Digest;
use session::Session;

/// The largest manifest or list of referrers, bytes.
const MAX_MANIFEST: usize = 4 << 20;
/// The largest answer to an upload, bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Brings a package and the bundles that refer to it. `source` of what comes back pins the manifest.
///
/// # Errors
/// Not there, another kind of artifact, other bytes than their digests say, or no bundle at all.
pub async fn pull(
    reference: &Reference,
    credentials: Option<&Credentials>,
    fetch: &dyn Fetch,
) -> Result<Fetched, RegistryError> {
    let mut session = Session::new(reference, credentials, fetch);
    let (bytes, digest) = session.manifest(&reference.wanted()).await?;
    if reference.digest.is_some_and(|wanted| wanted != digest) {
        return Err(session.not_ours(format!("its manifest is {digest}")));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| session.not_ours(e.to_string()))?;
    let layer = manifest.component().map_err(|why| session.not_ours(why))?;
    let package = session.blob(layer, package::MAX_BYTES).await?;
    let mut bundles = Vec::new();
    for referrer in session.referrers(&digest).await?.into_iter().take(MAX_SIGNATURES) {
        bundles.extend(session.bundle(&referrer, &digest).await?);
    }
    let pinned = reference.at(digest);
    if bundles.is_empty() {
        return Err(RegistryError::OciUnsigned(pinned.to_string()));
    }
    Ok(Fetched { package, bundles, source: pinned.to_string() })
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Under which tag, and as which manifest.
    pub reference: Reference,
    /// Whether the registry lists referrers itself.
    pub referrers_api: bool,
}

/// Pushes a package with its bundle; under the reference's tag, or else the package's version.
///
/// The bundle goes first: at no time does the tag lead to an unsigned package.
///
/// # Errors
/// It is no package, or the registry refuses something.
pub async fn push(
    reference: &Reference,
    package: &[u8],
    bundle_json: &[u8],
    credentials: Option<&Credentials>,
    fetch: &dyn Fetch,
) -> Result<Pushed, RegistryError> {
    let artifact = Artifact::of(package)?;
    let reference = if reference.has_tag() { reference.clone() } else { reference.tagged(&artifact.version) };
    let mut session = Session::new(&reference, credentials, fetch);
    let (referrer, entry) = signature(bundle_json, &artifact.manifest)?;
    for blob in [package, &artifact.config, bundle_json, EMPTY_BYTES] {
        session.upload(blob).await?;
    }
    let subject = Digest::of(&artifact.manifest);
    let referrers_api = session.put_manifest(&entry.digest.to_string(), MANIFEST, &referrer).await?;
    if !referrers_api {
        session.list_under_tag(&subject, entry).await?;
    }
    session.put_manifest(&reference.wanted(), MANIFEST, &artifact.manifest).await?;
    Ok(Pushed { reference: reference.at(subject), referrers_api })
}

/// The tag under which referrers are listed where there is no API for them.
fn referrers_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

impl Session<'_> {
    fn not_ours(&self, why: String) -> RegistryError {
        RegistryError::OciArtifact { what: self.reference.to_string(), why }
    }

    /// A manifest and its digest, which is computed here.
    async fn manifest(&mut self, wanted: &str) -> Result<(Bytes, Digest), RegistryError> {
        let request = FetchRequest::get(self.url(&format!("manifests/{wanted}"))?, MAX_MANIFEST as u64);
        let response = self.send(request.with("accept", MANIFEST)).await?;
        if response.status == 404 {
            return Err(RegistryError::Missing(self.reference.to_string()));
        }
        self.expect(&response, &[200], "the request for a manifest")?;
        let digest = Digest::of(&response.body);
        Ok((response.body, digest))
    }

    async fn blob(&mut self, descriptor: &Descriptor, max: usize) -> Result<Bytes, RegistryError> {
        let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
        if size > max {
            return Err(RegistryError::TooLarge { what: self.reference.to_string(), max });
        }
        let url = self.url(&format!("blobs/{}", descriptor.digest))?;
        let response = self.send(FetchRequest::get(url, descriptor.size)).await?;
        self.expect(&response, &[200], "the request for a blob")?;
        let digest = Digest::of(&response.body);
        if digest != descriptor.digest {
            return Err(self.not_ours(format!("it sent a blob {digest} for {}", descriptor.digest)));
        }
        Ok(response.body)
    }

    /// Bundles among what refers to a manifest: by the API, or else by the tag.
    async fn referrers(&mut self, subject: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let mut url = self.url(&format!("referrers/{subject}"))?;
        url.query_pairs_mut().append_pair("artifactType", bundle::MEDIA_TYPE);
        let response = self.send(FetchRequest::get(url, MAX_MANIFEST as u64).with("accept", INDEX)).await?;
        let index = if response.status == 404 {
            self.tagged_referrers(subject).await?
        } else {
            self.expect(&response, &[200], "the request for referrers")?;
            serde_json::from_slice(&response.body).map_err(|e| self.not_ours(format!("its referrers: {e}")))?
        };
        // A registry need not filter.
        let is_bundle = |d: &Descriptor| d.artifact_type.as_deref() == Some(bundle::MEDIA_TYPE);
        Ok(index.manifests.into_iter().filter(is_bundle).collect())
    }

    async fn tagged_referrers(&mut self, subject: &Digest) -> Result<ImageIndex, RegistryError> {
        let url = self.url(&format!("manifests/{}", referrers_tag(subject)))?;
        let response = self.send(FetchRequest::get(url, MAX_MANIFEST as u64).with("accept", INDEX)).await?;
        if response.status == 404 {
            return Ok(ImageIndex::default());
        }
        self.expect(&response, &[200], "the request for referrers")?;
        let index: ImageIndex = serde_json::from_slice(&response.body)
            .map_err(|e| self.not_ours(format!("the tag of its referrers: {e}")))?;
        match index.media_type.as_deref() {
            None | Some(INDEX) => Ok(index),
            Some(other) => Err(self.not_ours(format!("the tag of its referrers is a `{}`", shown(other)))),
        }
    }

    /// The bundle of a referrer; none if it turns out to be something else.
    async fn bundle(&mut self, referrer: &Descriptor, subject: &Digest) -> Result<Option<Bytes>, RegistryError> {
        let (bytes, digest) = match self.manifest(&referrer.digest.to_string()).await {
            Ok(found) => found,
            // The list under a tag may name what is gone.
            Err(RegistryError::Missing(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(None) };
        let about = manifest.subject.as_ref().is_some_and(|s| s.digest == *subject);
        match manifest.layers.as_slice() {
            [layer] if about && digest == referrer.digest && layer.media_type == bundle::MEDIA_TYPE => {
                self.blob(layer, bundle::MAX_BYTES).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Uploads a blob, unless it is there.
    async fn upload(&mut self, blob: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(blob);
        let head = FetchRequest { method: "HEAD", ..FetchRequest::get(self.url(&format!("blobs/{digest}"))?, 0) };
        if self.send(head).await?.status == 200 {
            return Ok(());
        }
        let post = FetchRequest { method: "POST", ..FetchRequest::get(self.url("blobs/uploads/")?, MAX_ANSWER) };
        let session = self.send(post).await?;
        self.expect(&session, &[202], "the beginning of an upload")?;
        let location = session.header("location").unwrap_or_default().to_owned();
        let mut url = self.join(&location)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let put =
            FetchRequest { method: "PUT", body: Bytes::copy_from_slice(blob), ..FetchRequest::get(url, MAX_ANSWER) };
        let put = self.send(put.with("content-type", "application/octet-stream")).await?;
        self.expect(&put, &[201], "the upload of a blob")
    }

    /// Puts a manifest; says whether the registry took note of what it refers to.
    async fn put_manifest(&mut self, under: &str, media_type: &str, bytes: &[u8]) -> Result<bool, RegistryError> {
        let put = FetchRequest {
            method: "PUT",
            body: Bytes::copy_from_slice(bytes),
            ..FetchRequest::get(self.url(&format!("manifests/{under}"))?, MAX_ANSWER)
        };
        let response = self.send(put.with("content-type", media_type)).await?;
        self.expect(&response, &[201], "the upload of a manifest")?;
        Ok(response.header("oci-subject").is_some())
    }

    /// Adds a referrer to the list under the tag. Two clients at once may lose one of two entries; pushing again repairs it.
    async fn list_under_tag(&mut self, subject: &Digest, entry: Descriptor) -> Result<(), RegistryError> {
        let mut index = self.tagged_referrers(subject).await?;
        if index.manifests.iter().any(|d| d.digest == entry.digest) {
            return Ok(());
        }
        index.manifests.push(entry);
        let bytes = serde_json::to_vec(&index).map_err(|e| self.not_ours(e.to_string()))?;
        self.put_manifest(&referrers_tag(subject), INDEX, &bytes).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests;
