//! From a registry's index to a package's bytes. What comes back is untrusted: [`crate::verify()`] decides.

use crate::bundle;
use crate::error::RegistryError;
use crate::fetch::Fetch;
use crate::index::{INDEX_FILE, MAX_BYTES, package_files};
use crate::keyless::TrustedRoot;
use crate::location::{Location, read_url, web};
use crate::package;
use crate::registries::Registry;
use crate::resolve::Resolution;
use crate::verify::{Trust, TrustError, VerifiedPackage, verify};
use bytes::Bytes;
use carapace_contract::{ComponentId, Name};
use std::collections::BTreeSet;
use std::fmt;

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

/// Which component it must be, as far as that is known before it is verified.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// Whatever it is.
    Any,
    /// Something by this publisher.
    By(&'a Name),
    /// This one.
    Component(&'a ComponentId),
}

impl Expected<'_> {
    fn is(self, id: &ComponentId) -> bool {
        match self {
            Self::Any => true,
            Self::By(publisher) => id.publisher == *publisher,
            Self::Component(component) => id == component,
        }
    }
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any component"),
            Self::By(publisher) => write!(f, "{publisher}/…"),
            Self::Component(component) => component.fmt(f),
        }
    }
}

impl Fetched {
    /// Verifies it by the bundle that makes it what is expected; gives that bundle, too. Others that came along count for
    /// nothing, except where nothing is expected: then all that are accepted must be by one publisher.
    ///
    /// # Errors
    /// None is accepted as that: what the one by the expected publisher lacks, else what one by a pinned publisher lacks,
    /// else what the first one lacks. Or several publishers signed it, and nothing says which is meant.
    pub fn verify(&self, trust: &Trust, expected: Expected<'_>) -> Result<(VerifiedPackage, Bytes), TrustError> {
        let mut accepted: Vec<(VerifiedPackage, Bytes)> = Vec::new();
        let mut refused: Option<TrustError> = None;
        let rank = |e: &TrustError| match (e.publisher(), expected) {
            (Some(by), Expected::By(publisher)) if by == publisher => 2,
            (Some(by), Expected::Component(id)) if *by == id.publisher => 2,
            (Some(_), _) => 1,
            (None, _) => 0,
        };
        for bundle in &self.bundles {
            let why = match verify(self.package.to_vec(), bundle, trust) {
                Ok(package) if expected.is(package.id()) => {
                    accepted.push((package, bundle.clone()));
                    continue;
                }
                Ok(package) => TrustError::unexpected(expected.to_string(), package.id().clone()),
                Err(why) => why,
            };
            if refused.as_ref().is_none_or(|r| rank(&why) > rank(r)) {
                refused = Some(why);
            }
        }
        let publishers: BTreeSet<&Name> = accepted.iter().map(|(package, _)| &package.id().publisher).collect();
        if publishers.len() > 1 {
            return Err(TrustError::several(publishers.into_iter().cloned().collect()));
        }
        match (accepted.into_iter().next(), refused) {
            (Some(package), _) => Ok(package),
            (None, Some(why)) => Err(why),
            (None, None) => verify(self.package.to_vec(), b"", trust).map(|package| (package, Bytes::new())),
        }
    }
}

/// The bytes of a registry's index. [`RegistryBook::accept`](crate::RegistryBook::accept) judges them, by the book as it is when they have come.
///
/// # Errors
/// It cannot be read.
pub async fn read_index(location: &Location, fetch: &dyn Fetch) -> Result<Bytes, RegistryError> {
    location.read(INDEX_FILE, MAX_BYTES, fetch).await
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
