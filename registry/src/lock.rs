//! `plugins.lock`: which packages are installed, from where, and under which grant. TOML, sorted, one table per
//! package, so that two of them can be compared line by line and one can stand beside a configuration in a repository.

use crate::error::RegistryError;
use crate::files;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::{ComponentId, Digest};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file's name.
pub const FILE: &str = "plugins.lock";
/// The source of what came as a file: no other machine can bring it by itself.
pub const FROM_FILE: &str = "file";
const FORMAT: u32 = 1;
const MAX_BYTES: u64 = 4 << 20;
const HEAD: &str =
    "# Written by carapace: what the owner installed. `carapace plugin sync` brings the same to another machine.\n";

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// `publisher/name`
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the package.
    pub digest: Digest,
    /// A registry's id, `oci://…@sha256:…`, `https://…`, or [`FROM_FILE`].
    pub source: String,
    /// [`grants`] of what its instance `main` was granted; none if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    #[serde(default, rename = "package")]
    packages: Vec<Locked>,
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    packages: Vec<Locked>,
}

impl Lock {
    /// From the file's text.
    ///
    /// # Errors
    /// Not TOML of this format, or a component twice.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let wrong = |why: String| RegistryError::Book(format!("{FILE} cannot be read: {why}"));
        let document: Document = toml_edit::de::from_str(text).map_err(|e| wrong(e.to_string()))?;
        if document.format != FORMAT {
            return Err(wrong(format!("format {}, and this kernel knows {FORMAT}", document.format)));
        }
        let mut lock = Self::default();
        for package in document.packages {
            if lock.get(&package.id).is_some() {
                return Err(wrong(format!("`{}` stands there twice", package.id)));
            }
            lock.put(package);
        }
        Ok(lock)
    }

    /// As the file's text.
    ///
    /// # Errors
    /// It cannot be written as TOML.
    pub fn text(&self) -> Result<String, RegistryError> {
        let document = Document { format: FORMAT, packages: self.packages.clone() };
        let body = toml_edit::ser::to_string_pretty(&document);
        body.map(|body| format!("{HEAD}{body}")).map_err(|e| RegistryError::Book(format!("{FILE}: {e}")))
    }

    /// Reads the file; a missing one locks nothing.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let failed = |e: String| RegistryError::Book(format!("cannot read {}: {e}", path.display()));
        let Some(bytes) = files::read(path, MAX_BYTES).map_err(|e| failed(e.to_string()))? else {
            return Ok(Self::default());
        };
        Self::parse(std::str::from_utf8(&bytes).map_err(|e| failed(e.to_string()))?)
    }

    /// Writes the file whole.
    ///
    /// # Errors
    /// It cannot be written; then the old one stands.
    pub fn save(&self, path: &Path) -> Result<(), RegistryError> {
        files::replace(path, self.text()?.as_bytes())
            .map_err(|e| RegistryError::Book(format!("cannot write {}: {e}", path.display())))
    }

    /// What is locked of a component.
    pub fn get(&self, id: &ComponentId) -> Option<&Locked> {
        self.packages.iter().find(|p| &p.id == id)
    }

    /// Locks a package in place of any earlier one of that component.
    pub fn put(&mut self, package: Locked) {
        self.packages.retain(|p| p.id != package.id);
        self.packages.push(package);
        self.packages.sort_by(|a, b| a.id.cmp(&b.id));
    }

    /// Forgets a component; says whether it was there.
    pub fn remove(&mut self, id: &ComponentId) -> bool {
        let before = self.packages.len();
        self.packages.retain(|p| &p.id != id);
        self.packages.len() < before
    }

    /// All, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Locked> {
        self.packages.iter()
    }
}

/// SHA-256 over a grant's JSON: equal grants give equal digests, because every part of a grant is sorted.
///
/// # Errors
/// It cannot be written as JSON.
pub fn grants(granted: &CapabilitySet) -> Result<Digest, RegistryError> {
    let json = serde_json::to_vec(granted).map_err(|e| RegistryError::Book(format!("a grant: {e}")))?;
    Ok(Digest::of(&json))
}

#[cfg(test)]
mod tests;
