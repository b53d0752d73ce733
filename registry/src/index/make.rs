//! Making and renewing the index of a directory.

use super::{Entry, FORMAT, Index, MAX_BYTES, SignedBy};
use crate::error::RegistryError;
use crate::key::{PublicKey, SigningKey};
use crate::location::read_file as read;
use crate::publisher::{KeyState, PublisherBook};
use crate::verify::{Trust, verify};
use crate::{bundle, files, package};
use carapace_contract::{Digest, Name};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The index's file.
pub const INDEX_FILE: &str = "index.json";
/// The directory of packages beside it.
pub const PACKAGES: &str = "packages";
const DAY_MS: u64 = 86_400_000;

/// The files of a package in a registry, relative to it: the component and its bundle. Made of the digest alone.
pub fn package_files(digest: &Digest) -> (String, String) {
    let hex = digest.hex();
    (format!("{PACKAGES}/{hex}.wasm"), format!("{PACKAGES}/{hex}.sigstore.json"))
}

/// How an index is made.
#[derive(Debug)]
pub struct Making<'a> {
    /// The registry's id.
    pub registry: Name,
    /// Signs it.
    pub key: &'a SigningKey,
    /// A key that signed the index that is there, if it is another one.
    pub earlier_key: Option<PublicKey>,
    /// Whose packages may stand in it: the keeper's own publishers.
    pub trust: &'a Trust,
    /// How long it is good for.
    pub days: u64,
    /// Packages to withdraw, and why. What was withdrawn before stays so.
    pub yank: BTreeMap<Digest, String>,
    /// Packages to offer again.
    pub unyank: BTreeSet<Digest>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The new version.
    pub version: u64,
    /// Packages in it.
    pub packages: usize,
    /// Of those, withdrawn.
    pub yanked: usize,
}

/// Puts a package and its bundle into a registry's directory. The index names it only after [`make`].
///
/// # Errors
/// It is no package, the bundle is none, or the directory cannot be written.
pub fn place(dir: &Path, bytes: &[u8], bundle_json: &[u8]) -> Result<Digest, RegistryError> {
    let refused = |why: String| RegistryError::NotIndexed { what: "the package".to_owned(), why };
    package::read_manifest(bytes).map_err(|e| refused(e.to_string()))?;
    bundle::AnyBundle::parse(bundle_json).map_err(|e| refused(e.to_string()))?;
    let digest = Digest::of(bytes);
    let failed = |e: std::io::Error| RegistryError::Unreachable {
        what: dir.join(PACKAGES).display().to_string(),
        why: e.to_string(),
    };
    fs::create_dir_all(dir.join(PACKAGES)).map_err(failed)?;
    let (component, signature) = package_files(&digest);
    files::replace_public(&dir.join(component), bytes).map_err(failed)?;
    files::replace_public(&dir.join(signature), bundle_json).map_err(failed)?;
    Ok(digest)
}

/// Makes or renews `index.json` from the packages beside it. Everything in it is read from their bytes.
///
/// # Errors
/// A file that is not called by its digest, a package that the keeper's own trust refuses, two packages of one version,
/// an index there that another key signed.
pub fn make(dir: &Path, how: &Making<'_>) -> Result<Made, RegistryError> {
    let previous = previous(dir, how)?;
    let mut yanked: BTreeMap<Digest, String> = previous
        .iter()
        .flat_map(|index| &index.packages)
        .filter_map(|e| Some((e.digest, e.yanked.clone()?)))
        .filter(|(digest, _)| !how.unyank.contains(digest))
        .collect();
    yanked.extend(how.yank.clone());
    let mut packages = Vec::new();
    let mut keys: BTreeMap<Name, BTreeSet<PublicKey>> = BTreeMap::new();
    for path in components(&dir.join(PACKAGES))? {
        let mut entry = one(dir, &path, how.trust)?;
        entry.yanked = yanked.get(&entry.digest).cloned();
        if let SignedBy::Key(fingerprint) = &entry.signer
            && let Some((publisher, pinned)) = how.trust.publishers.by_fingerprint(fingerprint)
        {
            keys.entry(publisher.id.clone()).or_default().insert(pinned.key);
        }
        packages.push(entry);
    }
    packages.sort_by(|a, b| a.key().cmp(&b.key()));
    for (one, next) in packages.iter().zip(packages.iter().skip(1)) {
        if one.key() == next.key() {
            return Err(RegistryError::NotIndexed {
                what: format!("{} {}", one.id, one.version),
                why: format!("there are two packages of this version, {} and {}", one.digest, next.digest),
            });
        }
    }
    let unknown = how.yank.keys().find(|digest| !packages.iter().any(|e| e.digest == **digest));
    if let Some(digest) = unknown {
        return Err(RegistryError::NotIndexed { what: digest.to_string(), why: "there is no such package".to_owned() });
    }
    let now_ms = how.trust.now_ms;
    let index = Index {
        format: FORMAT,
        registry: how.registry.clone(),
        version: previous.map_or(0, |index| index.version).saturating_add(1),
        issued_ms: now_ms,
        expires_ms: now_ms.saturating_add(how.days.saturating_mul(DAY_MS)),
        keys,
        packages,
    };
    let bytes = index.sign(how.key)?;
    // What was written must be readable by those who trust it.
    Index::open(&how.registry, &bytes, [how.key.public()].iter())?;
    let file = dir.join(INDEX_FILE);
    files::replace_public(&file, &bytes)
        .map_err(|e| RegistryError::Unreachable { what: file.display().to_string(), why: e.to_string() })?;
    Ok(Made {
        version: index.version,
        packages: index.packages.len(),
        yanked: index.packages.iter().filter(|e| e.yanked.is_some()).count(),
    })
}

/// The index that lies in a directory already, if one does.
///
/// # Errors
/// It cannot be read, or neither key of `how` signed it.
pub fn previous(dir: &Path, how: &Making<'_>) -> Result<Option<Index>, RegistryError> {
    let bytes = match read(dir, INDEX_FILE, MAX_BYTES) {
        Err(RegistryError::Missing(_)) => return Ok(None),
        bytes => bytes?,
    };
    let own = how.key.public();
    let keys = [Some(own), how.earlier_key];
    Ok(Some(Index::open(&how.registry, &bytes, keys.iter().flatten())?.0))
}

/// The packages of a set that lies ready on this machine, as its own index names them: one that a key of `publishers` signed under
/// the id `registry`. None if the directory has no index. Such a set goes with the program: its index neither expires nor counts up.
///
/// # Errors
/// The index cannot be read, or nobody whose key counts signed it.
pub fn ready(dir: &Path, registry: &Name, publishers: &PublisherBook) -> Result<Option<Vec<PathBuf>>, RegistryError> {
    let bytes = match read(dir, INDEX_FILE, MAX_BYTES) {
        Err(RegistryError::Missing(_)) => return Ok(None),
        bytes => bytes?,
    };
    let keys = publishers.iter().flat_map(|p| &p.keys).filter(|k| k.state == KeyState::Active).map(|k| &k.key);
    let (index, _) = Index::open(registry, &bytes, keys)?;
    let offered = index.packages.iter().filter(|e| e.yanked.is_none());
    Ok(Some(offered.map(|e| dir.join(package_files(&e.digest).0)).collect()))
}

fn components(dir: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |e: std::io::Error| RegistryError::Unreachable { what: dir.display().to_string(), why: e.to_string() };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn one(dir: &Path, path: &Path, trust: &Trust) -> Result<Entry, RegistryError> {
    let refused = |why: String| RegistryError::NotIndexed { what: path.display().to_string(), why };
    let name = |path: &Path| format!("{PACKAGES}/{}", path.file_name().unwrap_or_default().to_string_lossy());
    let bytes = read(dir, &name(path), package::MAX_BYTES)?;
    let bundle = read(dir, &name(&path.with_extension("sigstore.json")), bundle::MAX_BYTES)?;
    let digest = Digest::of(&bytes);
    if path.file_stem().is_none_or(|stem| stem.to_str() != Some(digest.hex().as_str())) {
        return Err(refused(format!("its digest is {digest}, and it is not called so")));
    }
    let package = verify(bytes, &bundle, trust).map_err(|e| refused(e.denial().to_string()))?;
    Entry::describe(package.id().publisher.clone(), package.bytes(), &bundle, &trust.root).map_err(refused)
}

/// The digests of the packages that `names` stand for: a digest, or `publisher/name@version`.
///
/// # Errors
/// Nothing in the index is called so.
pub fn digests_of(index: &Index, names: &[String]) -> Result<BTreeSet<Digest>, RegistryError> {
    let unknown =
        |name: &String| RegistryError::NotIndexed { what: name.clone(), why: "there is no such package".to_owned() };
    let find = |name: &String| {
        if let Ok(digest) = name.parse::<Digest>() {
            return Ok(digest);
        }
        let (id, version) = name.split_once('@').ok_or_else(|| unknown(name))?;
        let version: Version = version.parse().map_err(|_| unknown(name))?;
        let entry = index.packages.iter().find(|e| e.version == version && e.id.to_string() == id);
        entry.map(|e| e.digest).ok_or_else(|| unknown(name))
    };
    names.iter().map(find).collect()
}
