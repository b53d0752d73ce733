//! What an index says of a package, computed from its bytes; and the comparison of the two.

use super::{Entry, SignedBy};
use crate::bundle::AnyBundle;
use crate::error::{RegistryError, Release};
use crate::keyless::TrustedRoot;
use crate::package;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::manifest::Manifest;
use carapace_contract::{ComponentId, Digest, Name};
use std::collections::BTreeSet;

/// What a component is.
pub fn kinds(manifest: &Manifest) -> BTreeSet<String> {
    let tool = (!manifest.tools.is_empty()).then(|| "tool".to_owned());
    let provider = manifest.provider.is_some().then(|| "provider".to_owned());
    let channel = manifest.channel.is_some().then(|| "channel".to_owned());
    tool.into_iter().chain(provider).chain(channel).collect()
}

/// What it asks for, in words that do not change with this kernel's sentences: only to search and to compare by.
pub fn asks(capabilities: &CapabilitySet) -> BTreeSet<String> {
    let mut asks: BTreeSet<String> =
        capabilities.http.values().map(|e| format!("http:{}", e.url.host_str().unwrap_or("?"))).collect();
    asks.extend(capabilities.http.values().flat_map(|e| &e.hosts).map(|h| format!("http:{h}")));
    let sockets = || capabilities.sockets.values();
    asks.extend(sockets().filter_map(|s| s.url.as_ref()?.host_str()).map(|h| format!("socket:{h}")));
    asks.extend(sockets().flat_map(|s| &s.hosts).map(|h| format!("socket:{h}")));
    asks.extend(capabilities.secrets.keys().map(|s| format!("secret:{s}")));
    asks.extend(capabilities.assets.keys().map(|a| format!("asset:{a}")));
    asks.extend(capabilities.directories.keys().map(|d| format!("directory:{d}")));
    let words = [
        ("http:public", capabilities.public_http),
        ("kv", capabilities.kv),
        ("memory", capabilities.memory),
        ("sessions", capabilities.sessions),
        ("settings", capabilities.settings),
        ("wasi", capabilities.wasi.is_some()),
        ("requests", capabilities.requests),
        ("message", capabilities.message),
        ("lines", capabilities.lines),
        ("blob", capabilities.blob),
    ];
    asks.extend(words.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned()));
    asks
}

impl Entry {
    /// The entry of a package by `publisher`. Whether that publisher signed it, [`crate::verify()`] says.
    ///
    /// # Errors
    /// The bytes are no package, or the bundle is none.
    pub fn describe(publisher: Name, bytes: &[u8], bundle_json: &[u8], root: &TrustedRoot) -> Result<Self, String> {
        let (manifest, _) = package::read_manifest(bytes).map_err(|e| e.to_string())?;
        let signer = signer(bundle_json, root)?;
        let c = &manifest.component;
        Ok(Self {
            id: ComponentId { publisher, name: c.name.clone() },
            version: c.version.clone(),
            contract: c.contract.clone(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            description: c.description.clone(),
            kinds: kinds(&manifest),
            asks: asks(&CapabilitySet::from(&manifest)),
            signer,
            yanked: None,
        })
    }

    /// Holds this entry, which a registry signed, against the package that came for it.
    ///
    /// # Errors
    /// Names the first field that differs.
    pub fn holds_for(
        &self,
        registry: &Name,
        bytes: &[u8],
        bundle_json: &[u8],
        root: &TrustedRoot,
    ) -> Result<(), RegistryError> {
        let swapped = |why: String| RegistryError::Swapped {
            registry: registry.clone(),
            package: Release::boxed(&self.id, &self.version),
            why,
        };
        let digest = Digest::of(bytes);
        if bytes.len() as u64 != self.size {
            return Err(swapped(format!("it has {} bytes, and the index says {}", bytes.len(), self.size)));
        }
        if digest != self.digest {
            return Err(swapped(format!("its digest is {digest}, and the index says {}", self.digest)));
        }
        let package = Self::describe(self.id.publisher.clone(), bytes, bundle_json, root).map_err(swapped)?;
        let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        let fields = [
            ("the name", self.id.name.to_string(), package.id.name.to_string()),
            ("the version", self.version.to_string(), package.version.to_string()),
            ("the contract", self.contract.clone(), package.contract),
            ("the description", self.description.clone(), package.description),
            ("the kinds", words(&self.kinds), words(&package.kinds)),
            ("that it asks for", words(&self.asks), words(&package.asks)),
            ("the signer", self.signer.to_string(), package.signer.to_string()),
        ];
        match fields.into_iter().find(|(_, index, package)| index != package) {
            None => Ok(()),
            Some((what, index, package)) => Err(RegistryError::Misdescribed {
                registry: registry.clone(),
                package: Release::boxed(&self.id, &self.version),
                what,
                index,
                found: package,
            }),
        }
    }
}

/// Whose signature a bundle holds: as it says, for a key; as its certificate proves, without one.
fn signer(bundle_json: &[u8], root: &TrustedRoot) -> Result<SignedBy, String> {
    match AnyBundle::parse(bundle_json).map_err(|e| format!("its signature: {e}"))? {
        AnyBundle::Key(bundle) => Ok(SignedBy::Key(bundle.hint().clone())),
        AnyBundle::Keyless(bundle) => {
            let opened = root.open(&bundle).map_err(|e| format!("its signature: {e}"))?;
            let rule = opened.identity.rule().map(Box::new).map(SignedBy::Keyless);
            rule.ok_or_else(|| format!("it is signed by {}, for which there can be no rule", opened.identity))
        }
    }
}
