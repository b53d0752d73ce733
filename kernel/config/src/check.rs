//! What a schema cannot say: names, addresses, and that no secret stands in the file.

use crate::names::{InstanceKey, ModelName};
use crate::problem::{Problem, Rule};
use crate::tree::{Node, Step, dotted};
use carapace_contract::ports::OWNER_TARGET;
use carapace_contract::{ComponentId, EndpointName, HostPort};
use serde_json::Value;
use std::net::IpAddr;
use std::path::Path;
use url::Url;

pub(crate) fn problems(root: &Node, value: &Value) -> Vec<Problem> {
    let mut c = Checks { root, problems: Vec::new() };
    c.gateway(value);
    c.agent(value);
    c.budget(value);
    c.instances(value);
    c.targets(value);
    c.problems
}

/// Whether a key is one under which people keep secrets.
pub(crate) fn names_a_secret(key: &str) -> bool {
    let folded: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    [
        "apikey",
        "token",
        "password",
        "passphrase",
        "secret",
        "secretkey",
        "privatekey",
        "accesskey",
        "secretaccesskey",
        "credential",
        "credentials",
    ]
    .iter()
    .any(|s| folded.ends_with(s))
}

pub(crate) fn secret(file: &Path, path: &[Step]) -> Problem {
    Problem::new(Rule::Secret, file, dotted(path), "secrets do not stand in the configuration")
        .fix("remove it and store it with `carapace secrets set <name> --instance <publisher/component>`")
}

fn keys(path: &[&str]) -> Vec<Step> {
    path.iter().map(|k| Step::Key((*k).to_owned())).collect()
}

struct Checks<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn push(&mut self, rule: Rule, path: &[Step], message: impl Into<String>, fix: impl Into<String>) {
        let file = &self.root.nearest(path).file;
        self.problems.push(Problem::new(rule, file, dotted(path), message).fix(fix));
    }

    fn gateway(&mut self, v: &Value) {
        let path = keys(&["gateway", "bind"]);
        let Some(bind) = v.pointer("/gateway/bind").and_then(Value::as_str) else { return };
        match bind.parse::<IpAddr>() {
            Err(_) => self.push(Rule::Value, &path, "is not an IP address", "write \"127.0.0.1\" or \"::1\""),
            Ok(ip) if !ip.is_loopback() => {
                let message = format!(
                    "{ip} can be reached by others; that needs authentication and TLS on the gateway, which this version does not have"
                );
                self.push(
                    Rule::Bind,
                    &path,
                    message,
                    "write \"127.0.0.1\" or \"::1\", and reach it through a tunnel of your own",
                );
            }
            Ok(_) => {}
        }
    }

    fn agent(&mut self, v: &Value) {
        for (i, model) in v.pointer("/agent/route").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Some(Err(e)) = model.as_str().map(str::parse::<ModelName>) else { continue };
            let mut path = keys(&["agent", "route"]);
            path.push(Step::Index(i));
            self.push(Rule::Value, &path, e, "");
        }
        if let Some(zone) = v.pointer("/agent/timezone").and_then(Value::as_str) {
            let fine = !zone.is_empty()
                && zone.len() <= 64
                && zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'/'));
            if !fine {
                self.push(
                    Rule::Value,
                    &keys(&["agent", "timezone"]),
                    "is not an IANA time zone",
                    "write e.g. \"Europe/Berlin\"",
                );
            }
        }
        let number = |key: &str, default: u64| v.pointer(key).map_or(Some(default), Value::as_u64);
        if let (Some(context), Some(output)) =
            (number("/agent/contextTokens", 32_000), number("/agent/maxOutputTokens", 4_096))
            && output >= context
        {
            let message = format!("an answer of {output} tokens leaves no room in a context of {context}");
            self.push(
                Rule::Value,
                &keys(&["agent", "maxOutputTokens"]),
                message,
                "make it smaller than `agent.contextTokens`",
            );
        }
    }

    fn budget(&mut self, v: &Value) {
        for pattern in v.pointer("/budget/pricing").and_then(Value::as_object).into_iter().flat_map(|m| m.keys()) {
            if pattern != "*" && !pattern.contains('/') {
                let path = keys(&["budget", "pricing", pattern]);
                self.push(
                    Rule::Value,
                    &path,
                    "matches no model",
                    format!("write `<instance>/<model>`, e.g. \"{pattern}/*\""),
                );
            }
        }
    }

    fn targets(&mut self, v: &Value) {
        for (name, target) in v.pointer("/channels/targets").and_then(Value::as_object).into_iter().flatten() {
            let path = keys(&["channels", "targets", name]);
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ' | '.');
            if name == OWNER_TARGET {
                self.push(Rule::Value, &path, "is you, wherever you last wrote; another target has another name", "");
            } else if name.trim() != name || !(1..=64).contains(&name.chars().count()) || !name.chars().all(plain) {
                let rule = "is no name of a target: 1 to 64 letters, digits, spaces, `-`, `_` and `.`";
                self.push(Rule::Value, &path, rule, "");
            }
            if let Some(Err(e)) = target.get("instance").and_then(Value::as_str).map(str::parse::<InstanceKey>) {
                let path = keys(&["channels", "targets", name, "instance"]);
                self.push(Rule::Value, &path, e.to_string(), "write `<component>` or `<component>:<id>`");
            }
        }
    }

    fn instances(&mut self, v: &Value) {
        for (key, section) in v.get("instances").and_then(Value::as_object).into_iter().flatten() {
            let at = |rest: &[&str]| {
                let mut p = keys(&["instances", key]);
                p.extend(keys(rest));
                p
            };
            let name = match key.parse::<InstanceKey>() {
                Ok(name) => Some(name),
                Err(e) => {
                    self.push(Rule::Value, &at(&[]), e.to_string(), "write `<component>` or `<component>:<id>`");
                    None
                }
            };
            if let Some(component) = section.get("component").and_then(Value::as_str) {
                match (component.parse::<ComponentId>(), &name) {
                    (Err(e), _) => self.push(Rule::Value, &at(&["component"]), e.to_string(), ""),
                    (Ok(c), Some(name)) if c.name != name.component => {
                        let message = format!("`{c}` is another component than `{}`", name.component);
                        self.push(
                            Rule::Value,
                            &at(&["component"]),
                            message,
                            format!("name the instance `{}:{}`", c.name, name.id),
                        );
                    }
                    _ => {}
                }
            }
            for (endpoint, url) in section.get("endpoints").and_then(Value::as_object).into_iter().flatten() {
                if let Err(e) = endpoint.parse::<EndpointName>() {
                    self.push(Rule::Value, &at(&["endpoints", endpoint]), e.to_string(), "");
                }
                if let Some(url) = url.as_str() {
                    self.endpoint(url, &at(&["endpoints", endpoint]));
                }
            }
            for (i, server) in section.get("publicAllow").and_then(Value::as_array).into_iter().flatten().enumerate() {
                if let Some(Err(why)) = server.as_str().map(str::parse::<HostPort>) {
                    let mut path = at(&["publicAllow"]);
                    path.push(Step::Index(i));
                    self.push(Rule::Value, &path, why, "write e.g. \"127.0.0.1:8080\" or \"intranet.example:443\"");
                }
            }
            for list in ["owner", "allow", "groupAllow"] {
                let ids = section.pointer(&format!("/channel/{list}")).and_then(Value::as_array);
                for (i, id) in ids.into_iter().flatten().enumerate().filter_map(|(i, id)| Some((i, id.as_str()?))) {
                    let mut path = at(&["channel", list]);
                    path.push(Step::Index(i));
                    if id.trim().is_empty() || id.len() > 256 {
                        self.push(Rule::Value, &path, "is no id of a platform: it has 1 to 256 bytes", "");
                    } else if id == "*" && list != "groupAllow" {
                        let fix = "name people by their ids, or let them pair";
                        self.push(Rule::Value, &path, "would let everybody talk, and spend your money", fix);
                    }
                }
            }
            if let Some(config) = section.get("config") {
                self.no_secrets(config, &mut at(&["config"]));
            }
        }
    }

    // The URL itself is not repeated: it may hold a credential.
    fn endpoint(&mut self, url: &str, path: &[Step]) {
        let fix = "write e.g. \"https://example.com/v1\"";
        match Url::parse(url) {
            Err(e) => self.push(Rule::Value, path, format!("is not a URL: {e}"), fix),
            Ok(u) if !u.username().is_empty() || u.password().is_some() => {
                self.push(
                    Rule::Secret,
                    path,
                    "holds a user name or password",
                    "remove it and store it with `carapace secrets set <name> --instance <publisher/component>`",
                );
            }
            // A socket may be pointed elsewhere by either of its schemes.
            Ok(u) if !matches!(u.scheme(), "http" | "https" | "ws" | "wss") || u.host().is_none() => {
                self.push(Rule::Value, path, "is not an http, https, ws or wss URL", fix);
            }
            Ok(u) if u.query().is_some() || u.fragment().is_some() => {
                self.push(Rule::Value, path, "is a base URL and has no query or fragment", fix);
            }
            Ok(_) => {}
        }
    }

    /// A component's own section is free in form, and reaches the component: all the more must no secret be in it.
    fn no_secrets(&mut self, value: &Value, path: &mut Vec<Step>) {
        match value {
            Value::Object(fields) => {
                for (key, v) in fields {
                    path.push(Step::Key(key.clone()));
                    // Shorter texts are refused as secrets anyway, and are more likely something like a stop token.
                    if names_a_secret(key) && v.as_str().is_some_and(|s| s.len() >= 8) {
                        let file = self.root.nearest(path).file.clone();
                        self.problems.push(secret(&file, path));
                    } else {
                        self.no_secrets(v, path);
                    }
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (i, v) in items.iter().enumerate() {
                    path.push(Step::Index(i));
                    self.no_secrets(v, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}
