//! Who may connect: the owner's token, and the headers that tell a browser's page from a local client.

use crate::options::GatewayLimits;
use crate::throttle::Throttle;
use ::http::header::{AUTHORIZATION, HOST, ORIGIN};
use ::http::{HeaderMap, Uri};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;

/// Why a client was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No token came.
    Missing,
    /// A wrong one.
    Wrong,
    /// Too many wrong ones; not before.
    Throttled(Duration),
}

/// Checks the owner's token. Holds its digest only.
#[derive(Debug)]
pub(crate) struct Auth {
    digest: [u8; 32],
    throttle: Throttle,
}

impl Auth {
    pub(crate) fn new(token: &str, limits: &GatewayLimits) -> Self {
        Self { digest: digest(token), throttle: Throttle::new(limits.auth_burst, limits.auth_per_minute) }
    }

    /// Lets `peer` in or not. A missing token costs nothing: a page in a browser can send such requests, and must not
    /// be able to lock its owner out.
    pub(crate) fn check(&self, peer: IpAddr, presented: Option<&str>, edge: &'static str) -> Result<(), Refused> {
        let now = Instant::now();
        let Some(presented) = presented.filter(|p| !p.is_empty()) else {
            ::metrics::counter!("carapace_auth_failures_total", "edge" => edge, "reason" => "missing").increment(1);
            return Err(Refused::Missing);
        };
        if let Err(wait) = self.throttle.may_try(peer, now) {
            ::metrics::counter!("carapace_auth_failures_total", "edge" => edge, "reason" => "throttled").increment(1);
            return Err(Refused::Throttled(wait));
        }
        if bool::from(digest(presented).ct_eq(&self.digest)) {
            return Ok(());
        }
        self.throttle.failed(peer, now);
        ::metrics::counter!("carapace_auth_failures_total", "edge" => edge, "reason" => "wrong").increment(1);
        Err(Refused::Wrong)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of `Authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether the request names this machine: a page whose name was re-bound to 127.0.0.1 names its own.
pub(crate) fn host_is_local(uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    let mut all = headers.get_all(HOST).iter();
    let named = match (uri.authority(), all.next(), all.next()) {
        (_, Some(_), Some(_)) => return Err("two Host headers".into()),
        (None, None, _) => return Err("no Host header".into()),
        (Some(a), None, _) => a.as_str().to_owned(),
        (_, Some(h), _) => h.to_str().map_err(|_| "an unreadable Host header".to_owned())?.to_owned(),
    };
    if is_local(&named) { Ok(()) } else { Err(named) }
}

/// Whether an authority (`host[:port]`) is this machine's loopback.
pub(crate) fn is_local(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<::http::uri::Authority>() else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a browser may send this: its page must come from here, or from an origin on the list.
/// Clients that are no browsers send no `Origin`.
pub(crate) fn origin_is_ours(headers: &HeaderMap, allowed: &[String]) -> Result<(), String> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let Ok(origin) = origin.to_str() else { return Err("an unreadable one".into()) };
    if allowed.iter().any(|a| a.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    // Same authority as the request: another port of this machine is another program.
    if named.is_some_and(|n| !n.is_empty() && n.eq_ignore_ascii_case(host)) { Ok(()) } else { Err(origin.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for ok in ["localhost", "LOCALHOST:18789", "127.0.0.1:1", "127.8.9.1", "[::1]:18789", "[::1]"] {
            assert!(is_local(ok), "{ok}");
        }
        for bad in
            ["evil.example", "localhost.evil.example:18789", "10.0.0.1", "0.0.0.0", "", "127.0.0.1.nip.io", "[::2]"]
        {
            assert!(!is_local(bad), "{bad}");
        }
    }

    #[test]
    fn a_second_host_header_is_refused() {
        let mut h = headers(&[("host", "localhost")]);
        h.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(host_is_local(&Uri::from_static("/"), &h).is_err());
    }

    #[test]
    fn a_page_of_another_port_is_another_program() {
        let own = headers(&[("host", "127.0.0.1:18789"), ("origin", "http://127.0.0.1:18789")]);
        assert!(origin_is_ours(&own, &[]).is_ok());
        for foreign in ["http://127.0.0.1:3000", "https://evil.example", "null", "file://"] {
            let h = headers(&[("host", "127.0.0.1:18789"), ("origin", foreign)]);
            assert_eq!(origin_is_ours(&h, &[]), Err(foreign.to_owned()));
            assert!(origin_is_ours(&h, &[foreign.to_owned()]).is_ok());
        }
        assert!(origin_is_ours(&headers(&[("host", "localhost")]), &[]).is_ok());
    }

    #[test]
    fn a_wrong_token_is_throttled_and_a_missing_one_is_not() {
        let auth = Auth::new("a-right-and-long-token", &GatewayLimits { auth_burst: 2, ..Default::default() });
        let peer = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..50 {
            assert_eq!(auth.check(peer, None, "http"), Err(Refused::Missing));
        }
        assert_eq!(auth.check(peer, Some("a-right-and-long-token"), "http"), Ok(()));
        assert_eq!(auth.check(peer, Some("wrong"), "http"), Err(Refused::Wrong));
        assert_eq!(auth.check(peer, Some("wrong"), "http"), Err(Refused::Wrong));
        assert!(matches!(auth.check(peer, Some("a-right-and-long-token"), "http"), Err(Refused::Throttled(_))));
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case() {
        assert_eq!(bearer(&headers(&[("authorization", "bEaReR abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
    }
}
