//! Which addresses and names may be reached when no operator pointed there.
//!
//! Sources: the IANA special-purpose registries (RFC 6890 and its updates), RFC 6761 and 8375 for names. IPv6 is an
//! allow-list: only global unicast (2000::/3), minus what is special inside it. Forms that embed an IPv4 address
//! (mapped, compatible, NAT64, 6to4, Teredo) are refused whole, hence never judged milder than the plain address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address or name that may not be reached, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The address or name.
    pub subject: String,
    /// The range (`10.0.0.0/8`) or name rule (`*.local`).
    pub range: String,
    /// What that range is.
    pub why: &'static str,
    /// A cloud's metadata service: closed even to what an operator's name resolves to.
    pub metadata: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is in {} ({})", self.subject, self.range, self.why)
    }
}

impl std::error::Error for Refusal {}

const V4: &[([u8; 4], u32, &str)] = &[
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private network"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT, also used by private overlays"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local, cloud metadata"),
    ([172, 16, 0, 0], 12, "private network"),
    ([192, 0, 0, 0], 24, "IETF protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private network"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// First match names the range; what matches nothing must be in 2000::/3.
const V6: &[([u16; 8], u32, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID"),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// Metadata services of clouds that sit at one address, whatever range that is in.
const METADATA_V4: &[[u8; 4]] = &[
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [169, 254, 170, 23],
    [100, 100, 100, 200],
    [192, 0, 0, 192],
    [168, 63, 129, 16],
];
const METADATA_V6: &[[u16; 8]] = &[
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
    [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
];

fn in_v4(ip: Ipv4Addr, net: [u8; 4], prefix: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    u32::from(ip) & mask == u32::from_be_bytes(net) & mask
}

fn in_v6(ip: Ipv6Addr, net: [u16; 8], prefix: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    u128::from(ip) & mask == u128::from(Ipv6Addr::from(net)) & mask
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
pub fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(ip);
    let low = || Ipv4Addr::from((bits & u128::from(u32::MAX)) as u32);
    if in_v6(ip, [0x2002, 0, 0, 0, 0, 0, 0, 0], 16) {
        return Some(Ipv4Addr::from(((bits >> 80) & u128::from(u32::MAX)) as u32));
    }
    let ends_in_v4 = in_v6(ip, [0, 0, 0, 0, 0, 0xffff, 0, 0], 96)
        || in_v6(ip, [0; 8], 96)
        || in_v6(ip, [0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96)
        || in_v6(ip, [0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
    ends_in_v4.then(low)
}

/// Whether this is a cloud's metadata service, in any embedding.
pub fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4.octets()),
        IpAddr::V6(v6) => {
            METADATA_V6.contains(&v6.segments()) || embedded_v4(v6).is_some_and(|v4| is_metadata(IpAddr::V4(v4)))
        }
    }
}

/// Judges an address on the public internet's terms.
///
/// # Errors
/// The range it is in and what that range is.
pub fn check_ip(ip: IpAddr) -> Result<(), Refusal> {
    let refusal = |range: String, why| Err(Refusal { subject: ip.to_string(), range, why, metadata: is_metadata(ip) });
    match ip {
        IpAddr::V4(v4) => {
            if let Some((net, prefix, why)) = V4.iter().find(|(net, prefix, _)| in_v4(v4, *net, *prefix)) {
                return refusal(format!("{}/{prefix}", Ipv4Addr::from(*net)), why);
            }
            if is_metadata(ip) {
                return refusal(format!("{v4}/32"), "cloud metadata");
            }
        }
        IpAddr::V6(v6) => {
            if let Some((net, prefix, why)) = V6.iter().find(|(net, prefix, _)| in_v6(v6, *net, *prefix)) {
                return refusal(format!("{}/{prefix}", Ipv6Addr::from(*net)), why);
            }
            if !in_v6(v6, [0x2000, 0, 0, 0, 0, 0, 0, 0], 3) {
                return refusal("what is outside 2000::/3".to_owned(), "not global unicast");
            }
        }
    }
    Ok(())
}

/// Metadata services stay closed to whatever an operator's name resolves to.
///
/// # Errors
/// The address is one of them.
pub fn check_not_metadata(ip: IpAddr) -> Result<(), Refusal> {
    if is_metadata(ip) {
        return Err(Refusal { subject: ip.to_string(), range: format!("{ip}"), why: "cloud metadata", metadata: true });
    }
    Ok(())
}

/// Names of metadata services.
const METADATA_NAMES: &[&str] = &["instance-data", "metadata", "metadata.google.internal", "metadata.goog"];
/// Names (and everything below them) that only mean something on this machine or network.
const LOCAL_NAMES: &[(&str, &str)] = &[
    ("localhost", "this machine"),
    ("localdomain", "this machine"),
    ("local", "multicast DNS"),
    ("internal", "private networks"),
    ("home.arpa", "home networks"),
    ("intranet", "private networks"),
    ("lan", "private networks"),
    ("corp", "private networks"),
    ("home", "private networks"),
    ("onion", "not resolvable by DNS"),
    ("invalid", "never resolvable"),
];

/// Whether this names a metadata service. `host` is normalised (lower case, no trailing dot).
pub fn is_metadata_name(host: &str) -> bool {
    METADATA_NAMES.contains(&host)
}

/// Judges a normalised host name before it is resolved.
///
/// # Errors
/// The rule it falls under.
pub fn check_name(host: &str) -> Result<(), Refusal> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let refusal = |range: String, why, metadata| Err(Refusal { subject: host.clone(), range, why, metadata });
    if is_metadata_name(&host) {
        return refusal(format!("`{host}`"), "cloud metadata", true);
    }
    for (name, why) in LOCAL_NAMES {
        if host == *name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')) {
            return refusal(format!("`{name}` and `*.{name}`"), why, false);
        }
    }
    if !host.contains('.') {
        return refusal("names without a dot".to_owned(), "resolved by a local search list", false);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
