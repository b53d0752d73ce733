//! The door: one request from its check to its answer.

use crate::audit::{NoRecorder, Outcome, Recorder, Ticket};
use crate::body::{Inbound, Response, codings};
use crate::capture::{self, Handles};
use crate::error::{EgressError, Failure, shown};
use crate::inject;
use crate::journey::Journey;
use crate::leak::Scanner;
use crate::origin::Origin;
use crate::plan::{self, Place, Plan};
use crate::policy::{Endpoint, Policy};
use crate::rate::Rates;
use crate::resolve::{Dial, Resolver, Rule, SystemResolver};
use crate::secrets::SecretSource;
use crate::transport::{Pools, operator_rule};
use crate::{headers, redirect};
use bytes::Bytes;
use carapace_contract::limits::raising;
use carapace_contract::{EndpointName, InstanceId, SecretName};
use http::header;
use http::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Without a deadline of its own, a request waits this long for the response's head.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// The code by which a [`SecretSource`] says that there is no such secret.
const UNSET: &str = "E-SECRET-001";
/// Between two pieces of a body.
const IDLE: Duration = Duration::from_secs(90);

/// Where a request goes, as the guest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A path (with query) under a granted endpoint.
    Endpoint {
        /// The endpoint's name.
        name: String,
        /// `/path?query`; empty = the base itself.
        path: String,
    },
    /// What a capture rule put in place of a link.
    Handle(String),
    /// Any public URL.
    Public(String),
}

/// A request as the guest made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Where to.
    pub target: Target,
    /// What the guest may set of them is in the crate's documentation; the rest is refused by name.
    pub headers: Vec<(String, String)>,
    /// Sent as it is, but for `inject` rules.
    pub body: Bytes,
    /// Until the response's head, redirects included; none = 120 s.
    pub timeout: Option<Duration>,
}

/// How a [`Door`] is made.
pub struct Builder {
    resolver: Arc<dyn Resolver>,
    recorder: Arc<dyn Recorder>,
    roots: Vec<CertificateDer<'static>>,
    dial: Option<Dial>,
    idle: Duration,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Builder {
    /// Another resolver than the operating system's. What it answers is judged all the same.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Who receives one record per request; without it nobody does.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.recorder = recorder;
        self
    }

    /// A certificate authority (DER) trusted besides the system's.
    #[must_use]
    pub fn extra_root(mut self, der: Vec<u8>) -> Self {
        self.roots.push(CertificateDer::from(der));
        self
    }

    /// How long a server may pause within a body; 90 s unless said.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Where an address that passed the filter is really dialled: for tests that play the internet on loopback.
    /// A socket address with port 0 keeps the URL's port. The filter itself cannot be replaced.
    #[must_use]
    pub fn dial(mut self, dial: impl Fn(IpAddr) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// The door. Opens nothing yet.
    pub fn build(self) -> Door {
        Door(Arc::new(Inner {
            pools: Pools::new(self.resolver, self.dial, self.roots),
            recorder: self.recorder,
            rates: Rates::default(),
            handles: Handles::default(),
            scanners: Mutex::default(),
            idle: self.idle,
        }))
    }
}

pub(crate) struct Inner {
    pub(crate) pools: Pools,
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) rates: Rates,
    pub(crate) handles: Handles,
    scanners: Mutex<HashMap<InstanceId, Arc<Scanner>>>,
    idle: Duration,
}

/// The one door out. Cheap to clone; clones share pools, rates and handles.
#[derive(Clone)]
pub struct Door(pub(crate) Arc<Inner>);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// A door with the system's resolver, and nobody who records.
    pub fn builder() -> Builder {
        Builder {
            resolver: Arc::new(SystemResolver),
            recorder: Arc::new(NoRecorder),
            roots: Vec::new(),
            dial: None,
            idle: IDLE,
        }
    }

    /// Sends a request and waits for the response's head. Exactly one record is made of it.
    ///
    /// # Errors
    /// What the policy refuses, what is malformed, what reached a limit, what could not be reached; and whether the
    /// server may have seen any of it.
    pub async fn send(
        &self,
        policy: &Policy,
        secrets: &dyn SecretSource,
        request: Request,
        cancel: CancellationToken,
    ) -> Result<Response, Failure> {
        let mut ticket = Ticket::new(Arc::clone(&self.0.recorder), policy.instance.clone(), shown(&request.method));
        let timeout = request.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let sent = AtomicBool::new(false);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EgressError::Cancelled),
            result = tokio::time::timeout(timeout, self.run(policy, secrets, request, &cancel, &mut ticket, &sent)) => {
                result.unwrap_or_else(|_| {
                    Err(EgressError::Timeout(format!("no answer within {} ms", timeout.as_millis())))
                })
            }
        };
        ticket.record.sent = sent.load(Ordering::Relaxed);
        match result {
            Ok(mut response) => {
                ticket.record.outcome = Outcome::Status(response.status);
                response.ticket = Some(ticket);
                Ok(response)
            }
            Err(error) => {
                ticket.failed(&error);
                Err(Failure { error, sent: ticket.record.sent })
            }
        }
    }

    async fn run(
        &self,
        policy: &Policy,
        secrets: &dyn SecretSource,
        request: Request,
        cancel: &CancellationToken,
        ticket: &mut Ticket,
        sent: &AtomicBool,
    ) -> Result<Response, EgressError> {
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|m| m.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'-') && *m != Method::CONNECT)
            .ok_or_else(|| {
                EgressError::Invalid(format!("`{}` is not a method (upper case, as in GET)", shown(&request.method)))
            })?;
        note(ticket, policy, &request.target);
        let Plan { endpoint, place, opened, concealed } =
            plan::plan(policy, &self.0.handles, &request.target, method.as_str())?;
        let headers = headers::parse(&request.headers, endpoint)?;
        if request.body.len() as u64 > policy.limits.http_request_bytes {
            return Err(EgressError::Limit(format!(
                "the request's body has {} bytes; {} are allowed; {}",
                request.body.len(),
                policy.limits.http_request_bytes,
                raising(&policy.instance, "httpRequestBytes", policy.limits.http_request_bytes)
            )));
        }
        self.0.rates.take(&policy.instance, policy.limits.http_requests_per_minute, Instant::now())?;

        let home = endpoint.filter(|_| matches!(place, Place::Home(_))).map(|(_, e)| e);
        let (secret, body_secrets, scanner) = self.secrets(policy, secrets, home, &request.body).await?;
        let injected = home.and_then(|e| inject::inject(&request.body, &e.inject, &body_secrets));
        if let Some((name, endpoint)) = endpoint
            && (secret.is_some() || injected.is_some())
            && !endpoint.is_safe_for_secrets()
        {
            return Err(plan::unencrypted(policy, name, endpoint));
        }
        let mut journey = Journey {
            policy,
            endpoint,
            place,
            opened,
            concealed,
            method,
            headers,
            body: request.body,
            injected,
            secret,
            scanner: Arc::clone(&scanner),
        };
        let result = self.travel(&mut journey, cancel, ticket, sent).await;
        // Whatever went into a text on the way, no secret comes out of it.
        let clean = |text: &str| scanner.redact(text);
        ticket.record.path = ticket.record.path.take().map(|p| clean(&p));
        result.map_err(|e| e.map_text(clean))
    }

    /// The credential, the secrets for the body, and a scanner for everything this instance has.
    pub(crate) async fn secrets(
        &self,
        policy: &Policy,
        source: &dyn SecretSource,
        home: Option<&Endpoint>,
        body: &[u8],
    ) -> Result<(Option<SecretString>, BTreeMap<SecretName, SecretString>, Arc<Scanner>), EgressError> {
        let for_auth = home.and_then(|e| e.auth.secret());
        let for_body = home.map(|e| inject::wanted(body, &e.inject)).unwrap_or_default();
        let mut names: BTreeSet<&SecretName> = policy.secrets.iter().collect();
        let bases = policy.sockets.values().filter_map(|s| s.base.as_ref());
        for endpoint in policy.endpoints.values().chain(bases) {
            names.extend(endpoint.auth.secret());
            names.extend(endpoint.inject.iter().map(|i| &i.secret));
        }
        names.extend(policy.sockets.values().flat_map(|s| &s.inject).map(|i| &i.rule.secret));
        let mut known = BTreeMap::new();
        for name in names {
            match source.get(name).await {
                Ok(value) => {
                    known.insert(name.clone(), value);
                }
                Err(denial) => {
                    let needed = for_auth == Some(name) || for_body.contains(name);
                    // A component may work without it, and so may the owner's own server.
                    // One that is there and cannot be read is another matter.
                    let dispensable = denial.code == UNSET
                        && (policy.optional_secrets.contains(name) || home.is_some_and(|e| e.operator));
                    if needed && !dispensable {
                        return Err(EgressError::Denied(denial));
                    }
                    if needed {
                        tracing::debug!(instance = %policy.instance, secret = %name, "sent without a secret that is not stored");
                    }
                }
            }
        }
        let secret = for_auth.and_then(|name| known.get(name)).cloned();
        let mut scanned: Vec<SecretString> = known.values().cloned().collect();
        scanned.extend(self.0.handles.live(&policy.instance));
        let scanner = self.scanner(&policy.instance, scanned)?;
        known.retain(|name, _| for_body.contains(name));
        Ok((secret, known, scanner))
    }

    /// Building an automaton is the dearest step of a small request, so the last one of an instance is kept.
    fn scanner(&self, instance: &InstanceId, secrets: Vec<SecretString>) -> Result<Arc<Scanner>, EgressError> {
        let lock = || self.0.scanners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scanner) = lock().get(instance).filter(|s| s.is_for(&secrets)) {
            return Ok(Arc::clone(scanner));
        }
        let scanner = Arc::new(Scanner::new(secrets)?);
        lock().insert(instance.clone(), Arc::clone(&scanner));
        Ok(scanner)
    }

    /// Hop after hop until an answer that isn't a redirect.
    async fn travel(
        &self,
        journey: &mut Journey<'_>,
        cancel: &CancellationToken,
        ticket: &mut Ticket,
        sent: &AtomicBool,
    ) -> Result<Response, EgressError> {
        loop {
            let hop = journey.hop()?;
            ticket.record.origin = Some(hop.origin.to_string());
            ticket.record.path = (!journey.concealed).then(|| hop.shown_path.clone());
            let operator = hop.named.then_some(&hop.origin);
            let rule = operator.map_or(Rule::Public, operator_rule);
            plan::check_host(journey.policy, journey.endpoint, &hop.origin, rule)?;
            let client = self.0.pools.client(&journey.policy.instance, operator).await?;

            let size = hop.body.len() as u64;
            let mut outgoing = reqwest::Request::new(journey.method.clone(), hop.wire.clone());
            *outgoing.headers_mut() = hop.headers;
            if !hop.body.is_empty() {
                *outgoing.body_mut() = Some(hop.body.into());
            }
            // From here on a byte may be under way; only an error of the connection itself proves otherwise.
            let earlier = sent.swap(true, Ordering::Relaxed);
            let response = client.execute(outgoing).await.map_err(|e| {
                let e = e.without_url();
                let reached = !e.is_connect() && !e.is_builder();
                sent.store(earlier || reached, Ordering::Relaxed);
                journey.failure(&hop.origin, &e, reached)
            })?;
            ticket.record.bytes_out += size;

            let location = redirect::is_redirect(response.status())
                .then(|| response.headers().get(header::LOCATION).map(|l| l.as_bytes().to_vec()))
                .flatten();
            let Some(location) = location else {
                return self.answer(journey, &hop.wire, &hop.shown_path, response, cancel, ticket).await;
            };
            ticket.record.redirects += 1;
            if ticket.record.redirects > redirect::MAX {
                return Err(EgressError::Limit(format!(
                    "`{}` redirected more than {} times",
                    hop.origin,
                    redirect::MAX
                )));
            }
            journey.follow(&hop.wire, &hop.origin, response.status(), &location)?;
        }
    }

    async fn answer(
        &self,
        journey: &Journey<'_>,
        wire: &Url,
        shown_path: &str,
        response: reqwest::Response,
        cancel: &CancellationToken,
        ticket: &mut Ticket,
    ) -> Result<Response, EgressError> {
        let status = response.status();
        let origin = Origin::of(wire)?;
        let bodyless =
            journey.method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let coded: Vec<&str> =
            response.headers().get_all(header::CONTENT_ENCODING).iter().map(|v| v.to_str().unwrap_or("?")).collect();
        let codings = if bodyless { Vec::new() } else { codings(coded.into_iter())? };
        let decoded = !codings.is_empty();

        let mut headers = Vec::with_capacity(response.headers().len());
        for (name, value) in response.headers() {
            let framing = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
                || name.as_str() == "keep-alive";
            let stale = decoded && (*name == header::CONTENT_ENCODING || *name == header::CONTENT_LENGTH);
            if framing || stale || (*name == header::CONTENT_LENGTH && journey.captures()) {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let clean = journey.scanner.redact(&value);
            // A name cannot be redacted, only left out.
            let hidden_name = journey.scanner.finds(name.as_str().as_bytes());
            ticket.record.leak_found |= hidden_name || clean != value;
            if !hidden_name {
                headers.push((name.as_str().to_owned(), clean));
            }
        }
        let url = if journey.concealed { origin.to_string() } else { format!("{origin}{shown_path}") };
        let url = journey.scanner.redact(&url);

        let limit = journey.policy.limits.http_response_bytes;
        let raising = raising(&journey.policy.instance, "httpResponseBytes", limit);
        let mut inbound = Inbound::new(response, codings, (limit, raising), self.0.idle, cancel.clone());
        let mut scanner = Arc::clone(&journey.scanner);
        if journey.captures()
            && let Some((name, endpoint)) = journey.endpoint
        {
            let body = inbound.whole(capture::MAX_BODY).await?;
            let instance = &journey.policy.instance;
            let captured = capture::capture(&self.0.handles, instance, name, &endpoint.capture, &body)?;
            if captured.is_some() {
                // What was captured may stand elsewhere in the answer, too.
                let mut hidden = self.0.handles.live(instance);
                hidden.extend(scanner.secrets().iter().cloned());
                scanner = Arc::new(Scanner::new(hidden)?);
                for (_, value) in &mut headers {
                    *value = scanner.redact(value);
                }
            }
            inbound.put_back(captured.map_or(body, Bytes::from));
        }
        Ok(Response {
            status: status.as_u16(),
            headers,
            url,
            inbound,
            scrubber: scanner.stream(),
            ready: Bytes::new(),
            ended: false,
            failed: None,
            ticket: None,
        })
    }
}

/// What the record says of a target that may be refused before it is parsed.
fn note(ticket: &mut Ticket, policy: &Policy, target: &Target) {
    match target {
        Target::Endpoint { name, path } => {
            let endpoint = name.parse::<EndpointName>().ok().and_then(|n| policy.endpoints.get(&n));
            ticket.record.origin = endpoint.map(|e| e.origin.to_string());
            ticket.record.path = Some(shown(path.split(['?', '#']).next().unwrap_or_default()));
        }
        Target::Public(url) => {
            if let Ok(url) = crate::origin::parse_url(url) {
                ticket.record.origin = Origin::of(&url).ok().map(|o| o.to_string());
                ticket.record.path = Some(shown(url.path()));
            }
        }
        Target::Handle(_) => {}
    }
}
