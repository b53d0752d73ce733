//! Credentials, added after the guest has let go of the request.

use crate::error::EgressError;
use crate::path::Relative;
use crate::policy::Endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_contract::manifest::Auth;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

/// Everything but what RFC 3986 allows in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The text that `path-prefix` puts between base and path; empty for other schemes.
pub(crate) fn path_insert(auth: &Auth, secret: Option<&SecretString>) -> Zeroizing<String> {
    match (auth, secret) {
        (Auth::PathPrefix { prefix, .. }, Some(secret)) => {
            Zeroizing::new(format!("{prefix}{}", utf8_percent_encode(secret.expose_secret(), SEGMENT)))
        }
        _ => Zeroizing::new(String::new()),
    }
}

/// A guest must not bring its own value for the parameter the kernel sets.
pub(crate) fn check_query(auth: &Auth, relative: &Relative<'_>) -> Result<(), EgressError> {
    if let Auth::Query { name, .. } = auth
        && relative.has_parameter(name)
    {
        return Err(EgressError::Invalid(format!("the query parameter `{name}` is set by the kernel; leave it out")));
    }
    Ok(())
}

/// The URL and headers as they leave: with the credential, for the endpoint's own origin.
pub(crate) fn dress(
    endpoint: &Endpoint,
    secret: Option<&SecretString>,
    relative: &Relative<'_>,
    headers: &mut HeaderMap,
) -> Result<Url, EgressError> {
    let mut url = relative.join(&endpoint.base, &path_insert(&endpoint.auth, secret))?;
    let Some(secret) = secret else { return Ok(url) };
    let text = secret.expose_secret();
    match &endpoint.auth {
        Auth::None | Auth::PathPrefix { .. } => {}
        Auth::Bearer { .. } => set(headers, AUTHORIZATION, &endpoint.auth, &Zeroizing::new(format!("Bearer {text}")))?,
        Auth::Header { name, prefix, .. } => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| EgressError::Invalid(format!("the manifest's header name `{name}` is malformed")))?;
            set(headers, name, &endpoint.auth, &Zeroizing::new(format!("{prefix}{text}")))?;
        }
        Auth::Query { name, .. } => {
            url.query_pairs_mut().append_pair(name, text);
        }
        Auth::Basic { username, .. } => {
            let pair = Zeroizing::new(match username {
                Some(user) => format!("{user}:{text}"),
                None => text.to_owned(),
            });
            let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            set(headers, AUTHORIZATION, &endpoint.auth, &value)?;
        }
    }
    Ok(url)
}

fn set(headers: &mut HeaderMap, name: HeaderName, auth: &Auth, value: &str) -> Result<(), EgressError> {
    let secret = auth.secret().map(ToString::to_string).unwrap_or_default();
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        EgressError::Invalid(format!(
            "the stored secret `{secret}` holds characters that the header `{name}` cannot carry (a line break?); store it again"
        ))
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
