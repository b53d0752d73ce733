//! Packages of a kernel: brought in, followed by newer ones.
//!
//! The order of a change: the file lies in a stage of its own; it is verified; it is loaded beside what runs, which is the test of its
//! health; the bytes that were verified are put where packages lie (named by their digest, and nothing without a row); row, grants,
//! history and audit are committed in one batch; what was loaded takes the place of what ran. Whatever stops it before the commit
//! leaves everything as it was.

use super::{Owner, audit, grants, refused, unreadable};
use crate::{assembly, bundled, installed, trust};
use carapace_contract::control::StageId;
use carapace_contract::diff::Growth;
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Denial, Digest, InstanceId, Name};
use carapace_host::{PROBATION, Prepared};
use carapace_registry::VerifiedPackage;
use carapace_store::{AuditRow, Batch, EarlierPackage, PackageRow, PassedOver};
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
    /// What is here was somebody else's: another publisher was pinned under that name.
    stranger: bool,
    before: Vec<PackageRow>,
    rows: Vec<PackageRow>,
    grants: Vec<Grant>,
    old_grants: Vec<Grant>,
    grown: Vec<(InstanceId, Vec<Growth>)>,
    /// What is kept is in a form that this version does not know.
    data: Option<String>,
}

impl Change {
    /// A hash over everything that the owner's answer is about: the package, who signed it, what is installed and granted, and what would
    /// be. Whatever changes in between changes it.
    fn fingerprint(&self) -> Digest {
        let undated = |grant: &Grant| Grant { at_ms: 0, ..grant.clone() };
        let rows = |rows: &[PackageRow]| -> Vec<Value> {
            rows.iter().map(|r| json!([r.instance, r.digest, r.enabled])).collect()
        };
        let all = json!({
            "component": self.package.id(), "digest": self.package.digest(), "mark": self.package.mark(),
            "older": self.older, "stranger": self.stranger, "before": rows(&self.before), "rows": rows(&self.rows),
            "granted": self.old_grants, "grants": self.grants.iter().map(undated).collect::<Vec<_>>(), "grown": self.grown, "data": self.data,
        });
        Digest::of(all.to_string().as_bytes())
    }

    /// What asks for more than was granted needs the owner's yes to exactly that.
    pub(super) fn agreed(&self, shown: Option<Digest>) -> Result<(), Denial> {
        if let Some(shown) = shown {
            return grants::as_shown(
                self.package.id(),
                shown,
                self.fingerprint(),
                "the same command again, which shows it",
            );
        }
        if let Some((id, _)) = self.grown.first() {
            return Err(Denial::new(
                "E-GRANT-012",
                format!("`{id}` is not granted unread: it asks for more than was granted"),
                "the same command again, which shows it",
            ));
        }
        self.data.as_ref().map_or(Ok(()), |data| Err(newer_data(data, "the same command again, which asks")))
    }

    /// Leaves out optional capabilities that the owner refuses, of whatever instance.
    pub(super) fn without(&mut self, refused: &BTreeSet<String>) -> Result<(), Denial> {
        grants::check_optional(self.package.id(), self.package.capabilities(), refused)?;
        for grant in &mut self.grants {
            grant.refused.extend(refused.iter().cloned());
            grant.capabilities = grant.capabilities.without_optional(refused);
        }
        Ok(())
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
        let stranger = assembly::is_strange(&self.store, &package).await.map_err(|e| refused(&e))?;
        let mut old_grants = self.store.grants().await.map_err(|e| unreadable(&e))?;
        old_grants.retain(|g| g.instance.component() == &component);
        let (mut grants, mut grown) = (Vec::new(), Vec::new());
        let mut new_rows = rows.clone();
        let wanted = InstanceId::new(component.clone(), instance.clone().unwrap_or_else(Name::main));
        if rows.is_empty() || (instance.is_some() && rows.iter().all(|r| r.instance != wanted)) {
            new_rows.push(row_of(&wanted, &package));
            if stranger || old_grants.iter().all(|g| g.instance != wanted) {
                grants.push(bundled::whole_grant(&wanted, &package, "owner, install"));
                grown.push((wanted, Vec::new()));
            }
        }
        if stranger {
            // Nothing goes over from one to the other: what is here is asked for as if it had never been granted.
            for row in &rows {
                grants.push(bundled::whole_grant(&row.instance, &package, "owner, update"));
                grown.push((row.instance.clone(), Vec::new()));
            }
        }
        for old in old_grants.iter().filter(|_| !stranger) {
            let growth = old.growth(package.capabilities());
            if growth.is_empty() || old.revoked {
                grants.push(bundled::carry_over(old.clone(), &package));
            } else {
                grants.push(bundled::grown_grant(old, &package, "owner, update"));
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
        let data = if stranger { None } else { self.newer_data(&package).await? };
        let package = Arc::new(package);
        let source = installed::staged_source(&self.paths, stage);
        let before = rows;
        let rows = new_rows;
        Ok(Change { package, bundle, source, older, stranger, before, rows, grants, old_grants, grown, data })
    }

    /// Whether what the component keeps is in a newer form than this version knows, in words.
    pub(super) async fn newer_data(&self, package: &VerifiedPackage) -> Result<Option<String>, Denial> {
        let kept = self.store.component_schema(package.id()).await.map_err(|e| unreadable(&e))?;
        let known = package.manifest().kv.map_or(0, |kv| kv.schema);
        let (id, version) = (package.id(), package.version());
        Ok(kept.filter(|kept| known > 0 && *kept > known).map(|kept| {
            format!(
                "the data of `{id}` is in form {kept}, and {version} knows up to {known}: it may misread or spoil it"
            )
        }))
    }

    pub(super) async fn rows_of(&self, component: &ComponentId) -> Result<Vec<PackageRow>, Denial> {
        let mut rows = self.store.packages().await.map_err(|e| unreadable(&e))?;
        rows.retain(|r| r.instance.component() == component);
        Ok(rows)
    }

    pub(super) fn shown(change: &Change) -> Value {
        let (package, before) = (&change.package, &change.before);
        let first = change.grown.iter().find(|(_, growth)| growth.is_empty()).map(|(id, _)| id);
        let grown: Vec<String> = change
            .grown
            .iter()
            .flat_map(|(id, growth)| growth.iter().map(move |g| format!("{id}: {}: {}", g.capability, g.text)))
            .collect();
        // What can be refused alone, of what is asked about.
        let capabilities = package.capabilities();
        let mut optional = Vec::new();
        for name in &capabilities.optional {
            let is_new = |(id, growth): &(InstanceId, Vec<Growth>)| {
                growth.is_empty()
                    || growth.iter().any(|g| grants::is_about(&g.capability, name))
                        && change.grants.iter().any(|grant| &grant.instance == id && !grant.refused.contains(name))
            };
            if change.grown.iter().any(is_new) {
                let texts = capabilities.sentences(first);
                let texts: Vec<&str> =
                    texts.iter().filter(|s| &s.capability == name).map(|s| s.text.as_str()).collect();
                optional.push(json!({ "capability": name, "text": texts.join("; ") }));
            }
        }
        let mut warnings = package.warnings().to_vec();
        if change.stranger {
            warnings.push(grants::strangers(package.id()));
        }
        json!({
            "component": package.id(), "version": package.version(), "digest": package.digest(),
            "description": package.manifest().component.description,
            "publisher": format!("{} ({})", package.id().publisher, package.signer()),
            "installed": before.first().map(|r| r.version.to_string()),
            "installed_digest": before.first().map(|r| r.digest),
            "same": before.first().is_some_and(|r| r.digest == package.digest()) && first.is_none(),
            "older": change.older, "lines": grants::lines(capabilities, first), "grown": grown, "data": change.data, "new": first.is_some(),
            "optional": optional, "warnings": warnings, "shown": change.fingerprint(),
        })
    }

    /// Loads instances of a package beside what runs: those that run now, and those that are new. One that is disabled, here or in the
    /// configuration, is not loaded.
    pub(super) async fn beside(
        &self,
        package: &Arc<VerifiedPackage>,
        rows: &[PackageRow],
        grants: &[Grant],
        new: &[InstanceId],
        probation: Option<Duration>,
    ) -> Result<Option<Prepared>, Denial> {
        let Some(host) = &self.host else { return Ok(None) };
        let running: BTreeSet<InstanceId> = host.packages().into_iter().map(|(id, _)| id).collect();
        let config = self.config.current();
        let wanted = grants.iter().filter(|g| {
            running.contains(&g.instance) || (new.contains(&g.instance) && self.may_load(rows, &g.instance))
        });
        let specs = wanted
            .map(|g| assembly::spec_of(&config, &g.instance, VerifiedPackage::clone(package), g.clone()))
            .collect();
        host.prepare(specs, probation).await.map(Some)
    }

    /// Neither disabled nor kept out by the configuration.
    pub(super) fn may_load(&self, rows: &[PackageRow], id: &InstanceId) -> bool {
        let section = |enabled: bool| self.config.current().instance(id).map_or(enabled, |section| section.enabled);
        match rows.iter().find(|r| &r.instance == id) {
            Some(row) => row.enabled && section(true),
            // A further instance is there because the configuration names it.
            None => section(false),
        }
    }

    /// Commits a change and lets it take effect.
    pub(super) async fn bring(&self, change: Change) -> Result<Value, Denial> {
        let answer = Self::shown(&change);
        let component = change.package.id().clone();
        let before = &change.before;
        let replaced = before.first().filter(|r| r.digest != change.package.digest()).cloned();
        if replaced.is_none() && before.len() == change.rows.len() && change.grown.is_empty() {
            return Ok(answer);
        }
        // What could not be loaded so far may be mended by this version.
        let broken: Vec<InstanceId> = self.problems().into_iter().map(|(id, _)| id).collect();
        let mut new: Vec<InstanceId> = change.rows.iter().map(|r| r.instance.clone()).collect();
        new.retain(|id| before.iter().all(|r| &r.instance != id) || broken.contains(id));
        let probation = replaced.is_some().then_some(PROBATION);
        let prepared = self.beside(&change.package, &change.rows, &change.grants, &new, probation).await?;
        let (kind, at_ms) = (if replaced.is_some() { "update" } else { "install" }, trust::now_ms());
        let mut batch = Batch::new()
            .highest_version(component.clone(), change.package.version().clone())
            .signed_by(component.clone(), change.package.mark())
            .take_again(component.clone());
        if change.stranger {
            batch = grants::forget_stranger(batch, &component, &change.old_grants);
        }
        if let Some(old) = replaced {
            if change.older {
                // The owner chose the older one over it; the bundle directory must not undo that.
                batch = batch.pass_over(PassedOver {
                    component: component.clone(),
                    digest: Some(old.digest),
                    why: format!("the owner went back to {}", change.package.version()),
                    at_ms,
                });
            }
            if !change.stranger {
                batch = batch.package_before(EarlierPackage {
                    component: component.clone(),
                    digest: old.digest,
                    version: old.version,
                    older: old.older,
                    replaced_ms: at_ms,
                    grants: change.old_grants,
                });
            }
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
        self.tidy().await;
        Ok(answer)
    }

    pub(super) fn take_place(&self, prepared: Option<Prepared>, component: &ComponentId) {
        if let (Some(host), Some(prepared)) = (&self.host, prepared) {
            host.swap(prepared);
            let loaded: Vec<InstanceId> = host.packages().into_iter().map(|(id, _)| id).collect();
            let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
            problems.retain(|(id, _)| id.component() != component || !loaded.contains(id));
        }
    }
}

/// Nobody has read that an older version would work on newer data.
pub(super) fn newer_data(data: &str, fix: &str) -> Denial {
    Denial::new("E-PACKAGE-005", data, fix)
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
