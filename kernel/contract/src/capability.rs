//! What a component asks for, in a form that can be granted, compared and read aloud.

mod sentences;
#[cfg(test)]
mod tests;

pub(crate) use sentences::{amount, megabytes, use_word};

use crate::decision::Effects;
use crate::digest::Digest;
use crate::limits::{Life, Limits, Profile};
use crate::manifest::{AssetDecl, Auth, Capture, FrameInject, Manifest, SocketDecl, Use, Verify};
use crate::name::{AssetName, EndpointName, Name, SecretName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything a manifest asks for; or the part of it that was granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilitySet {
    /// Endpoints by name.
    pub http: BTreeMap<EndpointName, HttpCapability>,
    /// Any public address.
    pub public_http: bool,
    /// Sockets by name.
    #[serde(default)]
    pub sockets: BTreeMap<EndpointName, SocketCapability>,
    /// A kv namespace.
    pub kv: bool,
    /// Files of the package by name.
    #[serde(default)]
    pub assets: BTreeMap<AssetName, AssetCapability>,
    /// Secrets by name.
    pub secrets: BTreeMap<SecretName, SecretCapability>,
    /// Tools by name.
    pub tools: BTreeMap<String, ToolCapability>,
    /// Notes that last, with full-text search.
    #[serde(default)]
    pub memory: bool,
    /// Conversations, as far as whoever is behind a call may read them.
    #[serde(default)]
    pub sessions: bool,
    /// The owner's configuration, without secrets.
    #[serde(default)]
    pub settings: bool,
    /// It was built for WASI 0.2: what it finds there.
    #[serde(default)]
    pub wasi: Option<WasiCapability>,
    /// Directories of the owner's by name.
    #[serde(default)]
    pub directories: BTreeMap<Name, DirectoryCapability>,
    /// Requests to the owner.
    #[serde(default)]
    pub requests: bool,
    /// Messages elsewhere.
    #[serde(default)]
    pub message: bool,
    /// Lines of programs on this computer.
    #[serde(default)]
    pub lines: bool,
    /// Media.
    #[serde(default)]
    pub blob: bool,
    /// May be asked to complete.
    pub provider: bool,
    /// Speaks with people on a platform, as the assistant.
    #[serde(default)]
    pub channel: bool,
    /// Requests it takes, by name, and how they prove where they come from.
    #[serde(default)]
    pub webhooks: BTreeMap<Name, Verify>,
    /// Engine profile.
    pub profile: Profile,
    /// Life of a store.
    pub life: Life,
    /// Limits asked for.
    pub limits: Limits,
    /// Names of optional capabilities (`http:<endpoint>`, `socket:<endpoint>`, `kv`, `memory`, `asset:<name>`, `secret:<name>`, `directory:<name>`, …) in this set.
    pub optional: BTreeSet<String>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCapability {
    /// Base URL as signed.
    pub url: url::Url,
    /// Environment variable for the operator's own base URL.
    pub url_env: Option<String>,
    /// Further hosts.
    pub hosts: BTreeSet<String>,
    /// Methods.
    pub methods: BTreeSet<String>,
    /// Path patterns; empty = all.
    pub paths: BTreeSet<String>,
    /// What the kernel adds, and thereby which secret goes there.
    pub auth: Auth,
    /// Values set in bodies, and thereby which secrets go there.
    pub inject: Vec<crate::manifest::Inject>,
    /// Values hidden in responses.
    pub capture: BTreeSet<Capture>,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SocketCapability {
    /// Base URL as signed; none = what `hosts` cover.
    pub url: Option<url::Url>,
    /// Environment variable for the operator's own base URL.
    pub url_env: Option<String>,
    /// Hosts that the component may name.
    pub hosts: BTreeSet<String>,
    /// What the kernel adds to the handshake.
    pub auth: Auth,
    /// Values set in messages, and thereby which secrets go there.
    pub inject: Vec<FrameInject>,
    /// Messages are kept before the component sees them.
    pub spool: bool,
    /// Logins in 24 hours.
    pub logins_per_day: Option<u32>,
    /// The largest message, bytes.
    pub max_frame: u64,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretCapability {
    /// Environment variable it may be taken from.
    pub env: Option<String>,
    /// Usable for HMAC.
    pub hmac: bool,
}

/// One file that belongs to the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetCapability {
    /// What it is.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Hosts it may be fetched from when the owner says so.
    pub hosts: BTreeSet<String>,
}

/// What a component that was built for WASI 0.2 finds: an empty environment, no arguments, no sockets, and this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasiCapability {
    /// The time.
    pub clocks: bool,
    /// Random bytes.
    pub random: bool,
    /// What it prints goes to its log.
    pub stdio: bool,
}

/// One directory; which one, the owner's configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryCapability {
    /// What the owner is asked for.
    pub prompt: String,
    /// It may change what is there.
    pub write: bool,
}

/// One tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCapability {
    /// What a call is linked to.
    pub uses: BTreeSet<Use>,
    /// What a call may do.
    pub effects: Effects,
    /// Nothing that it hears outside comes back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// The argument by which it can act in another conversation than its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

impl From<&crate::manifest::ToolDecl> for ToolCapability {
    fn from(t: &crate::manifest::ToolDecl) -> Self {
        Self {
            uses: t.uses.iter().cloned().collect(),
            effects: t.effects,
            quiet: t.quiet,
            conversation: t.conversation.clone(),
        }
    }
}

/// One line of the consent screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// `http:api`, `socket:gateway`, `secret:bot-token`, `kv`, `tool:math_eval`, `limits`, …
    pub capability: String,
    /// For a person.
    pub text: String,
    /// It works without.
    pub optional: bool,
}

impl CapabilitySet {
    /// Nothing at all.
    pub fn none() -> Self {
        Self {
            http: BTreeMap::new(),
            public_http: false,
            sockets: BTreeMap::new(),
            kv: false,
            assets: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tools: BTreeMap::new(),
            memory: false,
            sessions: false,
            settings: false,
            wasi: None,
            directories: BTreeMap::new(),
            requests: false,
            message: false,
            lines: false,
            blob: false,
            provider: false,
            channel: false,
            webhooks: BTreeMap::new(),
            profile: Profile::Metered,
            life: Life::Fresh,
            limits: Limits::default(),
            optional: BTreeSet::new(),
        }
    }

    /// This set as a grant: whether everything that `request` cannot do without is in it, and nothing in it has grown.
    /// An optional capability that was refused does not count; it is linked to a refusal.
    pub fn covers(&self, request: &Self) -> bool {
        crate::diff::growth(self, &request.without_optional(&self.refused(request))).is_empty()
    }

    /// The optional capabilities of `request` that are not in this set.
    pub fn refused(&self, request: &Self) -> Vec<String> {
        request.optional.iter().filter(|name| !self.holds(name)).cloned().collect()
    }

    /// Whether a capability that could be optional (`kv`, `http:<endpoint>`, `secret:<name>`, …) is in this set.
    pub fn holds(&self, capability: &str) -> bool {
        match capability.split_once(':') {
            None => match capability {
                "kv" => self.kv,
                "memory" => self.memory,
                "sessions" => self.sessions,
                "settings" => self.settings,
                "requests" => self.requests,
                "message" => self.message,
                "lines" => self.lines,
                "blob" => self.blob,
                _ => false,
            },
            Some(("http", name)) => self.http.keys().any(|n| n.as_str() == name),
            Some(("socket", name)) => self.sockets.keys().any(|n| n.as_str() == name),
            Some(("asset", name)) => self.assets.keys().any(|n| n.as_str() == name),
            Some(("directory", name)) => self.directories.keys().any(|n| n.as_str() == name),
            Some(("secret", name)) => self.secrets.keys().any(|n| n.as_str() == name),
            Some(_) => false,
        }
    }

    /// This set without the optional capabilities named in `refused`; what is not optional cannot be refused alone.
    /// A refused secret is added to no request any more, and a secret that then goes nowhere is dropped with its line.
    #[must_use]
    pub fn without_optional<'a>(&self, refused: impl IntoIterator<Item = &'a String>) -> Self {
        let mut set = self.clone();
        let refused: BTreeSet<&String> = refused.into_iter().filter(|r| self.optional.contains(*r)).collect();
        if refused.is_empty() {
            return set;
        }
        let is_refused = |kind: &str, name: &str| refused.contains(&format!("{kind}:{name}"));
        let keeps = |word: &str| !refused.iter().any(|r| *r == word);
        set.kv &= keeps("kv");
        set.memory &= keeps("memory");
        set.sessions &= keeps("sessions");
        set.settings &= keeps("settings");
        set.requests &= keeps("requests");
        set.message &= keeps("message");
        set.lines &= keeps("lines");
        set.blob &= keeps("blob");
        set.assets.retain(|name, _| !is_refused("asset", name.as_str()));
        set.directories.retain(|name, _| !is_refused("directory", name.as_str()));
        set.http.retain(|name, _| !is_refused("http", name.as_str()));
        for endpoint in set.http.values_mut() {
            if endpoint.auth.secret().is_some_and(|s| is_refused("secret", s.as_str())) {
                endpoint.auth = Auth::None;
            }
            endpoint.inject.retain(|i| !is_refused("secret", i.secret.as_str()));
        }
        set.sockets.retain(|name, _| !is_refused("socket", name.as_str()));
        for socket in set.sockets.values_mut() {
            if socket.auth.secret().is_some_and(|s| is_refused("secret", s.as_str())) {
                socket.auth = Auth::None;
            }
            socket.inject.retain(|i| !is_refused("secret", i.rule.secret.as_str()));
        }
        set.webhooks.retain(|_, verify| !verify.secret().is_some_and(|s| is_refused("secret", s.as_str())));
        let checked = set.webhooks.values().filter_map(Verify::secret);
        let sockets = set.sockets.values().flat_map(SocketCapability::secrets);
        let sent: BTreeSet<SecretName> =
            set.http.values().flat_map(HttpCapability::secrets).chain(sockets).chain(checked).cloned().collect();
        set.secrets.retain(|name, s| !is_refused("secret", name.as_str()) && (s.hmac || sent.contains(name)));
        let left = set.clone();
        set.optional.retain(|name| left.holds(name));
        set
    }
}

impl CapabilitySet {
    /// The endpoint with the longest signed base that a URL lies under, and the rest of the URL; of those that a call uses, if it says so.
    pub fn endpoint_of(&self, uses: Option<&BTreeSet<Use>>, url: &url::Url) -> Option<(&EndpointName, String)> {
        let rest = |http: &HttpCapability| {
            let same = http.url.origin() == url.origin();
            let rest = url.path().strip_prefix(http.url.path().trim_end_matches('/')).filter(|_| same)?;
            let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{rest}{query}"))
        };
        let used = |name: &EndpointName| uses.is_none_or(|uses| uses.contains(&Use::Http(name.clone())));
        let fitting = self.http.iter().filter(|(name, _)| used(name));
        let fitting = fitting.filter_map(|(name, http)| Some((http.url.path().len(), name, rest(http)?)));
        fitting.max_by_key(|(length, _, _)| *length).map(|(_, name, path)| (name, path))
    }
}

/// Whether a base URL is a program on the owner's own machine: plain http to 127.0.0.1 on a port that ordinary programs serve on.
/// The one exception to https; a name such as `localhost` is none, because names can be made to lead elsewhere.
pub fn is_this_machine(url: &url::Url) -> bool {
    let loopback = matches!(url.host(), Some(url::Host::Ipv4(ip)) if ip == std::net::Ipv4Addr::LOCALHOST);
    loopback && matches!(url.scheme(), "http" | "ws") && url.port().is_some_and(|port| port >= 1024)
}

impl HttpCapability {
    /// The secrets that go there.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.auth.secret().into_iter().chain(self.inject.iter().map(|i| &i.secret))
    }
}

impl SocketCapability {
    /// The secrets that go there.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.auth.secret().into_iter().chain(self.inject.iter().map(|i| &i.rule.secret))
    }
}

impl From<&SocketDecl> for SocketCapability {
    fn from(s: &SocketDecl) -> Self {
        Self {
            url: s.url.clone(),
            url_env: s.url_env.clone(),
            hosts: s.hosts.iter().cloned().collect(),
            auth: s.auth.clone(),
            inject: s.inject.clone(),
            spool: s.spool,
            logins_per_day: s.logins_per_day,
            max_frame: s.max_frame,
        }
    }
}

impl From<&AssetDecl> for AssetCapability {
    fn from(a: &AssetDecl) -> Self {
        let hosts = a.sources.iter().filter_map(url::Url::host_str).map(str::to_owned).collect();
        Self { sha256: a.sha256, size: a.size, hosts }
    }
}

impl From<&Manifest> for CapabilitySet {
    fn from(m: &Manifest) -> Self {
        let mut optional = BTreeSet::new();
        let mut http = BTreeMap::new();
        for e in &m.http {
            if e.optional {
                optional.insert(format!("http:{}", e.endpoint));
            }
            http.insert(
                e.endpoint.clone(),
                HttpCapability {
                    url: e.url.clone(),
                    url_env: e.url_env.clone(),
                    hosts: e.hosts.iter().cloned().collect(),
                    methods: e.methods.iter().cloned().collect(),
                    paths: e.paths.iter().cloned().collect(),
                    auth: e.auth.clone(),
                    inject: e.inject.clone(),
                    capture: e.capture.iter().cloned().collect(),
                },
            );
        }
        for socket in m.sockets.iter().filter(|s| s.optional) {
            optional.insert(format!("socket:{}", socket.endpoint));
        }
        if m.kv.is_some_and(|kv| kv.optional) {
            optional.insert("kv".to_owned());
        }
        for asset in m.assets.iter().filter(|a| a.optional) {
            optional.insert(format!("asset:{}", asset.name));
        }
        for (word, decl) in [
            ("memory", m.memory),
            ("sessions", m.sessions),
            ("settings", m.settings),
            ("requests", m.requests),
            ("message", m.message),
            ("lines", m.lines),
            ("blob", m.blob),
        ] {
            if decl.is_some_and(|d| d.optional) {
                optional.insert(word.to_owned());
            }
        }
        let directories = || m.wasi.iter().flat_map(|w| &w.directories);
        for directory in directories().filter(|d| d.optional) {
            optional.insert(format!("directory:{}", directory.name));
        }
        for (name, s) in &m.secrets {
            if s.optional {
                optional.insert(format!("secret:{name}"));
            }
        }
        Self {
            http,
            public_http: m.public_http,
            sockets: m.sockets.iter().map(|s| (s.endpoint.clone(), SocketCapability::from(s))).collect(),
            kv: m.kv.is_some(),
            assets: m.assets.iter().map(|a| (a.name.clone(), AssetCapability::from(a))).collect(),
            secrets: m
                .secrets
                .iter()
                .map(|(n, s)| (n.clone(), SecretCapability { env: s.env.clone(), hmac: s.hmac }))
                .collect(),
            tools: m.tools.iter().map(|t| (t.name.clone(), ToolCapability::from(t))).collect(),
            memory: m.memory.is_some(),
            sessions: m.sessions.is_some(),
            settings: m.settings.is_some(),
            wasi: m.wasi.as_ref().map(|w| WasiCapability { clocks: w.clocks, random: w.random, stdio: w.stdio }),
            directories: directories()
                .map(|d| (d.name.clone(), DirectoryCapability { prompt: d.prompt.clone(), write: d.write }))
                .collect(),
            requests: m.requests.is_some(),
            message: m.message.is_some(),
            lines: m.lines.is_some(),
            blob: m.blob.is_some(),
            provider: m.provider.is_some(),
            channel: m.channel.is_some(),
            webhooks: m.webhooks.iter().map(|w| (w.webhook.clone(), w.verify.clone())).collect(),
            profile: m.instance.profile,
            life: m.instance.life,
            limits: m.limits,
            optional,
        }
    }
}
