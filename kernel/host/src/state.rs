//! What every store carries.

use crate::behind::Behind;
use crate::grants::GrantSnapshot;
use crate::instance::Live;
use crate::lending::{self, Lent};
use crate::services::{Services, Vault};
use carapace_contract::completion::CompletionEvent;
use carapace_contract::manifest::Use;
use carapace_runtime::{Core, Guest};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Store data: one call of one instance.
pub(crate) struct HostState {
    pub(crate) core: Core,
    pub(crate) instance: Arc<Live>,
    pub(crate) services: Arc<Services>,
    /// What this call may use; `None` = everything granted (a provider).
    pub(crate) uses: Option<BTreeSet<Use>>,
    /// What was granted for this call, or for a while.
    pub(crate) lent: Option<Lent>,
    /// The turn a tool's call belongs to.
    pub(crate) behind: Option<Behind>,
    /// Messages that the call has sent.
    pub(crate) messages: u32,
    /// Where a completion goes.
    pub(crate) sink: Option<mpsc::Sender<CompletionEvent>>,
}

impl HostState {
    /// The grant as it stands for this call at this moment. Taken anew for each host call.
    pub(crate) fn granted(&self) -> Arc<GrantSnapshot> {
        lending::granted(&self.instance, self.lent.as_ref())
    }

    /// This instance's secrets.
    pub(crate) fn vault(&self) -> Vault {
        Vault::new(self.services.clone(), self.instance.clone(), self.lent.clone())
    }
}

impl Guest for HostState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}
