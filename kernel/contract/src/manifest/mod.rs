//! `carapace.toml`: what a component is and what it asks for. Parsed once, into a verified package.
//!
//! In the package it is the custom section [`SECTION`], at most [`MAX_BYTES`], inside the digest and the signature.

mod asset;
mod check;
mod http;
mod parse;
mod reader;
mod socket;
#[cfg(test)]
mod tests;
mod values;
mod wasi;
mod webhook;

pub use asset::AssetDecl;
pub use parse::ManifestError;
pub use socket::{FrameInject, SocketDecl};
pub use values::deceives;
pub use wasi::{DirectoryDecl, WasiDecl};
pub use webhook::{ChannelDecl, Encoding, KeyForm, Piece, SignatureAt, TimestampAt, Verify, WebhookDecl};

use crate::decision::Effects;
use crate::limits::{Life, Limits, Profile};
use crate::name::{EndpointName, Name, SecretName};
use crate::version::Contracts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The custom section's name.
pub const SECTION: &str = "carapace:manifest";
/// The section's largest size, bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// The contract version for new components (`major.minor`); [`Contracts`] has all that are spoken.
pub const CONTRACT: &str = "0.1";

/// A parsed manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `[component]`
    pub component: Component,
    /// `[limits]`, what is absent filled with defaults.
    pub limits: Limits,
    /// `[instance]`
    pub instance: InstanceOptions,
    /// `[secrets.<name>]`
    pub secrets: BTreeMap<SecretName, SecretDecl>,
    /// `[[http]]`
    pub http: Vec<HttpEndpoint>,
    /// `http = "public"`: may fetch any public address, without credentials.
    pub public_http: bool,
    /// `[[socket]]`
    #[serde(default)]
    pub sockets: Vec<SocketDecl>,
    /// `[kv]`
    pub kv: Option<KvDecl>,
    /// `[[asset]]`
    #[serde(default)]
    pub assets: Vec<AssetDecl>,
    /// `[memory]`
    #[serde(default)]
    pub memory: Option<PlainDecl>,
    /// `[sessions]`
    #[serde(default)]
    pub sessions: Option<PlainDecl>,
    /// `[settings]`
    #[serde(default)]
    pub settings: Option<PlainDecl>,
    /// `[wasi]`: built for WASI 0.2.
    #[serde(default)]
    pub wasi: Option<WasiDecl>,
    /// `[requests]`
    #[serde(default)]
    pub requests: Option<PlainDecl>,
    /// `[message]`
    #[serde(default)]
    pub message: Option<PlainDecl>,
    /// `[lines]`
    pub lines: Option<PlainDecl>,
    /// `[blob]`
    #[serde(default)]
    pub blob: Option<PlainDecl>,
    /// `[provider]`: exports `provider`.
    pub provider: Option<ProviderDecl>,
    /// `[channel]`: exports `channel`.
    #[serde(default)]
    pub channel: Option<ChannelDecl>,
    /// `[[webhook]]`
    #[serde(default)]
    pub webhooks: Vec<WebhookDecl>,
    /// `[[tool]]`: exports `tools`.
    pub tools: Vec<ToolDecl>,
    /// `[build]`: how the package was made; nothing is granted or refused by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildInfo>,
}

impl Manifest {
    /// Parses TOML text.
    ///
    /// # Errors
    /// Every problem at once, each with line and column, the value, and what to write instead; an unknown key names the nearest known one.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        Self::parse_for(text, Contracts::SPOKEN)
    }

    /// [`Self::parse`] for a kernel that speaks these versions of the contract. A manifest for another one may say what cannot be judged
    /// here, so then that alone is the problem.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_for(text: &str, contracts: Contracts) -> Result<Self, ManifestError> {
        parse::parse(text, contracts)
    }

    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&ToolDecl> {
        self.tools.iter().find(|t| t.name == name)
    }

    /// The endpoint of that name.
    pub fn endpoint(&self, name: &EndpointName) -> Option<&HttpEndpoint> {
        self.http.iter().find(|e| &e.endpoint == name)
    }
}

/// `[component]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name; the publisher comes from the signature.
    pub name: Name,
    /// Semantic version.
    pub version: semver::Version,
    /// Contract version, `major.minor`; one that the kernel speaks.
    pub contract: String,
    /// One line, at most 200 characters.
    pub description: String,
}

/// `[instance]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOptions {
    /// Engine profile.
    pub profile: Profile,
    /// Life of a store.
    pub life: Life,
}

/// `[secrets.<name>]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDecl {
    /// What the owner is asked, at most 200 characters.
    pub prompt: String,
    /// Environment variable it may be taken from, once that line of consent was granted.
    pub env: Option<String>,
    /// Usable with `secrets.hmac-sha256`.
    pub hmac: bool,
    /// How the HMAC key is written in it.
    #[serde(default)]
    pub key: KeyForm,
    /// The component works without it.
    pub optional: bool,
}

/// `[[http]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpEndpoint {
    /// Its name in the contract.
    pub endpoint: EndpointName,
    /// Base URL; `https`, no userinfo, query or fragment. Only an operator may point it elsewhere.
    pub url: url::Url,
    /// Environment variable from which the operator's own base URL may be taken.
    pub url_env: Option<String>,
    /// Further host patterns (`cdn.example.com`, `*.example.com`) that handles and redirects may lead to; `https`, port 443, no credential.
    pub hosts: Vec<String>,
    /// Upper-case methods; default `GET`.
    pub methods: Vec<String>,
    /// Path patterns under the base (`/chat/completions`, `/files/*`, `/v1/**`); empty = all.
    pub paths: Vec<String>,
    /// What the kernel adds.
    pub auth: Auth,
    /// Values the kernel sets in JSON request bodies where the guest left `null`.
    pub inject: Vec<Inject>,
    /// Values in JSON responses replaced by opaque handles.
    pub capture: Vec<Capture>,
    /// The component works without it.
    pub optional: bool,
}

/// How the kernel authenticates a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer <secret>`
    Bearer {
        /// The secret.
        secret: SecretName,
    },
    /// `<name>: <prefix><secret>`
    Header {
        /// Header name.
        name: String,
        /// Text before the secret.
        prefix: String,
        /// The secret.
        secret: SecretName,
    },
    /// `?<name>=<secret>`
    Query {
        /// Parameter name.
        name: String,
        /// The secret.
        secret: SecretName,
    },
    /// `Authorization: Basic base64(<username>:<secret>)`; without a username the secret is `user:password` itself.
    Basic {
        /// User name.
        username: Option<String>,
        /// The secret.
        secret: SecretName,
    },
    /// `<base><prefix><secret>/<path>`
    PathPrefix {
        /// Text before the secret, e.g. `/bot`.
        prefix: String,
        /// The secret.
        secret: SecretName,
    },
}

impl Auth {
    /// The secret it uses.
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::None => None,
            Self::Bearer { secret }
            | Self::Header { secret, .. }
            | Self::Query { secret, .. }
            | Self::Basic { secret, .. }
            | Self::PathPrefix { secret, .. } => Some(secret),
        }
    }
    /// The scheme's name in the manifest.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer { .. } => "bearer",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
            Self::Basic { .. } => "basic",
            Self::PathPrefix { .. } => "path-prefix",
        }
    }
}

/// A value the kernel sets in a JSON body where the guest left `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inject {
    /// JSON pointer (RFC 6901) of the place.
    pub at: String,
    /// Only when each of these pointers holds one of the given values.
    pub when: BTreeMap<String, Vec<serde_json::Value>>,
    /// The secret.
    pub secret: SecretName,
}

/// A value in a JSON response that becomes an opaque handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Capture {
    /// JSON pointer (RFC 6901).
    pub at: String,
    /// `link`: a URL usable as `http` target; `secret`: any string, usable nowhere yet but hidden.
    #[serde(rename = "as")]
    pub kind: CaptureKind,
}

/// See [`Capture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureKind {
    /// A URL, checked against the endpoint's `hosts`.
    Link,
}

/// `[kv]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvDecl {
    /// The component works without it.
    pub optional: bool,
    /// The form in which this version keeps its pairs, from 1.
    #[serde(default = "KvDecl::first")]
    pub schema: u32,
}

impl KvDecl {
    fn first() -> u32 {
        1
    }
}

impl Default for KvDecl {
    fn default() -> Self {
        Self { optional: false, schema: Self::first() }
    }
}

/// A section that says nothing but that it is wanted: `[memory]`, `[sessions]`, `[settings]`, `[requests]`, `[message]`, `[lines]`, `[blob]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainDecl {
    /// The component works without it.
    pub optional: bool,
}

/// `[provider]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderDecl {
    /// The model used when the owner names none.
    pub default_model: Option<String>,
    /// Answers when no other provider is configured: a model that needs neither key nor server.
    #[serde(default)]
    pub fallback: bool,
}

/// `[build]`, which `carapace plugin build` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// What compiled it, as the compiler says it: one line, at most 200 characters.
    pub compiler: String,
}

/// `[[tool]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDecl {
    /// `[a-z0-9_]{1,64}`
    pub name: String,
    /// What one call is linked to.
    pub uses: Vec<Use>,
    /// Derived from `uses`, and what the author added.
    pub effects: Effects,
    /// Nothing that it hears outside comes back: it answers an id, or nothing.
    #[serde(default)]
    pub quiet: bool,
    /// The argument by which it can act in another conversation than its own.
    #[serde(default)]
    pub conversation: Option<String>,
}

/// One thing a tool may use in a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// `http:<endpoint>`
    Http(EndpointName),
    /// `http:public`
    PublicHttp,
    /// `kv`
    Kv,
    /// `memory`: notes, to read and to write.
    Memory,
    /// `memory:read`: notes, to read only.
    MemoryRead,
    /// `sessions`: conversations, to read.
    Sessions,
    /// `settings`: the configuration, to read.
    Settings,
    /// `requests`: to ask the owner for what only they can give.
    Requests,
    /// `message`: to say something elsewhere.
    Message,
    /// `blob`: media.
    Blob,
    /// `secrets`: `exists` and HMAC.
    Secrets,
    /// `assets`: the package's own files.
    Assets,
    /// `directory:<name>`: a directory of the owner's.
    Directory(Name),
}

impl Use {
    /// As it stands in `uses`.
    pub fn word(&self) -> String {
        crate::capability::use_word(self)
    }
}
