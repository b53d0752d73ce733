//! One server, named exactly: `127.0.0.1:8080`, `intranet.example:443`, `[fd00::5]:80`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// A host, name or address, and a port. Never a range or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: Host<String>,
    port: u16,
}

impl HostPort {
    /// The host: a name in lower case without a trailing dot, or an address.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The text itself is not repeated: somebody may have written a password into it.
        let bad = || "is not one host and one port".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(bad)?;
        // `*` would be a character of a name, `%` an escape.
        if host.contains(['*', '%']) || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad());
        }
        let host = match Host::parse(host.strip_suffix('.').unwrap_or(host)).map_err(|_| bad())? {
            Host::Domain(name) if name.split('.').any(str::is_empty) => return Err(bad()),
            host => host,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(server: HostPort) -> Self {
        server.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_one_host_and_one_port() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("Intranet.Example.:443", "intranet.example:443"),
            ("bücher.example:80", "xn--bcher-kva.example:80"),
            ("[fd00::5]:80", "[fd00::5]:80"),
            ("localhost:3000", "localhost:3000"),
        ] {
            let server: HostPort = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(server, shown.parse().unwrap());
        }
        for text in [
            "",
            ":80",
            "intranet.example",
            "intranet.example:",
            "intranet.example:0",
            "intranet.example:65536",
            "intranet.example:+80",
            "intranet.example:80-90",
            "*.example:443",
            "*:80",
            "10.0.0.0/8:80",
            "http://10.0.0.1:80",
            "user@10.0.0.1:80",
            "10.0.0.1:80/path",
            "a..b:80",
            "fd00::5:80",
            "%31:80",
            "a b:80",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
