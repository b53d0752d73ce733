//! Names to addresses: one look-up, every address judged, and the connection goes to exactly those.

use crate::address::{self, Refusal};
use crate::origin::is_localhost;
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Looks names up. The door judges what it answers.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of a normalised name.
    ///
    /// # Errors
    /// The name could not be looked up.
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        // The trailing dot keeps the system from trying its search list.
        let rooted = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
        let found: Vec<IpAddr> = match tokio::net::lookup_host((rooted.as_str(), 0)).await {
            Ok(found) => found.map(|a| a.ip()).collect(),
            // Names from /etc/hosts are not always found with a trailing dot.
            Err(_) => tokio::net::lookup_host((name, 0)).await?.map(|a| a.ip()).collect(),
        };
        Ok(found)
    }
}

/// Where a checked address is dialled really: the identity, except in tests that play the internet on loopback.
pub(crate) type Dial = Arc<dyn Fn(IpAddr) -> Option<SocketAddr> + Send + Sync>;

/// Which rules a client's look-ups are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Public addresses only.
    Public,
    /// An origin the operator named: anything but a metadata service…
    Operator {
        /// …unless the operator named one literally.
        metadata: bool,
    },
}

impl Rule {
    pub(crate) fn check(self, ip: IpAddr) -> Result<(), Refusal> {
        match self {
            Self::Public => address::check_ip(ip),
            Self::Operator { metadata: false } => address::check_not_metadata(ip),
            Self::Operator { metadata: true } => Ok(()),
        }
    }
}

/// What reqwest asks. It resolves when, and only when, a connection is made, so what was judged is what is dialled.
pub(crate) struct Guarded {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) rule: Rule,
    pub(crate) dial: Option<Dial>,
}

impl Guarded {
    /// The addresses of a name, each of them judged.
    pub(crate) async fn addresses(
        resolver: &dyn Resolver,
        rule: Rule,
        name: &str,
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        if is_localhost(name) && rule != Rule::Public {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let found = resolver.resolve(name).await?;
        if found.is_empty() {
            return Err(Box::from("the name has no address"));
        }
        // One bad address spoils all: an answer that mixes public and private ones is an attack or a mistake.
        for ip in &found {
            rule.check(*ip)?;
        }
        Ok(found)
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, rule, dial) = (Arc::clone(&self.resolver), self.rule, self.dial.clone());
        Box::pin(async move {
            let found = Self::addresses(resolver.as_ref(), rule, name.as_str()).await?;
            // Port 0: the URL's own port.
            let dialled = found
                .into_iter()
                .map(move |ip| dial.as_ref().and_then(|dial| dial(ip)).unwrap_or_else(|| SocketAddr::new(ip, 0)));
            Ok(Box::new(dialled) as Addrs)
        })
    }
}
