//! What components have asked the owner for.

use super::{Owner, audit, unreadable};
use crate::trust;
use carapace_contract::Denial;
use carapace_store::{AuditRow, Batch, RequestRow, Ulid};
use serde_json::{Value, json};

impl Owner {
    pub(super) async fn requests(&self) -> Result<Value, Denial> {
        let waiting = self.store.requests(trust::now_ms()).await.map_err(|e| unreadable(&e))?;
        let one = |r: &RequestRow| {
            json!({ "id": r.id.to_string().to_lowercase(), "name": r.name, "reason": r.reason, "instance": r.instance,
                "session": r.session, "tainted": r.tainted, "at_ms": r.at_ms, "expires_ms": r.expires_ms })
        };
        Ok(Value::Array(waiting.iter().map(one).collect()))
    }

    pub(super) async fn end_request(&self, id: Ulid, approved: bool) -> Result<Value, Denial> {
        let waiting = self.store.requests(trust::now_ms()).await.map_err(|e| unreadable(&e))?;
        let Some(request) = waiting.into_iter().find(|r| r.id == id) else { return Ok(json!({ "ended": false })) };
        let kind = if approved { "install-approved" } else { "install-rejected" };
        let detail = json!({ "request": id.to_string(), "name": request.name });
        let fact = AuditRow { detail, ..audit(kind, &request.instance) };
        self.commit(Batch::new().request_delete(id).audit(fact), "the request was not ended").await?;
        Ok(json!({ "ended": true }))
    }
}
