//! The door, as registries see it: requests of the owner's own commands, under the same rules as any component's.
//!
//! A host that the owner named may be anywhere, this machine and this network included. Where a registry leads on (a
//! redirect, a token server, an upload's place) must be public: it shall not steer into the owner's network.

use async_trait::async_trait;
use bytes::BytesMut;
use carapace_contract::capability::{CapabilitySet, HttpCapability};
use carapace_contract::limits::Limits;
use carapace_contract::manifest::Auth;
use carapace_contract::{Denial, EndpointName, HostPort, InstanceId, SecretName};
use carapace_egress::{Door, EgressError, Policy, Request, SecretSource, Target};
use carapace_registry::{Fetch, FetchError, FetchRequest, FetchResponse};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Bytes asked of the door at once.
const PIECE: usize = 256 << 10;
/// Under which name these requests stand in errors.
const COMMAND: &str = "carapace/registry/main";
const ENDPOINT: &str = "registry";

/// Sends what registries ask for through the one door.
pub(crate) struct Network {
    door: Door,
    named: BTreeSet<HostPort>,
}

impl Network {
    /// A network where these servers, which the owner named, may be anywhere.
    pub(crate) fn new<'u>(named: impl IntoIterator<Item = &'u Url>) -> Self {
        Self { door: Door::builder().build(), named: named.into_iter().filter_map(server).collect() }
    }

    fn policy(&self, request: &FetchRequest) -> Result<(Policy, Target), Denial> {
        let instance: InstanceId = COMMAND.parse().map_err(|e| broken(&e))?;
        // How much is too much, each request says for itself.
        let limits = Limits {
            http_response_bytes: u64::MAX >> 1,
            http_request_bytes: u64::MAX >> 1,
            http_requests_per_minute: u32::MAX,
            ..Limits::default()
        };
        if matches!(request.method, "GET" | "HEAD") {
            let granted = CapabilitySet { public_http: true, ..CapabilitySet::none() };
            let policy = Policy::new(instance, &granted, &BTreeMap::new(), limits)?.opening(self.named.clone());
            return Ok((policy, Target::Public(request.url.to_string())));
        }
        let name: EndpointName = ENDPOINT.parse().map_err(|e| broken(&e))?;
        let mut base = request.url.clone();
        base.set_path("/");
        base.set_query(None);
        let endpoint = HttpCapability {
            url: base.clone(),
            url_env: None,
            hosts: BTreeSet::new(),
            methods: BTreeSet::from([request.method.to_owned()]),
            paths: BTreeSet::new(),
            auth: Auth::None,
            inject: Vec::new(),
            capture: BTreeSet::new(),
        };
        let granted = CapabilitySet { http: BTreeMap::from([(name.clone(), endpoint)]), ..CapabilitySet::none() };
        let is_named = server(&request.url).is_some_and(|server| self.named.contains(&server));
        let overrides = is_named.then_some((name, base)).into_iter().collect();
        let path = match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        let target = Target::Endpoint { name: ENDPOINT.to_owned(), path };
        Ok((Policy::new(instance, &granted, &overrides, limits)?, target))
    }
}

fn server(url: &Url) -> Option<HostPort> {
    format!("{}:{}", url.host_str()?, url.port_or_known_default()?).parse().ok()
}

fn broken(e: &dyn std::fmt::Display) -> Denial {
    Denial::new("", e.to_string(), "")
}

#[async_trait]
impl Fetch for Network {
    async fn send(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let (policy, target) = self.policy(&request).map_err(|e| FetchError::Failed(e.to_string()))?;
        let mut headers: Vec<(String, String)> =
            request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        // What is compared by digest is asked for as it is.
        headers.push(("accept-encoding".to_owned(), "identity".to_owned()));
        let sent = Request { method: request.method.to_owned(), target, headers, body: request.body, timeout: None };
        let failed = |e: carapace_egress::Failure| match e.error {
            // The line that it gives is for a component's configuration.
            EgressError::Denied(d) => FetchError::Failed(format!("{} [{}]", d.message, d.code)),
            e => FetchError::Failed(e.to_string()),
        };
        let mut response = self.door.send(&policy, &NoSecrets, sent, CancellationToken::new()).await.map_err(failed)?;
        let mut body = BytesMut::new();
        loop {
            let piece = response.read(PIECE).await.map_err(failed)?;
            if piece.is_empty() {
                break;
            }
            body.extend_from_slice(&piece);
            if body.len() as u64 > request.max {
                return Err(FetchError::TooLarge(request.max));
            }
        }
        Ok(FetchResponse { status: response.status, headers: response.headers.clone(), body: body.freeze() })
    }
}

/// Credentials of an OCI registry are the registry's affair: they are set on the request, not kept by the door.
struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial> {
        Err(Denial::new("E-SECRET-001", format!("a registry has no secret `{name}`"), ""))
    }
}
