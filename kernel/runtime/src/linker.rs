//! What a call is linked to: the package's real imports × what was granted × what is called.

use crate::binding::{Binding, How};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::manifest::Use;
use carapace_contract::wasi::Part;
use carapace_contract::{Denial, InstanceId};
use std::collections::{BTreeMap, BTreeSet};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

/// An interface of the contract that takes part in linking (`types` has nothing to link).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interface {
    /// `log`
    Log,
    /// `clock`
    Clock,
    /// `random`
    Random,
    /// `config`
    Config,
    /// `kv`
    Kv,
    /// `http`
    Http,
    /// `secrets`
    Secrets,
    /// `completion`
    Completion,
    /// `assets`
    Assets,
    /// `memory`
    Memory,
    /// `sessions`
    Sessions,
    /// `settings`
    Settings,
    /// `requests`
    Requests,
    /// `message`
    Message,
    /// `lines`
    Lines,
    /// `blob`
    Blob,
    /// A part of WASI 0.2.
    Wasi(Part),
}

impl Interface {
    /// All.
    pub const ALL: [Self; 21] = [
        Self::Log,
        Self::Clock,
        Self::Random,
        Self::Config,
        Self::Kv,
        Self::Http,
        Self::Secrets,
        Self::Completion,
        Self::Assets,
        Self::Memory,
        Self::Sessions,
        Self::Settings,
        Self::Requests,
        Self::Message,
        Self::Lines,
        Self::Blob,
        Self::Wasi(Part::World),
        Self::Wasi(Part::Clocks),
        Self::Wasi(Part::Random),
        Self::Wasi(Part::Stdio),
        Self::Wasi(Part::Http),
    ];

    /// Its name in `wit/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Config => "config",
            Self::Kv => "kv",
            Self::Http => "http",
            Self::Secrets => "secrets",
            Self::Completion => "completion",
            Self::Assets => "assets",
            Self::Memory => "memory",
            Self::Sessions => "sessions",
            Self::Settings => "settings",
            Self::Wasi(part) => part.name(),
            Self::Requests => "requests",
            Self::Message => "message",
            Self::Lines => "lines",
            Self::Blob => "blob",
        }
    }

    /// Whether a capability, as grants call it, is one of this interface's.
    fn is_of(self, capability: &str) -> bool {
        match capability.split_once(':') {
            None => capability == self.name(),
            Some(("http", _)) => self == Self::Http,
            Some(("asset", _)) => self == Self::Assets,
            Some(("secret", _)) => self == Self::Secrets,
            Some(("directory", _)) => self == Self::Wasi(Part::World),
            Some(_) => false,
        }
    }

    /// The interface an import names, e.g. `carapace:plugin/kv@0.1.0-dev`. Whether the version fits is the linker's business.
    pub fn of_import(import: &str) -> Option<Self> {
        if let Some(part) = Part::of_import(import) {
            return Some(Self::Wasi(part));
        }
        let name = import.strip_prefix("carapace:plugin/")?;
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        Self::ALL.into_iter().find(|i| i.name() == name && !matches!(i, Self::Wasi(_)))
    }
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is called; it decides what the call may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// `tools.list`: nothing but the baseline.
    ListTools,
    /// `tools.call` of this tool: what its `uses` say.
    Tool(&'a str),
    /// `provider`: everything granted.
    Provider,
    /// `channel`: everything granted.
    Channel,
    /// What a channel computes without the world, by name: nothing but the baseline.
    ChannelPure(&'static str),
}

impl std::fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ListTools => f.write_str("`tools.list`"),
            Self::Tool(name) => write!(f, "tool `{name}`"),
            Self::Provider => f.write_str("the provider"),
            Self::Channel => f.write_str("the channel"),
            Self::ChannelPure(name) => write!(f, "`channel.{name}`"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Real,
    Refused(Why),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Optional, and the owner said no.
    NotGranted,
    /// The tool's `uses` do not have it.
    NotUsed,
}

/// Which interfaces a call is linked to, and which to a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    links: BTreeMap<Interface, Link>,
    entry: String,
    /// Optional capabilities that were asked for and not granted, as grants call them.
    refused: Vec<String>,
    recorded: bool,
}

impl LinkPlan {
    /// Plans a call: `imports` are the component's real ones, `asked` is what its manifest asks for, `granted` what it got.
    ///
    /// # Errors
    /// A required capability is not granted, the manifest does not ask for what the code imports, or what is
    /// called was not granted. The denial names it and the command that would allow it.
    pub fn new(
        instance: &InstanceId,
        imports: &BTreeSet<Interface>,
        asked: &CapabilitySet,
        granted: &CapabilitySet,
        entry: Entry<'_>,
    ) -> Result<Self, Denial> {
        let grant = || format!("carapace plugin grant {instance}");
        let uses = match entry {
            Entry::Tool(name) => match granted.tools.get(name) {
                Some(tool) => Some(tool.uses.clone()),
                None => {
                    return Err(Denial::new(
                        "E-RUNTIME-024",
                        format!("{instance} was asked to run tool `{name}`, which was not granted"),
                        grant(),
                    ));
                }
            },
            Entry::ListTools => Some(BTreeSet::new()),
            Entry::Channel if granted.channel => None,
            Entry::ChannelPure(_) if granted.channel => Some(BTreeSet::new()),
            Entry::Channel | Entry::ChannelPure(_) => {
                return Err(Denial::new(
                    "E-RUNTIME-024",
                    format!("{instance} was asked to be a channel, which was not granted"),
                    grant(),
                ));
            }
            Entry::Provider if granted.provider => None,
            Entry::Provider => {
                return Err(Denial::new(
                    "E-RUNTIME-024",
                    format!("{instance} was asked to complete, which was not granted"),
                    grant(),
                ));
            }
        };
        // What is asked for as one word, and used by one of these.
        let plain = |word: &str, asks: bool, has: bool, words: &[Use]| {
            let used = uses.as_ref().is_none_or(|uses| words.iter().any(|w| uses.contains(w)));
            (asks, asked.optional.contains(word), has, used, word.to_owned())
        };
        let mut links = BTreeMap::new();
        for &interface in imports {
            let (asks, optional, has, used, what) = match interface {
                Interface::Log | Interface::Clock | Interface::Random | Interface::Config => {
                    links.insert(interface, Link::Real);
                    continue;
                }
                Interface::Kv => plain("kv", asked.kv, granted.kv, &[Use::Kv]),
                Interface::Memory => plain("memory", asked.memory, granted.memory, &[Use::Memory, Use::MemoryRead]),
                Interface::Sessions => plain("sessions", asked.sessions, granted.sessions, &[Use::Sessions]),
                Interface::Settings => plain("settings", asked.settings, granted.settings, &[Use::Settings]),
                Interface::Requests => plain("requests", asked.requests, granted.requests, &[Use::Requests]),
                Interface::Message => plain("message", asked.message, granted.message, &[Use::Message]),
                Interface::Lines => plain("lines", asked.lines, granted.lines, &[]),
                Interface::Blob => plain("blob", asked.blob, granted.blob, &[Use::Blob]),
                Interface::Assets => (
                    !asked.assets.is_empty(),
                    asked.assets.keys().all(|a| asked.optional.contains(&format!("asset:{a}"))),
                    !granted.assets.is_empty(),
                    uses.as_ref().is_none_or(|u| u.contains(&Use::Assets)),
                    asked.assets.keys().next().map_or("assets".to_owned(), |a| format!("asset:{a}")),
                ),
                Interface::Http => (
                    !asked.http.is_empty() || asked.public_http,
                    !asked.public_http && asked.http.keys().all(|e| asked.optional.contains(&format!("http:{e}"))),
                    !granted.http.is_empty() || granted.public_http,
                    uses.as_ref().is_none_or(|u| u.iter().any(|u| matches!(u, Use::Http(_) | Use::PublicHttp))),
                    asked.http.keys().next().map_or("http:public".to_owned(), |e| format!("http:{e}")),
                ),
                Interface::Secrets => (
                    !asked.secrets.is_empty(),
                    asked.secrets.keys().all(|s| asked.optional.contains(&format!("secret:{s}"))),
                    !granted.secrets.is_empty(),
                    uses.as_ref().is_none_or(|u| u.contains(&Use::Secrets)),
                    asked.secrets.keys().next().map_or("secrets".to_owned(), |s| format!("secret:{s}")),
                ),
                Interface::Wasi(part) => {
                    let (a, g) = (asked.wasi, granted.wasi);
                    let (asks, has) = match part {
                        Part::World => (a.is_some(), g.is_some()),
                        Part::Clocks => (a.is_some_and(|w| w.clocks), g.is_some_and(|w| w.clocks)),
                        Part::Random => (a.is_some_and(|w| w.random), g.is_some_and(|w| w.random)),
                        Part::Stdio => (a.is_some_and(|w| w.stdio), g.is_some_and(|w| w.stdio)),
                        // Which requests, is decided for each.
                        Part::Http => (a.is_some() && (!asked.http.is_empty() || asked.public_http), g.is_some()),
                    };
                    (asks, false, has, true, part.name().to_owned())
                }
                Interface::Completion => {
                    (asked.provider, false, granted.provider, uses.is_none(), "provider".to_owned())
                }
            };
            if !asks {
                return Err(Denial::new(
                    "E-RUNTIME-022",
                    format!("{instance} imports `{interface}`, but its manifest does not ask for it"),
                    String::new(),
                ));
            }
            if !has && !optional {
                return Err(Denial::new(
                    "E-RUNTIME-021",
                    format!(
                        "{instance} imports `{interface}` and does not work without it, but `{what}` was not granted"
                    ),
                    grant(),
                ));
            }
            let link = match (has, used) {
                (true, true) => Link::Real,
                (true, false) => Link::Refused(Why::NotUsed),
                (false, _) => Link::Refused(Why::NotGranted),
            };
            links.insert(interface, link);
        }
        Ok(Self { links, entry: entry.to_string(), refused: granted.refused(asked), recorded: false })
    }

    /// Everything is linked, whoever granted what: for a store whose answers are a recording's.
    pub(crate) fn whole(imports: &BTreeSet<Interface>, entry: Entry<'_>) -> Self {
        let links = imports.iter().map(|i| (*i, Link::Real)).collect();
        Self { links, entry: entry.to_string(), refused: Vec::new(), recorded: false }
    }

    /// The same, with every call written down.
    pub(crate) fn recorded(&self) -> Self {
        Self { recorded: true, ..self.clone() }
    }

    /// Whether the real interface is linked.
    pub fn links(&self, interface: Interface) -> bool {
        self.links.get(&interface) == Some(&Link::Real)
    }

    /// Whether anything of WASI is linked.
    pub fn has_wasi(&self) -> bool {
        self.links.keys().any(|i| matches!(i, Interface::Wasi(_)))
    }

    /// Plans with equal keys share an instance template.
    pub(crate) fn key(&self) -> u64 {
        Interface::ALL.iter().fold(u64::from(self.recorded), |key, interface| {
            let bits = match self.links.get(interface) {
                None => 0b00,
                Some(Link::Real) => 0b01,
                Some(Link::Refused(_)) => 0b10,
            };
            key << 2 | bits
        })
    }

    /// What is called, for messages.
    pub(crate) fn entry(&self) -> &str {
        &self.entry
    }

    /// What a refused interface answers.
    pub(crate) fn refusal(&self, interface: Interface, instance: &InstanceId) -> Denial {
        match self.links.get(&interface) {
            Some(Link::Refused(Why::NotUsed)) => Denial::new(
                "E-RUNTIME-023",
                format!(
                    "{} of {instance} may not use `{interface}`: its `uses` in the manifest do not name it",
                    self.entry
                ),
                String::new(),
            ),
            _ => {
                let of_it = |name: &&String| interface.is_of(name);
                let names: Vec<&str> = self.refused.iter().filter(of_it).map(String::as_str).collect();
                Denial::new(
                    "E-RUNTIME-023",
                    format!("{instance} may not use `{interface}`: it was not granted"),
                    format!("carapace plugin grant {instance} {}", names.join(" ")).trim_end().to_owned(),
                )
            }
        }
    }

    /// A linker with exactly this plan, under the names of one version of the contract.
    pub(crate) fn linker<T: 'static>(
        &self,
        engine: &wasmtime::Engine,
        binding: &dyn Binding<T>,
    ) -> wasmtime::Result<Linker<T>> {
        let mut linker = Linker::new(engine);
        for (interface, link) in &self.links {
            let how = How { real: *link == Link::Real, recorded: self.recorded };
            binding.link(*interface, how, &mut linker)?;
        }
        Ok(linker)
    }
}

/// What a component really imports, apart from type-only interfaces.
///
/// # Errors
/// The names that this kernel does not offer.
pub(crate) fn imports(component: &Component) -> Result<BTreeSet<Interface>, Vec<String>> {
    let engine = component.engine();
    let mut known = BTreeSet::new();
    let mut unknown = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let needs_linking = match &item.ty {
            ComponentItem::ComponentInstance(i) => {
                i.exports(engine).any(|(_, e)| !matches!(e.ty, ComponentItem::Type(_)))
            }
            ComponentItem::Type(_) => false,
            _ => true,
        };
        if !needs_linking {
            continue;
        }
        match Interface::of_import(name) {
            Some(interface) => {
                known.insert(interface);
            }
            None => unknown.push(name.to_owned()),
        }
    }
    if unknown.is_empty() { Ok(known) } else { Err(unknown) }
}
