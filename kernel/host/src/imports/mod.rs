//! One module per interface. Each function first counts the call, then looks at the grant as it stands.

mod assets;
mod blob;
mod clock;
mod completion;
mod config;
pub(crate) mod http;
mod kv;
mod lines;
pub(crate) mod log;
mod memory;
mod message;
mod random;
mod requests;
mod secrets;
mod sessions;
mod settings;

use crate::state::HostState;
use carapace_runtime::bindings::types;
use carapace_store::StoreError;

impl types::Host for HostState {}

/// Unpacks a `Result` whose error is the contract's, inside a function whose outer error ends the guest.
macro_rules! ok {
    ($e:expr) => {
        match $e {
            Ok(v) => v,
            Err(e) => return Ok(Err(e)),
        }
    };
}
use ok;

/// What a guest is told when the store fails.
fn failed(interface: &str, e: &StoreError) -> types::Error {
    if e.is_quota() {
        return types::Error::Limit(format!("{interface}: {e}"));
    }
    tracing::error!(error = %e, interface, "the store failed");
    types::Error::Unavailable(format!("{interface}: the store failed; the kernel's log says why"))
}
