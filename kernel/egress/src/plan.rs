//! A request, judged against the policy before anything else happens.

use crate::capture::Handles;
use crate::door::Target;
use crate::error::{EgressError, shown};
use crate::origin::{Origin, parse_url};
use crate::path::Relative;
use crate::policy::{Endpoint, Policy};
use crate::resolve::Rule;
use crate::{address, auth};
use carapace_contract::{Denial, EndpointName};
use url::Url;

/// Where a hop goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// A path and query under the endpoint's base: credentials are added.
    Home(String),
    /// Any other URL: nothing is added.
    Away(Url),
}

/// What was asked, allowed so far.
pub(crate) struct Plan<'p> {
    pub(crate) endpoint: Option<(&'p EndpointName, &'p Endpoint)>,
    pub(crate) place: Place,
    /// The origin asked for, if it is one that the operator opened to public fetches.
    pub(crate) opened: Option<Origin>,
    /// The path may be a credential: neither recorded nor shown.
    pub(crate) concealed: bool,
}

/// Judges target and method.
pub(crate) fn plan<'p>(
    policy: &'p Policy,
    handles: &Handles,
    target: &Target,
    method: &str,
) -> Result<Plan<'p>, EgressError> {
    match target {
        Target::Endpoint { name, path } => {
            let (name, endpoint) = granted(policy, name)?;
            check_method(policy, name, endpoint, method)?;
            check_relative(policy, name, endpoint, path)?;
            Ok(Plan {
                endpoint: Some((name, endpoint)),
                place: Place::Home(path.clone()),
                opened: None,
                concealed: false,
            })
        }
        Target::Handle(handle) => {
            let (name, link) = handles.open(&policy.instance, handle)?;
            let (name, endpoint) = granted(policy, name.as_str())?;
            check_method(policy, name, endpoint, method)?;
            let url = parse_url(&link)
                // The link is the credential; its parse error would show it.
                .map_err(|_| {
                    EgressError::Invalid(format!("`{}` stands for something that is not a usable URL", shown(handle)))
                })?;
            check_away(policy, Some((name, endpoint)), &url)?;
            Ok(Plan { endpoint: Some((name, endpoint)), place: Place::Away(url), opened: None, concealed: true })
        }
        Target::Public(text) => {
            if !policy.public {
                return Err(denied(
                    "E-EGRESS-006",
                    format!("{} may not fetch public addresses", policy.instance),
                    format!(
                        "ask for `http = \"public\"` in carapace.toml, then `carapace plugin grant {}`",
                        policy.instance
                    ),
                ));
            }
            if method != "GET" && method != "HEAD" {
                return Err(denied(
                    "E-EGRESS-011",
                    format!("`{}` is not a way to fetch a public address: only GET and HEAD are", shown(method)),
                    "declare the host as an `[[http]]` endpoint with that method in carapace.toml".to_owned(),
                ));
            }
            let url = parse_url(text)?;
            let opened = Some(Origin::of(&url)?).filter(|origin| policy.opens(origin));
            if opened.is_none() {
                check_away(policy, None, &url)?;
            }
            Ok(Plan { endpoint: None, place: Place::Away(url), opened, concealed: false })
        }
    }
}

fn denied(code: &str, message: String, fix: String) -> EgressError {
    EgressError::Denied(Denial::new(code, message, fix))
}

fn granted<'p>(policy: &'p Policy, name: &str) -> Result<(&'p EndpointName, &'p Endpoint), EgressError> {
    let found = name.parse::<EndpointName>().ok().and_then(|name| policy.endpoints.get_key_value(&name));
    found.ok_or_else(|| {
        let known: Vec<String> = policy.endpoints.keys().map(|k| format!("`{k}`")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        denied(
            "E-EGRESS-001",
            format!("{} was granted no endpoint `{}` (granted: {known})", policy.instance, shown(name)),
            format!("declare it as `[[http]]` in carapace.toml, then `carapace plugin grant {}`", policy.instance),
        )
    })
}

/// Whether the endpoint's methods cover this one.
pub(crate) fn check_method(
    policy: &Policy,
    name: &EndpointName,
    endpoint: &Endpoint,
    method: &str,
) -> Result<(), EgressError> {
    if endpoint.methods.contains(method) {
        return Ok(());
    }
    let known: Vec<&str> = endpoint.methods.iter().map(String::as_str).collect();
    Err(denied(
        "E-EGRESS-002",
        format!(
            "endpoint `{name}` of {} was not granted the method `{}` (granted: {})",
            policy.instance,
            shown(method),
            known.join(", ")
        ),
        format!(
            "add it to `methods` of `[[http]]` `{name}` in carapace.toml, then `carapace plugin grant {}`",
            policy.instance
        ),
    ))
}

/// Parses a path under the base and holds it against the patterns.
pub(crate) fn check_relative<'t>(
    policy: &Policy,
    name: &EndpointName,
    endpoint: &Endpoint,
    text: &'t str,
) -> Result<Relative<'t>, EgressError> {
    let relative = Relative::parse(text)?;
    if !relative.allowed_by(&endpoint.paths) {
        let known: Vec<String> = endpoint.paths.iter().map(ToString::to_string).collect();
        return Err(denied(
            "E-EGRESS-003",
            format!(
                "the path `{}` of endpoint `{name}` was not granted to {} (granted: {})",
                shown(relative.path()),
                policy.instance,
                known.join(", ")
            ),
            format!(
                "add it to `paths` of `[[http]]` `{name}` in carapace.toml, then `carapace plugin grant {}`",
                policy.instance
            ),
        ));
    }
    auth::check_query(&endpoint.auth, &relative)?;
    Ok(relative)
}

/// The path and query of a URL in the base's origin, relative to the base.
pub(crate) fn relative_to(endpoint: &Endpoint, url: &Url) -> Option<String> {
    let rest = url.path().strip_prefix(endpoint.base.path().trim_end_matches('/'))?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    Some(match url.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    })
}

/// Judges a URL that gets no credentials: a handle's, a redirect's, a public one.
pub(crate) fn check_away(
    policy: &Policy,
    endpoint: Option<(&EndpointName, &Endpoint)>,
    url: &Url,
) -> Result<(), EgressError> {
    let origin = Origin::of(url)?;
    let Some((name, endpoint)) = endpoint else {
        // Ports of mail, shells and the like speak protocols that can be confused by an HTTP request.
        if origin.port() < 1024 && origin.port() != 80 && origin.port() != 443 {
            return Err(denied(
                "E-EGRESS-012",
                format!("port {} of `{origin}` is not one that public pages are served on", origin.port()),
                "use port 80, 443, or one from 1024 up".to_owned(),
            ));
        }
        return check_host(policy, None, &origin, Rule::Public);
    };
    if origin == endpoint.origin {
        let relative = relative_to(endpoint, url).ok_or_else(|| {
            denied(
                "E-EGRESS-003",
                format!(
                    "`{origin}{}` is outside the base of endpoint `{name}` (`{}`)",
                    shown(url.path()),
                    endpoint.base
                ),
                policy.config_line(name, &origin.to_string()),
            )
        })?;
        check_relative(policy, name, endpoint, &relative)?;
        return Ok(());
    }
    if endpoint.hosts.iter().any(|pattern| pattern.covers(&origin)) {
        return check_host(policy, Some((name, endpoint)), &origin, Rule::Public);
    }
    let mut known = vec![endpoint.origin.to_string()];
    known.extend(endpoint.hosts.iter().map(|h| format!("https://{h}")));
    Err(denied(
        "E-EGRESS-005",
        format!("endpoint `{name}` of {} may not lead to `{origin}` (granted: {})", policy.instance, known.join(", ")),
        format!(
            "add the host to `hosts` of `[[http]]` `{name}` in carapace.toml, then `carapace plugin grant {}`",
            policy.instance
        ),
    ))
}

/// Judges a host by name or literal, before anything is resolved.
pub(crate) fn check_host(
    policy: &Policy,
    endpoint: Option<(&EndpointName, &Endpoint)>,
    origin: &Origin,
    rule: Rule,
) -> Result<(), EgressError> {
    let judged = match (origin.ip(), origin.name()) {
        (Some(ip), _) => rule.check(ip),
        (None, Some(name)) if rule == Rule::Public => address::check_name(name),
        _ => Ok(()),
    };
    judged.map_err(|refusal| refused(policy, endpoint, origin, &refusal))
}

/// The denial for a secret on its way over plain http beyond this machine.
pub(crate) fn unencrypted(policy: &Policy, name: &EndpointName, endpoint: &Endpoint) -> EgressError {
    let https = policy.config_line(name, &endpoint.base.as_str().replacen("http:", "https:", 1));
    let secret = endpoint.auth.secret().or(endpoint.inject.first().map(|i| &i.secret));
    let without = secret.map_or_else(String::new, |s| {
        format!(
            "; or, if that server needs no secret: `carapace secrets rm {s} --instance {}`, and unset its environment variable",
            policy.instance
        )
    });
    denied(
        "E-EGRESS-009",
        format!(
            "endpoint `{name}` of {} cannot use `{}`: a secret would go along, and plain http is allowed for secrets on this machine's loopback only",
            policy.instance,
            shown(endpoint.base.as_str())
        ),
        format!("{https}{without}"),
    )
}

/// The denial for a refused address or name, with the line that would allow it.
pub(crate) fn refused(
    policy: &Policy,
    endpoint: Option<(&EndpointName, &Endpoint)>,
    origin: &Origin,
    refusal: &address::Refusal,
) -> EgressError {
    let code = match refusal {
        address::Refusal { metadata: true, .. } => "E-EGRESS-014",
        r if r.subject.parse::<std::net::IpAddr>().is_ok() => "E-EGRESS-007",
        _ => "E-EGRESS-008",
    };
    let fix = match endpoint {
        Some((name, endpoint)) if endpoint.origin == *origin => policy.config_line(name, endpoint.base.as_str()),
        Some((name, _)) => {
            format!("nothing allows it for a redirect or handle; {}", policy.config_line(name, &origin.to_string()))
        }
        None if code == "E-EGRESS-014" => "nothing opens it to public fetches".to_owned(),
        // Opened for whoever asks for it, not for whoever is sent there: a page must not steer into the owner's network.
        None if policy.opens(origin) => format!("no redirect of another server leads there; fetch `{origin}` itself"),
        None => format!(
            "public fetches reach no private address; if this server may be read by whatever a page says: {}",
            policy.opening_line(origin)
        ),
    };
    denied(code, format!("{} may not reach `{origin}`: {refusal}", policy.instance), fix)
}
