//! From a name that somebody typed to one package, before anything of it is fetched.

mod alike;
mod request;

pub use alike::{alike, skeleton};
pub use request::Request;

use crate::deny::{By, DenyList};
use crate::error::{RegistryError, Release};
use crate::index::{Entry, Index, SignedBy};
use crate::publisher::PublisherBook;
use carapace_contract::{ComponentId, Contracts, Name};
use semver::Version;
use std::collections::BTreeMap;

/// What a name is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Who is pinned here.
    pub publishers: &'a PublisherBook,
    /// What must not run.
    pub deny: &'a DenyList,
    /// What is installed.
    pub installed: &'a BTreeMap<ComponentId, Version>,
}

/// The one package that a name stands for.
#[derive(Debug, Clone)]
pub struct Resolution<'i> {
    /// Whose index names it.
    pub registry: &'i Name,
    /// As the index has it.
    pub entry: &'i Entry,
    /// What it is called here: by the publisher's local name, if its key is pinned.
    pub id: ComponentId,
    /// Its signer is pinned here.
    pub pinned: bool,
    /// What the owner should read before going on.
    pub warnings: Vec<String>,
}

/// A candidate, named as this machine names its publisher.
#[derive(Debug, Clone)]
struct Candidate<'i> {
    registry: &'i Name,
    entry: &'i Entry,
    id: ComponentId,
    pinned: bool,
}

impl Known<'_> {
    /// The publisher's local name if the signer is pinned, else the registry's name for it, unless that is taken here.
    fn local<'i>(&self, registry: &'i Name, entry: &'i Entry) -> Result<Candidate<'i>, RegistryError> {
        let name = entry.id.name.clone();
        if let Some((publisher, true)) = entry.signer.known(self.publishers) {
            let id = ComponentId { publisher: publisher.id.clone(), name };
            return Ok(Candidate { registry, entry, id, pinned: true });
        }
        if self.publishers.get(&entry.id.publisher).is_some() {
            return Err(RegistryError::Impersonation { registry: registry.clone(), id: entry.id.clone() });
        }
        Ok(Candidate { registry, entry, id: entry.id.clone(), pinned: false })
    }
}

/// The highest version that fits the request, that this kernel can run, and that nobody withdrew.
///
/// # Errors
/// Nothing fits, more than one publisher fits, or what fits looks like something else; each names what it found.
pub fn resolve<'i>(
    request: &Request,
    indexes: &[&'i Index],
    known: &Known<'_>,
) -> Result<Resolution<'i>, RegistryError> {
    let mut candidates = candidates(request, indexes, known)?;
    let id = one_publisher(request, &candidates)?;
    candidates.sort_by(|a, b| b.entry.version.cmp(&a.entry.version));
    same_everywhere(&candidates)?;

    let fitting: Vec<&Candidate<'i>> = candidates.iter().filter(|c| request.accepts(&c.entry.version)).collect();
    if fitting.is_empty() {
        let mut versions: Vec<String> = candidates.iter().map(|c| c.entry.version.to_string()).collect();
        versions.dedup();
        versions.truncate(10);
        return Err(RegistryError::NoVersion { id, requirement: request.requirement(), versions });
    }
    let mut warnings = Vec::new();
    let mut refused = None;
    for candidate in fitting {
        match usable(candidate, request, known) {
            Ok(warning) => {
                warnings.extend(warning);
                // What was passed over on the way is worth a line: a lower version is not what was asked for first.
                let passed: Option<RegistryError> = refused;
                warnings.extend(passed.map(|why| format!("{why}; taking {} instead", candidate.entry.version)));
                warnings.extend(look_alike(candidate, request, indexes, known)?);
                let Candidate { registry, entry, id, pinned } = candidate.clone();
                return Ok(Resolution { registry, entry, id, pinned, warnings });
            }
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    Err(refused.unwrap_or_else(|| not_found(request, indexes)))
}

fn candidates<'i>(
    request: &Request,
    indexes: &[&'i Index],
    known: &Known<'_>,
) -> Result<Vec<Candidate<'i>>, RegistryError> {
    let mut found = Vec::new();
    let mut impostor = None;
    for index in indexes {
        for entry in index.packages.iter().filter(|e| e.id.name == request.name) {
            match known.local(&index.registry, entry) {
                Ok(c) if request.publisher.as_ref().is_none_or(|p| *p == c.id.publisher) => found.push(c),
                Ok(_) => {}
                Err(why) => impostor = impostor.or(Some(why)),
            }
        }
    }
    match impostor {
        // Somebody else may carry the name; the one who takes a pinned name is never silently passed over.
        Some(why) if request.publisher.is_none() || found.is_empty() => Err(why),
        _ if found.is_empty() => Err(not_found(request, indexes)),
        _ => Ok(found),
    }
}

fn not_found(request: &Request, indexes: &[&Index]) -> RegistryError {
    let names = indexes.iter().flat_map(|i| &i.packages).map(|e| &e.id);
    let mut near: Vec<String> =
        names.filter(|id| alike(id.name.as_str(), request.name.as_str())).map(ToString::to_string).collect();
    near.sort();
    near.dedup();
    near.truncate(3);
    let near = if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) };
    RegistryError::NotFound { wanted: request.to_string(), near }
}

fn one_publisher(request: &Request, candidates: &[Candidate<'_>]) -> Result<ComponentId, RegistryError> {
    let mut publishers: Vec<String> = candidates.iter().map(|c| c.id.publisher.to_string()).collect();
    publishers.sort();
    publishers.dedup();
    if publishers.len() > 1 {
        return Err(RegistryError::Ambiguous { name: request.name.clone(), publishers });
    }
    candidates.first().map(|c| c.id.clone()).ok_or_else(|| not_found(request, &[]))
}

/// Two registries may offer the same package; under one version they may not offer two.
fn same_everywhere(candidates: &[Candidate<'_>]) -> Result<(), RegistryError> {
    let mut seen: BTreeMap<&Version, &Candidate<'_>> = BTreeMap::new();
    for candidate in candidates {
        let first = seen.entry(&candidate.entry.version).or_insert(candidate);
        if first.entry.digest != candidate.entry.digest {
            return Err(RegistryError::Disagree {
                package: Release::boxed(&candidate.id, &candidate.entry.version),
                first: first.registry.clone(),
                one: first.entry.digest,
                second: candidate.registry.clone(),
                other: candidate.entry.digest,
            });
        }
    }
    Ok(())
}

/// Whether a version may be taken; perhaps with a warning.
fn usable(candidate: &Candidate<'_>, request: &Request, known: &Known<'_>) -> Result<Option<String>, RegistryError> {
    let Candidate { entry, id, registry, .. } = candidate;
    let package = || Release::boxed(id, &entry.version);
    let by = match &entry.signer {
        SignedBy::Key(fingerprint) => By::Key(fingerprint),
        SignedBy::Keyless(rule) => By::Rule(rule),
    };
    if let Some(what) = known.deny.denies(&entry.digest, &id.publisher, by) {
        return Err(RegistryError::Denied { package: package(), what });
    }
    let speaks = Contracts::SPOKEN;
    if speaks.find(&entry.contract).is_none() {
        return Err(RegistryError::Contract { package: package(), needs: entry.contract.clone(), speaks });
    }
    match &entry.yanked {
        None => Ok(None),
        Some(why) if request.is_exact() => Ok(Some(format!(
            "`{registry}` withdrew {package} ({why}); you named exactly this version",
            package = package()
        ))),
        Some(why) => Err(RegistryError::Withdrawn { package: package(), why: format!("{why} (says `{registry}`)") }),
    }
}

/// A name that is easily taken for another one: refused when it was typed alone, a warning when its publisher was named.
fn look_alike(
    candidate: &Candidate<'_>,
    request: &Request,
    indexes: &[&Index],
    known: &Known<'_>,
) -> Result<Option<String>, RegistryError> {
    let Some((other, standing)) = resembled(candidate, indexes, known) else { return Ok(None) };
    let problem = RegistryError::LookAlike { asked: candidate.id.clone(), known: other, standing };
    if request.publisher.is_some() || candidate.pinned { Ok(Some(problem.to_string())) } else { Err(problem) }
}

fn resembled(candidate: &Candidate<'_>, indexes: &[&Index], known: &Known<'_>) -> Option<(String, &'static str)> {
    let id = &candidate.id;
    if known.installed.contains_key(id) {
        return None;
    }
    // A publisher names its own components as it likes.
    let another = |other: &ComponentId| other.publisher != id.publisher;
    let resembles =
        |other: &ComponentId| another(other) && (other.name == id.name || alike(other.name.as_str(), id.name.as_str()));
    if let Some(other) = known.installed.keys().find(|other| resembles(other)) {
        return Some((other.to_string(), "installed here"));
    }
    if !candidate.pinned {
        let taken = |p: &Name| alike(p.as_str(), id.publisher.as_str());
        if let Some(publisher) = known.publishers.iter().find(|p| taken(&p.id)) {
            return Some((format!("{}/{}", publisher.id, id.name), "the name of a publisher you pinned"));
        }
        let pinned = indexes
            .iter()
            .flat_map(|index| index.packages.iter().filter_map(|e| known.local(&index.registry, e).ok()))
            .find(|other| other.pinned && resembles(&other.id));
        return pinned.map(|other| (other.id.to_string(), "by a publisher you pinned"));
    }
    None
}

/// Newer versions of what is installed, by the same publishers, that this kernel can run; each with the version here.
pub fn outdated<'i>(indexes: &[&'i Index], known: &Known<'_>) -> Vec<(Version, Resolution<'i>)> {
    let mut found = Vec::new();
    for (id, version) in known.installed {
        let request = Request::of(id.clone());
        let newer = resolve(&request, indexes, known).ok().filter(|r| r.pinned && r.entry.version > *version);
        found.extend(newer.map(|r| (version.clone(), r)));
    }
    found
}

#[cfg(test)]
mod tests;
