//! What somebody has asked the owner for.

use carapace_contract::InstanceId;
use ulid::Ulid;

/// A component that an instance proposes to install. Nothing but a record: only the owner acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Its id.
    pub id: Ulid,
    /// As in a registry.
    pub name: String,
    /// In the asking component's words, which may be a model's.
    pub reason: String,
    /// Who asks.
    pub instance: InstanceId,
    /// In which conversation.
    pub session: String,
    /// Text from outside stood in it, and may have had a hand in the request.
    pub tainted: bool,
    /// When.
    pub at_ms: u64,
    /// From then on it counts for nothing.
    pub expires_ms: u64,
}

impl RequestRow {
    /// So many wait at most.
    pub const MOST: u64 = 20;
    /// For so long, ms.
    pub const LASTS_MS: u64 = 7 * 24 * 3_600_000;
}
