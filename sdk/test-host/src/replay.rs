//! A component on a recording.

use crate::{HostError, loaded};
use carapace_contract::limits::Life;
use carapace_contract::recording::Recording;
use carapace_runtime::{Difference, Replay};

/// Runs a package on a recording, under the limits of its manifest: the kernel answers what it answered then. Gives the first thing
/// that the component does otherwise.
///
/// # Errors
/// It is no package, its manifest does not ask for what it imports, or it cannot be compiled.
pub async fn replay(package: Vec<u8>, recording: &Recording) -> Result<Option<Difference>, HostError> {
    let (loaded, package, instance) = loaded::<Replay>(package).await.map_err(HostError::Component)?;
    let keep = package.manifest().instance.life == Life::Warm;
    Ok(Replay::play(&loaded, &instance, recording, keep).await)
}
