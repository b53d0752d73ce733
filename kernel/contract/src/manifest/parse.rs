//! TOML to [`Manifest`], with every problem reported at once.

use super::check;
use super::reader::{Problems, Section, Span, Spanned, nearest, tables};
use super::values::{self, shown};
use super::{
    BuildInfo, ChannelDecl, Component, InstanceOptions, KvDecl, Manifest, PlainDecl, ProviderDecl, SecretDecl,
    ToolDecl, Use, asset, http, socket, wasi, webhook,
};
use crate::decision::{Effect, Effects};
use crate::limits::{Life, Limits, Profile};
use crate::name::{Name, SecretName};
use crate::version::Contracts;
use toml_edit::{Document, Item};

/// Every problem of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ManifestError {
    /// One text each, `line:column: what, and what to write instead`.
    pub problems: Vec<String>,
}

const SECTIONS: [&str; 21] = [
    "component",
    "limits",
    "instance",
    "secrets",
    "http",
    "socket",
    "kv",
    "memory",
    "sessions",
    "settings",
    "requests",
    "message",
    "lines",
    "blob",
    "asset",
    "wasi",
    "provider",
    "channel",
    "webhook",
    "tool",
    "build",
];
/// Known to the design and not to this kernel.
const RESERVED: [&str; 3] = ["files", "process", "model"];

/// What was read, whole or not: cross checks want the names even of declarations with mistakes in them.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) component: Option<Component>,
    pub(super) limits: Limits,
    pub(super) instance: InstanceOptions,
    pub(super) secrets: Vec<(Spanned<SecretName>, Option<SecretDecl>)>,
    pub(super) http: Vec<http::Draft>,
    pub(super) public_http: Option<Span>,
    pub(super) sockets: Vec<socket::Draft>,
    pub(super) kv: Option<Spanned<KvDecl>>,
    pub(super) assets: Vec<asset::Draft>,
    pub(super) memory: Option<Spanned<PlainDecl>>,
    pub(super) sessions: Option<Spanned<PlainDecl>>,
    pub(super) settings: Option<Spanned<PlainDecl>>,
    pub(super) wasi: Option<Spanned<wasi::Draft>>,
    pub(super) requests: Option<Spanned<PlainDecl>>,
    pub(super) message: Option<Spanned<PlainDecl>>,
    pub(super) lines: Option<Spanned<PlainDecl>>,
    pub(super) blob: Option<Spanned<PlainDecl>>,
    pub(super) provider: Option<ProviderDecl>,
    pub(super) channel: Option<Spanned<ChannelDecl>>,
    pub(super) webhooks: Vec<webhook::Draft>,
    pub(super) tools: Vec<DraftTool>,
    /// `[[tool]]` stands there, however broken.
    pub(super) has_tools: bool,
    pub(super) build: Option<BuildInfo>,
}

/// A `[[tool]]` as far as it was readable.
pub(super) struct DraftTool {
    pub(super) name: Option<Spanned<String>>,
    pub(super) uses: Vec<Spanned<Use>>,
    pub(super) extra: Effects,
    pub(super) quiet: Option<Span>,
    pub(super) conversation: Option<Spanned<String>>,
}

pub(super) fn parse(text: &str, contracts: Contracts) -> Result<Manifest, ManifestError> {
    let problems = Problems::default();
    let manifest = match Document::parse(text) {
        Ok(document) => {
            if let Some((span, version)) = foreign(document.as_item(), contracts) {
                problems.at(&span, format!("`contract`: {}", contracts.unspoken(&shown(&version))));
                return Err(ManifestError { problems: problems.into_texts(text) });
            }
            let draft = read(document.as_item(), &problems);
            check::check(&draft, &problems);
            finish(draft)
        }
        Err(e) => {
            problems.at(&e.span().unwrap_or(0..0), format!("not TOML: {}", e.message().replace('\n', "; ")));
            None
        }
    };
    match (manifest, problems.into_texts(text)) {
        (Some(manifest), texts) if texts.is_empty() => Ok(manifest),
        (_, problems) => Err(ManifestError { problems }),
    }
}

/// The manifest's contract, if the kernel does not speak it.
fn foreign(root: &Item, contracts: Contracts) -> Option<(Span, String)> {
    let item = root.get("component")?.get("contract")?;
    let version = item.as_str().filter(|v| contracts.find(v).is_none())?;
    Some((item.span().unwrap_or(0..0), version.to_owned()))
}

fn read(root: &Item, problems: &Problems) -> Draft {
    let mut draft = Draft::default();
    let Some(root) = Section::of(root, "the manifest", 0..0, problems) else { return draft };
    for (key, span) in root.keys() {
        if RESERVED.contains(&key) {
            problems.at(
                &span,
                format!("`{key}`: this kernel does not offer it, and a permission the kernel cannot enforce is a manifest error; remove it"),
            );
        } else if !SECTIONS.contains(&key) {
            problems.at(&span, format!("`{key}` is not a section; {}", nearest(key, &SECTIONS)));
        }
    }
    match root.section("component", problems) {
        Some(section) => draft.component = component(&section, problems),
        None if root.get("component").is_none() => {
            problems
                .at(&(0..0), "`[component]` is missing; it names the component: name, version, contract, description");
        }
        None => {}
    }
    if let Some(section) = root.section("limits", problems) {
        draft.limits = limits(&section, problems);
    }
    if let Some(section) = root.section("instance", problems) {
        draft.instance = instance(&section, problems);
    }
    if let Some(section) = root.section("secrets", problems) {
        draft.secrets = secrets(&section, problems);
    }
    if let Some((item, span)) = root.get("http") {
        http::read(item, span, &mut draft, problems);
    }
    if let Some((item, span)) = root.get("socket") {
        draft.sockets = tables(item, "socket", span, problems).iter().map(|s| socket::read(s, problems)).collect();
    }
    if let Some(section) = root.section("kv", problems) {
        section.only(&["optional", "schema"], problems);
        let optional = section.flag("optional", problems);
        let schema = section.count("schema", u64::from(u32::MAX), problems).and_then(|n| u32::try_from(n).ok());
        let schema = schema.unwrap_or(KvDecl::default().schema);
        draft.kv = Some(Spanned { value: KvDecl { optional, schema }, span: section.span });
    }
    if let Some((item, span)) = root.get("asset") {
        draft.assets = tables(item, "asset", span, problems).iter().map(|s| asset::read(s, problems)).collect();
    }
    draft.memory = plain(&root, "memory", problems);
    draft.sessions = plain(&root, "sessions", problems);
    draft.settings = plain(&root, "settings", problems);
    if let Some(section) = root.section("wasi", problems) {
        draft.wasi = Some(Spanned { value: wasi::read(&section, problems), span: section.span });
    }
    draft.requests = plain(&root, "requests", problems);
    draft.message = plain(&root, "message", problems);
    draft.lines = plain(&root, "lines", problems);
    draft.blob = plain(&root, "blob", problems);
    if let Some(section) = root.section("provider", problems) {
        section.only(&["default-model", "fallback"], problems);
        let default_model = section.with("default-model", problems, |s| values::line(s, 200));
        let fallback = section.flag("fallback", problems);
        draft.provider = Some(ProviderDecl { default_model: default_model.map(|m| m.value), fallback });
    }
    draft.channel = webhook::channel(&root, problems);
    if let Some((item, span)) = root.get("webhook") {
        draft.webhooks = webhook::webhooks(item, span, problems);
    }
    if let Some((item, span)) = root.get("tool") {
        draft.has_tools = true;
        for section in tables(item, "tool", span, problems) {
            draft.tools.push(tool(&section, problems));
        }
    }
    if let Some(section) = root.section("build", problems) {
        section.only(&["compiler"], problems);
        let compiler = section.required("compiler", "compiler = \"rustc 1.95.0\"", problems, |s| values::line(s, 200));
        draft.build = compiler.map(|c| BuildInfo { compiler: c.value });
    }
    draft
}

fn finish(draft: Draft) -> Option<Manifest> {
    let mut manifest = Manifest {
        component: draft.component?,
        limits: draft.limits,
        instance: draft.instance,
        secrets: draft.secrets.into_iter().filter_map(|(name, decl)| Some((name.value, decl?))).collect(),
        http: draft.http.into_iter().filter_map(|e| e.decl).collect(),
        public_http: draft.public_http.is_some(),
        sockets: draft.sockets.into_iter().filter_map(|s| s.decl).collect(),
        kv: draft.kv.map(|kv| kv.value),
        assets: draft.assets.into_iter().filter_map(|a| a.decl).collect(),
        memory: draft.memory.map(|d| d.value),
        sessions: draft.sessions.map(|d| d.value),
        settings: draft.settings.map(|d| d.value),
        wasi: draft.wasi.map(|w| w.value.decl),
        requests: draft.requests.map(|d| d.value),
        message: draft.message.map(|d| d.value),
        lines: draft.lines.map(|d| d.value),
        blob: draft.blob.map(|d| d.value),
        provider: draft.provider,
        channel: draft.channel.map(|c| c.value),
        webhooks: draft.webhooks.into_iter().filter_map(|w| w.decl).collect(),
        tools: Vec::new(),
        build: draft.build,
    };
    for tool in draft.tools {
        let uses: Vec<Use> = tool.uses.into_iter().map(|u| u.value).collect();
        let quiet = tool.quiet.is_some();
        let effects = tool.extra.union(manifest.effects_of(&uses, quiet));
        let conversation = tool.conversation.map(|c| c.value);
        manifest.tools.push(ToolDecl { name: tool.name?.value, uses, effects, quiet, conversation });
    }
    Some(manifest)
}

/// A section with nothing but `optional` in it.
fn plain(root: &Section<'_>, key: &str, problems: &Problems) -> Option<Spanned<PlainDecl>> {
    let section = root.section(key, problems)?;
    section.only(&["optional"], problems);
    let optional = section.flag("optional", problems);
    Some(Spanned { value: PlainDecl { optional }, span: section.span })
}

fn component(s: &Section<'_>, problems: &Problems) -> Option<Component> {
    s.only(&["name", "version", "contract", "description"], problems);
    let name = s.required("name", "name = \"my-component\"", problems, values::name::<Name>);
    let version = s.required("version", "version = \"0.1.0\"", problems, |v| {
        semver::Version::parse(v).map_err(|e| format!("is not a semantic version ({e}); write e.g. \"0.1.0\""))
    });
    let contract = s.required("contract", "contract = \"0.1\"", problems, |v| Ok(v.to_owned()));
    let description =
        s.required("description", "description = \"what it does, in one line\"", problems, |v| values::line(v, 200));
    Some(Component {
        name: name?.value,
        version: version?.value,
        contract: contract?.value,
        description: description?.value,
    })
}

fn limits(s: &Section<'_>, problems: &Problems) -> Limits {
    s.only(&Limits::KEYS, problems);
    let d = Limits::default();
    let size = |key: &str, default: u64| s.with(key, problems, values::size).map_or(default, |v| v.value);
    let time = |key: &str, default: u64| s.with(key, problems, values::duration_ms).map_or(default, |v| v.value);
    let count = |key: &str, default: u64| s.count(key, u64::MAX, problems).unwrap_or(default);
    let small = |key: &str, default: u32| {
        s.count(key, u64::from(u32::MAX), problems).and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
    };
    Limits {
        memory: size("memory", d.memory),
        fuel_per_call: count("fuel-per-call", d.fuel_per_call),
        cpu_ms_per_call: time("cpu-per-call", d.cpu_ms_per_call),
        wall_ms_per_call: time("wall-per-call", d.wall_ms_per_call),
        host_calls_per_call: count("host-calls-per-call", d.host_calls_per_call),
        host_call_bytes: size("host-call-bytes", d.host_call_bytes),
        handles: small("handles", d.handles),
        concurrency: small("concurrency", d.concurrency),
        result_bytes: size("result-size", d.result_bytes),
        kv_bytes: size("kv-size", d.kv_bytes),
        notes_bytes: size("notes-size", d.notes_bytes),
        log_lines_per_minute: small("log-lines-per-minute", d.log_lines_per_minute),
        http_requests_per_minute: small("http-requests-per-minute", d.http_requests_per_minute),
        http_request_bytes: size("http-request-size", d.http_request_bytes),
        http_response_bytes: size("http-response-size", d.http_response_bytes),
        warm_idle_ms: time("warm-idle", d.warm_idle_ms),
    }
}

fn instance(s: &Section<'_>, problems: &Problems) -> InstanceOptions {
    s.only(&["profile", "life"], problems);
    let profile = s.with("profile", problems, |v| match v {
        "metered" => Ok(Profile::Metered),
        "cpu" => Ok(Profile::Cpu),
        _ => Err("is not a profile; write \"metered\" or \"cpu\"".to_owned()),
    });
    let life = s.with("life", problems, |v| match v {
        "fresh" => Ok(Life::Fresh),
        "warm" => Ok(Life::Warm),
        _ => Err("is not a life; write \"fresh\" or \"warm\"".to_owned()),
    });
    InstanceOptions {
        profile: profile.map(|p| p.value).unwrap_or_default(),
        life: life.map(|l| l.value).unwrap_or_default(),
    }
}

fn secrets(s: &Section<'_>, problems: &Problems) -> Vec<(Spanned<SecretName>, Option<SecretDecl>)> {
    let mut found = Vec::new();
    for (key, span) in s.keys() {
        let section = s.section(key, problems);
        let decl = section.and_then(|s| {
            s.only(&["prompt", "env", "hmac", "key", "optional"], problems);
            let env = s.with("env", problems, values::env_name);
            let (hmac, optional) = (s.flag("hmac", problems), s.flag("optional", problems));
            let prompt = s.required("prompt", "prompt = \"API key from …\"", problems, |v| values::line(v, 200))?;
            let key = s.with("key", problems, webhook::key_form);
            if let (Some(key), false) = (&key, hmac) {
                problems.at(&key.span, "`key` says how an HMAC key is written; add hmac = true, or remove it");
            }
            let key = key.map(|k| k.value).unwrap_or_default();
            Some(SecretDecl { prompt: prompt.value, env: env.map(|e| e.value), hmac, key, optional })
        });
        match values::name::<SecretName>(key) {
            Ok(value) => found.push((Spanned { value, span }, decl)),
            Err(why) => problems.at(&span, format!("`{}` {why}", values::shown(key))),
        }
    }
    found
}

fn tool(s: &Section<'_>, problems: &Problems) -> DraftTool {
    s.only(&["name", "uses", "effects", "quiet", "conversation"], problems);
    let word = |v: &str| {
        (1..=64).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let name = s.required("name", "name = \"my_tool\"", problems, |v| {
        if word(v) {
            Ok(v.to_owned())
        } else {
            Err("is not a tool name; it has 1 to 64 of a-z, 0-9 and `_`".to_owned())
        }
    });
    let conversation = s.with("conversation", problems, |v| {
        if word(v) { Ok(v.to_owned()) } else { Err("is not an argument; write its name, e.g. \"chat_id\"".to_owned()) }
    });
    let quiet = s.flag("quiet", problems).then(|| s.get("quiet").map_or(0..0, |(_, span)| span));
    let uses = s.list("uses", problems, values::tool_use);
    let effects = s.list("effects", problems, |v| {
        let known = Effect::ALL.into_iter().find(|e| e.as_str() == v);
        known.ok_or_else(|| format!("is not an effect; {}", nearest(v, &Effect::ALL.map(Effect::as_str))))
    });
    let extra = effects.unwrap_or_default().into_iter().fold(Effects::NONE, |all, e| all.with(e.value));
    DraftTool { name, uses: uses.unwrap_or_default(), extra, quiet, conversation }
}
