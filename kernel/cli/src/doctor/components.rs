//! Components: who signed them, whether they are loaded, and which of them wait for the owner's answer.

use super::{Check, Finding};
use crate::{assembly, bundled, trust};
use carapace_config::{Config, StatePaths};
use carapace_contract::manifest::AssetDecl;
use carapace_registry::AssetFiles;
use carapace_store::Reader;
use serde_json::Value;
use std::path::Path;

const BUNDLE: Check = Check("bundle", "the bundled components are there, signed, and of a publisher that is trusted");
const GRANTS: Check = Check("grants", "no component waits for an answer of yours");
const ASSETS: Check = Check("assets", "the files that components read are here");
const OPENED: Check = Check("public-allow", "public fetches reach public servers only");
const REQUESTS: Check = Check("requests", "no proposed installation waits for an answer of yours");
const LOADED: Check = Check("components", "every component is loaded");
const INSTALLED: Check = Check("components", "every installed component can be loaded");

/// Servers of the owner's own network that whatever a page says may be fetched from.
pub(crate) fn opened(config: &Config) -> Vec<Finding> {
    let findings = config.instances.iter().filter(|(_, section)| section.enabled && !section.public_allow.is_empty());
    let findings = findings.map(|(key, section)| {
        let servers: Vec<String> = section.public_allow.iter().map(|s| format!("`{s}`")).collect();
        let problem = format!(
            "`{key}` reaches {} like a public server, and a text from outside may make the model ask for it",
            servers.join(", ")
        );
        OPENED
            .hint(problem, format!("remove `instances.\"{key}\".publicAllow` from carapace.json5 if that is not meant"))
    });
    OPENED.all(findings.collect())
}

/// Publishers and deny-list.
pub(crate) fn publishers(paths: &StatePaths) -> Vec<Finding> {
    let check = Check("publishers", "publishers, deny-list and trusted root can be read, and somebody is trusted");
    match trust::load(paths) {
        Ok(t) => {
            let mut findings = Vec::new();
            if let Some(warning) = t.deny.warning(t.now_ms) {
                findings.push(check.hint(warning, "get a newer list, then carapace publisher deny FILE"));
            }
            // Whoever has no publisher without a key has no use for a newer root.
            if t.publishers.iter().any(|p| !p.keyless.is_empty())
                && let Some(warning) = t.root.warning(t.now_ms)
            {
                findings.push(check.hint(warning, "get a newer root, then carapace publisher trusted-root FILE"));
            }
            if t.publishers.iter().next().is_none() {
                findings.push(check.hint(
                    "no publisher is pinned, so no component is accepted",
                    "carapace plugin sign --bundle DIR (what was built here), or carapace publisher add ID KEY",
                ));
            }
            check.all(findings)
        }
        Err(e) => vec![check.wrong(e.what(), format!("restore or remove {}", paths.publishers().display()))],
    }
}

/// Files that installed packages read.
pub(crate) async fn assets(paths: &StatePaths, reader: &Reader) -> Vec<Finding> {
    // What cannot be read or verified is said by other checks.
    let (Ok(rows), Ok(trusted)) = (reader.packages().await, trust::load(paths)) else { return Vec::new() };
    let files = AssetFiles::new(paths.assets());
    let mut findings = Vec::new();
    for row in rows.iter().filter(|r| r.enabled) {
        let Ok(package) = assembly::verify_installed(paths, &trusted, row) else { continue };
        for asset in package.manifest().assets.iter().filter(|a| !files.has(&a.sha256, a.size)) {
            let problem = format!("{} of {} is not here", asset.name, package.id());
            findings.push(ASSETS.hint(problem, AssetDecl::how_to_bring(&asset.sources)));
        }
    }
    ASSETS.all(findings)
}

/// What the next start would bring in: whether it can, and what it would ask.
pub(crate) async fn bundle(paths: &StatePaths, reader: Option<&Reader>, bundle: Option<&Path>) -> Vec<Finding> {
    let installed = match reader {
        Some(reader) => reader.packages().await.map(|p| !p.is_empty()).unwrap_or_default(),
        None => false,
    };
    let Some(bundle) = bundle else {
        return match installed {
            // What is installed runs without the directory it came from.
            true => vec![BUNDLE.good()],
            false => vec![BUNDLE.wrong(
                "no component is installed, and there is no `bundle` beside this program",
                "cargo xtask components in a checkout, then --bundle DIR (or CARAPACE_BUNDLE)",
            )],
        };
    };
    let trusted = match trust::load(paths) {
        Ok(trusted) => trusted,
        // Said by the check on publishers.
        Err(_) => return Vec::new(),
    };
    let waiting = match reader {
        Some(reader) => bundled::waiting(paths, reader, &trusted, bundle).await,
        None => first_run(&trusted, bundle),
    };
    match waiting {
        Err(why) => vec![BUNDLE.failed(&why)],
        Ok(waiting) => {
            let names = |grew: bool| -> Vec<String> {
                waiting.iter().filter(|w| w.grew == grew).map(|w| w.instance.to_string()).collect()
            };
            let mut asks = Vec::new();
            let (new, grown) = (names(false), names(true));
            if !new.is_empty() {
                asks.push(GRANTS.hint(
                    format!("never granted: {}", new.join(", ")),
                    "carapace setup, or carapace start at a terminal, shows what they ask",
                ));
            }
            if !grown.is_empty() {
                asks.push(GRANTS.hint(
                    format!("an update asks for more than you granted: {}", grown.join(", ")),
                    "carapace start at a terminal shows it and asks; --accept-growth agrees to it",
                ));
            }
            std::iter::once(BUNDLE.good()).chain(GRANTS.all(asks)).collect()
        }
    }
}

/// Before there is a database: everything in the bundle would be asked about.
fn first_run(trusted: &carapace_registry::Trust, bundle: &Path) -> crate::failure::Outcome<Vec<bundled::Waiting>> {
    let files = trust::bundle_in(bundle, trusted)?;
    let one = |file: &std::path::PathBuf| {
        let package = trust::verify_file(file, None, trusted)?;
        let instance = carapace_contract::InstanceId::new(package.id().clone(), carapace_contract::Name::main());
        Ok(bundled::Waiting { instance, grew: false })
    };
    files.iter().map(one).collect()
}

/// What components propose to install.
pub(crate) async fn requests(reader: &Reader) -> Finding {
    match reader.requests(trust::now_ms()).await {
        Ok(waiting) if waiting.is_empty() => REQUESTS.good(),
        Ok(waiting) => {
            let names: Vec<String> = waiting.iter().map(|r| format!("`{}` (by {})", r.name, r.instance)).collect();
            REQUESTS.hint(format!("proposed: {}", names.join(", ")), "carapace plugin requests")
        }
        Err(e) => REQUESTS.wrong(e.to_string(), "restore a backup of the state directory"),
    }
}

/// Of a running assistant.
pub(crate) fn loaded(status: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for i in status["instances"].as_array().into_iter().flatten() {
        let (id, state) = (i["instance"].as_str().unwrap_or("?"), i["state"].as_str().unwrap_or("?"));
        if let Some(note) = i["note"].as_str() {
            let fix = format!("carapace plugin update with a mended version, or carapace plugin enable {id}");
            findings.push(LOADED.hint(format!("{id}: {note}"), fix));
        }
        if state == "ready" {
            continue;
        }
        if state == "disabled" {
            findings.push(LOADED.hint(format!("{id} is disabled"), format!("carapace plugin enable {id}")));
            continue;
        }
        // A reason ends with its code and what would mend it; a state is one word.
        findings.push(match state.split_once("]; ") {
            Some((why, fix)) => LOADED.wrong(format!("{id}: {why}]"), fix),
            None if state.contains("revoked") => {
                LOADED.hint(format!("{id}: {state}"), format!("carapace plugin grant {id}"))
            }
            None => LOADED.wrong(
                format!("{id}: {state}"),
                format!("carapace plugin grant {id}, or instances: {{ … enabled: false }}"),
            ),
        });
    }
    LOADED.all(findings)
}

/// Of none that runs: each package is verified as a start would.
pub(crate) async fn installed(paths: &StatePaths, reader: &Reader, config: &Config) -> Vec<Finding> {
    let (instances, trusted) = match (bundled::instances(reader, config).await, trust::load(paths)) {
        (Ok(instances), Ok(trusted)) => (instances, trusted),
        (Err(why), _) | (_, Err(why)) => return vec![INSTALLED.failed(&why)],
    };
    let mut findings: Vec<Finding> =
        instances.missing.into_iter().map(|(id, why)| INSTALLED.failed(&why.context(id))).collect();
    for (id, row) in instances.here {
        if let Err(why) = assembly::verify_installed(paths, &trusted, &row) {
            findings.push(INSTALLED.failed(&why.context(&id)));
            continue;
        }
        let grant = format!("carapace plugin grant {id}");
        match reader.grant(&id).await {
            Ok(Some(g)) if g.revoked => {
                findings.push(INSTALLED.hint(format!("{id} was revoked, and may do nothing"), grant))
            }
            Ok(Some(_)) => {}
            Ok(None) => findings
                .push(INSTALLED.wrong(format!("{id} was never granted, and is not loaded [E-GRANT-004]"), grant)),
            Err(e) => findings.push(INSTALLED.wrong(e.to_string(), "restore a backup of the state directory")),
        }
    }
    INSTALLED.all(findings)
}
