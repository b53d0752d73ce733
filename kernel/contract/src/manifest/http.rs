//! `[[http]]`: endpoints, and what the kernel adds to their requests.

use super::parse;
use super::reader::{Problems, Section, Span, Spanned, kind, nearest, tables};
use super::{Auth, Capture, CaptureKind, HttpEndpoint, Inject, values};
use crate::name::{EndpointName, SecretName};
use std::collections::BTreeMap;
use toml_edit::{Item, Value};

/// An endpoint as far as it was readable.
pub(super) struct Draft {
    pub(super) name: Option<Spanned<EndpointName>>,
    pub(super) decl: Option<HttpEndpoint>,
    /// The secrets it mentions, even if the rest has mistakes.
    pub(super) secrets: Vec<Spanned<SecretName>>,
}

const KEYS: [&str; 11] =
    ["endpoint", "url", "url-env", "hosts", "methods", "paths", "auth", "inject", "capture", "optional", "public"];
const SCHEMES: [&str; 6] = ["none", "bearer", "header", "query", "basic", "path-prefix"];

pub(super) fn read(item: &Item, span: Span, draft: &mut parse::Draft, problems: &Problems) {
    if let Some(word) = item.as_str() {
        if word == "public" {
            draft.public_http = Some(span);
        } else {
            problems.at(
                &span,
                format!(
                    "`http`: `{}` is not understood; write \"public\", or [[http]] with an endpoint",
                    values::shown(word)
                ),
            );
        }
        return;
    }
    for section in tables(item, "http", span, problems) {
        if section.get("public").is_none() {
            draft.http.push(endpoint(&section, problems));
            continue;
        }
        if section.keys().any(|(key, _)| key != "public") {
            problems.at(&section.span, "`public` stands alone: it opens any public address, without credentials; give endpoints their own [[http]]");
        }
        if section.flag("public", problems) && draft.public_http.replace(section.span.clone()).is_some() {
            problems.at(&section.span, "`public = true` stands there twice; remove one");
        }
    }
}

fn endpoint(s: &Section<'_>, problems: &Problems) -> Draft {
    s.only(&KEYS, problems);
    let mut secrets = Vec::new();
    let name = s.required("endpoint", "endpoint = \"api\"", problems, |v| match v {
        "public" => Err("is reserved for any public address; choose another name".to_owned()),
        _ => values::name::<EndpointName>(v),
    });
    let url = s.required("url", "url = \"https://api.example.com/v1\"", problems, values::base_url);
    let url_env = s.with("url-env", problems, values::env_name);
    let hosts = s.list("hosts", problems, values::host_pattern);
    let methods = s.list("methods", problems, values::method);
    if let (Some(list), Some((item, span))) = (&methods, s.get("methods"))
        && list.is_empty()
        && item.as_array().is_some_and(toml_edit::Array::is_empty)
    {
        problems.at(&span, "`methods` is empty, so nothing could be sent; name at least one, e.g. [\"GET\"]");
    }
    let paths = s.list("paths", problems, values::path_pattern);
    let auth = auth(s, &mut secrets, problems);
    let inject = s
        .tables("inject", problems)
        .iter()
        .filter_map(|i| inject(i, &["at", "when", "secret"], &mut secrets, problems))
        .collect();
    let capture = s.tables("capture", problems).iter().filter_map(|c| capture(c, problems)).collect();
    let optional = s.flag("optional", problems);
    let plain = |list: Option<Vec<Spanned<String>>>| -> Option<Vec<String>> {
        list.map(|l| l.into_iter().map(|v| v.value).collect())
    };
    let decl = name.clone().zip(url).map(|(name, url)| HttpEndpoint {
        endpoint: name.value,
        url: url.value,
        url_env: url_env.map(|e| e.value),
        hosts: plain(hosts).unwrap_or_default(),
        methods: plain(methods).unwrap_or_else(|| vec!["GET".to_owned()]),
        paths: plain(paths).unwrap_or_default(),
        auth,
        inject,
        capture,
        optional,
    });
    Draft { name, decl, secrets }
}

fn secret(s: &Section<'_>, secrets: &mut Vec<Spanned<SecretName>>, problems: &Problems) -> Option<SecretName> {
    let secret = s.required("secret", "secret = \"api-key\"", problems, values::name::<SecretName>)?;
    secrets.push(secret.clone());
    Some(secret.value)
}

pub(super) fn auth(s: &Section<'_>, secrets: &mut Vec<Spanned<SecretName>>, problems: &Problems) -> Auth {
    let Some((item, span)) = s.get("auth") else { return Auth::None };
    let Some(s) = Section::of(item, "`auth`", span, problems) else { return Auth::None };
    let scheme = s.required("scheme", "scheme = \"bearer\"", problems, |v| {
        let known = SCHEMES.into_iter().find(|k| *k == v);
        known.ok_or_else(|| format!("is a scheme this kernel does not apply; {}", nearest(v, &SCHEMES)))
    });
    let Some(scheme) = scheme else {
        // Which keys belong here is not known then; the secret still counts as used.
        if s.get("secret").is_some() {
            secret(&s, secrets, problems);
        }
        return Auth::None;
    };
    let keys: &[&str] = match scheme.value {
        "none" => &["scheme"],
        "bearer" => &["scheme", "secret"],
        "header" => &["scheme", "name", "prefix", "secret"],
        "query" => &["scheme", "name", "secret"],
        "basic" => &["scheme", "username", "secret"],
        _ => &["scheme", "prefix", "secret"],
    };
    s.only(keys, problems);
    if scheme.value == "none" {
        return Auth::None;
    }
    let secret = secret(&s, secrets, problems);
    let built = match scheme.value {
        "bearer" => secret.map(|secret| Auth::Bearer { secret }),
        "header" => {
            let name = s.required("name", "name = \"x-api-key\"", problems, values::header_name);
            let prefix = s.with("prefix", problems, values::header_prefix).map(|p| p.value).unwrap_or_default();
            secret.zip(name).map(|(secret, name)| Auth::Header { name: name.value, prefix, secret })
        }
        "query" => {
            let name = s.required("name", "name = \"key\"", problems, values::query_name);
            secret.zip(name).map(|(secret, name)| Auth::Query { name: name.value, secret })
        }
        "basic" => {
            let username = s.with("username", problems, values::username).map(|u| u.value);
            secret.map(|secret| Auth::Basic { username, secret })
        }
        _ => {
            let prefix = s.required("prefix", "prefix = \"/bot\"", problems, values::path_prefix);
            secret.zip(prefix).map(|(secret, prefix)| Auth::PathPrefix { prefix: prefix.value, secret })
        }
    };
    built.unwrap_or_default()
}

pub(super) fn inject(
    s: &Section<'_>,
    keys: &[&str],
    secrets: &mut Vec<Spanned<SecretName>>,
    problems: &Problems,
) -> Option<Inject> {
    s.only(keys, problems);
    let at = s.required("at", "at = \"/d/token\"", problems, values::pointer);
    let secret = secret(s, secrets, problems);
    let mut when = BTreeMap::new();
    if let Some(conditions) = s.section("when", problems) {
        for (key, span) in conditions.keys() {
            if let Err(why) = values::pointer(key) {
                problems.at(&span, format!("`when`: `{}` {why}", values::shown(key)));
            }
            let Some((item, span)) = conditions.get(key) else { continue };
            when.insert(key.to_owned(), alternatives(item, &span, problems));
        }
    }
    Some(Inject { at: at?.value, when, secret: secret? })
}

/// One scalar or a list of them.
fn alternatives(item: &Item, span: &Span, problems: &Problems) -> Vec<serde_json::Value> {
    let values: Vec<&Value> = match item.as_value() {
        Some(Value::Array(array)) => array.iter().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    };
    if values.is_empty() {
        problems.at(span, "`when` names no value, so it would never hold; write e.g. { \"/op\" = [2, 6] }");
    }
    values.into_iter().filter_map(|value| scalar(value, span, problems)).collect()
}

fn scalar(value: &Value, span: &Span, problems: &Problems) -> Option<serde_json::Value> {
    match value {
        Value::String(s) => Some(s.value().as_str().into()),
        Value::Integer(i) => Some((*i.value()).into()),
        Value::Boolean(b) => Some((*b.value()).into()),
        other => {
            let span = other.span().unwrap_or_else(|| span.clone());
            problems.at(
                &span,
                format!("`when` holds {}; compare with strings, whole numbers or booleans", kind(other.type_name())),
            );
            None
        }
    }
}

fn capture(s: &Section<'_>, problems: &Problems) -> Option<Capture> {
    s.only(&["at", "as"], problems);
    let at = s.required("at", "at = \"/url\"", problems, values::pointer);
    let kind = s.required("as", "as = \"link\"", problems, |v| match v {
        "link" => Ok(CaptureKind::Link),
        _ => Err("is not a kind of capture; write \"link\"".to_owned()),
    });
    Some(Capture { at: at?.value, kind: kind?.value })
}
