//! What an owner granted an instance.

use crate::capability::CapabilitySet;
use crate::digest::Digest;
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};

/// A grant: capabilities, for one instance, given for one digest by someone at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Whose.
    pub instance: InstanceId,
    /// The package it was given for.
    pub digest: Digest,
    /// What was granted: the request, or less where optional capabilities were refused.
    pub capabilities: CapabilitySet,
    /// Who gave it and how, e.g. `owner, first run`.
    pub by: String,
    /// When, ms since the epoch.
    pub at_ms: u64,
    /// A revoked grant stays on record and grants nothing.
    pub revoked: bool,
}
