//! What every store carries.

use crate::behind::Behind;
use crate::instance::Live;
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
    /// The turn a tool's call belongs to.
    pub(crate) behind: Option<Behind>,
    /// Where a completion goes.
    pub(crate) sink: Option<mpsc::Sender<CompletionEvent>>,
}

impl HostState {
    /// This instance's secrets.
    pub(crate) fn vault(&self) -> Vault {
        Vault::new(self.services.clone(), self.instance.clone())
    }
}

impl Guest for HostState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}
