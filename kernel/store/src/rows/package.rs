//! Installed packages, those that were there before, and what a component left behind.

use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Digest, InstanceId};
use serde::{Deserialize, Serialize};

/// An installed package of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRow {
    /// Whose.
    pub instance: InstanceId,
    /// Which file.
    pub digest: Digest,
    /// Its version.
    pub version: semver::Version,
    /// It is loaded at start.
    pub enabled: bool,
    /// When it was installed.
    pub at_ms: u64,
    /// It is older than a version that was here before, and was let in all the same: by the owner, or by a rollback.
    pub older: bool,
    /// The owner brought it, not the bundle directory.
    pub by_hand: bool,
    /// What the owner should know about it, until they have looked: why it was rolled back.
    pub note: Option<String>,
}

/// A package that was replaced by a newer one, and what its component's instances were granted then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlierPackage {
    /// Whose.
    pub component: ComponentId,
    /// Which file.
    pub digest: Digest,
    /// Its version.
    pub version: semver::Version,
    /// See [`PackageRow::older`].
    pub older: bool,
    /// When it was replaced.
    pub replaced_ms: u64,
    /// The grants as they stood then.
    pub grants: Vec<Grant>,
}

impl EarlierPackage {
    /// So many are kept of each component; the oldest goes first.
    pub const KEPT: u64 = 3;
}

/// A package that the bundle directory may hold and that is not brought in from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Whose.
    pub component: ComponentId,
    /// Which one; none = every version.
    pub digest: Option<Digest>,
    /// Why, for a person.
    pub why: String,
    /// Since when.
    pub at_ms: u64,
}

/// What the instances of a component keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ComponentData {
    /// Bytes in their kv namespaces.
    pub kv_bytes: u64,
    /// Notes in their memories.
    pub notes: u64,
    /// Secrets stored for them.
    pub secrets: u64,
}

impl ComponentData {
    /// Nothing is kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
