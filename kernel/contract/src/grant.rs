//! What an owner granted an instance.

use crate::capability::CapabilitySet;
use crate::diff::{self, Growth};
use crate::digest::Digest;
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Optional capabilities that the owner refused or took back, by name. They stay refused in later versions, and in earlier ones
    /// that come back, until the owner gives them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<String>,
}

impl Grant {
    /// What a request amounts to under this grant: without the optional capabilities that the owner refused.
    pub fn asked(&self, request: &CapabilitySet) -> CapabilitySet {
        request.without_optional(&self.refused)
    }

    /// What a request asks beyond this grant. What the owner refused and can refuse is not asked again.
    pub fn growth(&self, request: &CapabilitySet) -> Vec<Growth> {
        diff::growth(&self.capabilities, &self.asked(request))
    }
}
