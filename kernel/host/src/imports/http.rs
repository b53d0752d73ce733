//! `http`: a request is checked against the grant as it stands, then handed to egress, which adds the credentials.

use crate::grants::GrantSnapshot;
use crate::media::Keeper;
use crate::splice;
use crate::state::HostState;
use async_trait::async_trait;
use carapace_contract::manifest::Use;
use carapace_contract::media::MAX_BLOB;
use carapace_contract::{Denial, InstanceId};
use carapace_egress::{EgressError, Failure, Policy, Request, Response, Target};
use carapace_runtime::Sends;
use carapace_runtime::bindings::{HttpResponse, ResponseBody, http, types};
use carapace_runtime::engine_types::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes a `read` gives at most.
const MAX_READ: u32 = 1 << 20;

/// Looks a target up in the grant.
pub(crate) fn target(
    grant: &GrantSnapshot,
    id: &InstanceId,
    uses: Option<&BTreeSet<Use>>,
    target: http::Target,
) -> std::result::Result<Target, Denial> {
    Ok(match target {
        http::Target::Endpoint((name, path)) => {
            Target::Endpoint { name: grant.endpoint(id, uses, &name)?.into(), path }
        }
        http::Target::Handle(handle) => {
            grant.handles(id, uses)?;
            Target::Handle(handle)
        }
        http::Target::Public(url) => {
            grant.public_http(id, uses)?;
            Target::Public(url)
        }
    })
}

impl Sends for HostState {
    async fn send(&mut self, request: http::Request) -> Result<std::result::Result<HttpResponse, http::Failure>> {
        let grant = self.granted();
        let target = match target(&grant, &self.instance.id, self.uses.as_ref(), request.target) {
            Ok(target) => target,
            Err(denial) => {
                let error = self.core.deny(&denial);
                return Ok(Err(http::Failure { error, sent: false }));
            }
        };
        let body = match request.body {
            http::Body::None => Vec::new(),
            http::Body::Bytes(bytes) => bytes,
        };
        let places = match splice::places(&request.extra, body.len()) {
            Ok(places) => places,
            Err(why) => return Ok(Err(http::Failure { error: types::Error::Invalid(why), sent: false })),
        };
        let body = if places.is_empty() {
            bytes::Bytes::from(body)
        } else {
            match self.spliced(&body, &places, grant.policy.limits.http_request_bytes).await {
                Ok(body) => body.into(),
                Err(error) => return Ok(Err(http::Failure { error, sent: false })),
            }
        };
        let left = self.core.remaining();
        let timeout = request.timeout_ms.map_or(left, |ms| Duration::from_millis(ms.into()).min(left));
        let outgoing = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let request =
            Request { method: request.method, target, headers: request.headers, body, timeout: Some(timeout) };
        let policy = self.policy_for(&request.target);
        let vault = self.vault();
        let cancel = self.core.cancel().clone();
        match self.services.door.send(&policy, &vault, request, cancel).await {
            Ok(response) => {
                self.core.meter().sent(outgoing);
                Ok(Ok(HttpResponse {
                    status: response.status,
                    headers: response.headers.clone(),
                    url: response.url.clone(),
                    body: Box::new(Body { response, keeper: self.keeper() }),
                }))
            }
            Err(failure) => Ok(Err(self.failed(failure))),
        }
    }

    fn may_read(&mut self) -> std::result::Result<(), types::Error> {
        let (grant, id) = (self.instance.grant.load(), self.instance.id.clone());
        grant.runnable(&id).map_err(|denial| self.core.deny(&denial))
    }
}

impl HostState {
    /// What egress enforces. Only egress knows which endpoint made a handle, so a tool's other endpoints are left out of it.
    fn policy_for(&self, target: &Target) -> Arc<Policy> {
        let policy = self.granted().policy.clone();
        match (target, &self.uses) {
            (Target::Handle(_), Some(uses)) => Arc::new(narrowed(&policy, uses)),
            _ => policy,
        }
    }

    fn failed(&mut self, failure: Failure) -> http::Failure {
        let sent = failure.sent;
        let error = match failure.error {
            EgressError::Denied(denial) => self.core.deny(&denial),
            other => error(&other),
        };
        http::Failure { error, sent }
    }
}

/// The policy with the endpoints that a tool uses.
fn narrowed(policy: &Policy, uses: &BTreeSet<Use>) -> Policy {
    let mut narrow = policy.clone();
    narrow.endpoints.retain(|name, _| uses.contains(&Use::Http(name.clone())));
    narrow
}

pub(crate) fn error(e: &EgressError) -> types::Error {
    match e {
        EgressError::Denied(denial) => types::Error::Denied(denial.to_string()),
        EgressError::Limit(_) => types::Error::Limit(e.to_string()),
        EgressError::Invalid(_) => types::Error::Invalid(e.to_string()),
        EgressError::Unavailable(_) => types::Error::Unavailable(e.to_string()),
        EgressError::Timeout(_) => types::Error::Timeout(e.to_string()),
        EgressError::Cancelled => types::Error::Cancelled,
    }
}

struct Body {
    response: Response,
    keeper: Keeper,
}

#[async_trait]
impl ResponseBody for Body {
    async fn read(&mut self, max: u32) -> std::result::Result<Vec<u8>, types::Error> {
        let max = usize::try_from(max.clamp(1, MAX_READ)).unwrap_or(1);
        self.response.read(max).await.map(|bytes| bytes.to_vec()).map_err(|f| error(&f.error))
    }

    async fn to_blob(&mut self, max: u64) -> std::result::Result<String, types::Error> {
        let meter = self.keeper.instance.runtime.meter();
        if let Err(denial) = self.keeper.allowed(&self.keeper.instance.grant.load()) {
            meter.denial(&denial);
            return Err(types::Error::Denied(denial.to_string()));
        }
        let most = max.min(MAX_BLOB);
        let mut data = Vec::new();
        loop {
            let piece =
                self.response.read(usize::try_from(MAX_READ).unwrap_or(1)).await.map_err(|f| error(&f.error))?;
            if piece.is_empty() {
                return self.keeper.keep(data).await;
            }
            meter.received(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            data.extend_from_slice(&piece);
            if data.len() as u64 > most {
                return Err(types::Error::Limit(format!("blob: what was answered is longer than {most} bytes")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::capability::CapabilitySet;
    use carapace_contract::limits::Limits;
    use carapace_contract::manifest::Manifest;

    #[test]
    fn a_tool_cannot_follow_a_handle_that_another_tools_endpoint_made() {
        let endpoint = |name: &str| {
            format!(
                "[[http]]\nendpoint = \"{name}\"\nurl = \"https://{name}.example.com\"\ncapture = [{{ at = \"/url\", as = \"link\" }}]\n"
            )
        };
        let text = format!(
            "[component]\nname = \"d\"\nversion = \"1.0.0\"\ncontract = \"0.1\"\ndescription = \"Two\"\n{}{}\
             [[tool]]\nname = \"one\"\nuses = [\"http:a\"]\n[[tool]]\nname = \"two\"\nuses = [\"http:b\"]\n",
            endpoint("a"),
            endpoint("b")
        );
        let granted = CapabilitySet::from(&Manifest::parse(&text).unwrap());
        let whole = Policy::new("local/d".parse().unwrap(), &granted, &Default::default(), Limits::default()).unwrap();
        let narrow = narrowed(&whole, &granted.tools["one"].uses);
        let names: Vec<&str> = narrow.endpoints.keys().map(|n| n.as_str()).collect();
        assert_eq!(names, ["a"]);
        // What answers are scanned for stays whole.
        assert_eq!(narrow.secrets, whole.secrets);
    }
}
