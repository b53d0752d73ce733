//! The sections, typed, with their defaults.

use crate::channel::{ChannelPolicy, ChannelsSection};
use crate::env::Env;
use crate::limits::{ByteSize, LimitOverrides};
use crate::names::{InstanceKey, ModelName};
use crate::problem::ConfigError;
use carapace_contract::completion::ModelRef;
use carapace_contract::limits::Limits;
use carapace_contract::{ComponentId, EndpointName, HostPort, InstanceId, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use url::Url;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What clients connect to.
    pub gateway: Gateway,
    /// Where chat platforms reach the channels.
    pub webhooks: Webhooks,
    /// The assistant.
    pub agent: Agent,
    /// What it may spend.
    pub budget: Budget,
    /// Named configurations of installed components: `<component>` or `<component>:<id>`.
    #[schemars(with = "BTreeMap<String, Instance>")]
    pub instances: BTreeMap<InstanceKey, Instance>,
    /// Chat platforms, apart from who may talk through each (`instances`).
    pub channels: ChannelsSection,
    /// What components may use.
    pub limits: LimitsSection,
    /// What is logged.
    pub log: Log,
    /// The WebAssembly engine.
    pub runtime: Runtime,
    /// Where values stand (JSON pointers, RFC 6901) that the file took from the environment by `${NAME}`; [`Self::shown`] hides them.
    #[serde(skip)]
    pub from_environment: BTreeSet<String>,
}

/// `gateway`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Gateway {
    /// Address to listen on; loopback only.
    pub bind: IpAddr,
    /// Port; 0 = any free one.
    pub port: u16,
    /// Largest request body.
    pub max_body_bytes: ByteSize,
    /// Origins of web pages that may use the gateway besides its own: `https://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// How long a shutdown waits for running turns, ms; they resume after the next start.
    #[schemars(range(max = 600_000))]
    pub shutdown_grace_ms: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 18789,
            max_body_bytes: ByteSize(16 << 20),
            allowed_origins: Vec::new(),
            shutdown_grace_ms: 10_000,
        }
    }
}

/// `webhooks`: a port of its own, so that a tunnel to it exposes neither the API nor the page. It listens while a secret of a webhook is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Webhooks {
    /// Address to listen on; loopback only: a tunnel or a reverse proxy brings what comes from outside.
    pub bind: IpAddr,
    /// Port; 0 = any free one.
    pub port: u16,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 18790 }
    }
}

/// `agent`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Agent {
    /// Models to try, in order: `<component>/<model>` or `<component>:<instance>/<model>`.
    #[schemars(with = "Vec<String>")]
    pub route: Vec<ModelName>,
    /// System prompt, in place of the built-in one.
    pub system: Option<String>,
    /// Model rounds in one run.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_turns: u32,
    /// Tool calls of one round that run at once.
    #[schemars(range(min = 1, max = 64))]
    pub max_parallel_calls: u32,
    /// Tokens a composed context may hold.
    #[schemars(range(min = 256))]
    pub context_tokens: u32,
    /// Tokens of one answer.
    #[schemars(range(min = 1))]
    pub max_output_tokens: u32,
    /// Sampling temperature; none = the model's own.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f32>,
    /// Longest run, ms.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub run_timeout_ms: u64,
    /// Runs at once; further ones wait.
    #[schemars(range(min = 1, max = 1_024))]
    pub max_concurrent_runs: u32,
    /// The owner's time zone (IANA, e.g. `Europe/Berlin`).
    pub timezone: Option<String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            route: Vec::new(),
            system: None,
            max_turns: 16,
            max_parallel_calls: 8,
            context_tokens: 32_000,
            max_output_tokens: 4_096,
            temperature: None,
            run_timeout_ms: 600_000,
            max_concurrent_runs: 8,
            timezone: None,
        }
    }
}

/// `budget`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Budget {
    /// US dollars a day; null = no cap.
    #[schemars(range(min = 0))]
    pub daily_usd: Option<f64>,
    /// Tokens a day, in and out; null = no cap.
    pub daily_tokens: Option<u64>,
    /// Prices by `<instance>/<model>`; `*` stands for any text, the most specific entry wins.
    pub pricing: BTreeMap<String, Price>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { daily_usd: Some(5.0), daily_tokens: Some(5_000_000), pricing: BTreeMap::new() }
    }
}

impl Budget {
    /// The price of `model`: the matching entry with the most literal characters.
    pub fn price(&self, model: &ModelRef) -> Option<Price> {
        let name = model.to_string();
        self.pricing
            .iter()
            .filter(|(pattern, _)| glob(pattern, &name))
            .max_by_key(|(pattern, _)| pattern.chars().filter(|c| *c != '*').count())
            .map(|(_, price)| *price)
    }
}

/// `*` stands for any text. Linear memory, no recursion: the last star is the only place to go back to.
fn glob(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j, mut back) = (0, 0, None);
    while let Some(c) = t.get(j) {
        match p.get(i) {
            Some('*') => {
                back = Some((i + 1, j));
                i += 1;
            }
            Some(d) if d == c => {
                i += 1;
                j += 1;
            }
            _ => match back {
                Some((pi, tj)) => {
                    back = Some((pi, tj + 1));
                    i = pi;
                    j = tj + 1;
                }
                None => return false,
            },
        }
    }
    p.iter().skip(i).all(|c| *c == '*')
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Price {
    /// Of the prompt.
    #[schemars(range(min = 0))]
    pub input_per_m_tok: f64,
    /// Of the answer.
    #[schemars(range(min = 0))]
    pub output_per_m_tok: f64,
}

/// One of `instances`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Instance {
    /// `publisher/name`, where two publishers have a component of that name.
    #[schemars(with = "Option<String>")]
    pub component: Option<ComponentId>,
    /// Off without being uninstalled.
    pub enabled: bool,
    /// Base URLs in place of the manifest's, by endpoint.
    #[schemars(with = "BTreeMap<String, String>")]
    pub endpoints: BTreeMap<EndpointName, Url>,
    /// Dangerous: servers (`host:port`) that `http = "public"` reaches although they are on a private network or this machine.
    #[schemars(with = "Vec<String>")]
    pub public_allow: BTreeSet<HostPort>,
    /// Directories that the component may be given, by the name under which its manifest asks; absolute paths.
    #[schemars(with = "BTreeMap<String, String>")]
    pub directories: BTreeMap<Name, PathBuf>,
    /// The component's own section. Holds no secret.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Limits in place of the manifest's; `limits.ceiling` still wins.
    pub limits: LimitOverrides,
    /// Who may talk through it, if it is a channel.
    pub channel: ChannelPolicy,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            component: None,
            enabled: true,
            endpoints: BTreeMap::new(),
            public_allow: BTreeSet::new(),
            directories: BTreeMap::new(),
            config: serde_json::Map::new(),
            limits: LimitOverrides::default(),
            channel: ChannelPolicy::default(),
        }
    }
}

/// `limits`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitsSection {
    /// No component gets more than this, whatever its manifest asks.
    pub ceiling: LimitOverrides,
}

/// `log`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    /// The least that is logged.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// `log.level`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `log.format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `runtime`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Runtime {
    /// How memory for components is had.
    pub allocator: Allocator,
    /// The most memory that compiling one component may take.
    pub compile_memory: ByteSize,
    /// The most CPU time that it may take, over all threads.
    #[schemars(range(min = 1))]
    pub compile_cpu_seconds: u64,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { allocator: Allocator::default(), compile_memory: ByteSize(2 << 30), compile_cpu_seconds: 120 }
    }
}

/// `runtime.allocator`. The comments stay off the variants, so that the schema is one plain list of words:
/// `auto` probes for pooling at the start and says which it took; the other two insist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "described on the type")]
pub enum Allocator {
    #[default]
    Auto,
    Pooling,
    OnDemand,
}

impl Config {
    /// Parses text as the content of `file` (which relative includes start from).
    ///
    /// # Errors
    /// Every problem at once.
    pub fn parse(text: &str, file: &Path, env: &dyn Env) -> Result<Self, ConfigError> {
        crate::load::parse(text, file, env)
    }

    /// Reads `file`; a missing one means the defaults.
    ///
    /// # Errors
    /// Every problem at once, each naming its file.
    pub fn load(file: &Path, env: &dyn Env) -> Result<Self, ConfigError> {
        crate::load::load(file, env)
    }

    /// JSON Schema (2020-12) of the file, for editors.
    pub fn json_schema() -> serde_json::Value {
        crate::schema::schema().clone()
    }

    /// The configuration in force, as keys and values of the file, without anything that is or may be secret.
    pub fn shown(&self) -> serde_json::Value {
        crate::shown::shown(self)
    }

    /// The section of `instance`, if there is one (and it doesn't name another publisher).
    pub fn instance(&self, instance: &InstanceId) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|(key, section)| {
                key.matches(instance) && section.component.as_ref().is_none_or(|c| c == instance.component())
            })
            .map(|(_, section)| section)
    }

    /// No component gets more than this.
    pub fn ceiling(&self) -> Limits {
        self.limits.ceiling.over(Limits::ceiling())
    }

    /// What `instance` may use of what its manifest `requested`: the operator's own figures, under the ceiling.
    pub fn limits_for(&self, instance: &InstanceId, requested: Limits) -> Limits {
        self.instance(instance).map_or(requested, |i| i.limits.over(requested)).min(self.ceiling())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference(instance: &str, model: &str) -> ModelRef {
        ModelRef { instance: instance.parse().unwrap(), model: model.to_owned() }
    }

    #[test]
    fn the_most_specific_price_wins() {
        let price = |n| Price { input_per_m_tok: n, output_per_m_tok: n };
        let budget = Budget {
            pricing: [("openai/*".into(), price(1.0)), ("openai/gpt-5*".into(), price(2.0)), ("*".into(), price(3.0))]
                .into(),
            ..Budget::default()
        };
        assert_eq!(budget.price(&reference("local/openai/main", "gpt-5-mini")), Some(price(2.0)));
        assert_eq!(budget.price(&reference("local/openai/main", "o3")), Some(price(1.0)));
        assert_eq!(budget.price(&reference("local/openai/vllm", "gpt-5")), Some(price(3.0)));
        assert_eq!(Budget::default().price(&reference("local/openai/main", "gpt-5")), None);
    }

    #[test]
    fn an_instance_is_found_by_key_unless_it_names_another_publisher() {
        let mut c = Config::default();
        c.instances.insert(
            "openai:vllm".parse().unwrap(),
            Instance { component: Some("acme/openai".parse().unwrap()), ..Instance::default() },
        );
        assert!(c.instance(&"acme/openai/vllm".parse().unwrap()).is_some());
        assert!(c.instance(&"local/openai/vllm".parse().unwrap()).is_none());
        assert!(c.instance(&"acme/openai/main".parse().unwrap()).is_none());
    }

    #[test]
    fn an_instance_may_ask_for_more_but_the_ceiling_wins() {
        let mut c = Config::default();
        let id = "local/math/main".parse().unwrap();
        let wide = LimitOverrides { memory: Some(ByteSize(1 << 40)), handles: Some(3), ..LimitOverrides::default() };
        c.instances.insert("math".parse().unwrap(), Instance { limits: wide, ..Instance::default() });
        let l = c.limits_for(&id, Limits::default());
        assert_eq!((l.memory, l.handles), (Limits::ceiling().memory, 3));
        c.limits.ceiling.memory = Some(ByteSize(1 << 20));
        assert_eq!(c.limits_for(&id, Limits::default()).memory, 1 << 20);
    }

    proptest! {
        #[test]
        fn a_glob_agrees_with_the_recursive_definition(p in "[ab*]{0,8}", t in "[ab]{0,10}") {
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&p[1..], t) || (!t.is_empty() && slow(p, &t[1..])),
                    (Some(a), Some(b)) if a == b => slow(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(glob(&p, &t), slow(p.as_bytes(), t.as_bytes()));
        }
    }
}
