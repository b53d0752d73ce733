//! `clock`: milliseconds, because finer clocks help side channels.

use crate::state::HostState;
use carapace_runtime::bindings::{clock, types};
use carapace_runtime::engine_types::Result;
use std::time::Duration;

impl clock::Host for HostState {
    async fn now_ms(&mut self) -> Result<u64> {
        self.core.host_call()?;
        Ok(crate::services::now_ms())
    }

    async fn monotonic_ms(&mut self) -> Result<u64> {
        self.core.host_call()?;
        Ok(u64::try_from(self.services.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_ms(&mut self, duration: u32) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        let cancel = self.core.cancel().clone();
        Ok(tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(duration.into())) => Ok(()),
            () = cancel.cancelled() => Err(types::Error::Cancelled),
        })
    }
}
