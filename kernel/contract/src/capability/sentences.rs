//! The consent screen's lines. What is granted is what these say; nothing else may be added to a component.

use super::{
    AssetCapability, CapabilitySet, HttpCapability, SecretCapability, Sentence, SocketCapability, ToolCapability,
};
use crate::limits::{Life, Limits, Profile};
use crate::manifest::{Auth, Use, Verify};
use crate::name::{AssetName, EndpointName, InstanceId, SecretName};
use std::fmt::Write as _;

impl CapabilitySet {
    /// One line or more for each capability, in plain words; limits last. With an instance, the commands name it.
    pub fn sentences(&self, instance: Option<&InstanceId>) -> Vec<Sentence> {
        let mut lines = Vec::new();
        let mut say = |capability: String, text: String| {
            let optional = self.optional.contains(&capability);
            lines.push(Sentence { capability, text, optional });
        };
        for (name, secret) in &self.secrets {
            for text in self.secret_lines(name, secret, instance) {
                say(format!("secret:{name}"), text);
            }
        }
        for (name, endpoint) in &self.http {
            for text in http_lines(endpoint) {
                say(format!("http:{name}"), text);
            }
        }
        if self.public_http {
            say("http:public".into(), "may fetch any public address on the Internet, without credentials".into());
        }
        for (name, socket) in &self.sockets {
            for text in socket_lines(socket) {
                say(format!("socket:{name}"), text);
            }
        }
        if self.kv {
            say("kv".into(), format!("keeps up to {} of its own data", bytes(self.limits.kv_bytes)));
        }
        for (name, asset) in &self.assets {
            say(format!("asset:{name}"), asset_line(name, asset));
        }
        if self.memory {
            say(
                "memory".into(),
                format!(
                    "keeps up to {} of notes that outlast a conversation, yours apart from everyone else's, and searches them",
                    bytes(self.limits.notes_bytes)
                ),
            );
        }
        if self.sessions {
            say(
                "sessions".into(),
                "reads conversations: all of them when you ask, and when somebody else asks, the one they are in"
                    .into(),
            );
        }
        if self.settings {
            say("settings".into(), "reads the configuration, without secrets, when you ask".into());
        }
        if let Some(wasi) = self.wasi {
            say("wasi".into(), "was built for WASI: it finds an empty environment there, and no sockets".into());
            for (word, has, text) in [
                ("clocks", wasi.clocks, "reads the time through WASI"),
                ("random", wasi.random, "draws random numbers through WASI"),
                ("stdio", wasi.stdio, "what it prints goes into its log"),
            ] {
                if has {
                    say(format!("wasi:{word}"), text.into());
                }
            }
        }
        for (name, directory) in &self.directories {
            let does = if directory.write { "reads, changes and deletes" } else { "reads" };
            let text = format!("{does} everything in the directory that you name for `{name}` ({})", directory.prompt);
            say(format!("directory:{name}"), text);
        }
        if self.requests {
            let text = "may propose, when you speak with it, that a component be installed; only you can do it (`carapace plugin requests`)";
            say("requests".into(), text.into());
        }
        if self.message {
            let text = "sends messages in your name through your channels: to you, and, when you ask, to those you list under `channels: { targets }`";
            say("message".into(), text.into());
        }
        if self.blob {
            let text = "fetches files and images that people send, gets those that go out with answers, and may put either into its requests; they are kept with the assistant's data for 30 days";
            say("blob".into(), text.into());
        }
        if self.lines {
            let text = "talks line by line with programs on this computer that have your token (`carapace console`), and says that it is you who writes there";
            say("lines".into(), text.into());
        }
        if self.provider {
            say("provider".into(), "answers as a language model, and reads the conversations it is asked about".into());
        }
        if self.channel {
            say(
                "channel".into(),
                "speaks with people as your assistant, and reads what they write; it can claim that anyone, you included, wrote something"
                    .into(),
            );
        }
        for (name, verify) in &self.webhooks {
            say(format!("webhook:{name}"), webhook_line(name.as_str(), verify));
        }
        for (name, tool) in &self.tools {
            say(format!("tool:{name}"), tool_line(name, tool));
        }
        if self.life == Life::Warm {
            say(
                "life".into(),
                format!(
                    "stays in memory between calls (warm), until {} after the last, so one call can leave something for the next",
                    time(self.limits.warm_idle_ms)
                ),
            );
        }
        if self.profile == Profile::Cpu {
            say(
                "profile".into(),
                "uses the cpu profile: heavy arithmetic, bounded by time instead of counted instructions".into(),
            );
        }
        say("limits".into(), limits_line(&self.limits, self.public_http || !self.http.is_empty()));
        lines
    }

    fn secret_lines(&self, name: &SecretName, s: &SecretCapability, instance: Option<&InstanceId>) -> Vec<String> {
        let source = source(name, s, instance);
        let mut lines = Vec::new();
        for endpoint in self.http.values() {
            let origin = origin(endpoint);
            if endpoint.auth.secret() == Some(name) {
                lines.push(format!("sends the secret `{name}` ({source}) to {origin} {}", manner(&endpoint.auth)));
            }
            for inject in endpoint.inject.iter().filter(|i| &i.secret == name) {
                lines.push(format!(
                    "sends the secret `{name}` ({source}) to {origin} inside request bodies, at `{}`",
                    inject.at
                ));
            }
        }
        for socket in self.sockets.values() {
            let there = socket_origin(socket);
            if socket.auth.secret() == Some(name) {
                let manner = manner(&socket.auth);
                lines.push(format!("sends the secret `{name}` ({source}) to {there} {manner}, when it connects"));
            }
            for inject in socket.inject.iter().filter(|i| &i.rule.secret == name) {
                let at = &inject.rule.at;
                lines.push(format!("sends the secret `{name}` ({source}) to {there} inside messages, at `{at}`"));
            }
        }
        for (webhook, verify) in self.webhooks.iter().filter(|(_, v)| v.secret() == Some(name)) {
            let how =
                if matches!(verify, Verify::Header { .. }) { "compares what is sent" } else { "checks signatures" };
            lines.push(format!("{how} with the secret `{name}` ({source}) at the webhook `{webhook}`, in the kernel"));
        }
        if s.hmac {
            lines.push(format!("signs data with the secret `{name}` ({source}) by HMAC, without seeing it"));
        }
        if lines.is_empty() {
            lines.push(format!("knows whether the secret `{name}` ({source}) is set"));
        }
        lines
    }
}

/// Where a secret comes from.
fn source(name: &SecretName, s: &SecretCapability, instance: Option<&InstanceId>) -> String {
    let command = match instance {
        Some(instance) => format!("`carapace secrets set {name} --instance {instance}`"),
        None => "`carapace secrets set`".to_owned(),
    };
    match &s.env {
        Some(env) => format!("from the environment variable {env}, or {command}"),
        None => format!("from {command}"),
    }
}

fn origin(endpoint: &HttpCapability) -> String {
    endpoint.url.origin().ascii_serialization()
}

/// How a secret is sent.
fn manner(auth: &Auth) -> String {
    match auth {
        Auth::None => "not at all".to_owned(),
        Auth::Bearer { .. } => "as a bearer token".to_owned(),
        Auth::Header { name, .. } => format!("in the header `{name}`"),
        Auth::Query { name, .. } => format!("in the address, as the parameter `{name}`"),
        Auth::Basic { username: Some(user), .. } => format!("as the password of `{user}`"),
        Auth::Basic { username: None, .. } => "as user name and password".to_owned(),
        Auth::PathPrefix { prefix, .. } => format!("in the address, after `{prefix}`"),
    }
}

fn http_lines(e: &HttpCapability) -> Vec<String> {
    let base = e.url.as_str().trim_end_matches('/');
    let methods = list(e.methods.iter().map(String::as_str), "and");
    let mut lines = vec![if e.paths.is_empty() {
        format!("may {methods} anything under {base}")
    } else {
        format!("may {methods} to {}", list(e.paths.iter().map(|p| format!("{base}{p}")), "and"))
    }];
    if super::is_this_machine(&e.url) {
        lines.push(
            "that is a program on this machine, reached without encryption; what it is, nobody checks".to_owned(),
        );
    }
    if let Some(env) = &e.url_env {
        let along = if e.secrets().next().is_some() { "; what it sends, and its secrets, go there then" } else { "" };
        lines.push(format!("the owner may point this elsewhere with {env}{along}"));
    }
    if !e.hosts.is_empty() {
        let hosts = list(e.hosts.iter().map(String::as_str), "and");
        lines.push(format!("may follow links and redirects from there to {hosts}, without credentials"));
    }
    if !e.capture.is_empty() {
        let places = list(e.capture.iter().map(|c| format!("`{}`", c.at)), "and");
        lines.push(format!("may use the links in responses at {places} without seeing them"));
    }
    lines
}

fn socket_origin(s: &SocketCapability) -> String {
    match &s.url {
        // Not `origin()`, which knows no scheme of a WebSocket but as opaque.
        Some(url) => {
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        }
        None => list(s.hosts.iter().map(|h| format!("wss://{h}")), "and"),
    }
}

fn socket_lines(s: &SocketCapability) -> Vec<String> {
    let mut lines = vec![match &s.url {
        Some(url) => format!("keeps a connection open to {}", url.as_str().trim_end_matches('/')),
        None => format!("keeps a connection open to {}, at an address that the platform names", socket_origin(s)),
    }];
    if s.url.as_ref().is_some_and(super::is_this_machine) {
        lines.push(
            "that is a program on this machine, reached without encryption; what it is, nobody checks".to_owned(),
        );
    }
    if let Some(env) = &s.url_env {
        let along = if s.secrets().next().is_some() { "; what it sends, and its secrets, go there then" } else { "" };
        lines.push(format!("the owner may point this elsewhere with {env}{along}"));
    }
    if s.spool {
        lines.push(
            "what comes through it is kept until it has been dealt with, because the platform does not repeat it"
                .to_owned(),
        );
    }
    let most = s.logins_per_day.map(|n| format!(", and logs in at most {n} times a day")).unwrap_or_default();
    lines.push(format!("takes messages of at most {} through it{most}", bytes(s.max_frame)));
    lines
}

fn asset_line(name: &AssetName, asset: &AssetCapability) -> String {
    let from = if asset.hosts.is_empty() {
        "which comes beside it".to_owned()
    } else {
        format!("which `carapace assets fetch` takes from {}", list(asset.hosts.iter().map(String::as_str), "or"))
    };
    format!("reads its own file `{name}` ({}, sha256 {}…), {from}", megabytes(asset.size), asset.sha256.short())
}

fn tool_line(name: &str, tool: &ToolCapability) -> String {
    let does = if tool.effects.is_empty() && tool.uses.contains(&Use::Requests) {
        "only asks you".to_owned()
    } else if tool.effects.is_empty() {
        "only computes".to_owned()
    } else {
        format!("can {}", list(tool.effects.iter().map(|e| e.as_str()), "and"))
    };
    let uses = list(tool.uses.iter().map(use_word), "and");
    let mut line = format!("offers the tool `{name}`, which {does}");
    if !uses.is_empty() {
        let _ = write!(line, ", using {uses}");
    }
    if tool.quiet {
        line.push_str("; nothing it hears there comes back");
    }
    if tool.conversation.is_some() {
        line.push_str("; in other conversations than its own only when you ask");
    }
    line
}

fn webhook_line(name: &str, verify: &Verify) -> String {
    let proof = match verify {
        Verify::Header { name, .. } => format!("whose header `{name}` holds the secret"),
        Verify::HmacSha256 { signature, .. } => format!("signed by HMAC-SHA256 in `{}`", signature.header),
        Verify::Ed25519 { signature, .. } => format!("signed by Ed25519 in `{}`", signature.header),
    };
    format!("takes requests at its address `…/{name}` on the webhook port, {proof}")
}

/// As it stands in `uses`.
pub(crate) fn use_word(u: &Use) -> String {
    let http = |e: &EndpointName| format!("http:{e}");
    match u {
        Use::Http(endpoint) => http(endpoint),
        Use::PublicHttp => "http:public".to_owned(),
        Use::Kv => "kv".to_owned(),
        Use::Secrets => "secrets".to_owned(),
        Use::Assets => "assets".to_owned(),
        Use::Directory(name) => format!("directory:{name}"),
        Use::Memory => "memory".to_owned(),
        Use::MemoryRead => "memory:read".to_owned(),
        Use::Sessions => "sessions".to_owned(),
        Use::Settings => "settings".to_owned(),
        Use::Requests => "requests".to_owned(),
        Use::Message => "message".to_owned(),
        Use::Blob => "blob".to_owned(),
    }
}

fn limits_line(l: &Limits, http: bool) -> String {
    let requests =
        if http { format!(", {} HTTP requests a minute", l.http_requests_per_minute) } else { String::new() };
    format!(
        "is limited to {} of memory, {} of processor time and {} in all per call, {} calls at once{requests}",
        bytes(l.memory),
        time(l.cpu_ms_per_call),
        time(l.wall_ms_per_call),
        l.concurrency,
    )
}

/// `a, b and c`
fn list<S: AsRef<str>>(items: impl Iterator<Item = S>, and: &str) -> String {
    let items: Vec<S> = items.collect();
    let mut out = String::new();
    let last = items.len().saturating_sub(1);
    for (at, item) in items.iter().enumerate() {
        let joint = if at == 0 {
            String::new()
        } else if at == last {
            format!(" {and} ")
        } else {
            ", ".to_owned()
        };
        write!(out, "{joint}{}", item.as_ref()).ok();
    }
    out
}

/// Bytes in the largest unit that leaves a whole number.
fn bytes(n: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| n >= *size && n.is_multiple_of(*size));
    unit.map_or_else(|| format!("{n} B"), |(size, name)| format!("{} {name}", n / size))
}

/// A file's size, for people.
pub(crate) fn megabytes(n: u64) -> String {
    if n < 1_000_000 { format!("{n} bytes") } else { format!("{} MB", n.div_ceil(1_000_000)) }
}

/// Milliseconds in the largest unit that leaves a whole number.
fn time(ms: u64) -> String {
    let units = [(60_000, "min"), (1_000, "s")];
    let unit = units.into_iter().find(|(size, _)| ms >= *size && ms.is_multiple_of(*size));
    unit.map_or_else(|| format!("{ms} ms"), |(size, name)| format!("{} {name}", ms / size))
}

/// A limit's value in its own unit.
pub(crate) fn amount(key: &str, value: u64) -> String {
    match key {
        "memory" | "host-call-bytes" | "result-size" | "kv-size" | "notes-size" | "http-request-size"
        | "http-response-size" | "max-frame" => bytes(value),
        "cpu-per-call" | "wall-per-call" | "warm-idle" => time(value),
        _ => value.to_string(),
    }
}
