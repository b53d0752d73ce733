//! Connections: TLS, and one pool per instance and rule.

use crate::error::EgressError;
use crate::origin::Origin;
use crate::resolve::{Dial, Guarded, Resolver, Rule};
use crate::{address, resolve};
use carapace_contract::InstanceId;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Until TCP and TLS stand.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// Pools kept; the one unused for longest gives way.
const MAX_POOLS: usize = 64;

/// A pool serves one instance, and either public addresses or the one origin its operator named. A connection made
/// under one rule is thereby never used under another, whatever grants and configuration become in the meantime.
type Key = (InstanceId, Option<Origin>);

pub(crate) struct Pools {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) dial: Option<Dial>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    tls: OnceCell<rustls::ClientConfig>,
    pools: Mutex<HashMap<Key, (reqwest::Client, Instant)>>,
}

/// Which rule an operator's origin is judged by.
pub(crate) fn operator_rule(origin: &Origin) -> Rule {
    let metadata =
        origin.ip().is_some_and(address::is_metadata) || origin.name().is_some_and(address::is_metadata_name);
    Rule::Operator { metadata }
}

impl Pools {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, dial: Option<Dial>, roots: Vec<CertificateDer<'static>>) -> Self {
        Self { resolver, dial, roots, tls: OnceCell::new(), pools: Mutex::default() }
    }

    /// The client for public addresses, or for the operator's origin.
    pub(crate) async fn client(
        &self,
        instance: &InstanceId,
        operator: Option<&Origin>,
    ) -> Result<reqwest::Client, EgressError> {
        let key = (instance.clone(), operator.cloned());
        let now = Instant::now();
        {
            let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((client, used)) = pools.get_mut(&key) {
                *used = now;
                return Ok(client.clone());
            }
        }
        // An operator's plain-http origin needs no trust store, and must work where there is none.
        let tls = match operator {
            Some(origin) if !origin.is_https() => no_trust()?,
            _ => self.tls().await?,
        };
        let rule = operator.map_or(Rule::Public, operator_rule);
        let guarded = Guarded { resolver: Arc::clone(&self.resolver), rule, dial: self.dial.clone() };
        let client = client(tls, Arc::new(guarded))?;
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if pools.len() >= MAX_POOLS
            && let Some(oldest) = pools.iter().min_by_key(|(_, (_, used))| *used).map(|(k, _)| k.clone())
        {
            pools.remove(&oldest);
        }
        pools.insert(key, (client.clone(), now));
        Ok(client)
    }

    /// Trust is loaded once and shared; resumption tickets are not.
    pub(crate) async fn tls(&self) -> Result<rustls::ClientConfig, EgressError> {
        let roots = self.roots.clone();
        let config = self.tls.get_or_try_init(|| async move {
            // Reads the system's certificate files.
            tokio::task::spawn_blocking(move || system_trust(roots))
                .await
                .map_err(|e| EgressError::Unavailable(format!("the system's trust store could not be read: {e}")))?
        });
        let mut config = config.await?.clone();
        config.resumption = Resumption::in_memory_sessions(32);
        Ok(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls_error(e: &rustls::Error) -> EgressError {
    EgressError::Unavailable(format!(
        "TLS cannot be set up ({e}); is the system's trust store (ca-certificates) installed?"
    ))
}

fn system_trust(roots: Vec<CertificateDer<'static>>) -> Result<rustls::ClientConfig, EgressError> {
    let provider = provider();
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
        .map_err(|e| tls_error(&e))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&e))?
        .dangerous() // The name of the builder's door; behind it stands the platform's own verifier.
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS that trusts nobody: for clients that speak plain http only.
fn no_trust() -> Result<rustls::ClientConfig, EgressError> {
    Ok(rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&e))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn client(tls: rustls::ClientConfig, resolver: Arc<Guarded>) -> Result<reqwest::Client, EgressError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(resolver)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(8)
        .user_agent(concat!("carapace/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| EgressError::Unavailable(format!("the HTTP client cannot be set up: {}", describe(&e))))
}

/// A client for this machine's loopback only, over plain http.
pub(crate) fn loopback() -> Result<reqwest::Client, EgressError> {
    let resolver = Arc::new(resolve::SystemResolver);
    client(no_trust()?, Arc::new(Guarded { resolver, rule: Rule::Operator { metadata: false }, dial: None }))
}

/// The refusal of our resolver inside an error of the HTTP client.
pub(crate) fn refusal(error: &reqwest::Error) -> Option<address::Refusal> {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(refusal) = e.downcast_ref::<address::Refusal>() {
            return Some(refusal.clone());
        }
        source = e.source();
    }
    None
}

/// The causes of an error, most telling last, without the URL (which may hold a credential).
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(e) = source {
        let text = e.to_string();
        if !text.is_empty() && parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        source = e.source();
    }
    if parts.is_empty() { "no further cause is known".to_owned() } else { parts.join(": ") }
}
