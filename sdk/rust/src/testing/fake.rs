//! A kernel made of data.

mod imports;
mod pairs;

use super::answer::{Answer, Exchange};
use super::journal::{LogLine, Sent};
use crate::glue::Manifest;
use crate::provider::Event;
use crate::{Error, memory, sessions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// A kernel made of data: what a component may find there goes in, what it did comes out. It has no clock, no network and no chance of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FakeHost {
    pub(crate) declared: Declared,
    /// What runs; none: the test's own code, which may use all that is declared.
    pub(crate) entry: Option<Entry>,
    pub(crate) now_ms: u64,
    pub(crate) monotonic_ms: u64,
    pub(crate) random: VecDeque<u8>,
    pub(crate) seed: u64,
    pub(crate) config: Value,
    pub(crate) kv: BTreeMap<String, pairs::Pair>,
    pub(crate) version: u64,
    /// The form of the pairs.
    pub(crate) schema: Option<u32>,
    /// Values; none = declared and not set.
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) memory: Vec<memory::Note>,
    pub(crate) sessions: Vec<(sessions::Session, Vec<sessions::Entry>)>,
    pub(crate) settings: Value,
    /// Name and reason.
    pub(crate) requests: Vec<(String, String)>,
    /// Target and text.
    pub(crate) messages: Vec<(String, String)>,
    pub(crate) targets: BTreeSet<String>,
    /// Who is attached.
    pub(crate) programs: BTreeSet<String>,
    /// Client, key and text.
    pub(crate) written: Vec<(String, String, String)>,
    /// Bytes by id.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) assets: BTreeMap<String, Asset>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) refused: BTreeSet<String>,
    /// What each use of these capabilities fails with.
    pub(crate) failing: BTreeMap<String, Error>,
    pub(crate) cancel_after: Option<usize>,
    pub(crate) open: Vec<Answer>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) logged: Vec<LogLine>,
    pub(crate) emitted: Vec<Event>,
    pub(crate) slept_ms: u64,
}

/// What the manifest asks for.
#[allow(missing_docs, reason = "the manifest's own words")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    pub name: String,
    pub sections: BTreeSet<String>,
    /// `[kv] schema`
    pub schema: u32,
    /// With their methods.
    pub endpoints: BTreeMap<String, Vec<String>>,
    pub public_http: bool,
    /// With whether they are for HMAC.
    pub secrets: BTreeMap<String, bool>,
    /// With what they use.
    pub tools: BTreeMap<String, Vec<String>>,
}

impl From<&Manifest> for Declared {
    fn from(m: &Manifest) -> Self {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Self {
            name: m.name.to_owned(),
            schema: m.kv_schema,
            sections: m.sections.iter().map(|s| (*s).to_owned()).collect(),
            endpoints: m.endpoints.iter().map(|(n, methods)| ((*n).to_owned(), owned(methods))).collect(),
            public_http: m.public_http,
            secrets: m.secrets.iter().map(|(n, hmac)| ((*n).to_owned(), *hmac)).collect(),
            tools: m.tools.iter().map(|t| (t.name.to_owned(), owned(t.uses))).collect(),
        }
    }
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// `tools.list`
    List,
    /// `tools.call` of this tool.
    Tool(String),
    /// `provider`
    Provider,
    /// `channel`
    Channel,
}

/// Where an asset's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asset {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl FakeHost {
    /// A kernel in which nothing is: 2026-07-01 12:34:56.789 UTC, no configuration, no pairs, no answers.
    #[doc(hidden)]
    pub fn of(manifest: &Manifest) -> Self {
        Self::declaring(Declared::from(manifest))
    }

    /// The same, for a manifest that was read elsewhere.
    #[doc(hidden)]
    pub fn declaring(declared: Declared) -> Self {
        Self {
            declared,
            entry: None,
            now_ms: 1_782_909_296_789,
            monotonic_ms: 1_000,
            random: VecDeque::new(),
            seed: 1,
            config: Value::Object(serde_json::Map::new()),
            kv: BTreeMap::new(),
            version: 0,
            schema: None,
            secrets: BTreeMap::new(),
            memory: Vec::new(),
            sessions: Vec::new(),
            settings: Value::Object(serde_json::Map::new()),
            requests: Vec::new(),
            messages: Vec::new(),
            targets: BTreeSet::from(["owner".to_owned()]),
            programs: BTreeSet::new(),
            written: Vec::new(),
            assets: BTreeMap::new(),
            blobs: BTreeMap::new(),
            exchanges: Vec::new(),
            refused: BTreeSet::new(),
            failing: BTreeMap::new(),
            cancel_after: None,
            open: Vec::new(),
            sent: Vec::new(),
            logged: Vec::new(),
            emitted: Vec::new(),
            slept_ms: 0,
        }
    }

    /// Whether what runs may use a capability: the manifest asks for it, the tool's `uses` name it, the test did not refuse it.
    fn allow(&self, section: &str, capability: &str) -> Result<(), Error> {
        let d = &self.declared;
        let declared = match section {
            "http" if capability == "http:public" => d.public_http,
            "http" => capability.strip_prefix("http:").is_some_and(|e| d.endpoints.contains_key(e)),
            "assets" => d.sections.contains("assets") || d.sections.contains("asset"),
            "completion" => d.sections.contains("provider"),
            _ => d.sections.contains(section),
        };
        if !declared {
            let section = match section {
                "http" => "[[http]] of that endpoint",
                "completion" => "[provider]",
                "secrets" => "[secrets.<name>]",
                other => &format!("[{other}]"),
            };
            return Err(Error::Denied(format!(
                "`{capability}`: carapace.toml does not ask for it; it needs {section}"
            )));
        }
        let used = match &self.entry {
            None | Some(Entry::Provider | Entry::Channel) => true,
            Some(Entry::List) => false,
            Some(Entry::Tool(name)) => {
                let covers = |u: &String| u == capability || (capability == "memory:read" && u == "memory");
                d.tools.get(name).is_some_and(|uses| uses.iter().any(covers))
            }
        };
        if !used {
            let what = match &self.entry {
                Some(Entry::Tool(name)) => format!("tool `{name}`"),
                _ => "`tools.list`".to_owned(),
            };
            return Err(Error::Denied(format!(
                "{what} of {} may not use `{capability}`: its `uses` in the manifest do not name it [E-RUNTIME-023]",
                d.name
            )));
        }
        // Notes are refused whole, and fail whole.
        let capability = capability.strip_suffix(":read").unwrap_or(capability);
        if let Some(error) = self.failing.get(capability) {
            return Err(error.clone());
        }
        if self.refused.contains(capability) {
            return Err(Error::Denied(format!(
                "{} may not use `{capability}`: it was not granted [E-RUNTIME-023]",
                d.name
            )));
        }
        Ok(())
    }

    /// A random byte: what the test gave, then a fixed sequence (SplitMix64, Steele et al. 2014).
    fn random_byte(&mut self) -> u8 {
        self.random.pop_front().unwrap_or_else(|| {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 56) as u8
        })
    }
}
