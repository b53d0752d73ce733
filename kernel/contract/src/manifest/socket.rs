//! `[[socket]]`: WebSockets that the kernel keeps open for a channel.

use super::reader::{Problems, Section, Spanned};
use super::{Auth, Inject, http, values};
use crate::name::{EndpointName, SecretName};
use serde::{Deserialize, Serialize};

/// The largest message, if the manifest does not say.
const MAX_FRAME: u64 = 1 << 20;
/// The largest message that may be asked for.
const LARGEST_FRAME: u64 = 16 << 20;

/// `[[socket]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SocketDecl {
    /// Its name in the contract; none that an `[[http]]` endpoint has, because an operator points both elsewhere by name.
    pub endpoint: EndpointName,
    /// Base URL; `wss`, or `ws://127.0.0.1:PORT`. Only an operator may point it elsewhere.
    pub url: Option<url::Url>,
    /// Environment variable from which the operator's own base URL may be taken.
    pub url_env: Option<String>,
    /// In place of a URL: patterns of the hosts that the component may name; `wss`, port 443.
    pub hosts: Vec<String>,
    /// What the kernel adds to the handshake with `url`.
    pub auth: Auth,
    /// Values that the kernel sets in outgoing JSON messages where the guest left `null`.
    pub inject: Vec<FrameInject>,
    /// Messages are durable before the component sees them: the platform sends each only once.
    pub spool: bool,
    /// Logins in 24 hours; none = as many as it takes.
    pub logins_per_day: Option<u32>,
    /// The largest message that is taken in or sent, bytes.
    pub max_frame: u64,
    /// The component works without it.
    pub optional: bool,
}

/// A value that the kernel sets in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameInject {
    /// Where, when, what.
    #[serde(flatten)]
    pub rule: Inject,
    /// Such a message is a login.
    #[serde(default)]
    pub login: bool,
}

impl SocketDecl {
    /// The secrets that go there.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.auth.secret().into_iter().chain(self.inject.iter().map(|i| &i.rule.secret))
    }
}

/// A socket as far as it was readable.
pub(super) struct Draft {
    pub(super) name: Option<Spanned<EndpointName>>,
    pub(super) decl: Option<SocketDecl>,
    /// The secrets it mentions, even if the rest has mistakes.
    pub(super) secrets: Vec<Spanned<SecretName>>,
}

const KEYS: [&str; 10] =
    ["endpoint", "url", "url-env", "hosts", "auth", "inject", "spool", "logins-per-day", "max-frame", "optional"];

pub(super) fn read(s: &Section<'_>, problems: &Problems) -> Draft {
    s.only(&KEYS, problems);
    let mut secrets = Vec::new();
    let name = s.required("endpoint", "endpoint = \"gateway\"", problems, values::name::<EndpointName>);
    let url = s.with("url", problems, values::socket_url);
    let url_env = s.with("url-env", problems, values::env_name);
    let hosts = s.list("hosts", problems, values::host_pattern);
    if s.get("url").is_some() == s.get("hosts").is_some() {
        problems.at(
            &s.span,
            "a socket has either `url` or `hosts`; write url = \"wss://gateway.example.com\" where the address is fixed, or \
             hosts = [\"*.example.com\"] where the platform names it",
        );
    }
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        problems.at(
            &s.span,
            "`hosts` is empty, so nothing could be reached; name at least one, e.g. [\"gateway.example.com\"]",
        );
    }
    if let (None, Some((_, span))) = (s.get("url"), s.get("auth")) {
        problems.at(&span, "`auth` belongs to a fixed `url`: what the platform names carries its own credential, or takes one by `inject`");
    }
    if let (None, Some(env)) = (s.get("url"), &url_env) {
        problems.at(
            &env.span,
            "`url-env` belongs to a fixed `url`; an operator may point a socket elsewhere in carapace.json5",
        );
    }
    let auth = http::auth(s, &mut secrets, problems);
    let rules = s.tables("inject", problems);
    let inject = rules.iter().filter_map(|i| {
        let rule = http::inject(i, &["at", "when", "secret", "login"], &mut secrets, problems);
        let login = i.flag("login", problems);
        rule.map(|rule| FrameInject { rule, login })
    });
    let inject = inject.collect();
    let spool = s.flag("spool", problems);
    let logins = s.count("logins-per-day", 1_000_000, problems).and_then(|n| u32::try_from(n).ok());
    let max_frame = s.with("max-frame", problems, |v| match values::size(v)? {
        n if n > LARGEST_FRAME => Err("is too large; at most \"16MiB\"".to_owned()),
        n => Ok(n),
    });
    let optional = s.flag("optional", problems);
    let decl = name.clone().map(|name| SocketDecl {
        endpoint: name.value,
        url: url.map(|u| u.value),
        url_env: url_env.map(|e| e.value),
        hosts: hosts.unwrap_or_default().into_iter().map(|h| h.value).collect(),
        auth,
        inject,
        spool,
        logins_per_day: logins,
        max_frame: max_frame.map_or(MAX_FRAME, |m| m.value),
        optional,
    });
    Draft { name, decl, secrets }
}
