//! What an owner sees of running instances: their logs, and recordings of their calls.

use super::{Owner, audit};
use carapace_contract::control::MAX_WAIT_MS;
use carapace_contract::{Denial, InstanceId};
use carapace_host::{Host, SecretFrom, SecretStanding};
use carapace_store::{AuditRow, Batch};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

impl Owner {
    /// The host, if this instance is loaded there.
    pub(super) fn running(&self, id: &InstanceId) -> Result<&Host, Denial> {
        let host = self.host.as_deref().filter(|host| host.packages().iter().any(|(loaded, _)| loaded == id));
        host.ok_or_else(|| Denial::new("E-HOST-002", format!("no instance `{id}` is loaded"), "carapace plugin list"))
    }

    pub(super) async fn secrets_of(&self, id: &InstanceId) -> Result<Value, Denial> {
        let all = self.running(id)?.secrets(id).await?;
        let one = |s: &SecretStanding| {
            let from = match s.from {
                SecretFrom::Store => Some("store"),
                SecretFrom::Environment => Some("environment"),
                SecretFrom::Nowhere => None,
            };
            json!({ "name": s.name, "from": from, "optional": s.optional })
        };
        Ok(all.iter().map(one).collect())
    }

    pub(super) async fn logs(&self, id: &InstanceId, after: u64, wait_ms: u64) -> Result<Value, Denial> {
        let host = self.running(id)?;
        tokio::select! {
            lines = host.logged(id, after, wait(wait_ms)) => answer(&lines),
            // Whoever waits for something new must not keep the assistant from ending.
            () = self.stop.cancelled() => answer(&host.logged(id, after, Duration::ZERO).await),
        }
    }

    pub(super) async fn record(&self, id: &InstanceId, calls: u64) -> Result<Value, Denial> {
        self.running(id)?.record(id, calls.max(1)).await?;
        let row = AuditRow { detail: json!({ "calls": calls, "by": "owner" }), ..audit("recording", id) };
        self.commit(Batch::new().audit(row), "the recording was begun").await?;
        Ok(json!({}))
    }

    pub(super) async fn recorded(&self, id: &InstanceId, from: usize, wait_ms: u64) -> Result<Value, Denial> {
        let host = self.running(id)?;
        if !self.stop.is_cancelled() {
            tokio::select! {
                new = host.recorded(id, from, wait(wait_ms)) => return answer(&new?),
                () = self.stop.cancelled() => {}
            }
        }
        host.stop_recording(id);
        answer(&host.recorded(id, from, Duration::ZERO).await?)
    }
}

fn wait(ms: u64) -> Duration {
    Duration::from_millis(ms.min(MAX_WAIT_MS))
}

fn answer(value: &impl Serialize) -> Result<Value, Denial> {
    serde_json::to_value(value).map_err(|e| Denial::new("E-STORE-012", e.to_string(), ""))
}
