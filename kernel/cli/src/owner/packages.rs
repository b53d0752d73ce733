//! Packages of a kernel: brought in, followed by newer ones, rolled back, taken out.
//!
//! The order of a change: the file lies in a stage of its own; it is verified; it is loaded beside what runs, which is the test of its
//! health; the bytes that were verified are put where packages lie (named by their digest, and nothing without a row); row, grants,
//! history and audit are committed in one batch; what was loaded takes the place of what ran. Whatever stops it before the commit leaves everything as it was.

use super::{Owner, audit, refused, unreadable};
use crate::failure::{OrFail, Outcome};
use crate::installed::{self, Kept};
use crate::{assembly, bundled, trust};
use carapace_config::StatePaths;
use carapace_contract::capability::Sentence;
use carapace_contract::control::StageId;
use carapace_contract::diff::{self, Growth};
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Denial, Digest, InstanceId, Name};
use carapace_host::{PROBATION, Prepared, Relapse};
use carapace_registry::VerifiedPackage;
use carapace_store::{AuditRow, Batch, EarlierPackage, PackageRow, PassedOver, Reader};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A staged package, against what is installed and granted.
pub(super) struct Change {
    package: Arc<VerifiedPackage>,
    /// What verified it.
    bundle: Vec<u8>,
    /// Where it came from.
    source: Option<String>,
    /// It is older than what was here before, and the owner said that this is meant.
    older: bool,
    rows: Vec<PackageRow>,
    grants: Vec<Grant>,
    old_grants: Vec<Grant>,
    grown: Vec<(InstanceId, Vec<Growth>)>,
}

impl Change {
    /// What asks for more than was granted needs the owner's yes, whatever stood there when it was shown.
    pub(super) fn agreed(&self, agreed: bool) -> Result<(), Denial> {
        let Some((id, _)) = self.grown.first().filter(|_| !agreed) else { return Ok(()) };
        Err(Denial::new(
            "E-GRANT-012",
            format!("`{id}` is not granted unread: it asks for more than was granted when it was shown"),
            "the same command again, which shows it",
        ))
    }
}

impl Owner {
    /// Verifies a staged package and says what it would change.
    pub(super) async fn change(
        &self,
        stage: &StageId,
        digest: Digest,
        instance: Option<Name>,
        allow_downgrade: bool,
    ) -> Result<Change, Denial> {
        let file = installed::staged(&self.paths, stage);
        let mut trusted = self.trust()?;
        let (mut package, mut bundle) = trust::verify_with_bundle(&file, None, &trusted).map_err(|e| refused(&e))?;
        let component = package.id().clone();
        let seen = self.store.highest_version(&component).await.map_err(|e| unreadable(&e))?;
        let older = seen.as_ref().is_some_and(|seen| seen > package.version());
        let rows = self.rows_of(&component).await?;
        let same = !rows.is_empty() && rows.iter().all(|r| r.digest == digest);
        if older && !same {
            if allow_downgrade {
                trusted.allowed_downgrades.insert(digest);
            }
            trusted.highest_seen.extend(seen.map(|v| (component.clone(), v)));
            (package, bundle) = trust::verify_with_bundle(&file, None, &trusted).map_err(|e| refused(&e))?;
        }
        if package.digest() != digest {
            return Err(Denial::new(
                "E-TRUST-007",
                format!("the staged file is {}, not {digest}", package.digest()),
                "install it again",
            ));
        }
        let mut old_grants = self.store.grants().await.map_err(|e| unreadable(&e))?;
        old_grants.retain(|g| g.instance.component() == &component);
        let (mut grants, mut grown) = (Vec::new(), Vec::new());
        let mut new_rows = rows.clone();
        let wanted = InstanceId::new(component.clone(), instance.clone().unwrap_or_else(Name::main));
        if rows.is_empty() || (instance.is_some() && rows.iter().all(|r| r.instance != wanted)) {
            new_rows.push(row_of(&wanted, &package));
            if old_grants.iter().all(|g| g.instance != wanted) {
                grants.push(bundled::whole_grant(&wanted, &package, "owner, install"));
                grown.push((wanted, Vec::new()));
            }
        }
        for old in &old_grants {
            let growth = diff::growth(&old.capabilities, package.capabilities());
            if growth.is_empty() || old.revoked {
                grants.push(bundled::carry_over(old.clone(), &package));
            } else {
                grants.push(bundled::whole_grant(&old.instance, &package, "owner, update"));
                grown.push((old.instance.clone(), growth));
            }
        }
        for row in &mut new_rows {
            *row = PackageRow {
                digest,
                version: package.version().clone(),
                at_ms: trust::now_ms(),
                older,
                by_hand: true,
                note: None,
                ..row.clone()
            };
        }
        let source = installed::staged_source(&self.paths, stage);
        Ok(Change { package: Arc::new(package), bundle, source, older, rows: new_rows, grants, old_grants, grown })
    }

    async fn rows_of(&self, component: &ComponentId) -> Result<Vec<PackageRow>, Denial> {
        let mut rows = self.store.packages().await.map_err(|e| unreadable(&e))?;
        rows.retain(|r| r.instance.component() == component);
        Ok(rows)
    }

    pub(super) async fn shown(&self, change: &Change) -> Result<Value, Denial> {
        let package = &change.package;
        let before = self.rows_of(package.id()).await?;
        let first = change.grown.iter().find(|(_, growth)| growth.is_empty()).map(|(id, _)| id);
        let optional = |s: &Sentence| if s.optional { " (optional)" } else { "" };
        let lines = package.capabilities().sentences(first);
        let lines: Vec<String> = lines.iter().map(|s| format!("{}{}", s.text, optional(s))).collect();
        let grown: Vec<String> = change
            .grown
            .iter()
            .flat_map(|(id, growth)| growth.iter().map(move |g| format!("{id}: {}: {}", g.capability, g.text)))
            .collect();
        Ok(json!({
            "component": package.id(), "version": package.version(), "digest": package.digest(),
            "description": package.manifest().component.description,
            "publisher": format!("{} ({})", package.id().publisher, package.signer()),
            "installed": before.first().map(|r| r.version.to_string()),
            "installed_digest": before.first().map(|r| r.digest),
            "same": before.first().is_some_and(|r| r.digest == package.digest()) && first.is_none(),
            "older": change.older, "lines": lines, "grown": grown, "new": first.is_some(),
            "warnings": package.warnings(),
        }))
    }

    /// Loads instances of a package beside what runs: those that run now, and those that are new.
    async fn beside(
        &self,
        package: &Arc<VerifiedPackage>,
        grants: &[Grant],
        new: &[InstanceId],
        probation: Option<Duration>,
    ) -> Result<Option<Prepared>, Denial> {
        let Some(host) = &self.host else { return Ok(None) };
        let running: BTreeSet<InstanceId> = host.packages().into_iter().map(|(id, _)| id).collect();
        let config = self.config.current();
        let wanted = grants.iter().filter(|g| running.contains(&g.instance) || new.contains(&g.instance));
        let specs = wanted
            .map(|g| assembly::spec_of(&config, &g.instance, VerifiedPackage::clone(package), g.clone()))
            .collect();
        host.prepare(specs, probation).await.map(Some)
    }

    /// Commits a change and lets it take effect.
    pub(super) async fn bring(&self, change: Change) -> Result<Value, Denial> {
        let answer = self.shown(&change).await?;
        let component = change.package.id().clone();
        let before = self.rows_of(&component).await?;
        let replaced = before.first().filter(|r| r.digest != change.package.digest()).cloned();
        if replaced.is_none() && before.len() == change.rows.len() {
            return Ok(answer);
        }
        // What could not be loaded so far may be mended by this version.
        let broken: Vec<InstanceId> = self.problems().into_iter().map(|(id, _)| id).collect();
        let mut new: Vec<InstanceId> = change.rows.iter().map(|r| r.instance.clone()).collect();
        new.retain(|id| before.iter().all(|r| &r.instance != id) || broken.contains(id));
        let probation = replaced.is_some().then_some(PROBATION);
        let prepared = self.beside(&change.package, &change.grants, &new, probation).await?;
        let (kind, at_ms) = (if replaced.is_some() { "update" } else { "install" }, trust::now_ms());
        let mut batch = Batch::new()
            .highest_version(component.clone(), change.package.version().clone())
            .take_again(component.clone());
        if let Some(old) = replaced {
            batch = batch.package_before(EarlierPackage {
                component: component.clone(),
                digest: old.digest,
                version: old.version,
                older: old.older,
                replaced_ms: at_ms,
                grants: change.old_grants,
            });
        }
        for row in change.rows {
            let detail = json!({ "digest": row.digest, "version": row.version, "by": "owner", "older": change.older });
            batch = batch.audit(AuditRow { detail, ..audit(kind, &row.instance) }).package_put(row);
        }
        let batch = change.grants.into_iter().fold(batch, Batch::grant_put);
        installed::put(&self.paths, &change.package, &change.bundle, change.source.as_deref())
            .map_err(|e| refused(&e))?;
        self.commit(batch, "nothing was installed").await?;
        self.take_place(prepared, &component);
        self.clean().await?;
        Ok(answer)
    }

    fn take_place(&self, prepared: Option<Prepared>, component: &ComponentId) {
        if let (Some(host), Some(prepared)) = (&self.host, prepared) {
            host.swap(prepared);
            let loaded: Vec<InstanceId> = host.packages().into_iter().map(|(id, _)| id).collect();
            let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
            problems.retain(|(id, _)| id.component() != component || !loaded.contains(id));
        }
    }

    /// Back to the version before. `why`: the kernel does it by itself.
    pub(super) async fn rollback(&self, component: &ComponentId, why: Option<&str>) -> Result<Value, Denial> {
        let rows = self.rows_of(component).await?;
        let Some(current) = rows.first().cloned() else { return Err(not_installed(component)) };
        let before = self.store.packages_before().await.map_err(|e| unreadable(&e))?;
        let Some(earlier) = before.into_iter().find(|e| &e.component == component) else {
            return Err(Denial::new(
                "E-PACKAGE-002",
                format!("no version of `{component}` before {} is kept", current.version),
                "carapace plugin update with the file of another version",
            ));
        };
        let mut trusted = self.trust()?;
        trusted.allowed_downgrades.insert(earlier.digest);
        let signature = installed::signature(&self.paths, &earlier.digest, &component.publisher);
        let file = installed::package(&self.paths, &earlier.digest);
        let package = trust::verify_file(&file, Some(&signature), &trusted);
        let package = Arc::new(package.map_err(|e| refused(&e))?);
        if package.id() != component {
            let why = format!("the package kept as `{component}` {} is `{}`", earlier.version, package.id());
            return Err(Denial::new("E-TRUST-013", why, "carapace plugin update with the file of another version"));
        }
        let now = self.store.grants().await.map_err(|e| unreadable(&e))?;
        let now = now.into_iter().filter(|g| g.instance.component() == component);
        let grants: Vec<Grant> = now.map(|g| returned(g, &earlier, &package)).collect();
        let broken: Vec<InstanceId> = self.problems().into_iter().map(|(id, _)| id).collect();
        let prepared = self.beside(&package, &grants, &broken, None).await?;
        let by = if why.is_some() { "kernel, probation" } else { "owner" };
        let reason = why.unwrap_or("by the owner");
        let at_ms = trust::now_ms();
        let mut batch = Batch::new().package_forget_last(component.clone()).pass_over(PassedOver {
            component: component.clone(),
            digest: Some(current.digest),
            why: format!("rolled back: {reason}"),
            at_ms,
        });
        for row in rows {
            let detail = json!({ "from": row.version, "to": earlier.version, "digest": earlier.digest, "by": by, "why": reason });
            batch = batch.audit(AuditRow { detail, ..audit("rollback", &row.instance) }).package_put(PackageRow {
                digest: earlier.digest,
                version: earlier.version.clone(),
                at_ms,
                older: true,
                by_hand: true,
                note: why.map(|why| format!("rolled back from {}: {why}", row.version)),
                ..row
            });
        }
        let batch = grants.into_iter().fold(batch, Batch::grant_put);
        self.commit(batch, "nothing was rolled back").await?;
        self.take_place(prepared, component);
        self.clean().await?;
        Ok(json!({ "component": component, "from": current.version, "to": earlier.version }))
    }

    /// A version broke on probation: unless it was replaced meanwhile, the one before comes back.
    pub(crate) async fn relapsed(&self, relapse: &Relapse) {
        let _alone = self.changing.lock().await;
        let component = relapse.instance.component();
        let rows = self.rows_of(component).await.unwrap_or_default();
        if rows.iter().all(|r| r.digest != relapse.digest) {
            return;
        }
        match self.rollback(component, Some(&relapse.why)).await {
            Ok(done) => {
                tracing::warn!(%component, from = %done["from"], to = %done["to"], why = relapse.why, "rolled back")
            }
            Err(error) => {
                tracing::error!(%component, %error, why = relapse.why, "it breaks, and could not be rolled back")
            }
        }
    }

    pub(super) async fn enable(&self, id: &InstanceId, enabled: bool) -> Result<(), Denial> {
        let Some(row) = self.store.package(id).await.map_err(|e| unreadable(&e))? else {
            return Err(Denial::new(
                "E-PACKAGE-001",
                format!("`{id}` is not an installed instance"),
                format!(
                    "carapace plugin list; one that only the configuration names: instances: {{ \"{}:{}\": {{ enabled: {enabled} }} }}",
                    id.name(),
                    id.id()
                ),
            ));
        };
        if let (true, Some(host)) = (enabled, &self.host) {
            let config = self.config.current();
            assembly::load(&self.paths, &self.store, &self.trust()?, &config, host, id, &row)
                .await
                .map_err(|e| refused(&e))?;
        }
        let kind = if enabled { "enabled" } else { "disabled" };
        self.commit(Batch::new().package_state(id.clone(), enabled).audit(audit(kind, id)), "nothing was changed")
            .await?;
        if let (false, Some(host)) = (enabled, &self.host) {
            host.unload(id);
        }
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|(p, _)| p != id);
        Ok(())
    }

    pub(super) async fn uninstall(&self, component: &ComponentId, delete_data: bool) -> Result<Value, Denial> {
        let rows = self.rows_of(component).await?;
        if rows.is_empty() {
            return Err(not_installed(component));
        }
        let grants = self.store.grants().await.map_err(|e| unreadable(&e))?;
        let grants: Vec<InstanceId> =
            grants.into_iter().map(|g| g.instance).filter(|id| id.component() == component).collect();
        let mut removed: BTreeSet<InstanceId> = rows.iter().map(|r| r.instance.clone()).collect();
        removed.extend(grants.iter().cloned());
        let mut batch =
            Batch::new().package_forget_before(component.clone()).take_again(component.clone()).pass_over(PassedOver {
                component: component.clone(),
                digest: None,
                why: "uninstalled by the owner".to_owned(),
                at_ms: trust::now_ms(),
            });
        for row in rows {
            let detail = json!({ "digest": row.digest, "version": row.version, "data": if delete_data { "deleted" } else { "kept" } });
            let fact = AuditRow { detail, ..audit("uninstall", &row.instance) };
            batch = batch.audit(fact).package_delete(row.instance);
        }
        batch = grants.into_iter().fold(batch, Batch::grant_delete);
        if delete_data {
            batch = batch.forget_data(component.clone());
        }
        self.commit(batch, "nothing was uninstalled").await?;
        for (host, id) in self.host.iter().flat_map(|host| removed.iter().map(move |id| (host, id))) {
            host.evict(id, Denial::new("E-HOST-007", format!("`{id}` was uninstalled"), "carapace plugin install"));
        }
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| id.component() != component);
        self.forget_models();
        self.clean().await?;
        Ok(json!({ "removed": removed }))
    }

    /// Removes what nothing refers to any more.
    pub(super) async fn clean(&self) -> Result<(), Denial> {
        sweep(&self.paths, &self.store).await.map_err(|e| refused(&e))
    }

    pub(super) fn problems(&self) -> Vec<(InstanceId, String)> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn row_of(id: &InstanceId, package: &VerifiedPackage) -> PackageRow {
    PackageRow {
        instance: id.clone(),
        digest: package.digest(),
        version: package.version().clone(),
        enabled: true,
        at_ms: trust::now_ms(),
        older: false,
        by_hand: true,
        note: None,
    }
}

fn not_installed(component: &ComponentId) -> Denial {
    Denial::new("E-GRANT-010", format!("no component `{component}` is installed"), "carapace plugin list")
}

/// An instance's grant once the earlier package is back: the one that belonged to it. What was revoked since stays revoked, and nothing
/// is given that was never granted.
fn returned(now: Grant, earlier: &EarlierPackage, package: &VerifiedPackage) -> Grant {
    match earlier.grants.iter().find(|g| g.instance == now.instance) {
        Some(then) => {
            let wider = !diff::growth(&now.capabilities, &then.capabilities).is_empty();
            Grant { revoked: now.revoked || (then.revoked && wider), ..then.clone() }
        }
        None if diff::growth(&now.capabilities, package.capabilities()).is_empty() => bundled::carry_over(now, package),
        // Given since, for less: it is not loaded until the owner agrees to more.
        None => now,
    }
}

/// Removes package files, and their compiled artefacts, that no row refers to.
pub(crate) async fn sweep(paths: &StatePaths, reader: &Reader) -> Outcome {
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    let before = reader.packages_before().await.or_fail("cannot read the earlier packages")?;
    let mut kept = Kept::default();
    rows.iter().for_each(|row| kept.add(row.instance.component(), &row.digest));
    before.iter().for_each(|earlier| kept.add(&earlier.component, &earlier.digest));
    kept.sweep(paths);
    Ok(())
}
