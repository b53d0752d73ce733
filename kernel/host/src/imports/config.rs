//! `config`: the instance's own section.

use crate::state::HostState;
use carapace_runtime::bindings::config;
use carapace_runtime::engine_types::Result;

impl config::Host for HostState {
    async fn get(&mut self) -> Result<String> {
        self.core.host_call()?;
        Ok(self.instance.config.to_string())
    }
}
