//! A request on its way: what each hop carries, and where a redirect may turn it.

use crate::body::ACCEPT_ENCODING;
use crate::error::{EgressError, shown};
use crate::leak::Scanner;
use crate::origin::{MAX_URL, Origin, normalise};
use crate::path::Relative;
use crate::plan::{self, Place};
use crate::policy::{Endpoint, Policy};
use crate::{auth, headers, redirect, transport};
use bytes::Bytes;
use carapace_contract::manifest::Auth;
use carapace_contract::{Denial, EndpointName};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use url::Url;

/// A request on its way, hop by hop.
pub(crate) struct Journey<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) endpoint: Option<(&'a EndpointName, &'a Endpoint)>,
    pub(crate) place: Place,
    /// The origin that was asked for, opened by the operator; none once a redirect led away from it.
    pub(crate) opened: Option<Origin>,
    pub(crate) concealed: bool,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// The guest's own body: what another origin gets.
    pub(crate) body: Bytes,
    /// The body with secrets set: for the endpoint's origin only.
    pub(crate) injected: Option<Bytes>,
    pub(crate) secret: Option<SecretString>,
    pub(crate) scanner: Arc<Scanner>,
}

/// One hop, ready to leave.
pub(crate) struct Hop {
    pub(crate) wire: Url,
    pub(crate) origin: Origin,
    pub(crate) shown_path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The operator named or opened this origin, or granted it as a program on this machine.
    pub(crate) named: bool,
}

impl Journey<'_> {
    /// Whether the answer to this hop is searched for values to capture.
    pub(crate) fn captures(&self) -> bool {
        matches!(self.place, Place::Home(_)) && self.endpoint.is_some_and(|(_, e)| !e.capture.is_empty())
    }

    /// The hop to the current place: with credentials at home, bare elsewhere.
    pub(crate) fn hop(&self) -> Result<Hop, EgressError> {
        let mut headers = self.headers.clone();
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPT_ENCODING));
        }
        let (wire, shown_path, body) = match (&self.place, self.endpoint) {
            (Place::Home(path), Some((_, endpoint))) => {
                let relative = Relative::parse(path)?;
                let shown_path = relative.join(&endpoint.base, "")?.path().to_owned();
                let wire = auth::dress(endpoint, self.secret.as_ref(), &relative, &mut headers)?;
                (wire, shown_path, self.injected.clone().unwrap_or_else(|| self.body.clone()))
            }
            (Place::Home(_), None) => {
                return Err(EgressError::Invalid("a path without an endpoint leads nowhere".to_owned()));
            }
            (Place::Away(url), _) => (url.clone(), url.path().to_owned(), self.body.clone()),
        };
        if wire.as_str().len() > MAX_URL * 2 {
            return Err(EgressError::Invalid("the URL is too long".to_owned()));
        }
        let origin = Origin::of(&wire)?;
        let named = self.opened.as_ref() == Some(&origin)
            || self.endpoint.is_some_and(|(_, e)| e.is_named() && e.origin == origin);
        Ok(Hop { wire, origin, shown_path, headers, body, named })
    }

    /// Turns to where a redirect points, if the rules allow it.
    pub(crate) fn follow(
        &mut self,
        from: &Url,
        was: &Origin,
        status: StatusCode,
        location: &[u8],
    ) -> Result<(), EgressError> {
        let broken = || EgressError::Unavailable(format!("`{was}` redirected to something that is not a usable URL"));
        let location = std::str::from_utf8(location).map_err(|_| broken())?;
        if location.len() > MAX_URL || location.chars().any(char::is_control) {
            return Err(broken());
        }
        let next = normalise(from.join(location).map_err(|_| broken())?).map_err(|_| broken())?;
        let origin = Origin::of(&next)?;
        let (method, keeps_body) = redirect::next_method(status, &self.method);
        if let Some((name, endpoint)) = self.endpoint {
            plan::check_method(self.policy, name, endpoint, method.as_str())?;
        }
        let at_home = matches!(self.place, Place::Home(_));
        self.place = match self.endpoint {
            Some((name, endpoint)) if at_home && origin == endpoint.origin => {
                let shown_path = shown(next.path());
                let bare = self.undress(endpoint, next).and_then(|bare| plan::relative_to(endpoint, &bare));
                let relative = bare.ok_or_else(|| {
                    EgressError::Denied(Denial::new(
                        "E-EGRESS-003",
                        format!(
                            "endpoint `{name}` redirected to `{shown_path}`, which is outside its base `{}`",
                            endpoint.base
                        ),
                        self.policy.config_line(name, &origin.to_string()),
                    ))
                })?;
                plan::check_relative(self.policy, name, endpoint, &relative)?;
                Place::Home(relative)
            }
            endpoint => {
                if origin != *was {
                    // The server knows the secret; it must not be the one who hands it on through us.
                    if self.scanner.finds(next.as_str().as_bytes()) && !self.concealed {
                        return Err(EgressError::Denied(Denial::new(
                            "E-EGRESS-013",
                            format!(
                                "`{was}` redirected to `{origin}` with a secret of {} in the URL",
                                self.policy.instance
                            ),
                            "",
                        )));
                    }
                    headers::strip_credentials(&mut self.headers);
                }
                if self.opened.as_ref() != Some(&origin) {
                    // Leaving it is for good: the next page must not send the request back to another path of it.
                    self.opened = None;
                    plan::check_away(self.policy, endpoint, &next)?;
                }
                Place::Away(next)
            }
        };
        if matches!(self.place, Place::Away(_)) {
            // Leaving home is for good: a later redirect back gets no credentials either.
            self.injected = None;
            self.secret = None;
        }
        self.method = method;
        if !keeps_body {
            self.body = Bytes::new();
            self.injected = None;
            headers::strip_body(&mut self.headers);
        }
        Ok(())
    }

    /// The URL without the credential that a server repeated in its redirect; it is added again.
    /// None if the credential is part of the path and the redirect leaves that path.
    fn undress(&self, endpoint: &Endpoint, mut url: Url) -> Option<Url> {
        let base = endpoint.base.path().trim_end_matches('/');
        let insert = auth::path_insert(&endpoint.auth, self.secret.as_ref());
        if !insert.is_empty() {
            let rest = url.path().strip_prefix(&format!("{base}{}", insert.as_str()))?;
            if !rest.is_empty() && !rest.starts_with('/') {
                return None;
            }
            let path = format!("{base}{rest}");
            url.set_path(&path);
        }
        if let (Auth::Query { name, .. }, Some(secret)) = (&endpoint.auth, &self.secret) {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(k, v)| !(k == name && v == secret.expose_secret()))
                .map(|(k, v)| (k.into_owned(), v.into_owned()))
                .collect();
            if kept.len() != url.query_pairs().count() {
                url.set_query(None);
                if !kept.is_empty() {
                    url.query_pairs_mut().extend_pairs(kept);
                }
            }
        }
        Some(url)
    }

    /// What an error of the HTTP client means, without the URL in it.
    pub(crate) fn failure(&self, origin: &Origin, error: &reqwest::Error, reached: bool) -> EgressError {
        if let Some(refusal) = transport::refusal(error) {
            return plan::refused(self.policy, self.endpoint, origin, &refusal);
        }
        let cause = transport::describe(error);
        if error.is_builder() {
            EgressError::Invalid(format!("the request to `{origin}` cannot be built: {cause}"))
        } else if error.is_timeout() {
            EgressError::Timeout(format!("`{origin}` could not be reached in time: {cause}"))
        } else if reached {
            EgressError::Unavailable(format!("`{origin}` did not answer: {cause}"))
        } else {
            EgressError::Unavailable(format!("`{origin}` could not be reached: {cause}"))
        }
    }
}
