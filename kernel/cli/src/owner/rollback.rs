//! Back to the version before: by the owner, or by the kernel when a new version breaks.

use super::lifecycle::not_installed;
use super::packages::newer_data;
use super::{Owner, audit, grants, refused, unreadable};
use crate::{bundled, installed, trust};
use carapace_contract::diff::{self, Growth};
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Denial, Digest, InstanceId};
use carapace_host::Relapse;
use carapace_registry::VerifiedPackage;
use carapace_store::{AuditRow, Batch, EarlierPackage, PackageRow, PassedOver};
use serde_json::{Value, json};
use std::sync::Arc;

/// The version before, against what is installed and granted.
struct Return {
    package: Arc<VerifiedPackage>,
    rows: Vec<PackageRow>,
    current: PackageRow,
    earlier: EarlierPackage,
    granted: Vec<Grant>,
    grants: Vec<Grant>,
    /// What would come back and the owner does not allow now.
    grown: Vec<(InstanceId, Vec<Growth>)>,
    /// What is kept is in a form that the version does not know.
    data: Option<String>,
}

impl Return {
    /// A hash over everything that the owner's answer is about.
    fn fingerprint(&self) -> Digest {
        let all = json!({
            "component": self.package.id(), "from": self.current.digest, "to": self.earlier.digest, "mark": self.package.mark(),
            "granted": self.granted, "grants": self.grants, "grown": self.grown, "data": self.data,
        });
        Digest::of(all.to_string().as_bytes())
    }

    fn grown(&self) -> Vec<String> {
        let one = |(id, growth): &(InstanceId, Vec<Growth>)| {
            growth.iter().map(|g| format!("{id}: {}: {}", g.capability, g.text)).collect::<Vec<_>>()
        };
        self.grown.iter().flat_map(one).collect()
    }
}

impl Owner {
    async fn returning(&self, component: &ComponentId) -> Result<Return, Denial> {
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
        let mut granted = self.store.grants().await.map_err(|e| unreadable(&e))?;
        granted.retain(|g| g.instance.component() == component);
        let (mut grants, mut grown) = (Vec::new(), Vec::new());
        for now in &granted {
            let (grant, growth) = returned(now, &earlier, &package);
            if !growth.is_empty() {
                grown.push((grant.instance.clone(), growth));
            }
            grants.push(grant);
        }
        let data = self.newer_data(&package).await?;
        Ok(Return { package, rows, current, earlier, granted, grants, grown, data })
    }

    pub(super) async fn rollback_shown(&self, component: &ComponentId) -> Result<Value, Denial> {
        let back = self.returning(component).await?;
        Ok(json!({
            "component": component, "from": back.current.version, "to": back.earlier.version, "digest": back.earlier.digest,
            "grown": back.grown(), "data": back.data, "shown": back.fingerprint(),
        }))
    }

    /// Back to the version before. `why`: the kernel does it by itself.
    pub(super) async fn rollback(
        &self,
        component: &ComponentId,
        shown: Option<Digest>,
        why: Option<&str>,
    ) -> Result<Value, Denial> {
        let back = self.returning(component).await?;
        if let Some(shown) = shown {
            grants::as_shown(component, shown, back.fingerprint(), &format!("carapace plugin rollback {component}"))?;
        } else if !back.grown.is_empty() {
            return Err(Denial::new(
                "E-GRANT-012",
                format!(
                    "`{component}` {} is not granted unread what you do not allow now: {}",
                    back.earlier.version,
                    back.grown().join("; ")
                ),
                format!("carapace plugin rollback {component}"),
            ));
        } else if let Some(data) = &back.data {
            return Err(newer_data(data, &format!("carapace plugin rollback {component}")));
        }
        let Return { package, rows, current, earlier, grants, grown, .. } = back;
        let anew = |mut grant: Grant| {
            // The owner has just said so.
            if grown.iter().any(|(id, _)| id == &grant.instance) {
                grant.by = "owner, rollback".to_owned();
                grant.at_ms = trust::now_ms();
            }
            grant
        };
        let grants: Vec<Grant> = grants.into_iter().map(anew).collect();
        let broken: Vec<InstanceId> = self.problems().into_iter().map(|(id, _)| id).collect();
        let prepared = self.beside(&package, &rows, &grants, &broken, None).await?;
        let by = if why.is_some() { "kernel, probation" } else { "owner" };
        let reason = why.unwrap_or("by the owner");
        let at_ms = trust::now_ms();
        let mut batch = Batch::new()
            .package_forget_last(component.clone())
            .signed_by(component.clone(), package.mark())
            .pass_over(PassedOver {
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
        self.tidy().await;
        Ok(json!({ "component": component, "from": current.version, "to": earlier.version }))
    }

    /// A version broke on probation: unless it was replaced meanwhile, the one before comes back. Where that would need the owner's yes,
    /// and where calls only ran into limits, the owner is told instead.
    pub(crate) async fn relapsed(&self, relapse: &Relapse) {
        let _alone = self.changing.lock().await;
        let component = relapse.instance.component();
        let rows = self.rows_of(component).await.unwrap_or_default();
        let Some(row) = rows.into_iter().find(|r| r.digest == relapse.digest) else { return };
        if !relapse.broken {
            let note = format!("calls of {} ran into its limits since the update: {}", row.version, relapse.why);
            return self.note(row, "limits-reached", note).await;
        }
        match self.rollback(component, None, Some(&relapse.why)).await {
            Ok(done) => {
                tracing::warn!(%component, from = %done["from"], to = %done["to"], why = relapse.why, "rolled back")
            }
            Err(error) => {
                tracing::error!(%component, %error, why = relapse.why, "it breaks, and could not be rolled back");
                let note =
                    format!("{} breaks ({}), and was not rolled back by itself: {error}", row.version, relapse.why);
                self.note(row, "not-rolled-back", note).await;
            }
        }
    }

    /// Tells the owner something about an installed package, until they have looked.
    async fn note(&self, row: PackageRow, kind: &str, note: String) {
        tracing::warn!(instance = %row.instance, note, "an update");
        let fact = AuditRow { detail: json!({ "note": note }), ..audit(kind, &row.instance) };
        let batch = Batch::new().audit(fact).package_put(PackageRow { note: Some(note), ..row });
        if let Err(why) = self.commit(batch, "a note was not recorded").await {
            tracing::error!(%why, "a note about a package was not recorded");
        }
    }
}

/// An instance's grant once the earlier package is back, and what of it the owner does not allow now.
///
/// It is the grant that belonged to that version. What the owner refused or revoked since stays so; and if the owner has agreed to
/// something since, they have agreed to that and no more.
fn returned(now: &Grant, earlier: &EarlierPackage, package: &VerifiedPackage) -> (Grant, Vec<Growth>) {
    let Some(then) = earlier.grants.iter().find(|g| g.instance == now.instance) else {
        let growth = now.growth(package.capabilities());
        let grant = match growth.is_empty() || now.revoked {
            true => bundled::carry_over(now.clone(), package),
            false => bundled::grown_grant(now, package, "owner, rollback"),
        };
        return (grant, if now.revoked { Vec::new() } else { growth });
    };
    let since = now.at_ms > earlier.replaced_ms;
    let mut refused = then.refused.clone();
    refused.extend(now.refused.iter().cloned());
    let capabilities = then.capabilities.without_optional(&refused);
    let mut growth = if since { diff::growth(&now.capabilities, &capabilities) } else { Vec::new() };
    for name in now.refused.iter().filter(|name| capabilities.holds(name)) {
        if growth.iter().all(|g| !grants::is_about(&g.capability, name)) {
            let text = "you took it back since, and this version does not work without it".to_owned();
            growth.push(Growth { capability: name.clone(), text });
        }
    }
    refused.retain(|name| !capabilities.holds(name));
    let revoked = now.revoked || (then.revoked && !since);
    let grant = Grant { capabilities, refused, revoked, ..then.clone() };
    (grant, if revoked { Vec::new() } else { growth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_registry::testing;

    fn package(version: &str, more: &str) -> VerifiedPackage {
        let memory = if more.contains("[memory]") { ", \"memory\"" } else { "" };
        let tool = format!("{more}[[tool]]\nname = \"note\"\nuses = [\"kv\"{memory}]\n");
        let text = testing::manifest("notes", version, &tool);
        testing::verified(testing::component(&["kv"], &["tools"]), &text)
    }

    fn id() -> InstanceId {
        "local/notes".parse().unwrap()
    }

    /// Granted whole at 100; replaced at 200.
    fn earlier(package: &VerifiedPackage, change: impl FnOnce(&mut Grant)) -> EarlierPackage {
        let mut grant = Grant { at_ms: 100, ..bundled::whole_grant(&id(), package, "owner, test") };
        change(&mut grant);
        EarlierPackage {
            component: id().component().clone(),
            digest: package.digest(),
            version: package.version().clone(),
            older: false,
            replaced_ms: 200,
            grants: vec![grant],
        }
    }

    const OPTIONAL: &str = "[kv]\noptional = true\n[memory]\noptional = true\n";

    #[test]
    fn what_the_owner_took_back_since_does_not_come_back() {
        let (one, two) = (package("1.0.0", OPTIONAL), package("2.0.0", OPTIONAL));
        let before = earlier(&one, |_| ());
        let mut now = bundled::carry_over(before.grants[0].clone(), &two);
        now.refused.insert("memory".into());
        now.capabilities = now.asked(two.capabilities());
        let (grant, growth) = returned(&now, &before, &one);
        assert!(growth.is_empty() && grant.capabilities.kv && !grant.capabilities.memory);
        assert!(grant.refused.contains("memory") && grant.digest == one.digest());
        // Nor what was revoked whole.
        let (grant, growth) = returned(&Grant { revoked: true, ..now }, &before, &one);
        assert!(grant.revoked && growth.is_empty());
    }

    #[test]
    fn what_was_taken_back_and_is_required_by_the_earlier_version_needs_a_yes() {
        let (one, two) = (package("1.0.0", "[kv]\n"), package("2.0.0", "[kv]\noptional = true\n"));
        let before = earlier(&one, |_| ());
        let mut now = bundled::carry_over(before.grants[0].clone(), &two);
        now.refused.insert("kv".into());
        now.capabilities = now.asked(two.capabilities());
        let (_, growth) = returned(&now, &before, &one);
        assert_eq!(growth.len(), 1);
        assert_eq!(growth[0].capability, "kv");
    }

    #[test]
    fn what_the_new_version_did_not_ask_for_comes_back_with_the_old_one_unless_the_owner_agreed_to_less_since() {
        let (one, two) = (package("1.0.0", "[kv]\n[memory]\n"), package("2.0.0", "[kv]\n"));
        let before = earlier(&one, |_| ());
        let carried = bundled::carry_over(before.grants[0].clone(), &two);
        assert!(!carried.capabilities.memory);
        let (grant, growth) = returned(&carried, &before, &one);
        assert!(grant.capabilities.memory && growth.is_empty(), "nobody took it back");
        // Revoked, and given back for what the new version asks.
        let (_, growth) = returned(&Grant { at_ms: 300, ..carried }, &before, &one);
        assert_eq!(growth[0].capability, "memory");
    }

    #[test]
    fn an_instance_that_is_newer_than_the_earlier_version_is_asked_about() {
        let (one, two) = (package("1.0.0", "[kv]\n[memory]\n"), package("2.0.0", "[kv]\n"));
        let before = EarlierPackage { grants: Vec::new(), ..earlier(&one, |_| ()) };
        let now = bundled::whole_grant(&id(), &two, "owner, test");
        assert_eq!(returned(&now, &before, &one).1[0].capability, "memory");
        let whole = bundled::whole_grant(&id(), &one, "owner, test");
        assert!(returned(&whole, &before, &one).1.is_empty());
    }
}
