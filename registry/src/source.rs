//! From a registry's index to a package's bytes. What comes back is untrusted: [`crate::verify()`] decides.

use crate::bundle;
use crate::error::RegistryError;
use crate::fetch::Fetch;
use crate::index::{INDEX_FILE, Index, MAX_BYTES, package_files};
use crate::keyless::TrustedRoot;
use crate::location::{read_url, web};
use crate::package;
use crate::registries::{Registry, RegistryBook};
use crate::resolve::Resolution;
use crate::verify::{Trust, TrustError, VerifiedPackage, verify};
use bytes::Bytes;
use carapace_contract::Name;

/// A package and the signatures that came with it, untrusted.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The component.
    pub package: Bytes,
    /// Sigstore bundles; at least one. An OCI registry lets anybody with access attach some.
    pub bundles: Vec<Bytes>,
    /// Where it came from, as `plugins.lock` has it.
    pub source: String,
}

impl Fetched {
    /// Verifies it by the first bundle that this trust accepts; gives that bundle, too.
    ///
    /// # Errors
    /// None is accepted: what the first one lacks that names a pinned publisher, else what the first one lacks.
    pub fn verify(&self, trust: &Trust) -> Result<(VerifiedPackage, Bytes), TrustError> {
        let mut refused: Option<TrustError> = None;
        for bundle in &self.bundles {
            match verify(self.package.to_vec(), bundle, trust) {
                Ok(package) => return Ok((package, bundle.clone())),
                Err(e) => {
                    let better = e.publisher().is_some() && refused.as_ref().is_none_or(|r| r.publisher().is_none());
                    if refused.is_none() || better {
                        refused = Some(e);
                    }
                }
            }
        }
        match refused {
            Some(e) => Err(e),
            None => verify(self.package.to_vec(), b"", trust).map(|package| (package, Bytes::new())),
        }
    }
}

/// Reads a registry's index and judges it; the book then remembers its version and is to be saved.
///
/// # Errors
/// It cannot be read, or [`RegistryBook::accept`] refuses it.
pub async fn read_index(
    book: &mut RegistryBook,
    id: &Name,
    fetch: &dyn Fetch,
    now_ms: u64,
    accept_expired: bool,
) -> Result<Index, RegistryError> {
    let location = book.get(id)?.location.clone();
    let bytes = location.read(INDEX_FILE, MAX_BYTES, fetch).await?;
    book.accept(id, &bytes, now_ms, accept_expired)
}

/// Brings what a name was resolved to, and holds it against the index.
///
/// # Errors
/// It cannot be read, or is another package than the index says in any respect.
pub async fn read_package(
    registry: &Registry,
    resolution: &Resolution<'_>,
    root: &TrustedRoot,
    fetch: &dyn Fetch,
) -> Result<Fetched, RegistryError> {
    let entry = resolution.entry;
    let (component, signature) = package_files(&entry.digest);
    let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
    if size > package::MAX_BYTES {
        return Err(RegistryError::TooLarge { what: component, max: package::MAX_BYTES });
    }
    // Not one byte more than the index says is read.
    let package = registry.location.read(&component, size, fetch).await?;
    let bundle = registry.location.read(&signature, bundle::MAX_BYTES, fetch).await?;
    entry.holds_for(&registry.id, &package, &bundle, root)?;
    Ok(Fetched { package, bundles: vec![bundle], source: registry.id.to_string() })
}

/// Brings a package by its URL, `https://…/NAME.wasm`, and the bundle `NAME.sigstore.json` beside it.
///
/// # Errors
/// Not such a URL, not there, or too large.
pub async fn read_package_url(url: &str, fetch: &dyn Fetch) -> Result<Fetched, RegistryError> {
    let bad = |why: &str| RegistryError::Location { location: url.chars().take(200).collect(), why: why.to_owned() };
    let component = web(url)?;
    let stem = component.path().strip_suffix(".wasm").ok_or_else(|| bad("its path does not end in .wasm"))?;
    let mut signature = component.clone();
    signature.set_path(&format!("{stem}.sigstore.json"));
    let package = read_url(component.clone(), package::MAX_BYTES, fetch).await?;
    let bundle = read_url(signature, bundle::MAX_BYTES, fetch).await?;
    Ok(Fetched { package, bundles: vec![bundle], source: component.to_string() })
}
