//! Where a package comes from: a file, a name in a registry, an OCI registry, a URL.

use crate::args::ReadingArgs;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::network::Network;
use crate::trust;
use carapace_config::{Env, StatePaths, SystemEnv};
use carapace_contract::{ComponentId, Name};
use carapace_registry::index::Index;
use carapace_registry::oci::{self, Credentials, Reference};
use carapace_registry::resolve::{Known, Request, Resolution, resolve};
use carapace_registry::source::{Fetched, read_index, read_package, read_package_url};
use carapace_registry::{Location, RegistryBook, RegistryError, Trust, location};
use carapace_store::Store;
use semver::Version;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// A package as it was named.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// A name in the registries here.
    Registry(Request),
    /// An OCI registry.
    Oci(Reference),
    /// A URL that ends in `.wasm`.
    Url(String),
}

impl FromStr for Source {
    type Err = RegistryError;
    fn from_str(s: &str) -> Result<Self, RegistryError> {
        if s.starts_with(oci::SCHEME) {
            return s.parse().map(Self::Oci);
        }
        if s.contains("://") {
            return location::web(s).map(|_| Self::Url(s.to_owned()));
        }
        // A name holds no dot; `./NAME` is a file of whatever name.
        let path = PathBuf::from(s);
        if path.extension().is_some_and(|e| e == "wasm") || s.starts_with(['.', '/', '\\']) || path.is_absolute() {
            return Ok(Self::File(path));
        }
        s.parse().map(Self::Registry)
    }
}

impl From<RegistryError> for Failure {
    fn from(e: RegistryError) -> Self {
        let exit = match e {
            RegistryError::Location { .. } | RegistryError::Request(..) | RegistryError::OciReference(..) => {
                Exit::Usage
            }
            RegistryError::Unreachable { .. } | RegistryError::Missing(_) | RegistryError::OciStatus { .. } => {
                Exit::Failed
            }
            _ => Exit::Refused,
        };
        Self::coded(exit, e.code(), e.to_string()).help(e.fix())
    }
}

/// What somebody typed where a package is wanted.
pub(crate) fn parse(text: &str) -> Outcome<Source> {
    Ok(text.parse()?)
}

/// How a registry is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// In this one only.
    pub registry: Option<Name>,
    /// Although its index has expired.
    pub accept_expired: bool,
}

impl From<ReadingArgs> for Reading {
    fn from(args: ReadingArgs) -> Self {
        Self { registry: args.registry, accept_expired: args.accept_expired }
    }
}

/// The registries that were added.
pub(crate) fn book(paths: &StatePaths) -> Outcome<RegistryBook> {
    Ok(RegistryBook::load(&paths.registries())?)
}

/// A network for these registries.
pub(crate) fn network(book: &RegistryBook) -> Network {
    Network::new(book.iter().filter_map(|r| match &r.location {
        Location::Web(url) => Some(url),
        Location::Directory(_) => None,
    }))
}

/// What the registries say.
#[derive(Debug)]
pub(crate) struct Indexes {
    /// Of those that could be read.
    pub found: Vec<Index>,
    /// The others, and why.
    pub unread: Vec<(Name, Failure)>,
}

/// Reads the indexes and remembers which versions were seen. With `go_on`, one that cannot be read is told and left out.
///
/// The book is held only after the network: what was removed, rotated or seen meanwhile counts, however slow a registry is.
pub(crate) async fn indexes(paths: &StatePaths, reading: &Reading, go_on: bool) -> Outcome<Indexes> {
    let book = book(paths)?;
    if book.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no registry here to look names up in")
            .help("carapace registry add ID LOCATION KEY; or name a file, oci://… or https://….wasm"));
    }
    if let Some(id) = &reading.registry {
        book.get(id)?;
    }
    let network = network(&book);
    let mut came = Vec::new();
    for registry in book.iter().filter(|r| reading.registry.as_ref().is_none_or(|only| *only == r.id)) {
        let bytes = read_index(&registry.location, &network).await;
        let broken = bytes.is_err();
        came.push((registry.id.clone(), bytes));
        if broken && !go_on {
            break;
        }
    }
    let judged = RegistryBook::change(&paths.registries(), |book| {
        let (now_ms, accept_expired) = (trust::now_ms(), reading.accept_expired);
        let mut judge = |id: &Name, bytes: &[u8]| book.accept(id, bytes, now_ms, accept_expired);
        Ok(came.into_iter().map(|(id, bytes)| (bytes.and_then(|b| judge(&id, &b)), id)).collect::<Vec<_>>())
    })?;
    let mut indexes = Indexes { found: Vec::new(), unread: Vec::new() };
    for (index, id) in judged {
        match index {
            Ok(index) => indexes.found.push(index),
            Err(e) if go_on => {
                let why = Failure::from(e);
                eprintln!("warning: `{id}` is left out: {}", why.line());
                indexes.unread.push((id, why));
            }
            // A name means something else where a registry is missing.
            Err(e) => {
                let others = if book.iter().count() > 1 { "; to look in another one only: --registry ID" } else { "" };
                let fix = e.fix();
                return Err(Failure::from(e).help(format!("{fix}{others}").trim_start_matches("; ")));
            }
        }
    }
    Ok(indexes)
}

/// Versions of the installed components.
pub(crate) async fn installed(paths: &StatePaths) -> Outcome<BTreeMap<ComponentId, Version>> {
    if !paths.database().exists() {
        return Ok(BTreeMap::new());
    }
    let reader = Store::open_reader(paths.root(), crate::assembly::store_options()).or_fail("cannot read the state")?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    Ok(rows.into_iter().map(|row| (row.instance.component().clone(), row.version)).collect())
}

/// A package that came over the network or from a registry, untrusted, and which component it must be.
pub(crate) struct Brought {
    /// The bytes and their bundles.
    pub fetched: Fetched,
    /// By the registry's word; none if no name was looked up.
    pub expected: Option<ComponentId>,
    /// What a registry says of the publisher's keys, for an owner who does not know it yet.
    pub told: Option<String>,
}

/// Brings a package from anywhere but a file.
pub(crate) async fn bring(paths: &StatePaths, source: &Source, reading: &Reading, trust: &Trust) -> Outcome<Brought> {
    let plain = |fetched| Brought { fetched, expected: None, told: None };
    match source {
        Source::File(path) => Err(Failure::new(Exit::Usage, format!("{} is a file", path.display()))),
        Source::Oci(reference) => {
            let fetched =
                oci::pull(reference, credentials(reference).as_ref(), &Network::new([reference.base()])).await?;
            Ok(plain(fetched))
        }
        Source::Url(url) => {
            let network = Network::new([&location::web(url)?]);
            Ok(plain(read_package_url(url, &network).await?))
        }
        Source::Registry(request) => from_registry(paths, request, reading, trust).await,
    }
}

async fn from_registry(paths: &StatePaths, request: &Request, reading: &Reading, trust: &Trust) -> Outcome<Brought> {
    let indexes = indexes(paths, reading, false).await?;
    let indexes: Vec<&Index> = indexes.found.iter().collect();
    let installed = installed(paths).await?;
    let known = Known { publishers: &trust.publishers, deny: &trust.deny, installed: &installed };
    let found = resolve(request, &indexes, &known)?;
    found.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    let book = book(paths)?;
    let registry = book.get(found.registry)?;
    let fetched = read_package(registry, &found, &trust.root, &network(&book)).await?;
    let told = (!found.pinned).then(|| told(&found, &indexes)).flatten();
    Ok(Brought { fetched, expected: Some(found.id.clone()), told })
}

/// The keys that a registry knows of a publisher who is not pinned.
fn told(found: &Resolution<'_>, indexes: &[&Index]) -> Option<String> {
    let index = indexes.iter().find(|index| index.registry == *found.registry)?;
    let keys = index.keys.get(&found.entry.id.publisher)?;
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Some(format!(
        "the registry `{}` says that {} signs with {}; compare it with what the publisher says elsewhere",
        found.registry,
        found.entry.id.publisher,
        keys.join(", ")
    ))
}

/// The account at an OCI registry, from the environment: for the registry that stands there, too, and for no other.
pub(crate) fn credentials(reference: &Reference) -> Option<Credentials> {
    let var = |name: &str| SystemEnv.var(name).filter(|v| !v.is_empty());
    if var("CARAPACE_OCI_REGISTRY")? != reference.host() {
        return None;
    }
    let username = var("CARAPACE_OCI_USERNAME")?;
    Some(Credentials { username, password: Zeroizing::new(var("CARAPACE_OCI_PASSWORD")?) })
}
