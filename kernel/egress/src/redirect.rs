//! What a redirect does to a request (RFC 9110 §15.4).

use http::{Method, StatusCode};

/// Redirects followed in one request.
pub(crate) const MAX: u32 = 5;

/// Whether this status asks to go elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The next method, and whether the body goes along.
pub(crate) fn next_method(status: StatusCode, method: &Method) -> (Method, bool) {
    match status.as_u16() {
        303 if *method == Method::HEAD => (Method::HEAD, false),
        303 => (Method::GET, false),
        // As every client has done since HTTP/1.0, and the RFC permits.
        301 | 302 if *method == Method::POST => (Method::GET, false),
        _ => (method.clone(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_change_as_the_rfc_says() {
        let cases = [
            (301, "POST", "GET", false),
            (302, "POST", "GET", false),
            (302, "PUT", "PUT", true),
            (303, "POST", "GET", false),
            (303, "DELETE", "GET", false),
            (303, "HEAD", "HEAD", false),
            (307, "POST", "POST", true),
            (308, "PATCH", "PATCH", true),
            (301, "GET", "GET", true),
        ];
        for (status, before, after, body) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let before: Method = before.parse().unwrap();
            assert_eq!(next_method(status, &before), (after.parse().unwrap(), body), "{status} {before}");
            assert!(is_redirect(status));
        }
        assert!(!is_redirect(StatusCode::NOT_MODIFIED) && !is_redirect(StatusCode::MULTIPLE_CHOICES));
    }
}
