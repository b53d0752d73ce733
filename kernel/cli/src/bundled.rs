//! The components that come with the assistant: shown, granted, installed; and instances that the configuration names.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::owner::{forget_stranger, said, strangers};
use crate::{assembly, installed, trust};
use carapace_config::{Config, StatePaths};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::diff::{self, Growth};
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Digest, InstanceId, Name};
use carapace_registry::index::INDEX_FILE;
use carapace_registry::{Trust, VerifiedPackage};
use carapace_store::{AuditRow, Batch, EarlierPackage, PackageRow, Reader, Store};
use serde_json::json;
use std::collections::BTreeSet;
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
    /// What stands on record was given to another publisher under the same name, and ends with the owner's yes.
    stranger: bool,
}

impl Pending {
    /// A flag that agrees to first grants does not agree to this.
    fn grew(&self) -> bool {
        self.growth.is_some() || self.stranger
    }
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
    Ok(sorted.pending.into_iter().map(|p| Waiting { grew: p.grew(), instance: p.instance }).collect())
}

async fn sort(paths: &StatePaths, reader: &Reader, trust: &mut Trust, bundle: &Path) -> Outcome<Sorted> {
    let mut sorted = Sorted { pending: Vec::new(), carried: Vec::new(), renewed: Vec::new(), whole: true };
    let passed_over = reader.passed_over().await.or_fail("cannot read what is passed over")?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    for file in trust::bundle_in(bundle, trust)? {
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
        // Its main instance; or, where the owner has installed it for another one alone, that one.
        let of_it = || rows.iter().filter(|r| r.instance.component() == package.id()).map(|r| r.instance.clone());
        let main = InstanceId::new(package.id().clone(), Name::main());
        let instance = of_it().find(|id| id == &main).or_else(|| of_it().next()).unwrap_or(main);
        let stranger = assembly::is_strange(reader, &package).await?;
        let grant = reader.grant(&instance).await.or_fail("cannot read the grants")?.filter(|_| !stranger);
        let Some(grant) = grant else {
            sorted.pending.push(Pending { package, bundle: signature, instance, growth: None, stranger });
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
        let growth = grant.growth(package.capabilities());
        // What was revoked stays revoked, however much it asks for now: only `plugin grant` gives it back.
        if growth.is_empty() || grant.revoked {
            sorted.carried.push((package, signature, grant));
        } else {
            sorted.pending.push(Pending { package, bundle: signature, instance, growth: Some(growth), stranger });
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
    let looked_at = stamp(paths, trust, bundle)?;
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
        agree(consent, pending.iter().any(Pending::grew))?;
    }
    for Pending { package, bundle: signature, instance, growth, .. } in pending {
        let (grant, kind) = if growth.is_some() {
            let old = store.grant(&instance).await.or_fail("cannot read the grants")?;
            let anew = || whole_grant(&instance, &package, "owner, update");
            (old.map_or_else(anew, |old| grown_grant(&old, &package, "owner, update")), "update")
        } else {
            (whole_grant(&instance, &package, "owner, first run"), "install")
        };
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
fn stamp(paths: &StatePaths, trust: &Trust, bundle: &Path) -> Outcome<Digest> {
    let mut files = vec![paths.publishers(), paths.deny_list(), bundle.join(INDEX_FILE)];
    for package in trust::bundle_in(bundle, trust)? {
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
    Grant { digest: package.digest(), capabilities: old.asked(package.capabilities()), ..old }
}

/// What is granted when the owner agrees to what has grown over an earlier grant: all that is asked, less what was refused before.
pub(crate) fn grown_grant(old: &Grant, package: &VerifiedPackage, by: &str) -> Grant {
    let capabilities = old.asked(package.capabilities());
    Grant { capabilities, refused: old.refused.clone(), ..whole_grant(&old.instance, package, by) }
}

/// What `plugin grant` would record, and what in it nobody has agreed to yet; `None`: it was granted once and has not grown.
/// `give`: optional capabilities that were refused before; `without`: such as are refused now.
pub(crate) fn proposal(
    instance: &InstanceId,
    old: Option<Grant>,
    package: &VerifiedPackage,
    give: &BTreeSet<String>,
    without: &BTreeSet<String>,
) -> (Grant, Option<Vec<Growth>>) {
    let whole = whole_grant(instance, package, "owner, CLI");
    let before = old.as_ref().map(|old| &old.refused).into_iter().flatten();
    let refused: BTreeSet<String> = before.filter(|name| !give.contains(*name)).chain(without).cloned().collect();
    let grant = Grant { capabilities: whole.capabilities.without_optional(&refused), refused, ..whole };
    let unread = match &old {
        None => Some(Vec::new()),
        Some(old) => Some(diff::growth(&old.capabilities, &grant.capabilities)).filter(|grown| !grown.is_empty()),
    };
    (grant, unread)
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
    let component = package.id();
    let stranger = assembly::is_strange(store, package).await?;
    let mut rows = store.packages().await.or_fail("cannot read the installed packages")?;
    rows.retain(|r| r.instance.component() == component);
    let mut grants = store.grants().await.or_fail("cannot read the grants")?;
    grants.retain(|g| g.instance.component() == component);
    let replaced = rows.iter().find(|old| old.digest != package.digest()).cloned();
    let mut batch = Batch::new().highest_version(component.clone(), package.version().clone());
    batch = batch.signed_by(component.clone(), package.mark());
    if stranger {
        batch = forget_stranger(batch, component, &grants);
    } else if let Some(old) = replaced {
        batch = batch.package_before(EarlierPackage {
            component: component.clone(),
            digest: old.digest,
            version: old.version,
            older: old.older,
            replaced_ms: at_ms,
            grants: grants.clone(),
        });
    }
    // All instances of a component run the same version. What the answer was about is one of them; another one's grant goes over if
    // nothing grew, and otherwise waits for `plugin grant`.
    for other in grants.into_iter().filter(|g| !stranger && g.instance != grant.instance) {
        if other.growth(package.capabilities()).is_empty() {
            batch = batch.grant_put(carry_over(other, package));
        }
    }
    if rows.iter().all(|r| r.instance != grant.instance) {
        rows.push(PackageRow {
            instance: grant.instance.clone(),
            digest: package.digest(),
            version: package.version().clone(),
            enabled: true,
            at_ms,
            older: false,
            by_hand: false,
            note: None,
        });
    }
    for row in rows {
        let detail = json!({ "digest": package.digest(), "version": package.version(), "by": grant.by });
        let subject = row.instance.to_string();
        // An update does not bring back what the owner disabled.
        batch = batch.audit(AuditRow { kind: kind.to_owned(), subject, detail, at_ms }).package_put(PackageRow {
            digest: package.digest(),
            version: package.version().clone(),
            at_ms,
            older: false,
            by_hand: false,
            note: None,
            ..row
        });
    }
    let batch = batch.grant_put(grant);
    store.commit(batch).await.or_fail("cannot record the installation")?;
    Ok(())
}

fn show(pending: &[Pending]) {
    eprintln!("These components come with Carapace. Each runs in a sandbox and gets what is listed, nothing else:\n");
    for p in pending {
        let component = &p.package.manifest().component;
        eprintln!("  {} {} — {}", p.package.id(), component.version, component.description);
        eprintln!("    signed by {} ({})", p.package.id().publisher, p.package.signer().brief());
        if p.stranger {
            eprintln!("    warning: {}", strangers(p.package.id()));
        }
        match &p.growth {
            None => {
                for s in p.package.capabilities().sentences(Some(&p.instance)) {
                    eprintln!("    - {}", said(&s));
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
    eprint!("{GRANT_THIS} ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    // The end of the input is no answer.
    let read = std::io::stdin().lock().read_line(&mut answer)?;
    Ok(read > 0 && agrees(&answer))
}

/// What is asked after what a component asks for was shown.
pub(crate) const GRANT_THIS: &str = "Grant this? Every grant can be revoked later. [Y/n]";

/// Whether an answer to [`GRANT_THIS`] is a yes.
pub(crate) fn agrees(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

/// The instances that there should be.
pub(crate) struct Instances {
    /// To be loaded.
    pub here: Vec<(InstanceId, PackageRow)>,
    /// The configuration names them, and their component is not installed; why that is so.
    pub missing: Vec<(InstanceId, Failure)>,
}

/// The instances to load: installed and enabled packages, and further instances that the configuration names.
pub(crate) async fn instances(reader: &Reader, config: &Config) -> Outcome<Instances> {
    let installed = reader.packages().await.or_fail("cannot read the installed packages")?;
    let mut all: Vec<(InstanceId, PackageRow)> =
        installed.iter().filter(|r| r.enabled).map(|r| (r.instance.clone(), r.clone())).collect();
    let mut missing = Vec::new();
    for (key, section) in &config.instances {
        let same = |r: &&PackageRow| {
            r.instance.name() == &key.component
                && section.component.as_ref().is_none_or(|c| c == r.instance.component())
        };
        let Some(row) = installed.iter().find(same) else {
            if section.enabled {
                let why = format!(
                    "the configuration names an instance `{key}`, but no component `{}` is installed",
                    key.component
                );
                let help = format!(
                    "carapace plugin install {}, or remove `instances: {{ \"{key}\": … }}` from carapace.json5",
                    key.component
                );
                let local = || Ok(ComponentId { publisher: trust::LOCAL.parse()?, name: key.component.clone() });
                let component: Result<_, carapace_contract::NameError> =
                    section.component.clone().map_or_else(local, Ok);
                let id = InstanceId::new(component.or_fail("local publisher")?, key.id.clone());
                missing.push((id, Failure::coded(Exit::Usage, "E-PACKAGE-004", why).help(help)));
            }
            continue;
        };
        let instance = InstanceId::new(row.instance.component().clone(), key.id.clone());
        // One that has a row of its own is there already, or disabled.
        if installed.iter().all(|r| r.instance != instance) {
            all.push((instance, row.clone()));
        }
    }
    all.retain(|(id, _)| config.instance(id).is_none_or(|section| section.enabled));
    Ok(Instances { here: all, missing })
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
        refused: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_registry::testing;

    fn package(more: &str) -> VerifiedPackage {
        let memory = if more.contains("[memory]") { ", \"memory\"" } else { "" };
        let tool = format!("{more}[[tool]]\nname = \"note\"\nuses = [\"kv\"{memory}]\n");
        let text = testing::manifest("notes", "0.1.0", &tool);
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
        let (grant, grown) = propose(Some(old), &after);
        assert_eq!((grant.digest, grant.revoked), (after.digest(), false));
        assert_eq!(grown.unwrap()[0].capability, "limits.memory");
    }

    fn propose(old: Option<Grant>, package: &VerifiedPackage) -> (Grant, Option<Vec<Growth>>) {
        proposal(&id(), old, package, &BTreeSet::new(), &BTreeSet::new())
    }

    #[test]
    fn a_narrower_grant_is_given_back_as_narrow_as_it_was() {
        let package = package("[kv]\noptional = true\n");
        let kv = BTreeSet::from(["kv".to_owned()]);
        let narrow = package.capabilities().without_optional(&kv);
        let whole = whole_grant(&id(), &package, "owner, test");
        let old = Grant { capabilities: narrow.clone(), revoked: true, refused: kv.clone(), ..whole };
        let (grant, grown) = propose(Some(old.clone()), &package);
        assert!(grant.capabilities == narrow && !grant.revoked && grown.is_none() && grant.at_ms > 0);
        // What was refused is given when it is named, and that is read first.
        let (grant, grown) = proposal(&id(), Some(old), &package, &kv, &BTreeSet::new());
        assert!(grant.capabilities.kv && grant.refused.is_empty());
        assert_eq!(grown.unwrap()[0].capability, "kv");
        // Nobody has read anything of one that was never granted.
        assert!(propose(None, &package).1.is_some());
        assert!(!proposal(&id(), None, &package, &BTreeSet::new(), &kv).0.capabilities.kv);
    }

    #[test]
    fn what_was_refused_stays_so_in_later_versions_and_is_not_asked_again() {
        let (before, after) =
            (package("[kv]\noptional = true\n"), package("[kv]\noptional = true\n[memory]\noptional = true\n"));
        let kv = BTreeSet::from(["kv".to_owned()]);
        let old = proposal(&id(), None, &before, &BTreeSet::new(), &kv).0;
        let growth = old.growth(after.capabilities());
        assert!(
            growth.iter().any(|g| g.capability == "memory") && growth.iter().all(|g| g.capability != "kv"),
            "{growth:?}"
        );
        let grant = grown_grant(&old, &after, "owner, update");
        assert!(!grant.capabilities.kv && grant.capabilities.memory && grant.refused == kv);
        // One that does not work without it any more asks again.
        let required = package("[kv]\n");
        assert_eq!(old.growth(required.capabilities())[0].capability, "kv");
    }
}
