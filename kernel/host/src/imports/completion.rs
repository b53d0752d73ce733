//! `completion`: where a provider pushes, with back-pressure and the news that it was cancelled.

use crate::convert;
use crate::state::HostState;
use carapace_runtime::bindings::{completion, types};
use carapace_runtime::engine_types::Result;

impl completion::Host for HostState {
    async fn emit(&mut self, event: completion::Event) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        let Some(sink) = self.sink.clone() else {
            return Ok(Err(types::Error::Invalid("completion: nothing was asked for in this call".to_owned())));
        };
        // A revocation bites in mid-sentence, too.
        let (grant, id) = (self.granted(), self.instance.id.clone());
        if let Err(denial) = grant.runnable(&id) {
            return Ok(Err(self.core.deny(&denial)));
        }
        let cancel = self.core.cancel().clone();
        Ok(tokio::select! {
            biased;
            () = cancel.cancelled() => Err(types::Error::Cancelled),
            sent = sink.send(convert::event(event)) => sent.map_err(|_| types::Error::Cancelled),
        })
    }
}
