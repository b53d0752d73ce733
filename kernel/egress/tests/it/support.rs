//! Servers, resolvers, secrets and policies of the tests.

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use carapace_contract::capability::{CapabilitySet, HttpCapability};
use carapace_contract::limits::Limits;
use carapace_contract::manifest::{Auth, Capture, CaptureKind, Inject};
use carapace_contract::{Denial, EndpointName, InstanceId, SecretName};
use carapace_egress::{
    Builder, Door, EgressError, Failure, Policy, Record, Recorder, Request, Resolver, Response, SecretSource, Target,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

pub(crate) const SECRET: &str = "sk-live/7f3a+9c51==end";
/// Public addresses that the tests' resolver hands out, and their dialler leads home.
pub(crate) const PUBLIC_A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 215, 14));
pub(crate) const PUBLIC_B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 215, 15));

/// Serves until the test's runtime ends.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Serves TLS (h2 and HTTP/1.1) for these names; returns the address and the certificate to trust.
pub(crate) async fn serve_tls(app: Router, names: &[&str]) -> (SocketAddr, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let service = TowerToHyperService::new(app);
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tls), service)
                    .await;
            });
        }
    });
    (address, der.to_vec())
}

/// One request as a server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub(crate) fn text(&self) -> String {
        format!("{self:?}")
    }
}

pub(crate) type Log = Arc<Mutex<Vec<Seen>>>;

/// Writes every request into `log` before `app` answers it.
pub(crate) fn logged(app: Router, log: &Log) -> Router {
    let log = Arc::clone(log);
    app.layer(axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
        let log = Arc::clone(&log);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
            log.lock().unwrap().push(Seen {
                method: parts.method.to_string(),
                target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                headers: parts
                    .headers
                    .iter()
                    .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                    .collect(),
                body: String::from_utf8_lossy(&body).into_owned(),
            });
            next.run(axum::extract::Request::from_parts(parts, body.into())).await
        }
    }))
}

/// Answers from a table; a list of answers is used up, its last one stays.
pub(crate) struct Names {
    table: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn new(entries: &[(&str, &[&[IpAddr]])]) -> Arc<Self> {
        let table = entries.iter().map(|(n, a)| ((*n).to_owned(), a.iter().map(|s| s.to_vec()).collect())).collect();
        Arc::new(Self { table: Mutex::new(table), asked: Mutex::default() })
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut table = self.table.lock().unwrap();
        let answers = table.get_mut(name).ok_or_else(|| std::io::Error::other("no such name"))?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// Secrets by name.
#[derive(Default)]
pub(crate) struct Vault(pub(crate) BTreeMap<SecretName, String>);

impl Vault {
    pub(crate) fn with(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(n, v)| (n.parse().unwrap(), (*v).to_owned())).collect())
    }
    pub(crate) fn key() -> Self {
        Self::with(&[("key", SECRET)])
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial> {
        self.0
            .get(name)
            .map(|v| SecretString::from(v.as_str()))
            .ok_or_else(|| Denial::new("E-SECRET-001", format!("no secret `{name}` is stored"), "carapace secrets set"))
    }
}

/// Keeps the records.
#[derive(Default)]
pub(crate) struct Ledger(pub(crate) Mutex<Vec<Record>>);

impl Recorder for Ledger {
    fn record(&self, record: Record) {
        self.0.lock().unwrap().push(record);
    }
}

impl Ledger {
    pub(crate) fn one(&self) -> Record {
        let records = self.0.lock().unwrap();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }
}

pub(crate) fn instance() -> InstanceId {
    "acme/weather/main".parse().unwrap()
}

/// An endpoint `api` as a manifest would ask for it.
pub(crate) fn asked(url: &str) -> HttpCapability {
    HttpCapability {
        url: url.parse().unwrap(),
        url_env: None,
        hosts: BTreeSet::new(),
        methods: ["GET", "HEAD", "POST", "PUT"].map(str::to_owned).into(),
        paths: BTreeSet::new(),
        auth: Auth::None,
        inject: Vec::new(),
        capture: BTreeSet::new(),
    }
}

pub(crate) fn bearer() -> Auth {
    Auth::Bearer { secret: "key".parse().unwrap() }
}

pub(crate) fn token_rule() -> Inject {
    Inject { at: "/token".to_owned(), when: BTreeMap::new(), secret: "key".parse().unwrap() }
}

pub(crate) fn link_rule() -> Capture {
    Capture { at: "/url".to_owned(), kind: CaptureKind::Link }
}

/// A policy whose endpoint `api` the operator pointed at `base`.
pub(crate) fn pointed(base: &str, change: impl FnOnce(&mut HttpCapability)) -> Policy {
    try_policy(Some(base), "https://signed.example.com/v1", change).unwrap()
}

/// A policy whose endpoint `api` is where the manifest says.
pub(crate) fn signed(base: &str, change: impl FnOnce(&mut HttpCapability)) -> Policy {
    try_policy(None, base, change).unwrap()
}

pub(crate) fn try_policy(
    operator: Option<&str>,
    base: &str,
    change: impl FnOnce(&mut HttpCapability),
) -> Result<Policy, Denial> {
    let mut http = asked(base);
    change(&mut http);
    let name: EndpointName = "api".parse().unwrap();
    let granted = CapabilitySet { http: [(name.clone(), http)].into(), ..CapabilitySet::none() };
    let overrides: BTreeMap<EndpointName, Url> =
        operator.map(|base| (name, base.parse().unwrap())).into_iter().collect();
    Policy::new(instance(), &granted, &overrides, Limits::default())
}

/// A policy that may fetch public addresses.
pub(crate) fn public() -> Policy {
    let granted = CapabilitySet { public_http: true, ..CapabilitySet::none() };
    Policy::new(instance(), &granted, &BTreeMap::new(), Limits::default()).unwrap()
}

pub(crate) fn request(method: &str, target: Target) -> Request {
    Request { method: method.to_owned(), target, headers: Vec::new(), body: Bytes::new(), timeout: None }
}

/// A request to endpoint `api`.
pub(crate) fn api(method: &str, path: &str) -> Request {
    request(method, Target::Endpoint { name: "api".to_owned(), path: path.to_owned() })
}

pub(crate) fn fetch(url: &str) -> Request {
    request("GET", Target::Public(url.to_owned()))
}

pub(crate) fn with_headers(mut request: Request, headers: &[(&str, &str)]) -> Request {
    request.headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    request
}

pub(crate) fn with_body(mut request: Request, body: impl Into<Bytes>) -> Request {
    request.body = body.into();
    request
}

/// Names lead to public addresses, public addresses lead home.
pub(crate) fn internet(names: &Arc<Names>, homes: &[(IpAddr, SocketAddr)]) -> Builder {
    let homes: BTreeMap<IpAddr, SocketAddr> = homes.iter().copied().collect();
    Door::builder().resolver(Arc::clone(names) as Arc<dyn Resolver>).dial(move |ip| homes.get(&ip).copied())
}

pub(crate) async fn send(door: &Door, policy: &Policy, vault: &Vault, request: Request) -> Result<Response, Failure> {
    door.send(policy, vault, request, CancellationToken::new()).await
}

/// The whole body as text.
pub(crate) async fn text(response: &mut Response) -> Result<String, Failure> {
    let mut all = Vec::new();
    loop {
        let piece = response.read(8 << 10).await?;
        if piece.is_empty() {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        all.extend_from_slice(&piece);
    }
}

pub(crate) fn denial(result: Result<Response, Failure>) -> Denial {
    match result {
        Err(Failure { error: EgressError::Denied(denial), sent: false }) => denial,
        other => panic!("expected a denial before anything was sent, got {other:?}"),
    }
}
