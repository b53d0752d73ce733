//! Origins and host patterns, normalised once.
//!
//! The `url` crate does IDNA, case, default ports and the many spellings of an IPv4 address (decimal, hexadecimal,
//! octal, short forms); what it is lenient about is refused here before it sees the text.

use crate::error::{EgressError, shown};
use carapace_contract::HostPort;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

/// The longest URL, bytes.
pub const MAX_URL: usize = 8 << 10;

/// Scheme, host and port; equal origins are the same server for credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` URL.
    ///
    /// # Errors
    /// Another scheme, or no host.
    pub fn of(url: &Url) -> Result<Self, EgressError> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(EgressError::Invalid(format!(
                    "the scheme `{}` cannot be fetched; use https",
                    shown(other)
                )));
            }
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => Host::Domain(normal_name(name)?),
            Some(Host::Ipv4(ip)) => Host::Ipv4(ip),
            Some(Host::Ipv6(ip)) => Host::Ipv6(ip),
            None => return Err(EgressError::Invalid("a URL needs a host".to_owned())),
        };
        let port = url.port_or_known_default().unwrap_or(if https { 443 } else { 80 });
        Ok(Self { https, host, port })
    }

    /// `https`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The port, default ports filled in.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is that server, over either scheme.
    pub(crate) fn is_at(&self, server: &HostPort) -> bool {
        self.port == server.port() && self.host == *server.host()
    }

    /// `host:port`, as the configuration names a server.
    pub(crate) fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The name; none for an address.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The address, if the host is a literal.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        }
    }

    /// Certainly this machine: a loopback literal, `localhost` or `*.localhost`, which are never asked of DNS (RFC 6761).
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
            Host::Domain(name) => is_localhost(name),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// `localhost` or a name below it.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn normal_name(name: &str) -> Result<String, EgressError> {
    let trimmed = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if trimmed.is_empty() || trimmed.len() > 253 || trimmed.split('.').any(|label| label.is_empty() || label.len() > 63)
    {
        return Err(EgressError::Invalid(format!("`{}` is not a host name", shown(name))));
    }
    Ok(trimmed)
}

/// Parses an absolute `http` or `https` URL as a guest or a server gives it; a fragment is dropped.
///
/// # Errors
/// Names the value: too long, another scheme, user info, control characters, backslashes, a malformed host.
pub fn parse_url(text: &str) -> Result<Url, EgressError> {
    let bad = |why: &str| EgressError::Invalid(format!("`{}` is not a usable URL: {why}", shown(strip_secrets(text))));
    if text.len() > MAX_URL {
        return Err(bad("it is longer than 8 KiB"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad("it holds white space or control characters"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it does not begin with https://"))?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(bad("only http and https can be fetched"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(bad("it has no host"));
    }
    if authority.contains('@') {
        return Err(bad("user names and passwords do not belong into a URL"));
    }
    if rest.split(['?', '#']).next().unwrap_or_default().contains('\\') {
        return Err(bad("it holds a backslash"));
    }
    let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    normalise(url).map_err(|e| bad(&e.to_string()))
}

/// Drops the fragment and the host's trailing dot; refuses user info.
pub(crate) fn normalise(mut url: Url) -> Result<Url, EgressError> {
    let origin = Origin::of(&url)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::Invalid("user names and passwords do not belong into a URL".to_owned()));
    }
    url.set_fragment(None);
    if let Some(name) = origin.name()
        && url.host_str() != Some(name)
    {
        url.set_host(Some(name)).map_err(|e| EgressError::Invalid(e.to_string()))?;
    }
    Ok(url)
}

/// Error texts show no query and no user info.
fn strip_secrets(text: &str) -> &str {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.rsplit_once('@') {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// `cdn.example.com`, or `*.example.com`: any name below it, one or more labels deep, never `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    below: bool,
    name: String,
}

impl HostPattern {
    /// Whether a normalised name matches.
    pub fn matches(&self, name: &str) -> bool {
        if self.below {
            name.strip_suffix(self.name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            name == self.name
        }
    }

    /// Whether the pattern covers this origin: a matching name, `https`, port 443.
    pub fn covers(&self, origin: &Origin) -> bool {
        origin.is_https() && origin.port() == 443 && origin.name().is_some_and(|name| self.matches(name))
    }
}

impl FromStr for HostPattern {
    type Err = EgressError;
    fn from_str(text: &str) -> Result<Self, EgressError> {
        let bad = |why: &str| EgressError::Invalid(format!("`{}` is not a host pattern: {why}", shown(text)));
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        if name.contains(['*', '/', ':', '@', '?', '#', '\\', '%']) {
            return Err(bad("write `cdn.example.com` or `*.example.com`, without scheme, port or path"));
        }
        let Ok(Host::Domain(name)) = Host::parse(name) else {
            return Err(bad("it must be a name, not an address"));
        };
        let name = normal_name(&name)?;
        if !name.contains('.') {
            return Err(bad("it must have at least two labels"));
        }
        Ok(Self { below, name })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

#[cfg(test)]
mod tests;
