//! The `Tools` port: what is on offer, and an authorized call in a fresh store.

use crate::behind::Handed;
use crate::convert;
use crate::host::Host;
use async_trait::async_trait;
use carapace_contract::Denial;
use carapace_contract::decision::{Authorized, Effect, PlannedCall};
use carapace_contract::ports::{ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::ToolInfo;
use carapace_runtime::{CallError, TrapKind};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn failure(kind: &str, message: String) -> ToolFailure {
    ToolFailure { kind: kind.to_owned(), message, tainted: false }
}

/// A refusal in the words of tools.
pub(crate) fn denied(denial: &Denial) -> ToolFailure {
    failure("denied", denial.to_string())
}

/// A trap or a limit in the words of tools.
pub(crate) fn broken(e: &CallError) -> ToolFailure {
    let kind = match e.kind {
        TrapKind::Cancelled => "cancelled",
        TrapKind::Wall => "timeout",
        TrapKind::Busy => "unavailable",
        TrapKind::Unreachable | TrapKind::Fault => "trap",
        _ => "limit",
    };
    failure(kind, e.to_string())
}

#[async_trait]
impl Tools for Host {
    fn catalog(&self) -> Arc<Vec<ToolInfo>> {
        self.tool_catalog()
    }

    async fn call(&self, call: &Authorized<PlannedCall>, cancel: CancellationToken) -> Result<ToolOutput, ToolFailure> {
        let planned = call.get();
        // What was authorized is this package's tool; another package of the same name has to be asked for anew.
        let Some(live) = self.instance_of(&planned.instance, planned.digest).map_err(|d| denied(&d))? else {
            let message = format!("`{}` was replaced while the call was planned; ask again", planned.instance);
            return Err(failure("unavailable", message));
        };
        let handed = Handed::default();
        let answer = self.tool_call(&live, planned, handed.clone(), cancel).await;
        // A failure is told in the guest's own words, which are made of the same things.
        let tainted = planned.effects.has(Effect::Fetch) || handed.anything();
        match answer {
            Ok(content) => Ok(ToolOutput { content: content.into_iter().map(convert::content).collect(), tainted }),
            Err(failure) => Err(ToolFailure { tainted, ..failure }),
        }
    }
}
