//! Instances that are enabled, disabled, uninstalled; and what nothing refers to any more.

use super::{Owner, audit, refused, unreadable};
use crate::failure::{OrFail, Outcome};
use crate::installed::Kept;
use crate::{assembly, trust};
use carapace_config::StatePaths;
use carapace_contract::{ComponentId, Denial, InstanceId};
use carapace_store::{AuditRow, Batch, PassedOver, Reader};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::PoisonError;

impl Owner {
    /// Whether it is loaded now: what the configuration keeps out stays out.
    pub(super) async fn enable(&self, id: &InstanceId, enabled: bool) -> Result<bool, Denial> {
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
        let config = self.config.current();
        let loads = enabled && config.instance(id).is_none_or(|section| section.enabled);
        let mut prepared = None;
        if let (true, Some(host)) = (loads, &self.host) {
            let trust = self.trust()?;
            let spec = assembly::spec(&self.paths, &self.store, &trust, &config, id, &row).await;
            prepared = Some(host.prepare(vec![spec.map_err(|e| refused(&e))?], None).await?);
        }
        let kind = if enabled { "enabled" } else { "disabled" };
        self.commit(Batch::new().package_state(id.clone(), enabled).audit(audit(kind, id)), "nothing was changed")
            .await?;
        self.take_place(prepared, id.component());
        if let (false, Some(host)) = (enabled, &self.host) {
            host.unload(id);
        }
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|(p, _)| p != id);
        Ok(loads && self.host.is_some())
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
        self.tidy().await;
        let config = self.config.current();
        let named = config.instances.iter().filter(|(key, section)| {
            key.component == component.name && section.component.as_ref().is_none_or(|c| c == component)
        });
        let configured: Vec<String> = named.map(|(key, _)| key.to_string()).collect();
        Ok(json!({ "removed": removed, "configured": configured }))
    }

    /// Removes what nothing refers to any more.
    pub(super) async fn clean(&self) -> Result<(), Denial> {
        sweep(&self.paths, &self.store).await.map_err(|e| refused(&e))
    }

    /// The same after something was done: what is left lying about does not undo it, and goes at the next start.
    pub(super) async fn tidy(&self) {
        if let Err(why) = self.clean().await {
            tracing::warn!(%why, "package files that nothing refers to were not removed");
        }
    }

    pub(super) fn problems(&self) -> Vec<(InstanceId, String)> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn not_installed(component: &ComponentId) -> Denial {
    Denial::new("E-GRANT-010", format!("no component `{component}` is installed"), "carapace plugin list")
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
