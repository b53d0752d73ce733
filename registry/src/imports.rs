//! What a component really imports and exports, compared with what its manifest asks. Nothing is compiled for it.

use crate::package::PackageError;
use carapace_contract::manifest::Manifest;
use carapace_contract::wasi::Part;
use carapace_contract::{Contract, Contracts};
use std::collections::BTreeSet;
use wit_component::DecodedWasm;
use wit_parser::{InterfaceId, Resolve, TypeDefKind, WorldItem, WorldKey};

/// The contract's WIT package.
pub const PACKAGE: &str = "carapace:plugin";

/// Always linked, without being asked for.
const BASELINE: [&str; 4] = ["log", "clock", "random", "config"];
/// Linked when asked for and granted; with the manifest lines that ask.
const GRANTED: [(&str, &str); 12] = [
    ("http", "an `[[http]]` endpoint, or `http = \"public\"`"),
    ("kv", "`[kv]`"),
    ("memory", "`[memory]`"),
    ("sessions", "`[sessions]`"),
    ("settings", "`[settings]`"),
    ("requests", "`[requests]`"),
    ("message", "`[message]`"),
    ("lines", "`[lines]`"),
    ("blob", "`[blob]`"),
    ("assets", "`[[asset]]`"),
    ("secrets", "`[secrets.<name>]`"),
    ("completion", "`[provider]`"),
];
const EXPORTS: [(&str, &str); 3] =
    [("tools", "`[[tool]]` with the name of each tool"), ("provider", "`[provider]`"), ("channel", "`[channel]`")];

/// Functions and resources that a component imports and exports, by interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// Full names of imported interfaces, e.g. `carapace:plugin/kv@0.1.0-dev`.
    pub imports: BTreeSet<String>,
    /// Full names of exported ones.
    pub exports: BTreeSet<String>,
}

/// How a component and its manifest compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each refuses the package.
    pub problems: Vec<String>,
    /// Asked for and not used.
    pub warnings: Vec<String>,
}

/// Decodes a component's world. Interfaces that only hold types are left out: they need no grant.
///
/// # Errors
/// The bytes are no valid component.
pub fn decode(component: &[u8]) -> Result<Surface, PackageError> {
    // The decoder reserves what a section claims to hold, so a section that claims more than there is must end here.
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        payload.map_err(|e| PackageError::Wasm(e.to_string()))?;
    }
    let decoded = wit_component::decode(component).map_err(|e| PackageError::Wasm(format!("{e:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(PackageError::Wasm("it holds WIT text, not code".to_owned()));
    };
    let world = resolve
        .worlds
        .get(world)
        .ok_or_else(|| PackageError::Wasm("it describes no world of imports and exports".to_owned()))?;
    let names = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| -> BTreeSet<String> {
        items.filter_map(|(key, item)| name_of(&resolve, key, item)).collect()
    };
    Ok(Surface { imports: names(&mut world.imports.iter()), exports: names(&mut world.exports.iter()) })
}

fn name_of(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Option<String> {
    match item {
        WorldItem::Interface { id, .. } if !does_something(resolve, *id) => None,
        WorldItem::Interface { id, .. } => Some(match key {
            WorldKey::Name(name) => name.clone(),
            WorldKey::Interface(_) => resolve.id_of(*id).unwrap_or_else(|| "a nameless interface".to_owned()),
        }),
        WorldItem::Function(f) => Some(f.name.clone()),
        WorldItem::Type { .. } => None,
    }
}

fn does_something(resolve: &Resolve, id: InterfaceId) -> bool {
    resolve.interfaces.get(id).is_none_or(|interface| {
        let resource =
            |t: &wit_parser::TypeId| resolve.types.get(*t).is_none_or(|t| matches!(t.kind, TypeDefKind::Resource));
        !interface.functions.is_empty() || interface.types.values().any(resource)
    })
}

/// Compares a component with its manifest.
///
/// # Errors
/// The bytes are no valid component.
pub fn check(component: &[u8], manifest: &Manifest) -> Result<Report, PackageError> {
    check_for(component, manifest, Contracts::SPOKEN)
}

/// [`check`] for a kernel that speaks these versions of the contract.
///
/// # Errors
/// As [`check`].
pub fn check_for(component: &[u8], manifest: &Manifest, contracts: Contracts) -> Result<Report, PackageError> {
    let surface = decode(component)?;
    let mut report = Report::default();
    match contracts.find(&manifest.component.contract) {
        Some(contract) => {
            imports(&surface, manifest, contract, &mut report);
            exports(&surface, manifest, contract, &mut report);
        }
        None => report.problems.push(contracts.unspoken(&manifest.component.contract)),
    }
    Ok(report)
}

fn imports(surface: &Surface, manifest: &Manifest, contract: Contract, report: &mut Report) {
    let (mut used, mut parts) = (BTreeSet::new(), BTreeSet::new());
    for full in &surface.imports {
        if let Some(part) = Part::of_import(full) {
            parts.insert(part);
            if part == Part::Http {
                used.insert("http");
            }
            if !asks_part(manifest, part) {
                let line = part.line();
                report.problems.push(format!(
                    "it imports `{full}`, which the manifest does not ask for; put {line} into carapace.toml, or stop using it"
                ));
            }
            continue;
        }
        match interface(full, contract) {
            Ok(name) if BASELINE.contains(&name) => {}
            Ok(name) => match GRANTED.iter().find(|(known, _)| *known == name) {
                Some((known, line)) => {
                    used.insert(*known);
                    if !asks(manifest, known) {
                        report.problems.push(format!(
                            "it imports `{full}`, which the manifest does not ask for; put {line} into carapace.toml, or stop using it"
                        ));
                    }
                }
                None => report.problems.push(format!(
                    "it imports `{full}`, which the contract {} does not have; rebuild it against this kernel's wit/",
                    contract.wit
                )),
            },
            Err(why) => report.problems.push(format!("it imports `{full}`: {why}")),
        }
    }
    for part in Part::ALL {
        // Only `[wasi]` itself asks for the world, and only `[[http]]`, which reports itself, for requests.
        let asked = part != Part::Http && asks_part(manifest, part);
        if asked && !parts.contains(&part) && (part != Part::World || parts.is_empty()) {
            report.warnings.push(format!(
                "the manifest asks for `{}` and the component never imports it; remove it from carapace.toml",
                part.name()
            ));
        }
    }
    for (name, _) in GRANTED {
        // A secret that only goes into requests needs no import of `secrets`, and endpoints report themselves.
        let expected = match name {
            "secrets" => manifest.secrets.values().any(|s| s.hmac),
            // Whoever only keeps what was answered needs no import of `blob`.
            "blob" => false,
            _ => asks(manifest, name),
        };
        if expected && !used.contains(name) {
            report.warnings.push(format!(
                "the manifest asks for `{name}` and the component never imports it; remove it from carapace.toml"
            ));
        }
    }
}

fn exports(surface: &Surface, manifest: &Manifest, contract: Contract, report: &mut Report) {
    let mut given = BTreeSet::new();
    for full in &surface.exports {
        match interface(full, contract) {
            Ok(name) => match EXPORTS.iter().find(|(known, _)| *known == name) {
                Some((known, line)) => {
                    given.insert(*known);
                    if !declares(manifest, known) {
                        report.problems.push(format!(
                            "it exports `{full}`, which the manifest does not declare; add {line} to carapace.toml"
                        ));
                    }
                }
                None => report
                    .problems
                    .push(format!("it exports `{full}`, which the contract {} does not have", contract.wit)),
            },
            Err(why) if full.starts_with(PACKAGE) => report.problems.push(format!("it exports `{full}`: {why}")),
            Err(_) => report.warnings.push(format!("it exports `{full}`, which nothing here calls")),
        }
    }
    for (name, line) in EXPORTS {
        if declares(manifest, name) && !given.contains(name) {
            report.problems.push(format!(
                "the manifest declares {line}, and the component does not export `{PACKAGE}/{name}@{}`",
                contract.wit
            ));
        }
    }
}

/// The bare name of an interface of the manifest's contract, or why it is none.
fn interface(full: &str, contract: Contract) -> Result<&str, String> {
    let (package, rest) = full.split_once('/').unwrap_or((full, ""));
    if package.starts_with("wasi:") {
        return Err("of WASI, this kernel offers cli, io, clocks, random, filesystem and http of version 0.2 (and sockets, which it refuses)".to_owned());
    }
    if package != PACKAGE {
        return Err(format!("only interfaces of `{PACKAGE}` and of WASI 0.2 are offered (no plain functions)"));
    }
    let Contract { version, wit } = contract;
    match rest.split_once('@') {
        Some((name, at)) if at == wit => Ok(name),
        Some((_, other)) => {
            Err(format!("its manifest says contract {version}, which is {wit}, not {other}; rebuild the component"))
        }
        None => Err(format!("it names no contract version; contract {version} is {wit}")),
    }
}

fn asks_part(manifest: &Manifest, part: Part) -> bool {
    manifest.wasi.as_ref().is_some_and(|wasi| match part {
        Part::World => true,
        Part::Clocks => wasi.clocks,
        Part::Random => wasi.random,
        Part::Stdio => wasi.stdio,
        Part::Http => asks(manifest, "http"),
    })
}

fn asks(manifest: &Manifest, import: &str) -> bool {
    match import {
        "http" => manifest.public_http || !manifest.http.is_empty(),
        "kv" => manifest.kv.is_some(),
        "assets" => !manifest.assets.is_empty(),
        "memory" => manifest.memory.is_some(),
        "sessions" => manifest.sessions.is_some(),
        "settings" => manifest.settings.is_some(),
        "requests" => manifest.requests.is_some(),
        "message" => manifest.message.is_some(),
        "lines" => manifest.lines.is_some(),
        "blob" => manifest.blob.is_some(),
        "secrets" => !manifest.secrets.is_empty(),
        "completion" => manifest.provider.is_some(),
        _ => false,
    }
}

fn declares(manifest: &Manifest, export: &str) -> bool {
    match export {
        "tools" => !manifest.tools.is_empty(),
        "provider" => manifest.provider.is_some(),
        "channel" => manifest.channel.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
