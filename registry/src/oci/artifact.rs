//! The documents of an artifact: CNCF's Wasm OCI artifact, and the Sigstore bundle that refers to it.
//!
//! <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>,
//! <https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md>, and for the bundle
//! <https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md>.

use crate::bundle;
use crate::error::{RegistryError, shown};
use crate::imports;
use crate::package::{self, PackageError};
use carapace_contract::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image manifest's media type.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index's.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration's.
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The component's.
pub(super) const WASM: &str = "application/wasm";
/// Of what has no configuration.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// That configuration.
pub(super) const EMPTY_BYTES: &[u8] = b"{}";
/// The most signatures that are looked at.
pub(super) const MAX_SIGNATURES: usize = 16;

/// A pointer to a blob or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it points to.
    pub media_type: String,
    /// `sha256:…`; other algorithms are refused.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// In an index of referrers: what refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    fn with(mut self, annotation: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(annotation.to_owned(), value.into());
        self
    }
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2
    pub schema_version: u32,
    /// `application/vnd.oci.image.manifest.v1+json`
    #[serde(default)]
    pub media_type: Option<String>,
    /// What it is, where the configuration does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The contents.
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index: here, a list of referrers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// 2
    pub schema_version: u32,
    /// `application/vnd.oci.image.index.v1+json`
    #[serde(default)]
    pub media_type: Option<String>,
    /// What it lists.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

impl Default for ImageIndex {
    fn default() -> Self {
        Self { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: Vec::new() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: Vec<Digest>,
    component: Surface,
}

#[derive(Serialize)]
struct Surface {
    exports: Vec<String>,
    imports: Vec<String>,
}

/// What is pushed for one package: two blobs and the manifest over them.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The manifest's bytes. The same package always gives the same.
    pub manifest: Vec<u8>,
    /// The package's version: its tag.
    pub version: String,
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(value)
        .map_err(|e| RegistryError::OciArtifact { what: "the manifest".to_owned(), why: e.to_string() })
}

impl Artifact {
    /// The artifact of a package.
    ///
    /// # Errors
    /// The bytes are no package.
    pub fn of(package: &[u8]) -> Result<Self, RegistryError> {
        let refused =
            |e: PackageError| RegistryError::OciArtifact { what: "the package".to_owned(), why: e.to_string() };
        let (manifest, _) = package::read_manifest(package).map_err(refused)?;
        let surface = imports::decode(package).map_err(refused)?;
        let component = &manifest.component;
        let config = json(&WasmConfig {
            // Not the time of day, so that the same package is the same artifact wherever it is pushed from.
            created: "1970-01-01T00:00:00Z",
            architecture: "wasm",
            os: "wasip2",
            layer_digests: vec![Digest::of(package)],
            component: Surface {
                exports: surface.exports.into_iter().collect(),
                imports: surface.imports.into_iter().collect(),
            },
        })?;
        let title = format!("{}.wasm", component.name);
        let words = [
            ("org.opencontainers.image.title", component.name.to_string()),
            ("org.opencontainers.image.version", component.version.to_string()),
            ("org.opencontainers.image.description", component.description.clone()),
        ];
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::of(CONFIG, &config),
            layers: vec![Descriptor::of(WASM, package).with("org.opencontainers.image.title", title)],
            subject: None,
            annotations: words.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        })?;
        // A tag cannot hold the `+` of build metadata.
        Ok(Self { config, manifest, version: component.version.to_string().replace('+', "_") })
    }
}

/// The manifest by which a bundle refers to a package's manifest, and the entry for it in a list of referrers.
///
/// # Errors
/// It cannot be written as JSON.
pub(super) fn signature(bundle_json: &[u8], subject: &[u8]) -> Result<(Vec<u8>, Descriptor), RegistryError> {
    let words = [
        ("dev.sigstore.bundle.content", "dsse-envelope"),
        ("dev.sigstore.bundle.predicateType", bundle::PACKAGE_PREDICATE),
    ];
    let annotations: BTreeMap<String, String> = words.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let manifest = json(&Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: Some(bundle::MEDIA_TYPE.to_owned()),
        config: Descriptor::of(EMPTY, EMPTY_BYTES),
        layers: vec![Descriptor::of(bundle::MEDIA_TYPE, bundle_json)],
        subject: Some(Descriptor::of(MANIFEST, subject)),
        annotations: annotations.clone(),
    })?;
    let entry = Descriptor {
        artifact_type: Some(bundle::MEDIA_TYPE.to_owned()),
        annotations,
        ..Descriptor::of(MANIFEST, &manifest)
    };
    Ok((manifest, entry))
}

impl Manifest {
    /// The one layer of a component's manifest.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn component(&self) -> Result<&Descriptor, String> {
        if self.config.media_type != CONFIG {
            return Err(format!("its configuration is `{}`, not `{CONFIG}`", shown(&self.config.media_type)));
        }
        match self.layers.as_slice() {
            [layer] if layer.media_type == WASM => Ok(layer),
            [layer] => Err(format!("its layer is `{}`, not `{WASM}`", shown(&layer.media_type))),
            layers => Err(format!("it has {} layers, not one", layers.len())),
        }
    }
}
