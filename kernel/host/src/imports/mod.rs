//! One module per interface. Each function first counts the call, then looks at the grant as it stands.

mod assets;
mod clock;
mod completion;
mod config;
mod http;
mod kv;
mod log;
mod random;
mod secrets;

use crate::state::HostState;
use carapace_runtime::bindings::types;

impl types::Host for HostState {}
