//! Headers of a guest: which it may set.

use crate::error::{EgressError, shown};
use crate::policy::Endpoint;
use carapace_contract::manifest::Auth;
use carapace_contract::{Denial, EndpointName};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers in one request, and the bytes of their names and values together.
const MAX_COUNT: usize = 100;
const MAX_BYTES: usize = 32 << 10;

/// Headers that frame the message or speak about who sent it: the kernel's alone.
fn is_kernels(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "http2-settings",
        "forwarded",
        "via",
        "x-real-ip",
        "alt-used",
        "set-cookie",
    ];
    NAMES.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-") || name.starts_with(':')
}

/// Headers that are the guest's own credentials: refused where the kernel authenticates, dropped when the origin changes.
fn is_credential(name: &HeaderName) -> bool {
    name == http::header::AUTHORIZATION || name == http::header::COOKIE
}

/// Headers that describe a body, dropped with it.
fn is_about_body(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-")
}

/// Checks and parses what the guest set.
pub(crate) fn parse(
    given: &[(String, String)],
    endpoint: Option<(&EndpointName, &Endpoint)>,
) -> Result<HeaderMap, EgressError> {
    if given.len() > MAX_COUNT || given.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() > MAX_BYTES {
        return Err(EgressError::Limit(format!(
            "a request may have {MAX_COUNT} headers and {} KiB of them",
            MAX_BYTES >> 10
        )));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 4);
    for (name, value) in given {
        let refuse = |why: &str| {
            EgressError::Denied(Denial::new(
                "E-EGRESS-004",
                format!("the header `{}` cannot be set by a component: {why}", shown(name)),
                "",
            ))
        };
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| EgressError::Invalid(format!("`{}` is not a header name", shown(name))))?;
        if is_kernels(parsed.as_str()) {
            return Err(refuse("the kernel sets or forbids it"));
        }
        if let Some((endpoint_name, endpoint)) = endpoint {
            let by_auth =
                matches!(&endpoint.auth, Auth::Header { name, .. } if name.eq_ignore_ascii_case(parsed.as_str()));
            if by_auth || (endpoint.is_keyed() && is_credential(&parsed)) {
                return Err(refuse(&format!(
                    "endpoint `{endpoint_name}` is authenticated by the kernel (scheme `{}`)",
                    endpoint.auth.scheme()
                )));
            }
        }
        let value =
            HeaderValue::from_str(value).or_else(|_| HeaderValue::from_bytes(value.as_bytes())).map_err(|_| {
                EgressError::Invalid(format!(
                    "the value of header `{parsed}` holds characters that a header cannot carry"
                ))
            })?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

/// What may travel on to another origin.
pub(crate) fn strip_credentials(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| is_credential(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    // May repeat a path or query that was meant for the first server only.
    headers.remove(http::header::REFERER);
    headers.remove(http::header::ORIGIN);
}

/// What stays when a redirect drops the body.
pub(crate) fn strip_body(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| is_about_body(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_a_message_is_refused_by_name() {
        for name in ["Host", "content-length", "Transfer-Encoding", "Proxy-Authorization", "X-Forwarded-For", "TE"] {
            let error = parse(&[(name.to_owned(), "x".to_owned())], None).unwrap_err();
            assert_eq!(error.code(), "E-EGRESS-004", "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_line_break_in_a_value_is_refused() {
        let error = parse(&[("x-a".to_owned(), "b\r\nhost: evil".to_owned())], None).unwrap_err();
        assert!(matches!(error, EgressError::Invalid(_)), "{error}");
        assert!(matches!(parse(&[("x a".to_owned(), "b".to_owned())], None), Err(EgressError::Invalid(_))));
    }

    #[test]
    fn too_many_headers_are_a_limit() {
        let many = vec![("x-a".to_owned(), "b".to_owned()); MAX_COUNT + 1];
        assert!(matches!(parse(&many, None), Err(EgressError::Limit(_))));
    }

    #[test]
    fn a_guests_own_credentials_are_dropped_for_another_origin() {
        let given = [("authorization", "Bearer own"), ("cookie", "a=b"), ("accept", "text/html")];
        let given: Vec<_> = given.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut headers = parse(&given, None).unwrap();
        strip_credentials(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
