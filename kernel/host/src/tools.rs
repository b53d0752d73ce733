//! The `Tools` port: what is on offer, and an authorized call in a fresh store.

use crate::convert;
use crate::host::Host;
use async_trait::async_trait;
use carapace_contract::Denial;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::decision::{Authorized, Effect, PlannedCall};
use carapace_contract::manifest::Use;
use carapace_contract::ports::{ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::ToolInfo;
use carapace_runtime::{CallError, TrapKind};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn failure(kind: &str, message: String) -> ToolFailure {
    ToolFailure { kind: kind.to_owned(), message }
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
        let live = self.instance(&planned.instance).map_err(|d| denied(&d))?;
        // What was authorized is this package's tool; another package of the same name has to be asked for anew.
        if live.package.digest() != planned.digest {
            let message = format!("`{}` was replaced while the call was planned; ask again", planned.instance);
            return Err(failure("unavailable", message));
        }
        let content = self.tool_call(&live, planned, cancel).await?;
        let content = content.into_iter().map(convert::content).collect();
        let granted = live.grant.load();
        let tainted =
            planned.effects.has(Effect::Fetch) || reads_what_was_fetched(&granted.grant.capabilities, &planned.tool);
        Ok(ToolOutput { content, tainted })
    }
}

/// Whether a tool may read from the instance's kv what another tool of it fetched: keeping a page does not make it the owner's.
fn reads_what_was_fetched(granted: &CapabilitySet, tool: &str) -> bool {
    let keeps = |uses: &std::collections::BTreeSet<Use>| uses.contains(&Use::Kv);
    granted.tools.get(tool).is_some_and(|t| keeps(&t.uses))
        && granted.tools.values().any(|t| keeps(&t.uses) && t.effects.has(Effect::Fetch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::manifest::Manifest;

    #[test]
    fn what_one_tool_kept_of_the_web_is_still_from_outside_when_another_reads_it() {
        let manifest = |clip: &str| {
            let text = format!(
                "http = \"public\"\n[component]\nname = \"n\"\nversion = \"1.0.0\"\ncontract = \"0.1\"\n\
                 description = \"Notes\"\n[kv]\n[[tool]]\nname = \"clip\"\nuses = [{clip}]\n\
                 [[tool]]\nname = \"recall\"\nuses = [\"kv\"]\n[[tool]]\nname = \"sum\"\n"
            );
            CapabilitySet::from(&Manifest::parse(&text).unwrap())
        };
        let clips = manifest("\"http:public\", \"kv\"");
        assert!(reads_what_was_fetched(&clips, "recall"));
        assert!(!reads_what_was_fetched(&clips, "sum"));
        assert!(!reads_what_was_fetched(&manifest("\"http:public\""), "recall"), "nothing was kept");
    }
}
