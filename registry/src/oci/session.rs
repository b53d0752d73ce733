//! Requests to one repository, with a token or a password where the registry wants one.
//!
//! Tokens: <https://distribution.github.io/distribution/spec/auth/token/>.

use super::reference::Reference;
use crate::error::{RegistryError, shown};
use crate::fetch::{Fetch, FetchError, FetchRequest, FetchResponse};
use crate::location::web;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use std::fmt;
use url::Url;
use zeroize::Zeroizing;

/// The largest answer of a token server, bytes.
const MAX_TOKEN: u64 = 64 << 10;

/// An account at a registry.
#[derive(Clone)]
pub struct Credentials {
    /// Its name.
    pub username: String,
    /// Its password or access token.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

impl Credentials {
    fn basic(&self) -> String {
        let pair = Zeroizing::new(format!("{}:{}", self.username, self.password.as_str()));
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }
}

/// A token server's answer; the two fields mean the same.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// What a registry wants to see.
enum Challenge {
    Basic,
    Bearer { realm: Url, parameters: Vec<(String, String)> },
}

/// One repository, and how it is talked to.
pub(super) struct Session<'a> {
    pub(super) reference: &'a Reference,
    fetch: &'a dyn Fetch,
    credentials: Option<&'a Credentials>,
    authorization: Option<Zeroizing<String>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(reference: &'a Reference, credentials: Option<&'a Credentials>, fetch: &'a dyn Fetch) -> Self {
        Self { reference, fetch, credentials, authorization: None }
    }

    /// `/v2/<repository>/<rest>`
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        self.join(&format!("/v2/{}/{rest}", self.reference.repository))
    }

    /// A place that the registry names, absolute or relative to itself.
    pub(super) fn join(&self, location: &str) -> Result<Url, RegistryError> {
        let url = self.reference.base.join(location).map_err(|e| self.unreachable(e.to_string()))?;
        web(url.as_str())
    }

    fn unreachable(&self, why: String) -> RegistryError {
        RegistryError::Unreachable { what: self.reference.to_string(), why }
    }

    async fn once(&self, request: FetchRequest) -> Result<FetchResponse, RegistryError> {
        let max = usize::try_from(request.max).unwrap_or(usize::MAX);
        self.fetch.send(request).await.map_err(|e| match e {
            FetchError::TooLarge(_) => RegistryError::TooLarge { what: self.reference.to_string(), max },
            FetchError::Failed(why) => self.unreachable(why),
        })
    }

    /// Sends a request; if the registry asks who we are, answers that once and sends it again.
    pub(super) async fn send(&mut self, request: FetchRequest) -> Result<FetchResponse, RegistryError> {
        let response = self.once(self.dressed(&request)).await?;
        if response.status != 401 || !self.is_home(&request.url) {
            return Ok(response);
        }
        let wanted = response.header("www-authenticate").and_then(challenge);
        let refused = || RegistryError::OciAuth(self.reference.host().to_owned());
        let authorization = match wanted.ok_or_else(refused)? {
            Challenge::Basic => self.credentials.ok_or_else(refused)?.basic(),
            Challenge::Bearer { realm, parameters } => self.token(realm, &parameters).await?,
        };
        self.authorization = Some(Zeroizing::new(authorization));
        let again = self.once(self.dressed(&request)).await?;
        if again.status == 401 { Err(RegistryError::OciAuth(self.reference.host().to_owned())) } else { Ok(again) }
    }

    /// With the authorization, on its way to the registry itself only.
    fn dressed(&self, request: &FetchRequest) -> FetchRequest {
        match &self.authorization {
            Some(authorization) if self.is_home(&request.url) => {
                request.clone().with("authorization", authorization.as_str())
            }
            _ => request.clone(),
        }
    }

    fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.reference.base.origin()
    }

    async fn token(&self, mut realm: Url, parameters: &[(String, String)]) -> Result<String, RegistryError> {
        realm.query_pairs_mut().extend_pairs(parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let mut request = FetchRequest::get(realm, MAX_TOKEN);
        if let Some(credentials) = self.credentials {
            request = request.with("authorization", credentials.basic());
        }
        let response = self.once(request).await?;
        if matches!(response.status, 401 | 403) {
            return Err(RegistryError::OciAuth(self.reference.host().to_owned()));
        }
        self.expect(&response, &[200], "the request for a token")?;
        let token: Token = serde_json::from_slice(&response.body)
            .map_err(|e| self.unreachable(format!("its token server did not send a token: {e}")))?;
        let token = if token.token.is_empty() { token.access_token } else { token.token };
        if token.is_empty() || token.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(self.unreachable("its token server did not send a token".to_owned()));
        }
        Ok(format!("Bearer {token}"))
    }

    /// One of these statuses, or an error in the registry's own words.
    pub(super) fn expect(&self, response: &FetchResponse, good: &[u16], what: &str) -> Result<(), RegistryError> {
        if good.contains(&response.status) {
            return Ok(());
        }
        if matches!(response.status, 401 | 403) {
            return Err(RegistryError::OciAuth(self.reference.host().to_owned()));
        }
        Err(RegistryError::OciStatus {
            what: format!("{what} ({})", self.reference),
            status: response.status,
            detail: words(&response.body).map(|w| format!(": {w}")).unwrap_or_default(),
        })
    }
}

/// `code: message` of the first error in an error body.
fn words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors: Errors = serde_json::from_slice(body).ok()?;
    errors.errors.first().map(|e| shown(&format!("{}: {}", e.code, e.message)))
}

/// `Bearer realm="…",service="…",scope="…"` or `Basic realm="…"` (RFC 9110, 11.6.1), as far as registries use it.
fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut realm = None;
    let mut parameters = Vec::new();
    for (name, value) in quoted(rest) {
        match name.as_str() {
            // Credentials go there: it must be as safe as the registry itself.
            "realm" => realm = Some(web(&value).ok()?),
            "service" | "scope" => parameters.push((name, value)),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, parameters })
}

/// `name="value"` pairs between commas; values may hold commas.
fn quoted(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(after) => after.split_once('"').unwrap_or((after, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        pairs.push((name, value.to_owned()));
        rest = after;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_with_a_comma_stays_whole() {
        let header = "Bearer realm=\"https://auth.example.com/token\",service=\"r\",scope=\"repository:a/b:pull,push\"";
        let Some(Challenge::Bearer { realm, parameters }) = challenge(header) else { panic!("no challenge") };
        assert_eq!(realm.as_str(), "https://auth.example.com/token");
        let expected = [("service", "r"), ("scope", "repository:a/b:pull,push")];
        assert_eq!(parameters, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn credentials_are_asked_for_over_https_only() {
        assert!(challenge("Bearer realm=\"http://auth.example.com/token\"").is_none());
        assert!(challenge("Bearer service=\"x\"").is_none());
        assert!(challenge("Negotiate").is_none());
        assert!(matches!(challenge("basic realm=\"r\""), Some(Challenge::Basic)));
    }

    #[test]
    fn a_password_is_shown_to_nobody() {
        let credentials = Credentials { username: "me".into(), password: Zeroizing::new("hunter2".into()) };
        assert_eq!(format!("{credentials:?}"), "Credentials(me)");
        assert_eq!(credentials.basic(), "Basic bWU6aHVudGVyMg==");
    }
}
