//! What could answer here, best first, each with the reason why it stands where it stands.

use super::known::{self, Address, Key, Provider, Source, set};
use super::servers::{self, Answer, Server};
use carapace_config::{Config, Env, InstanceKey};
use carapace_contract::Name;
use carapace_store::Reader;
use url::Url;

/// One way to be answered.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub rank: Rank,
    pub provider: Provider,
    pub instance: InstanceKey,
    /// The provider's own name of it; none = it is asked once it runs.
    pub model: Option<String>,
    /// The one that the configuration names for this instance.
    pub configured: Option<String>,
    /// What else is there.
    pub others: Vec<String>,
    /// Base URL that has to be written into the configuration, by endpoint.
    pub endpoint: Option<(String, String)>,
    pub key: Option<Key>,
    /// It answers only to a key, and none is at hand.
    pub wants_key: bool,
    pub why: String,
}

/// The order in which choices are offered: what the owner said, then what costs nothing and stays here, then what was paid for; and
/// what wants a key that is nowhere comes after all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// An address that the owner named.
    Named,
    /// A server that runs here.
    Here,
    /// A service on the network.
    Service,
    /// The tiny one inside the package.
    BuiltIn,
}

/// Everything that was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Best first.
    pub choices: Vec<Choice>,
    /// What was found and cannot be offered, and why.
    pub notes: Vec<String>,
}

/// A service with the OpenAI protocol: its variable, an instance's id, its base URL, and a name of a model that the service itself
/// keeps pointing at a current one. From the services' own documentation.
const SERVICES: [(&str, &str, &str, &str); 4] = [
    ("OPENROUTER_API_KEY", "openrouter", "https://openrouter.ai/api/v1", "openrouter/auto"),
    ("MISTRAL_API_KEY", "mistral", "https://api.mistral.ai/v1", "mistral-small-latest"),
    ("GEMINI_API_KEY", "gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-flash-latest"),
    ("DEEPSEEK_API_KEY", "deepseek", "https://api.deepseek.com/v1", "deepseek-chat"),
];
/// Where a provider's manifest names no model: one that is cheap and calls tools. The first of a long list would be chance.
const MODELS: [(&str, &str); 1] = [("openai", "gpt-5-mini")];

impl Choice {
    /// `ollama/llama3.2`; only the instance while the model is not known.
    pub(crate) fn name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}/{model}", self.instance),
            None => self.instance.to_string(),
        }
    }

    /// For the list.
    pub(crate) fn line(&self) -> String {
        let others = match self.others.len() {
            0 => String::new(),
            1..=4 => format!(" (also: {})", self.others.join(", ")),
            n => format!(
                " (also: {}, and {} more)",
                self.others.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
                n - 3
            ),
        };
        format!("{}: {}{others}", self.name(), self.why)
    }
}

/// Looks.
pub(crate) async fn look(
    providers: &[Provider],
    config: &Config,
    env: &dyn Env,
    reader: &Reader,
    more: &[String],
) -> Found {
    let mut found = Found::default();
    for provider in providers {
        for instance in provider.instances(config) {
            let key = provider.key(&instance, env, reader).await;
            let address = provider.address(&instance, config, env);
            let mut one = Choice {
                rank: Rank::Service,
                model: default_model(provider, &instance, config),
                configured: configured_model(provider, &instance, config),
                provider: provider.clone(),
                instance,
                others: Vec::new(),
                endpoint: None,
                wants_key: false,
                key,
                why: String::new(),
            };
            match address {
                None if known::is_built_in(provider.manifest()) => built_in(&mut one),
                None => {}
                Some(address) if provider.name() == "ollama" => ollama(&mut one, address, env, &mut found.notes).await,
                Some(address) => answered(&mut one, address, &mut found.notes).await,
            }
            if !one.why.is_empty() {
                found.choices.push(one);
            }
        }
    }
    if let Some(openai) = providers.iter().find(|p| p.name() == "openai") {
        let has_its_own = providers.iter().any(|p| p.name() == "ollama");
        let here = servers::servers(more, (!has_its_own).then(|| servers::ollama_base(env))).await;
        let taken: Vec<_> =
            openai.instances(config).iter().filter_map(|i| openai.address(i, config, env)).map(|a| a.base).collect();
        for server in here.into_iter().filter(|s| !taken.contains(&s.base)) {
            offered(server, openai, config, &mut found);
        }
        services(openai, config, env, &mut found);
    }
    found.choices.sort_by_key(|c| (c.wants_key, c.rank));
    found
}

fn configured_model(provider: &Provider, instance: &InstanceKey, config: &Config) -> Option<String> {
    let section = config.instance(&provider.instance(&instance.id))?;
    section.config.get("model")?.as_str().map(str::to_owned)
}

fn default_model(provider: &Provider, instance: &InstanceKey, config: &Config) -> Option<String> {
    if let Some(model) = configured_model(provider, instance, config) {
        return Some(model);
    }
    let declared = provider.manifest().provider.as_ref().and_then(|p| p.default_model.clone());
    declared.or_else(|| MODELS.iter().find(|(name, _)| *name == provider.name()).map(|(_, model)| (*model).to_owned()))
}

fn built_in(one: &mut Choice) {
    one.rank = Rank::BuiltIn;
    "the tiny built-in model: needs no key, no server and no network, and knows little".clone_into(&mut one.why);
}

/// An instance whose address somebody named, or whose key is there.
async fn answered(one: &mut Choice, address: Address, notes: &mut Vec<String>) {
    let key = one.key.as_ref();
    match (&address.named_by, key.map(|k| &k.source)) {
        (Some(by), source) => {
            one.rank = Rank::Named;
            one.why = format!("{by} names {}", shown(&address.base));
            if let Some(Source::Environment(variable)) = source {
                one.why.push_str(&format!("; {variable} goes along"));
            }
            if by != "the configuration" {
                one.endpoint = Some((address.endpoint, address.base.clone()));
            }
            // A name that the provider's usual service knows means nothing to another server. What this one offers is known only by
            // asking, and asked before it is chosen is only what runs here.
            one.model = one.configured.clone();
            if is_here(&address.base) {
                let paths = one.provider.manifest().http.first().map(|h| h.paths.as_slice()).unwrap_or_default();
                let path = paths.iter().find(|p| p.ends_with("/models")).map_or("/models", String::as_str);
                match servers::models(&address.base, path).await {
                    Answer::Models(models) => prefer(one, models),
                    Answer::WantsKey => one.wants_key = one.key.as_ref().is_some_and(|k| k.source == Source::Missing),
                    Answer::Nothing(why) => notes.push(why),
                }
            }
        }
        (None, Some(Source::Environment(variable))) => {
            one.rank = Rank::Service;
            one.why = format!("a key is in {variable}");
        }
        (None, Some(Source::Store)) => {
            one.rank = Rank::Service;
            "its key is in the secret store".clone_into(&mut one.why);
        }
        (None, Some(Source::Missing)) => {
            one.wants_key = true;
            one.why = format!("wants a key: {}", key.map_or("", |k| &k.prompt));
        }
        (None, None) => {}
    }
}

async fn ollama(one: &mut Choice, address: Address, env: &dyn Env, notes: &mut Vec<String>) {
    let by_host = servers::ollama_base(env);
    // `OLLAMA_HOST` is Ollama's own; the component knows only what its manifest names.
    let (base, by) = match (&address.named_by, by_host) {
        (Some(by), _) => (address.base.clone(), Some(by.clone())),
        (None, (base, Some(variable))) => (base, Some(variable.to_owned())),
        (None, (_, None)) => (address.base.clone(), None),
    };
    if base != address.base || by.as_deref().is_some_and(|by| by != "the configuration") {
        one.endpoint = Some((address.endpoint.clone(), base.clone()));
    }
    if !is_here(&base) {
        one.rank = Rank::Named;
        one.why = format!("{} names Ollama at {}", by.as_deref().unwrap_or("the manifest"), shown(&base));
        return;
    }
    match servers::ollama(&base).await {
        Answer::Models(models) if models.is_empty() => {
            notes.push(format!("Ollama runs at {} and has no model yet: `ollama pull llama3.2`", shown(&base)));
        }
        Answer::Models(models) => {
            one.rank = if by.is_some() { Rank::Named } else { Rank::Here };
            one.why = format!("Ollama at {}: costs nothing, and no conversation leaves this machine", shown(&base));
            one.model = one.configured.clone();
            prefer(one, models);
        }
        Answer::WantsKey => notes.push(format!("something at {} wants a key", shown(&base))),
        Answer::Nothing(why) if by.is_some() => notes.push(why),
        Answer::Nothing(_) => {}
    }
}

/// A server that nobody had configured yet: an instance of its own, so that no key of another service follows to it.
fn offered(server: Server, openai: &Provider, config: &Config, found: &mut Found) {
    let models = match server.answer {
        Answer::Models(models) if !models.is_empty() => models,
        Answer::Models(_) => {
            return found.notes.push(format!("{} ({}) offers no model", shown(&server.base), server.title));
        }
        Answer::WantsKey => {
            return found.notes.push(format!(
                "{} ({}) wants a key: `{{ instances: {{ \"openai:{}\": {{ endpoints: {{ api: \"{}\" }} }} }} }}`, then `carapace secrets set api-key --instance local/openai/{}`",
                shown(&server.base), server.title, server.id, server.base, server.id
            ));
        }
        Answer::Nothing(why) => return found.notes.push(why),
    };
    let Some((instance, endpoint)) = further(openai, &server.id, config) else { return };
    let mut one = Choice {
        rank: if server.named { Rank::Named } else { Rank::Here },
        provider: openai.clone(),
        instance,
        model: None,
        configured: None,
        others: Vec::new(),
        endpoint: Some((endpoint, server.base.clone())),
        key: None,
        wants_key: false,
        why: format!(
            "{} ({}): costs nothing, and no conversation leaves this machine",
            shown(&server.base),
            server.title
        ),
    };
    prefer(&mut one, models);
    found.choices.push(one);
}

fn services(openai: &Provider, config: &Config, env: &dyn Env, found: &mut Found) {
    for (variable, id, base, model) in SERVICES {
        if set(env, variable).is_none() {
            continue;
        }
        let (Some((instance, endpoint)), Some((name, declared))) =
            (further(openai, id, config), openai.manifest().secrets.iter().next())
        else {
            continue;
        };
        found.choices.push(Choice {
            rank: Rank::Service,
            provider: openai.clone(),
            instance,
            model: Some(model.to_owned()),
            configured: None,
            others: Vec::new(),
            endpoint: Some((endpoint, base.to_owned())),
            key: Some(Key {
                name: name.clone(),
                source: Source::Environment(variable.to_owned()),
                prompt: declared.prompt.clone(),
            }),
            wants_key: false,
            why: format!(
                "a key is in {variable}; it is copied into the secret store, because no manifest names that variable"
            ),
        });
    }
}

/// A further instance under an id that the configuration does not have yet.
fn further(openai: &Provider, id: &str, config: &Config) -> Option<(InstanceKey, String)> {
    let component = openai.manifest().component.name.clone();
    let instance = InstanceKey { component, id: id.parse::<Name>().ok()? };
    let endpoint = openai.manifest().http.first()?.endpoint.to_string();
    (!config.instances.contains_key(&instance)).then_some((instance, endpoint))
}

/// The model that was wanted if it is there, else the first.
fn prefer(one: &mut Choice, mut models: Vec<String>) {
    let wanted = one.model.as_ref().and_then(|w| models.iter().position(|m| m == w)).unwrap_or(0);
    if wanted < models.len() {
        one.model = Some(models.remove(wanted));
        one.others = models;
    }
}

/// Plain http to this machine: what may be asked before it is chosen.
pub(crate) fn is_here(base: &str) -> bool {
    carapace_egress::origin::parse_url(base)
        .and_then(|url| carapace_egress::origin::Origin::of(&url))
        .is_ok_and(|origin| origin.is_loopback() && !origin.is_https())
}

/// An address without what may be secret in it.
fn shown(base: &str) -> String {
    let Ok(mut url) = Url::parse(base) else { return "an address that is not a URL".to_owned() };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_an_address_is_not_shown() {
        assert_eq!(shown("http://me:hunter22@127.0.0.1:1/v1?key=hunter22#x"), "http://127.0.0.1:1/v1");
        assert!(!shown("hunter22").contains("hunter22"));
    }

    #[test]
    fn only_plain_http_on_this_machine_is_asked() {
        assert!(is_here("http://localhost:8080/v1") && is_here("http://[::1]:1"));
        assert!(!is_here("http://192.168.0.2:8080/v1") && !is_here("https://127.0.0.1") && !is_here("nonsense"));
    }
}
