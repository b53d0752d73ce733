//! What only the whole manifest can tell: names that meet nothing, and permissions that nothing uses.

use super::parse::Draft;
use super::reader::{Problems, Spanned, nearest};
use super::{Manifest, Use};
use crate::capability::use_word;
use crate::decision::{Effect, Effects};
use crate::name::Name;
use std::collections::BTreeMap;

impl Manifest {
    /// What a call that uses these can do: any request fetches, any method but GET and HEAD lets something leave, and what
    /// lasts beyond the conversation is the owner's: its notes, its conversations, its configuration.
    ///
    /// `quiet`: nothing comes back from there, so that nothing is fetched.
    pub fn effects_of(&self, uses: &[Use], quiet: bool) -> Effects {
        uses.iter().fold(Effects::NONE, |effects, u| match u {
            Use::Kv | Use::Secrets | Use::Assets | Use::Requests | Use::Blob => effects,
            Use::Memory => effects.with(Effect::Read).with(Effect::Write),
            Use::MemoryRead | Use::Sessions | Use::Settings => effects.with(Effect::Read),
            Use::Directory(name) => {
                let of = |d: &super::DirectoryDecl| &d.name == name && d.write;
                let writes = self.wasi.as_ref().is_some_and(|w| w.directories.iter().any(of));
                let reads = effects.with(Effect::Read);
                if writes { reads.with(Effect::Write) } else { reads }
            }
            Use::Message => effects.with(Effect::Send),
            Use::PublicHttp => effects.with(Effect::Fetch),
            Use::Http(name) => {
                let methods = self.endpoint(name).map(|e| e.methods.as_slice()).unwrap_or_default();
                let sends = methods.iter().any(|m| m != "GET" && m != "HEAD");
                let fetches = if quiet { effects } else { effects.with(Effect::Fetch) };
                if sends { fetches.with(Effect::Send) } else { fetches }
            }
        })
    }
}

pub(super) fn check(draft: &Draft, problems: &Problems) {
    if draft.provider.is_none() && draft.channel.is_none() && !draft.has_tools {
        problems
            .at(&(0..0), "the component does nothing: declare [[tool]], [provider] or [channel], whichever it exports");
    }
    if let (None, Some(name)) = (&draft.channel, draft.webhooks.iter().find_map(|w| w.name.as_ref())) {
        problems.at(&name.span, "a webhook brings messages to a channel; add [channel], or remove [[webhook]]");
    }
    if let (None, Some(name)) = (&draft.channel, draft.sockets.iter().find_map(|s| s.name.as_ref())) {
        problems.at(&name.span, "a socket brings messages to a channel; add [channel], or remove [[socket]]");
    }
    if let (None, Some(lines)) = (&draft.channel, &draft.lines) {
        problems.at(&lines.span, "lines are what a channel is told; add [channel], or remove [lines]");
    }
    duplicates("webhook", draft.webhooks.iter().filter_map(|w| w.name.as_ref()), problems);
    let sockets = draft.sockets.iter().filter_map(|s| s.name.as_ref());
    duplicates("endpoint", draft.http.iter().filter_map(|e| e.name.as_ref()).chain(sockets), problems);
    duplicates("asset", draft.assets.iter().filter_map(|a| a.name.as_ref()), problems);
    duplicates("directory", draft.wasi.iter().flat_map(|w| &w.value.names), problems);
    duplicates("tool", draft.tools.iter().filter_map(|t| t.name.as_ref()), problems);
    secrets(draft, problems);
    uses(draft, problems);
    tools_of_channels(draft, problems);
    unused(draft, problems);
}

/// A quiet tool answers an id, or nothing; what it could bring along otherwise, from the owner's things or from anywhere, has no place in it.
fn tools_of_channels(draft: &Draft, problems: &Problems) {
    for tool in &draft.tools {
        let sends = |name: &crate::name::EndpointName| {
            let decl = draft.http.iter().filter_map(|e| e.decl.as_ref()).find(|e| &e.endpoint == name);
            decl.is_none_or(|e| e.methods.iter().any(|m| m != "GET" && m != "HEAD"))
        };
        let quiet = tool.uses.iter().all(|u| match &u.value {
            Use::Http(name) => sends(name),
            Use::Kv | Use::Secrets | Use::Message | Use::Blob => true,
            _ => false,
        });
        if let Some(span) = tool.quiet.as_ref().filter(|_| !quiet) {
            problems.at(
                span,
                "a quiet tool answers nothing of what it reads, so it can use only endpoints that take more than GET, \"kv\", \"secrets\" \
                 and \"message\"; remove `quiet`",
            );
        }
        if let (Some(argument), None) = (&tool.conversation, &draft.channel) {
            problems.at(&argument.span, "only a tool of a channel has a conversation; add [channel], or remove it");
        }
    }
}

fn duplicates<'a, T: ToString + 'a>(what: &str, all: impl Iterator<Item = &'a Spanned<T>>, problems: &Problems) {
    let mut seen = BTreeMap::new();
    for one in all {
        let name = one.value.to_string();
        if seen.insert(name.clone(), ()).is_some() {
            problems.at(&one.span, format!("the {what} `{name}` stands there twice; rename or remove one"));
        }
    }
}

fn secrets(draft: &Draft, problems: &Problems) {
    let declared: Vec<&str> = draft.secrets.iter().map(|(name, _)| name.value.as_str()).collect();
    let webhooks = draft.webhooks.iter().flat_map(|w| &w.secrets);
    let sockets = draft.sockets.iter().flat_map(|s| &s.secrets);
    let used = || draft.http.iter().flat_map(|e| &e.secrets).chain(sockets.clone()).chain(webhooks.clone());
    for used in used() {
        let name = used.value.as_str();
        if !declared.contains(&name) {
            let hint = if declared.is_empty() {
                format!("declare [secrets.{name}]")
            } else {
                format!("declare [secrets.{name}]; {}", nearest(name, &declared))
            };
            problems.at(&used.span, format!("the secret `{name}` is not declared; {hint}"));
        }
    }
    for (name, decl) in &draft.secrets {
        let sent = used().any(|used| used.value == name.value);
        if !sent && decl.as_ref().is_some_and(|d| !d.hmac) {
            problems.at(
                &name.span,
                format!(
                    "secret never used: no endpoint's or socket's `auth` or `inject` and no webhook's `verify` names `{}`; remove it, or say hmac = true",
                    name.value
                ),
            );
        }
    }
}

fn directories(draft: &Draft) -> impl Iterator<Item = &Spanned<Name>> {
    draft.wasi.iter().flat_map(|w| &w.value.names)
}

fn uses(draft: &Draft, problems: &Problems) {
    let endpoints: Vec<&str> = draft.http.iter().filter_map(|e| Some(e.name.as_ref()?.value.as_str())).collect();
    for used in draft.tools.iter().flat_map(|t| &t.uses) {
        let missing = match &used.value {
            Use::Http(name) if !endpoints.contains(&name.as_str()) => {
                let hint = if endpoints.is_empty() {
                    String::new()
                } else {
                    format!("; {}", nearest(name.as_str(), &endpoints))
                };
                format!("`http:{name}` is not declared; add [[http]] with endpoint = \"{name}\"{hint}")
            }
            Use::PublicHttp if draft.public_http.is_none() => {
                "`http:public` is not declared; add http = \"public\", or [[http]] with public = true".to_owned()
            }
            Use::Directory(name) if !directories(draft).any(|d| &d.value == name) => {
                format!("`directory:{name}` is not declared; add [[wasi.directory]] with name = \"{name}\"")
            }
            Use::Kv if draft.kv.is_none() => "`kv` is not declared; add [kv]".to_owned(),
            Use::Assets if draft.assets.is_empty() => "`assets` is not declared; add [[asset]]".to_owned(),
            Use::Memory | Use::MemoryRead if draft.memory.is_none() => {
                format!("`{}` is not declared; add [memory]", use_word(&used.value))
            }
            Use::Sessions if draft.sessions.is_none() => "`sessions` is not declared; add [sessions]".to_owned(),
            Use::Settings if draft.settings.is_none() => "`settings` is not declared; add [settings]".to_owned(),
            Use::Requests if draft.requests.is_none() => "`requests` is not declared; add [requests]".to_owned(),
            Use::Message if draft.message.is_none() => "`message` is not declared; add [message]".to_owned(),
            Use::Blob if draft.blob.is_none() => "`blob` is not declared; add [blob]".to_owned(),
            Use::Secrets if draft.secrets.is_empty() => "`secrets` is not declared; add [secrets.<name>]".to_owned(),
            _ => continue,
        };
        problems.at(&used.span, missing);
    }
}

/// A provider or a channel is linked to everything. Without one, what no tool uses would be asked for in vain.
fn unused(draft: &Draft, problems: &Problems) {
    if draft.provider.is_some() || draft.channel.is_some() || draft.tools.is_empty() {
        return;
    }
    let used = |u: &Use| draft.tools.iter().flat_map(|t| &t.uses).any(|one| &one.value == u);
    for name in draft.http.iter().filter_map(|e| e.name.as_ref()).filter(|n| !used(&Use::Http(n.value.clone()))) {
        problems.at(
            &name.span,
            format!(
                "endpoint never used: no tool has \"http:{0}\" in its `uses`; add it there, or remove the endpoint",
                name.value
            ),
        );
    }
    if let Some(span) = draft.public_http.as_ref().filter(|_| !used(&Use::PublicHttp)) {
        problems.at(span, "public addresses never used: no tool has \"http:public\" in its `uses`");
    }
    for name in directories(draft).filter(|n| !used(&Use::Directory(n.value.clone()))) {
        problems
            .at(&name.span, format!("directory never used: no tool has \"directory:{}\" in its `uses`", name.value));
    }
    if let Some(kv) = draft.kv.as_ref().filter(|_| !used(&Use::Kv)) {
        problems.at(&kv.span, "kv never used: no tool has \"kv\" in its `uses`");
    }
    if let Some(name) = draft.assets.iter().find_map(|a| a.name.as_ref()).filter(|_| !used(&Use::Assets)) {
        problems.at(&name.span, "asset never used: no tool has \"assets\" in its `uses`");
    }
    for (section, uses) in [
        (&draft.memory, [Use::Memory, Use::MemoryRead].as_slice()),
        (&draft.sessions, [Use::Sessions].as_slice()),
        (&draft.settings, [Use::Settings].as_slice()),
        (&draft.requests, [Use::Requests].as_slice()),
        (&draft.message, [Use::Message].as_slice()),
        (&draft.blob, [Use::Blob].as_slice()),
    ] {
        let Some(section) = section.as_ref().filter(|_| !uses.iter().any(used)) else { continue };
        let words: Vec<String> = uses.iter().map(|u| format!("\"{}\"", use_word(u))).collect();
        let name = words.first().map(|w| w.trim_matches('"').to_owned()).unwrap_or_default();
        problems.at(&section.span, format!("{name} never used: no tool has {} in its `uses`", words.join(" or ")));
    }
}
