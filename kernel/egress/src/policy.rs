//! What an instance may reach: the granted endpoints, and where the operator pointed them.

use crate::address;
use crate::error::{EgressError, shown};
use crate::origin::{HostPattern, Origin, normalise};
use crate::path::PathPattern;
use carapace_contract::capability::{CapabilitySet, HttpCapability, SocketCapability, is_this_machine};
use carapace_contract::limits::Limits;
use carapace_contract::manifest::{Auth, Capture, FrameInject, Inject};
use carapace_contract::{Denial, EndpointName, HostPort, InstanceId, SecretName};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// One instance's grant, ready to judge requests. Cheap to share in an `Arc`; make a new one when grants or configuration change.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// For whom.
    pub instance: InstanceId,
    /// Granted endpoints.
    pub endpoints: BTreeMap<EndpointName, Endpoint>,
    /// Granted sockets.
    pub sockets: BTreeMap<EndpointName, SocketEndpoint>,
    /// May fetch any public address (GET and HEAD, without credentials).
    pub public: bool,
    /// Servers that public fetches reach although they need not be public: the operator named each of them.
    pub opened: BTreeSet<HostPort>,
    /// Caps and rates.
    pub limits: Limits,
    /// Every secret of the instance: what answers are scanned for.
    pub secrets: BTreeSet<SecretName>,
    /// Secrets the component works without: a request whose secret is missing goes out without it.
    pub optional_secrets: BTreeSet<SecretName>,
}

impl Policy {
    /// The policy of a grant. `overrides`: the operator's own base URLs, from configuration or a granted `url-env`.
    ///
    /// # Errors
    /// A base URL or pattern that cannot be used; the denial names it.
    pub fn new(
        instance: InstanceId,
        granted: &CapabilitySet,
        overrides: &BTreeMap<EndpointName, Url>,
        limits: Limits,
    ) -> Result<Self, Denial> {
        let mut endpoints = BTreeMap::new();
        for (name, http) in &granted.http {
            endpoints.insert(name.clone(), Endpoint::new(&instance, name, http, overrides.get(name))?);
        }
        let mut sockets = BTreeMap::new();
        for (name, socket) in &granted.sockets {
            sockets.insert(name.clone(), SocketEndpoint::new(&instance, name, socket, overrides.get(name))?);
        }
        let secrets: BTreeSet<SecretName> = granted.secrets.keys().cloned().collect();
        let optional_secrets =
            secrets.iter().filter(|s| granted.optional.contains(&format!("secret:{s}"))).cloned().collect();
        Ok(Self {
            instance,
            endpoints,
            sockets,
            public: granted.public_http,
            opened: BTreeSet::new(),
            limits,
            secrets,
            optional_secrets,
        })
    }

    /// The same, with servers that the operator opened to public fetches.
    #[must_use]
    pub fn opening(self, opened: BTreeSet<HostPort>) -> Self {
        Self { opened, ..self }
    }

    /// Whether the operator opened this origin to public fetches. No entry opens a cloud's metadata service.
    pub(crate) fn opens(&self, origin: &Origin) -> bool {
        !origin.ip().is_some_and(address::is_metadata)
            && !origin.name().is_some_and(address::is_metadata_name)
            && self.opened.iter().any(|server| origin.is_at(server))
    }

    /// The configuration line that opens an origin to public fetches.
    pub(crate) fn opening_line(&self, origin: &Origin) -> String {
        let (key, server) = (config_key(&self.instance), origin.host_port());
        format!("set `instances.\"{key}\".publicAllow: [\"{server}\"]` in carapace.json5")
    }

    /// The configuration line that points an endpoint elsewhere.
    pub(crate) fn config_line(&self, endpoint: &EndpointName, url: &str) -> String {
        config_line(&self.instance, endpoint, url)
    }
}

fn config_line(instance: &InstanceId, endpoint: &EndpointName, url: &str) -> String {
    format!("set `instances.\"{}\".endpoints.{endpoint}: \"{}\"` in carapace.json5", config_key(instance), shown(url))
}

/// How carapace.json5 names an instance: `openai` for `main`, else `openai:vllm`.
fn config_key(instance: &InstanceId) -> String {
    match instance.id().as_str() {
        "main" => instance.name().to_string(),
        id => format!("{}:{id}", instance.name()),
    }
}

/// One granted endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Base URL: the signed one, or the operator's.
    pub base: Url,
    /// The base's origin. Credentials go there and nowhere else.
    pub origin: Origin,
    /// The operator pointed it there: this origin may be private or loopback.
    pub operator: bool,
    /// The signed base is a program on this machine, and was granted as one: this origin is loopback.
    pub own_machine: bool,
    /// Upper-case methods.
    pub methods: BTreeSet<String>,
    /// Path patterns under the base; empty = all.
    pub paths: Vec<PathPattern>,
    /// Further hosts for handles and redirects.
    pub hosts: Vec<HostPattern>,
    /// What the kernel adds.
    pub auth: Auth,
    /// Values set in JSON bodies.
    pub inject: Vec<Inject>,
    /// Values hidden in JSON responses.
    pub capture: Vec<Capture>,
}

impl Endpoint {
    /// An endpoint as granted, at the operator's base URL if there is one.
    ///
    /// # Errors
    /// The base is not an absolute `https` URL without user info, query and fragment (an operator may also use `http`),
    /// or a pattern is malformed. Whether a secret may go there is decided when there is one.
    pub fn new(
        instance: &InstanceId,
        name: &EndpointName,
        granted: &HttpCapability,
        operator: Option<&Url>,
    ) -> Result<Self, Denial> {
        let url = operator.unwrap_or(&granted.url);
        let refuse = |code: &str, why: &str| {
            let mut bare = url.clone();
            // What was wrong may be a password; never repeat it.
            let _ = bare.set_password(None);
            let _ = bare.set_username("");
            bare.set_query(None);
            Denial::new(
                code,
                format!("endpoint `{name}` of {instance} cannot use `{}`: {why}", shown(bare.as_str())),
                config_line(instance, name, "https://…"),
            )
        };
        let text = |e: EgressError| e.to_string();
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("E-EGRESS-016", "a base URL has neither query nor fragment"));
        }
        let base = normalise(url.clone()).map_err(|e| refuse("E-EGRESS-016", &text(e)))?;
        let origin = Origin::of(&base).map_err(|e| refuse("E-EGRESS-016", &text(e)))?;
        // Judged again here: a grant is read from the store, not from a manifest.
        let own_machine = operator.is_none() && is_this_machine(&base);
        if operator.is_none() && !origin.is_https() && !own_machine {
            return Err(refuse("E-EGRESS-015", "a component may only ask for https, or for http://127.0.0.1:PORT"));
        }
        let paths = granted.paths.iter().map(|p| p.parse()).collect::<Result<_, EgressError>>();
        let hosts = granted.hosts.iter().map(|p| p.parse()).collect::<Result<_, EgressError>>();
        Ok(Self {
            base,
            origin,
            operator: operator.is_some(),
            own_machine,
            methods: granted.methods.iter().map(|m| m.to_ascii_uppercase()).collect(),
            paths: paths.map_err(|e| refuse("E-EGRESS-016", &text(e)))?,
            hosts: hosts.map_err(|e| refuse("E-EGRESS-016", &text(e)))?,
            auth: granted.auth.clone(),
            inject: granted.inject.clone(),
            capture: granted.capture.iter().cloned().collect(),
        })
    }

    /// Whether a credential may travel here: encrypted, or not beyond this machine. Without one a server of the owner's own
    /// may speak plain http.
    pub(crate) fn is_safe_for_secrets(&self) -> bool {
        self.origin.is_https() || self.origin.is_loopback()
    }

    /// Whether somebody who may do so has named exactly this origin, so that it need not be public.
    pub(crate) fn is_named(&self) -> bool {
        self.operator || self.own_machine
    }

    /// Whether a credential may be on its way here.
    pub(crate) fn is_keyed(&self) -> bool {
        self.auth.secret().is_some() || !self.inject.is_empty()
    }
}

/// One granted socket. Its URLs have the schemes of HTTP here, which stand for those of WebSockets.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketEndpoint {
    /// The signed base, or the operator's; none: it leads where `hosts` allow.
    pub base: Option<Endpoint>,
    /// Hosts that the component may name.
    pub hosts: Vec<HostPattern>,
    /// Values set in messages.
    pub inject: Vec<FrameInject>,
    /// The largest message, bytes.
    pub max_frame: usize,
}

impl SocketEndpoint {
    fn new(
        instance: &InstanceId,
        name: &EndpointName,
        granted: &SocketCapability,
        operator: Option<&Url>,
    ) -> Result<Self, Denial> {
        let operator = operator.map(as_http);
        let signed = granted.url.as_ref().map(as_http);
        let base = match operator.as_ref().or(signed.as_ref()) {
            None => None,
            Some(url) => {
                let http = HttpCapability {
                    url: signed.clone().unwrap_or_else(|| url.clone()),
                    url_env: None,
                    hosts: BTreeSet::new(),
                    methods: BTreeSet::new(),
                    paths: BTreeSet::new(),
                    auth: granted.auth.clone(),
                    inject: Vec::new(),
                    capture: BTreeSet::new(),
                };
                let made = Endpoint::new(instance, name, &http, operator.as_ref());
                Some(made.map_err(|d| Denial { message: as_ws(&d.message), fix: as_ws(&d.fix), code: d.code })?)
            }
        };
        let hosts = granted.hosts.iter().map(|p| p.parse()).collect::<Result<_, EgressError>>();
        Ok(Self {
            base,
            hosts: hosts.map_err(|e| Denial::new("E-EGRESS-016", e.to_string(), ""))?,
            inject: granted.inject.clone(),
            max_frame: usize::try_from(granted.max_frame).unwrap_or(usize::MAX),
        })
    }

    /// Where it may lead, for people.
    pub(crate) fn allows(&self) -> String {
        let base = self.base.as_ref().map(|b| as_ws(b.base.as_str().trim_end_matches('/')));
        let hosts = self.hosts.iter().map(|h| format!("wss://{h}"));
        base.into_iter().chain(hosts).collect::<Vec<_>>().join(", ")
    }
}

/// A WebSocket's URL with the scheme of HTTP, under which all rules are written. Any other is left as it is.
fn as_http(url: &Url) -> Url {
    let text = url.as_str();
    let http = ["wss:", "ws:"]
        .into_iter()
        .zip(["https:", "http:"])
        .find_map(|(ws, http)| text.strip_prefix(ws).and_then(|rest| Url::parse(&format!("{http}{rest}")).ok()));
    http.unwrap_or_else(|| url.clone())
}

/// A text in which URLs have the schemes of WebSockets again.
pub(crate) fn as_ws(text: &str) -> String {
    text.replace("https://", "wss://").replace("http://", "ws://")
}
