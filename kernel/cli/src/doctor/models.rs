//! Whether something can answer.

use super::{Check, Finding};
use crate::setup::choices::is_here;
use crate::setup::known::{self, Provider, Source};
use carapace_config::{Config, InstanceKey, StatePaths, SystemEnv};
use carapace_store::Reader;
use serde_json::Value;

const ANSWERS: Check = Check("model", "a model can be asked");
const ROUTE: Check = Check("route", "every model of the route has its provider");
const SETUP: &str = "carapace setup";

/// Of a running assistant: what its providers list.
pub(crate) fn served(config: &Config, status: &Value) -> Vec<Finding> {
    let models = status["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut findings = Vec::new();
    if models.is_empty() && config.agent.route.is_empty() {
        findings.push(
            ANSWERS
                .wrong("no provider lists one", format!("{SETUP}; carapace status says which server did not answer")),
        );
    }
    let loaded = |key: &InstanceKey| {
        let instances = status["instances"].as_array().into_iter().flatten();
        instances
            .filter(|i| i["state"] == "ready")
            .filter_map(|i| i["instance"].as_str()?.parse().ok())
            .any(|id| key.matches(&id))
    };
    let missing: Vec<_> = config.agent.route.iter().filter(|m| !loaded(&m.instance)).collect();
    let all = !config.agent.route.is_empty() && missing.len() == config.agent.route.len();
    for model in missing {
        let problem = format!("`{model}`: no `{}` is loaded", model.instance);
        findings.push(if all { ROUTE.wrong(problem, SETUP) } else { ROUTE.hint(problem, SETUP) });
    }
    ANSWERS.all(findings)
}

/// Of none that runs: whether a provider has an address or a key, from *this* terminal.
pub(crate) async fn reachable(paths: &StatePaths, reader: Option<&Reader>, config: &Config) -> Finding {
    let Some(reader) = reader else { return ANSWERS.hint("nothing is set up yet", SETUP) };
    let providers = match known::providers(paths, reader).await {
        Ok(providers) => providers,
        Err(why) => return ANSWERS.failed(&why),
    };
    let mut able = Vec::new();
    let mut variables: Vec<String> = Vec::new();
    for provider in &providers {
        let declared = provider.manifest().secrets.values().filter_map(|s| s.env.clone());
        variables.extend(declared.chain(provider.manifest().http.iter().filter_map(|h| h.url_env.clone())));
        for key in provider.instances(config) {
            if can(provider, &key, config, reader).await {
                able.push(key);
            }
        }
    }
    let routed =
        |key: &InstanceKey| config.agent.route.is_empty() || config.agent.route.iter().any(|m| m.instance == *key);
    if able.iter().any(routed) {
        return ANSWERS.good();
    }
    let from_here = format!("{SETUP}; from this terminal, one of {} would do", variables.join(", "));
    match able.first() {
        Some(other) => ANSWERS.wrong(
            format!("no provider of agent.route has a server or a key here; `{other}` has"),
            format!("agent: {{ route: [\"{other}/MODEL\"] }}, or {SETUP}"),
        ),
        None => ANSWERS.wrong("no provider has a key or a server of your own, seen from this terminal", from_here),
    }
}

async fn can(provider: &Provider, key: &InstanceKey, config: &Config, reader: &Reader) -> bool {
    let granted = reader.grant(&provider.instance(&key.id)).await.ok().flatten().is_some_and(|g| !g.revoked);
    let routed = config.agent.route.iter().any(|m| m.instance == *key);
    let address = provider.address(key, config, &SystemEnv);
    // A server on this machine needs no key, and the route is what points at it. Whether it runs is found out by asking.
    let pointed = address.is_some_and(|a| a.named_by.is_some() || (routed && is_here(&a.base)));
    let credential = provider.key(key, &SystemEnv, reader).await;
    granted && (pointed || credential.is_none_or(|k| k.source != Source::Missing))
}
