//! How a request grew over what was granted.

use crate::capability::{
    AssetCapability, CapabilitySet, HttpCapability, SecretCapability, SocketCapability, ToolCapability, amount,
    megabytes, use_word,
};
use crate::limits::{Life, Profile};
use crate::manifest::{Auth, FrameInject, Verify};
use serde::Serialize;
use std::collections::BTreeSet;

/// One growth; any of them stops an update until a person agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// `http:api`, `secret:key`, `limits.memory`, `tool:x.effects`, …
    pub capability: String,
    /// For a person: from what to what.
    pub text: String,
}

/// Everything in `new` that `old` did not cover: a new capability, a new secret–source–origin–scheme tuple, a changed origin,
/// a larger limit, a lost tool effect, a capability that was optional and is required now.
pub fn growth(old: &CapabilitySet, new: &CapabilitySet) -> Vec<Growth> {
    let mut g = Grown(Vec::new());
    for (name, n) in &new.http {
        let capability = format!("http:{name}");
        match old.http.get(name) {
            Some(o) => endpoint(&mut g, &capability, o, n),
            None => {
                let methods: Vec<&str> = n.methods.iter().map(String::as_str).collect();
                g.add(&capability, format!("new: {} requests to {}", methods.join(", "), n.url));
                credentials(&mut g, &capability, None, n);
            }
        }
    }
    for (name, n) in &new.secrets {
        let capability = format!("secret:{name}");
        match old.secrets.get(name) {
            Some(o) => secret(&mut g, &capability, o, n),
            None => {
                g.add(&capability, "new: a secret".to_owned());
                secret(&mut g, &capability, &SecretCapability { env: None, hmac: false }, n);
            }
        }
    }
    g.flag("http:public", old.public_http, new.public_http, "new: any public address");
    for (name, n) in &new.sockets {
        socket(&mut g, &format!("socket:{name}"), old.sockets.get(name), n);
    }
    g.flag("kv", old.kv, new.kv, "new: data of its own");
    for (name, n) in &new.assets {
        asset(&mut g, &format!("asset:{name}"), old.assets.get(name), n);
    }
    g.flag("memory", old.memory, new.memory, "new: notes that last");
    g.flag("sessions", old.sessions, new.sessions, "new: reading conversations");
    g.flag("settings", old.settings, new.settings, "new: reading the configuration");
    let (o, n) = (old.wasi.unwrap_or_default(), new.wasi.unwrap_or_default());
    g.flag("wasi", old.wasi.is_some(), new.wasi.is_some(), "new: it was built for WASI");
    g.flag("wasi:clocks", o.clocks, n.clocks, "new: the time, through WASI");
    g.flag("wasi:random", o.random, n.random, "new: random numbers, through WASI");
    g.flag("wasi:stdio", o.stdio, n.stdio, "new: what it prints goes into its log");
    for (name, n) in &new.directories {
        let (capability, o) = (format!("directory:{name}"), old.directories.get(name));
        let reads = format!("new: reading a directory ({})", n.prompt);
        g.flag(&capability, o.is_some(), true, &reads);
        g.flag(
            &format!("{capability}.write"),
            o.is_some_and(|o| o.write),
            n.write,
            "new: changing what is in the directory",
        );
    }
    g.flag("requests", old.requests, new.requests, "new: proposing installations to you");
    g.flag("message", old.message, new.message, "new: sending messages elsewhere");
    g.flag("lines", old.lines, new.lines, "new: talking with programs on this computer, as with you");
    g.flag("blob", old.blob, new.blob, "new: keeping files and images");
    g.flag("provider", old.provider, new.provider, "new: it answers as a language model");
    g.flag("channel", old.channel, new.channel, "new: it speaks with people as your assistant");
    for (name, n) in &new.webhooks {
        webhook(&mut g, &format!("webhook:{name}"), old.webhooks.get(name), n);
    }
    g.flag(
        "profile",
        old.profile == Profile::Cpu,
        new.profile == Profile::Cpu,
        "from the metered profile to the cpu profile",
    );
    g.flag(
        "life",
        old.life == Life::Warm,
        new.life == Life::Warm,
        "from a fresh instance per call to one that stays in memory (warm)",
    );
    for (name, n) in &new.tools {
        let capability = format!("tool:{name}");
        match old.tools.get(name) {
            Some(o) => tool(&mut g, &capability, o, n),
            None if n.effects.is_empty() && n.uses.is_empty() => {}
            None => g.add(&capability, format!("new: a tool that can {}", n.effects)),
        }
    }
    for ((key, o), (_, n)) in old.limits.by_key().into_iter().zip(new.limits.by_key()) {
        if n > o {
            g.add(&format!("limits.{key}"), format!("from {} to {}", amount(key, o), amount(key, n)));
        }
    }
    for name in old.optional.difference(&new.optional).filter(|name| new.holds(name)) {
        g.add(name, "it was optional, and is required now".to_owned());
    }
    g.0
}

struct Grown(Vec<Growth>);

impl Grown {
    fn add(&mut self, capability: &str, text: String) {
        self.0.push(Growth { capability: capability.to_owned(), text });
    }

    fn flag(&mut self, capability: &str, old: bool, new: bool, text: &str) {
        if new && !old {
            self.add(capability, text.to_owned());
        }
    }

    /// Each member of `new` that `old` lacks.
    fn members(&mut self, capability: &str, what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        for member in new.difference(old) {
            self.add(capability, format!("new {what}: {member}"));
        }
    }

    /// A variable that is new or another one.
    fn variable(&mut self, capability: &str, what: &str, old: Option<&String>, new: Option<&String>) {
        if let Some(new) = new.filter(|new| old != Some(new)) {
            let from = old.map_or("none", String::as_str);
            self.add(capability, format!("{what} from {from} to {new}"));
        }
    }
}

fn endpoint(g: &mut Grown, capability: &str, old: &HttpCapability, new: &HttpCapability) {
    if old.url.origin() != new.url.origin() {
        g.add(&format!("{capability}.url"), format!("changed origin: from {} to {}", old.url, new.url));
    } else if old.url != new.url {
        g.add(&format!("{capability}.url"), format!("changed address: from {} to {}", old.url, new.url));
    }
    g.variable(
        &format!("{capability}.url-env"),
        "the variable that may point it elsewhere:",
        old.url_env.as_ref(),
        new.url_env.as_ref(),
    );
    g.members(&format!("{capability}.hosts"), "host", &old.hosts, &new.hosts);
    g.members(&format!("{capability}.methods"), "method", &old.methods, &new.methods);
    // No pattern at all means every path.
    if new.paths.is_empty() && !old.paths.is_empty() {
        g.add(&format!("{capability}.paths"), "from some paths to every path".to_owned());
    } else if !old.paths.is_empty() {
        g.members(&format!("{capability}.paths"), "path", &old.paths, &new.paths);
    }
    credentials(g, capability, Some(old), new);
    for capture in new.capture.difference(&old.capture) {
        g.add(&format!("{capability}.capture"), format!("may use links in responses at `{}`", capture.at));
    }
    for capture in old.capture.difference(&new.capture) {
        g.add(
            &format!("{capability}.capture"),
            format!("no longer hides what stands in responses at `{}`", capture.at),
        );
    }
}

/// Each new tuple of secret, origin and scheme.
fn credentials(g: &mut Grown, capability: &str, old: Option<&HttpCapability>, new: &HttpCapability) {
    let origin = new.url.origin().ascii_serialization();
    if new.auth != Auth::None && old.is_none_or(|old| old.auth != new.auth) {
        let secret = new.auth.secret().map(ToString::to_string).unwrap_or_default();
        let text = format!("sends the secret `{secret}` to {origin} in a new way ({})", describe(&new.auth));
        g.add(&format!("{capability}.auth"), text);
    }
    for inject in new.inject.iter().filter(|i| old.is_none_or(|old| !old.inject.contains(i))) {
        let text = format!("sends the secret `{}` to {origin} in request bodies at `{}`", inject.secret, inject.at);
        g.add(&format!("{capability}.inject"), text);
    }
}

fn socket(g: &mut Grown, capability: &str, old: Option<&SocketCapability>, new: &SocketCapability) {
    let there = new.url.as_ref().map_or_else(|| "its hosts".to_owned(), ToString::to_string);
    match old {
        None => {
            let hosts: Vec<&str> = new.hosts.iter().map(String::as_str).collect();
            let to = new.url.as_ref().map_or_else(|| hosts.join(", "), ToString::to_string);
            g.add(capability, format!("new: a connection to {to}"));
        }
        Some(old) => {
            if old.url != new.url {
                let (from, to) = (old.url.as_ref(), new.url.as_ref());
                let shown =
                    |u: Option<&url::Url>| u.map_or_else(|| "what the platform names".to_owned(), ToString::to_string);
                g.add(&format!("{capability}.url"), format!("changed address: from {} to {}", shown(from), shown(to)));
            }
            g.members(&format!("{capability}.hosts"), "host", &old.hosts, &new.hosts);
            if new.max_frame > old.max_frame {
                let (o, n) = (amount("max-frame", old.max_frame), amount("max-frame", new.max_frame));
                g.add(&format!("{capability}.max-frame"), format!("from {o} to {n}"));
            }
            // None is without end.
            if let Some(o) = old.logins_per_day
                && new.logins_per_day.is_none_or(|n| n > o)
            {
                let n = new.logins_per_day.map_or_else(|| "any number".to_owned(), |n| n.to_string());
                g.add(&format!("{capability}.logins-per-day"), format!("from {o} to {n}"));
            }
            g.flag(
                &format!("{capability}.spool"),
                old.spool,
                new.spool,
                "new: what comes through it is kept for a while",
            );
        }
    }
    let variable = "the variable that may point it elsewhere:";
    let before = old.and_then(|o| o.url_env.as_ref());
    g.variable(&format!("{capability}.url-env"), variable, before, new.url_env.as_ref());
    if new.auth != Auth::None && old.is_none_or(|old| old.auth != new.auth) {
        let secret = new.auth.secret().map(ToString::to_string).unwrap_or_default();
        let text = format!("sends the secret `{secret}` to {there} in a new way ({})", describe(&new.auth));
        g.add(&format!("{capability}.auth"), text);
    }
    // Whether a message counts as a login changes nothing about where the secret goes.
    let known = |i: &FrameInject| old.is_some_and(|old| old.inject.iter().any(|o| o.rule == i.rule));
    for inject in new.inject.iter().filter(|i| !known(i)) {
        let text = format!("sends the secret `{}` to {there} in messages at `{}`", inject.rule.secret, inject.rule.at);
        g.add(&format!("{capability}.inject"), text);
    }
    // But fewer of them would be counted.
    if let Some(old) = old
        && old.inject.iter().any(|o| o.login && new.inject.iter().any(|n| n.rule == o.rule && !n.login))
    {
        g.add(&format!("{capability}.inject"), "a message that counted as a login no longer does".to_owned());
    }
}

fn describe(auth: &Auth) -> String {
    match auth {
        Auth::Header { name, prefix, .. } => format!("header `{name}`, after `{prefix}`"),
        Auth::Query { name, .. } => format!("query `{name}`"),
        Auth::Basic { username: Some(user), .. } => format!("basic, user `{user}`"),
        Auth::PathPrefix { prefix, .. } => format!("path-prefix `{prefix}`"),
        Auth::None | Auth::Bearer { .. } | Auth::Basic { username: None, .. } => auth.scheme().to_owned(),
    }
}

fn secret(g: &mut Grown, capability: &str, old: &SecretCapability, new: &SecretCapability) {
    g.variable(&format!("{capability}.env"), "the variable it may be taken from:", old.env.as_ref(), new.env.as_ref());
    g.flag(&format!("{capability}.hmac"), old.hmac, new.hmac, "new: it signs data with the secret");
}

/// Whoever passes the check is taken for the platform: another check lets others in.
fn webhook(g: &mut Grown, capability: &str, old: Option<&Verify>, new: &Verify) {
    match old {
        None => g.add(capability, "new: requests from outside".to_owned()),
        Some(old) if old != new => {
            g.add(&format!("{capability}.verify"), "another way of knowing where a request comes from".to_owned());
        }
        Some(_) => {}
    }
}

/// Other bytes of the same file are like other code: the signature vouches for both.
fn asset(g: &mut Grown, capability: &str, old: Option<&AssetCapability>, new: &AssetCapability) {
    let Some(old) = old else {
        g.add(capability, format!("new: a file of its own, {}", megabytes(new.size)));
        return g.members(&format!("{capability}.sources"), "host to fetch it from", &BTreeSet::new(), &new.hosts);
    };
    if new.size > old.size {
        let text = format!("from {} to {}", megabytes(old.size), megabytes(new.size));
        g.add(&format!("{capability}.size"), text);
    }
    g.members(&format!("{capability}.sources"), "host to fetch it from", &old.hosts, &new.hosts);
}

fn tool(g: &mut Grown, capability: &str, old: &ToolCapability, new: &ToolCapability) {
    for used in new.uses.difference(&old.uses) {
        g.add(&format!("{capability}.uses"), format!("newly uses {}", use_word(used)));
    }
    let (gained, lost) = (new.effects.minus(old.effects), old.effects.minus(new.effects));
    if !gained.is_empty() {
        g.add(&format!("{capability}.effects"), format!("newly can {gained}"));
    }
    // The checkpoint goes by these: a tool that stops saying `send` would be asked about less.
    if !lost.is_empty() {
        g.add(&format!("{capability}.effects"), format!("no longer says that it can {lost}"));
    }
    if let Some(argument) = old.conversation.as_ref().filter(|_| old.conversation != new.conversation) {
        let text = format!("no longer says that `{argument}` names another conversation");
        g.add(&format!("{capability}.conversation"), text);
    }
}

#[cfg(test)]
mod tests;
