//! What a call is linked to: the package's real imports × what was granted × what is called.

use crate::bindings::{
    assets, clock, completion, config, http, kv, log, memory, random, secrets, sessions, settings, types,
};
use crate::refusal::{Refused, RefusedOf};
use crate::state::Imports;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::manifest::Use;
use carapace_contract::{Denial, InstanceId};
use std::collections::{BTreeMap, BTreeSet};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

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
}

impl Interface {
    /// All.
    pub const ALL: [Self; 12] = [
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
        }
    }

    /// The interface an import names, e.g. `carapace:plugin/kv@0.1.0-dev`. Whether the version fits is the linker's business.
    pub fn of_import(import: &str) -> Option<Self> {
        let name = import.strip_prefix("carapace:plugin/")?;
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        Self::ALL.into_iter().find(|i| i.name() == name)
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
        let entry = match entry {
            Entry::ListTools => "`tools.list`".to_owned(),
            Entry::Tool(name) => format!("tool `{name}`"),
            Entry::Provider => "the provider".to_owned(),
            Entry::Channel => "the channel".to_owned(),
            Entry::ChannelPure(name) => format!("`channel.{name}`"),
        };
        Ok(Self { links, entry })
    }

    /// Whether the real interface is linked.
    pub fn links(&self, interface: Interface) -> bool {
        self.links.get(&interface) == Some(&Link::Real)
    }

    /// Plans with equal keys share an instance template.
    pub(crate) fn key(&self) -> u32 {
        self.links.iter().fold(0, |key, (interface, link)| {
            let bits = if *link == Link::Real { 0b01 } else { 0b10 };
            key | bits << (2 * *interface as u32)
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
            _ => Denial::new(
                "E-RUNTIME-023",
                format!("{instance} may not use `{interface}`: it was not granted"),
                format!("carapace plugin grant {instance}"),
            ),
        }
    }

    /// A linker with exactly this plan.
    pub(crate) fn linker<T: Imports>(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Linker<T>> {
        let mut linker = Linker::new(engine);
        types::add_to_linker::<T, HasSelf<T>>(&mut linker, |t| t)?;
        for (interface, link) in &self.links {
            let real = *link == Link::Real;
            let l = &mut linker;
            match interface {
                Interface::Log => log::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Clock => clock::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Random => random::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Config => config::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Kv if real => kv::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Kv => kv::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Http if real => http::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Http => http::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Secrets if real => secrets::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Secrets => secrets::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Assets if real => assets::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Assets => assets::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Memory if real => memory::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Memory => memory::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Sessions if real => sessions::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Sessions => sessions::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Settings if real => settings::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Settings => settings::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
                Interface::Completion if real => completion::add_to_linker::<T, HasSelf<T>>(l, |t| t)?,
                Interface::Completion => completion::add_to_linker::<T, RefusedOf<T>>(l, |t| Refused(t.core()))?,
            }
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
