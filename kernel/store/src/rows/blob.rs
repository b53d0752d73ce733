//! Media.

use carapace_contract::InstanceId;
use carapace_contract::media::Media;
use std::sync::Arc;

/// A blob to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRow {
    /// What it is.
    pub media: Media,
    /// Its bytes.
    pub data: Arc<[u8]>,
    /// Who brought it.
    pub holder: InstanceId,
    /// When.
    pub at_ms: u64,
}
