//! Who is behind a call, and whether text from outside has a hand in it.

use crate::state::HostState;
use carapace_contract::decision::{Effect, Origin, PlannedCall};
use carapace_contract::{Denial, InstanceId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The turn a tool's call belongs to.
pub(crate) struct Behind {
    pub(crate) origin: Origin,
    pub(crate) session: String,
    pub(crate) call_id: String,
    /// The turn's context holds text from outside, or the call itself gets some.
    tainted: bool,
    /// The call was handed text from outside by the kernel.
    handed: Handed,
}

/// Whether the kernel handed a call text from outside; outlives the call's store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handed(Arc<AtomicBool>);

impl Handed {
    pub(crate) fn anything(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Behind {
    pub(crate) fn of(call: &PlannedCall, handed: Handed) -> Self {
        let tainted = call.tainted || call.effects.has(Effect::Fetch);
        Self { origin: call.origin, session: call.session.clone(), call_id: call.call_id.clone(), tainted, handed }
    }
}

impl HostState {
    /// Notes that the guest is about to see something. What it answers, and what it keeps, is tainted if this was.
    pub(crate) fn hand(&self, tainted: bool) {
        if let Some(behind) = self.behind.as_ref().filter(|_| tainted) {
            behind.handed.0.store(true, Relaxed);
        }
        if let Some(recorder) = self.core.recorder().filter(|_| tainted) {
            recorder.taint();
        }
    }

    /// Whether what the guest keeps now counts as text from outside. Nobody knows where a provider has it from.
    pub(crate) fn is_tainted(&self) -> bool {
        self.behind.as_ref().is_none_or(|b| b.tainted || b.handed.anything())
    }

    /// The turn this call belongs to.
    ///
    /// # Errors
    /// It belongs to none: `what` is a person's, and nobody is behind it.
    pub(crate) fn behind(&self, what: &str) -> Result<&Behind, Denial> {
        self.behind.as_ref().ok_or_else(|| {
            let message = format!("`{}` may not {what}: only a tool may, in a turn", self.instance.id);
            Denial::new("E-GRANT-006", message, "")
        })
    }
}

/// The denial for what only the owner may ask for.
pub(crate) fn owners_only(instance: &InstanceId, what: &str) -> Denial {
    Denial::new(
        "E-GRANT-006",
        format!("`{instance}` may not {what}: the owner does not speak here"),
        "ask for it as the owner",
    )
}
