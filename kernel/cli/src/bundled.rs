//! The components that come with the assistant: shown, granted, installed; and instances that the configuration names.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::{installed, trust};
use carapace_config::{Config, StatePaths};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::diff::{self, Growth};
use carapace_contract::grant::Grant;
use carapace_contract::{Digest, InstanceId, Name};
use carapace_registry::{Trust, VerifiedPackage};
use carapace_store::{AuditRow, Batch, EarlierPackage, PackageRow, Reader, Store};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// How the owner's agreement to the bundled set is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--accept-bundled`: to what was never granted before. More than was once agreed to is still asked about.
    FirstGrants,
    /// `setup --yes`: as [`Self::FirstGrants`].
    Defaults,
    /// `--accept-growth`: to everything.
    Everything,
    /// Ask at the terminal, if there is one.
    Ask,
}

/// A bundled package that is not granted as it stands.
struct Pending {
    package: VerifiedPackage,
    /// What verified it.
    bundle: Vec<u8>,
    instance: InstanceId,
    /// What grew over an earlier grant; `None` = never granted.
    growth: Option<Vec<Growth>>,
}

/// A bundle, against what is installed and granted.
struct Sorted {
    /// For these the owner's answer is needed.
    pending: Vec<Pending>,
    /// These ask for no more than was granted.
    carried: Vec<(VerifiedPackage, Vec<u8>, Grant)>,
    /// These are installed as they are; their signature may be another one.
    renewed: Vec<(VerifiedPackage, Vec<u8>)>,
    /// Nothing was passed over.
    whole: bool,
}

/// An instance whose bundled package needs an answer of the owner.
pub(crate) struct Waiting {
    /// Which.
    pub instance: InstanceId,
    /// It was granted before, and asks for more.
    pub grew: bool,
}

/// What the next start would ask about. Changes nothing.
pub(crate) async fn waiting(
    paths: &StatePaths,
    reader: &Reader,
    trust: &Trust,
    bundle: &Path,
) -> Outcome<Vec<Waiting>> {
    let sorted = sort(paths, reader, &mut trust.clone(), bundle).await?;
    Ok(sorted.pending.into_iter().map(|p| Waiting { instance: p.instance, grew: p.growth.is_some() }).collect())
}

async fn sort(paths: &StatePaths, reader: &Reader, trust: &mut Trust, bundle: &Path) -> Outcome<Sorted> {
    let mut sorted = Sorted { pending: Vec::new(), carried: Vec::new(), renewed: Vec::new(), whole: true };
    let passed_over = reader.passed_over().await.or_fail("cannot read what is passed over")?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    for file in trust::packages_in(bundle)? {
        let (package, signature) = match verify_seen(reader, trust, &file).await {
            Ok(verified) => verified,
            // What must not run does not keep everything else from running; what is installed of it is refused when it is loaded.
            Err(why) if why.is("E-TRUST-011") => {
                tracing::warn!(error = %why.line(), "a bundled component is passed over");
                sorted.whole = false;
                continue;
            }
            // The owner's own choice of a newer (or, by a rollback, an older) version stands over the bundle's.
            Err(why) if why.is("E-TRUST-012") && is_by_hand(trust, &rows, &file)? => continue,
            Err(why) => return Err(why),
        };
        let passed = passed_over.iter().filter(|p| &p.component == package.id());
        if passed.into_iter().any(|p| p.digest.is_none_or(|d| d == package.digest())) {
            continue;
        }
        let instance = InstanceId::new(package.id().clone(), Name::main());
        let grant = reader.grant(&instance).await.or_fail("cannot read the grants")?;
        let Some(grant) = grant else {
            sorted.pending.push(Pending { package, bundle: signature, instance, growth: None });
            continue;
        };
        let row = reader.package(&instance).await.or_fail("cannot read the installed packages")?;
        let publisher = &package.id().publisher;
        if row.is_some_and(|r| r.digest == package.digest()) && installed::is_whole(paths, &package.digest(), publisher)
        {
            // The same package by another key (a rotation): what is installed must say so, too.
            sorted.renewed.push((package, signature));
            continue;
        }
        let growth = diff::growth(&grant.capabilities, package.capabilities());
        // What was revoked stays revoked, however much it asks for now: only `plugin grant` gives it back.
        if growth.is_empty() || grant.revoked {
            sorted.carried.push((package, signature, grant));
        } else {
            sorted.pending.push(Pending { package, bundle: signature, instance, growth: Some(growth) });
        }
    }
    Ok(sorted)
}

/// Whether what is installed of this package's component was brought by the owner.
fn is_by_hand(trust: &Trust, rows: &[PackageRow], file: &Path) -> Outcome<bool> {
    let mut trust = trust.clone();
    trust.highest_seen.clear();
    let package = trust::verify_file(file, None, &trust)?;
    Ok(rows.iter().any(|r| r.instance.component() == package.id() && r.by_hand))
}

/// Brings the bundle into the state directory: new packages and growth after consent, equal or smaller requests silently.
pub(crate) async fn install(
    paths: &StatePaths,
    store: &Store,
    trust: &mut Trust,
    bundle: &Path,
    consent: Consent,
) -> Outcome {
    let looked_at = stamp(paths, bundle)?;
    if is_settled(paths, store, &looked_at).await? {
        return Ok(());
    }
    let Sorted { pending, carried, renewed, whole } = sort(paths, store, trust, bundle).await?;
    for (package, signature) in renewed {
        installed::renew(paths, &package, &signature)?;
    }
    for (package, signature, old) in carried {
        let grant = carry_over(old, &package);
        record(paths, store, &signature, &package, grant, "update").await?;
    }
    if !pending.is_empty() {
        show(&pending);
        agree(consent, pending.iter().any(|p| p.growth.is_some()))?;
    }
    for Pending { package, bundle: signature, instance, growth } in pending {
        let (by, kind) = if growth.is_some() { ("owner, update", "update") } else { ("owner, first run", "install") };
        let grant = whole_grant(&instance, &package, by);
        record(paths, store, &signature, &package, grant, kind).await?;
    }
    if whole {
        trust::write_whole(&stamp_file(paths), looked_at.to_string().as_bytes())?;
    }
    Ok(())
}

fn stamp_file(paths: &StatePaths) -> PathBuf {
    paths.root().join("bundle.stamp")
}

/// What a look at the bundle depends on: its files and whom is trusted, by name, size and time of change.
fn stamp(paths: &StatePaths, bundle: &Path) -> Outcome<Digest> {
    let mut files = vec![paths.publishers(), paths.deny_list()];
    for package in trust::packages_in(bundle)? {
        files.push(trust::signature_path(&package));
        files.push(package);
    }
    let mut text = String::new();
    for file in files {
        let meta = std::fs::metadata(&file).ok();
        let changed = meta.as_ref().and_then(|m| m.modified().ok());
        let _ = writeln!(text, "{} {:?} {changed:?}", file.display(), meta.map(|m| m.len()));
    }
    Ok(Digest::of(text.as_bytes()))
}

/// Nothing changed since the bundle was last brought in, and what was installed then is there. Whatever is there is verified
/// again when it is loaded; this saves reading the bundle, not checking what runs.
async fn is_settled(paths: &StatePaths, store: &Store, looked_at: &Digest) -> Outcome<bool> {
    let before = std::fs::read_to_string(stamp_file(paths)).unwrap_or_default();
    if before != looked_at.to_string() {
        return Ok(false);
    }
    let rows = store.packages().await.or_fail("cannot read the installed packages")?;
    Ok(rows.iter().all(|r| installed::is_whole(paths, &r.digest, &r.instance.component().publisher)))
}

/// An earlier grant as it holds for another package. Where nothing grew it covers that package, less what was refused;
/// a revoked one stays as it was, so that giving it back later is measured against what was once agreed to.
pub(crate) fn carry_over(old: Grant, package: &VerifiedPackage) -> Grant {
    if old.revoked {
        return old;
    }
    let refused = old.capabilities.refused(package.capabilities());
    let capabilities = package.capabilities().without_optional(&refused);
    Grant { digest: package.digest(), capabilities, ..old }
}

/// What `plugin grant` would record, and what in it nobody has agreed to yet; `None`: it was granted once and has not grown.
pub(crate) fn proposal(
    instance: &InstanceId,
    old: Option<Grant>,
    package: &VerifiedPackage,
) -> (Grant, Option<Vec<Growth>>) {
    let whole = || whole_grant(instance, package, "owner, CLI");
    match old {
        None => (whole(), Some(Vec::new())),
        Some(old) if old.digest == package.digest() => (Grant { revoked: false, ..old }, None),
        Some(old) => {
            let growth = diff::growth(&old.capabilities, package.capabilities());
            (whole(), Some(growth).filter(|g| !g.is_empty()))
        }
    }
}

/// Verifies with the highest version that was ever here.
async fn verify_seen(reader: &Reader, trust: &mut Trust, file: &Path) -> Outcome<(VerifiedPackage, Vec<u8>)> {
    let (package, signature) = trust::verify_with_bundle(file, None, trust)?;
    let seen = reader.highest_version(package.id()).await.or_fail("cannot read the highest version seen")?;
    match seen {
        Some(seen) if &seen > package.version() => {
            trust.highest_seen.insert(package.id().clone(), seen);
            trust::verify_with_bundle(file, None, trust)
        }
        _ => Ok((package, signature)),
    }
}

async fn record(
    paths: &StatePaths,
    store: &Store,
    signature: &[u8],
    package: &VerifiedPackage,
    grant: Grant,
    kind: &str,
) -> Outcome {
    installed::put(paths, package, signature, None)?;
    let at_ms = trust::now_ms();
    let instance = grant.instance.clone();
    let detail = json!({ "digest": package.digest(), "version": package.version(), "by": grant.by });
    let old = store.package(&instance).await.or_fail("cannot read the installed packages")?;
    let enabled = old.as_ref().is_none_or(|old| old.enabled);
    let old = old.filter(|old| old.digest != package.digest());
    let row = PackageRow {
        instance: instance.clone(),
        digest: package.digest(),
        version: package.version().clone(),
        // An update does not bring back what the owner disabled.
        enabled,
        at_ms,
        older: false,
        by_hand: false,
        note: None,
    };
    let mut batch = Batch::new();
    if let Some(old) = old {
        let component = package.id();
        let grants = store.grants().await.or_fail("cannot read the grants")?;
        batch = batch.package_before(EarlierPackage {
            component: component.clone(),
            digest: old.digest,
            version: old.version,
            older: old.older,
            replaced_ms: at_ms,
            grants: grants.into_iter().filter(|g| g.instance.component() == component).collect(),
        });
    }
    let batch = batch
        .package_put(row)
        .highest_version(package.id().clone(), package.version().clone())
        .grant_put(grant)
        .audit(AuditRow { kind: kind.to_owned(), subject: instance.to_string(), detail, at_ms });
    store.commit(batch).await.or_fail("cannot record the installation")?;
    Ok(())
}

fn show(pending: &[Pending]) {
    eprintln!("These components come with Carapace. Each runs in a sandbox and gets what is listed, nothing else:\n");
    for p in pending {
        let component = &p.package.manifest().component;
        eprintln!("  {} {} — {}", p.package.id(), component.version, component.description);
        eprintln!("    signed by {} ({})", p.package.id().publisher, p.package.signer().brief());
        match &p.growth {
            None => {
                for s in p.package.capabilities().sentences(Some(&p.instance)) {
                    eprintln!("    - {}{}", s.text, if s.optional { " (optional)" } else { "" });
                }
            }
            Some(growth) => {
                eprintln!("    asks for more than you granted before:");
                growth.iter().for_each(|g| eprintln!("    - {}: {}", g.capability, g.text));
            }
        }
        eprintln!();
    }
}

fn agree(consent: Consent, grew: bool) -> Outcome {
    let flag = match consent {
        Consent::Everything => Some("--accept-growth"),
        Consent::FirstGrants if !grew => Some("--accept-bundled"),
        Consent::Defaults if !grew => Some("--yes"),
        _ => None,
    };
    if let Some(flag) = flag {
        eprintln!("Granted, because of {flag}. `carapace plugin revoke INSTANCE` takes a grant back.\n");
        return Ok(());
    }
    // A flag that stands in a service's file must not agree to what a later update asks.
    let flag = if grew { "--accept-growth" } else { "--accept-bundled" };
    let refused = |why: &str| {
        Failure::new(Exit::Consent, format!("the bundled components are not granted: {why}"))
            .help(format!("start at a terminal and answer, or add {flag} to grant what is listed above"))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at"));
    }
    if ask()? { Ok(()) } else { Err(refused("you said no")) }
}

/// Asks at the terminal.
pub(crate) fn ask() -> Outcome<bool> {
    eprint!("Grant this? Every grant can be revoked later. [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    // The end of the input is no answer.
    let read = std::io::stdin().lock().read_line(&mut answer)?;
    Ok(read > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

/// The instances to load: installed and enabled packages, and further instances that the configuration names.
pub(crate) async fn instances(reader: &Reader, config: &Config) -> Outcome<Vec<(InstanceId, PackageRow)>> {
    let installed = reader.packages().await.or_fail("cannot read the installed packages")?;
    let mut all: Vec<(InstanceId, PackageRow)> =
        installed.iter().filter(|r| r.enabled).map(|r| (r.instance.clone(), r.clone())).collect();
    for (key, section) in &config.instances {
        let same = |r: &&PackageRow| {
            r.instance.name() == &key.component
                && section.component.as_ref().is_none_or(|c| c == r.instance.component())
        };
        let Some(row) = installed.iter().find(same) else {
            return Err(Failure::new(
                Exit::Usage,
                format!(
                    "the configuration names an instance `{key}`, but no component `{}` is installed",
                    key.component
                ),
            )
            .help("carapace plugin list"));
        };
        let instance = InstanceId::new(row.instance.component().clone(), key.id.clone());
        // One that has a row of its own is there already, or disabled.
        if installed.iter().all(|r| r.instance != instance) {
            all.push((instance, row.clone()));
        }
    }
    all.retain(|(id, _)| config.instance(id).is_none_or(|section| section.enabled));
    Ok(all)
}

/// What a grant given by hand covers: everything the package asks.
pub(crate) fn whole_grant(instance: &InstanceId, package: &VerifiedPackage, by: &str) -> Grant {
    Grant {
        instance: instance.clone(),
        digest: package.digest(),
        capabilities: CapabilitySet::clone(package.capabilities()),
        by: by.to_owned(),
        at_ms: trust::now_ms(),
        revoked: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_registry::testing;

    fn package(more: &str) -> VerifiedPackage {
        let text = testing::manifest("notes", "0.1.0", &format!("{more}[[tool]]\nname = \"note\"\nuses = [\"kv\"]\n"));
        testing::verified(testing::component(&["kv"], &["tools"]), &text)
    }

    fn id() -> InstanceId {
        "local/notes".parse().unwrap()
    }

    #[test]
    fn what_became_optional_is_not_taken_for_refused() {
        let (before, after) = (package("[kv]\n"), package("[kv]\noptional = true\n"));
        let carried = carry_over(whole_grant(&id(), &before, "owner, test"), &after);
        assert!(carried.capabilities.kv && carried.digest == after.digest() && !carried.revoked);
        assert_eq!(carried.by, "owner, test");
    }

    #[test]
    fn what_was_revoked_is_carried_as_it_was() {
        let (before, after) = (package("[kv]\n"), package("[kv]\n[limits]\nmemory = \"64MiB\"\n"));
        let old = Grant { revoked: true, ..whole_grant(&id(), &before, "owner, test") };
        assert_eq!(carry_over(old.clone(), &after), old);
        // Giving it back shows what was added meanwhile.
        let (grant, grown) = proposal(&id(), Some(old), &after);
        assert_eq!((grant.digest, grant.revoked), (after.digest(), false));
        assert_eq!(grown.unwrap()[0].capability, "limits.memory");
    }

    #[test]
    fn a_narrower_grant_is_given_back_as_narrow_as_it_was() {
        let package = package("[kv]\noptional = true\n");
        let narrow = package.capabilities().without_optional(&["kv".to_owned()]);
        let old = Grant { capabilities: narrow.clone(), revoked: true, ..whole_grant(&id(), &package, "owner, test") };
        let (grant, grown) = proposal(&id(), Some(old), &package);
        assert!(grant.capabilities == narrow && !grant.revoked && grown.is_none());
        // Nobody has read anything of one that was never granted.
        assert!(proposal(&id(), None, &package).1.is_some());
    }
}
