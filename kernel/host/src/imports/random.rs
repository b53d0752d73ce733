//! `random`: bytes of the operating system.

use crate::state::HostState;
use carapace_runtime::bindings::{random, types};
use carapace_runtime::engine_types::Result;

/// Bytes a call may ask for.
const MAX: u32 = 64 << 10;

impl random::Host for HostState {
    async fn bytes(&mut self, length: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.core.host_call()?;
        if length > MAX {
            return Ok(Err(types::Error::Limit(format!("random: {length} bytes asked for, at most {MAX} a call"))));
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        Ok(match getrandom::fill(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) => Err(types::Error::Unavailable(format!("random: the operating system gave none: {e}"))),
        })
    }
}
