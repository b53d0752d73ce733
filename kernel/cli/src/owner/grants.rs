//! Grants of a kernel: shown, given, taken back; whole, or by optional capability.

use super::{Owner, audit, refused, unreadable};
use crate::{assembly, bundled};
use carapace_contract::capability::{CapabilitySet, Sentence};
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Denial, Digest, InstanceId};
use carapace_host::Lending;
use carapace_registry::VerifiedPackage;
use carapace_store::{AuditRow, Batch, PackageRow};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Names of optional capabilities.
pub(super) type Names = BTreeSet<String>;

/// The installed package, and what stands on record for an instance of it.
struct Standing {
    rows: Vec<PackageRow>,
    package: VerifiedPackage,
    old: Option<Grant>,
    /// What stands there was given to another publisher of that name.
    stranger: bool,
}

impl Standing {
    /// A hash over everything that the owner's answer is about.
    fn fingerprint(&self, id: &InstanceId, grant: &Grant) -> Digest {
        let undated = Grant { at_ms: 0, ..grant.clone() };
        let all = json!({
            "instance": id, "digest": self.package.digest(), "mark": self.package.mark(), "stranger": self.stranger,
            "granted": self.old, "grant": undated,
        });
        Digest::of(all.to_string().as_bytes())
    }

    /// What stands there and counts.
    fn counts(&self) -> Option<Grant> {
        self.old.clone().filter(|_| !self.stranger)
    }
}

impl Owner {
    async fn standing(&self, id: &InstanceId) -> Result<Standing, Denial> {
        let row = self.package(id).await?;
        let rows = self.rows_of(id.component()).await?;
        let trust = self.trust()?;
        let package = assembly::verify_seen(&self.paths, &self.store, &trust, &row).await.map_err(|e| refused(&e))?;
        let old = self.store.grant(id).await.map_err(|e| unreadable(&e))?;
        let stranger = assembly::is_strange(&self.store, &package).await.map_err(|e| refused(&e))?;
        Ok(Standing { rows, package, old, stranger })
    }

    pub(super) async fn show(&self, id: &InstanceId, give: &Names) -> Result<Value, Denial> {
        let standing = self.standing(id).await?;
        let package = &standing.package;
        check_optional(id, package.capabilities(), give)?;
        let word = match &standing.old {
            Some(_) if standing.stranger => "none",
            None => "none",
            Some(g) if g.revoked => "revoked",
            Some(_) => "granted",
        };
        let (grant, grown) = bundled::proposal(id, standing.counts(), package, give, &Names::new());
        let grown: Vec<String> =
            grown.unwrap_or_default().iter().map(|g| format!("{}: {}", g.capability, g.text)).collect();
        let warnings: Vec<String> = standing.stranger.then(|| strangers(package.id())).into_iter().collect();
        Ok(json!({
            "component": package.id(), "version": package.version(), "digest": package.digest(),
            "publisher": format!("{} ({})", package.id().publisher, package.signer().brief()),
            "standing": word, "lines": lines(&grant.capabilities, Some(id)), "grown": grown,
            "optional": grant.capabilities.optional, "refused": grant.refused, "warnings": warnings,
            "shown": standing.fingerprint(id, &grant),
        }))
    }

    pub(super) async fn restore(
        &self,
        id: &InstanceId,
        give: &Names,
        without: &Names,
        shown: Option<Digest>,
    ) -> Result<(), Denial> {
        let standing = self.standing(id).await?;
        let package = &standing.package;
        check_optional(id, package.capabilities(), give)?;
        check_optional(id, package.capabilities(), without)?;
        let (grant, unread) = bundled::proposal(id, standing.counts(), package, give, &Names::new());
        let again = || format!("carapace plugin grant {id}");
        if let Some(shown) = shown {
            as_shown(id, shown, standing.fingerprint(id, &grant), &again())?;
        } else if let Some(grown) = &unread {
            let what = grown.iter().map(|g| format!("{}: {}", g.capability, g.text)).collect::<Vec<_>>().join("; ");
            let what =
                if what.is_empty() { "it was never granted".to_owned() } else { format!("it has grown: {what}") };
            return Err(Denial::new("E-GRANT-012", format!("`{id}` is not granted unread ({what})"), again()));
        }
        let (grant, _) = bundled::proposal(id, standing.counts(), package, give, without);
        let loads = self.may_load(&standing.rows, id);
        let detail =
            json!({ "digest": grant.digest, "version": package.version(), "by": grant.by, "refused": grant.refused });
        let row_of = AuditRow { detail, ..audit("grant-given", id) };
        // Loaded anew: what was loaded while revoked has no tools listed, and what was refused is linked to refusals.
        let here: Vec<InstanceId> = loads.then(|| id.clone()).into_iter().collect();
        let new = std::slice::from_ref(&grant);
        let prepared = self.beside(&Arc::new(package.clone()), &standing.rows, new, &here, None).await?;
        let mut batch = Batch::new();
        if standing.stranger {
            let mut old = self.store.grants().await.map_err(|e| unreadable(&e))?;
            old.retain(|g| g.instance.component() == id.component());
            batch = forget_stranger(batch, id.component(), &old);
        }
        let batch = batch.signed_by(id.component().clone(), package.mark()).grant_put(grant).audit(row_of);
        self.commit(batch, "the grant was not recorded").await?;
        self.take_place(prepared, id.component());
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|(p, _)| p != id);
        self.forget_models();
        Ok(())
    }

    /// At once, in memory: what is running must not go on while something else is being changed, or the disk is slow.
    pub(super) fn revoke_now(&self, id: &InstanceId, capabilities: &Names) -> bool {
        self.host.as_ref().is_some_and(|host| match capabilities.is_empty() {
            true => host.set_revoked(id, true),
            false => host.refuse(id, capabilities),
        })
    }

    pub(super) async fn revoke(&self, id: &InstanceId, capabilities: &Names) -> Result<(), Denial> {
        let old = self.store.grant(id).await.map_err(|e| unreadable(&e))?;
        if !capabilities.is_empty() {
            let Some(mut grant) = old else { return Err(nothing(id)) };
            let standing = self.standing(id).await?;
            check_optional(id, standing.package.capabilities(), capabilities)?;
            self.revoke_now(id, capabilities);
            grant.refused.extend(capabilities.iter().cloned());
            grant.capabilities = grant.capabilities.without_optional(capabilities);
            let detail = json!({ "capabilities": capabilities });
            let fact = AuditRow { detail, ..audit("capability-revoked", id) };
            return self.commit(Batch::new().grant_put(grant).audit(fact), UNRECORDED).await;
        }
        let running = self.revoke_now(id, &Names::new());
        if !running && old.is_none() {
            return Err(nothing(id));
        }
        self.commit(Batch::new().grant_revoke(id.clone()).audit(audit("grant-revoked", id)), UNRECORDED).await
    }

    /// For a while, in memory: nothing of it is left when the kernel ends.
    pub(super) async fn lend(
        &self,
        id: &InstanceId,
        capabilities: &Names,
        shown: Digest,
        seconds: Option<u64>,
    ) -> Result<(), Denial> {
        let standing = self.standing(id).await?;
        let again = format!("carapace plugin grant {id}");
        check_optional(id, standing.package.capabilities(), capabilities)?;
        let (grant, _) = bundled::proposal(id, standing.counts(), &standing.package, capabilities, &Names::new());
        as_shown(id, shown, standing.fingerprint(id, &grant), &again)?;
        let Some(host) = &self.host else {
            let why = format!("nothing is granted to `{id}` for a while: that is for a running assistant");
            return Err(Denial::new("E-GRANT-015", why, "carapace start"));
        };
        let lending = seconds.map_or(Lending::Once, |s| Lending::For(LONGEST.min(Duration::from_secs(s))));
        let detail = json!({ "capabilities": capabilities, "seconds": seconds });
        let fact = AuditRow { detail, ..audit("capability-lent", id) };
        host.lend(id, capabilities, lending)?;
        let recorded = self.commit(Batch::new().audit(fact), "nothing was granted").await;
        if recorded.is_err() {
            // Any change of the grant ends what was lent; what is refused already stays so.
            host.refuse(id, capabilities);
        }
        recorded
    }

    pub(super) async fn grant_list(&self) -> Result<Value, Denial> {
        let grants = self.store.grants().await.map_err(|e| unreadable(&e))?;
        let one = |g: &Grant| {
            let lines: Vec<String> = g.capabilities.sentences(Some(&g.instance)).into_iter().map(|s| s.text).collect();
            let lent = self.host.as_ref().and_then(|host| host.lent(&g.instance));
            let (lent, left) = lent.unwrap_or_default();
            json!({ "instance": g.instance, "by": g.by, "at_ms": g.at_ms, "revoked": g.revoked,
                "digest": g.digest, "lines": lines, "optional": g.capabilities.optional, "refused": g.refused,
                "lent": lent, "lent_seconds": left.map(|left| left.as_secs()) })
        };
        Ok(Value::Array(grants.iter().map(one).collect()))
    }
}

fn nothing(id: &InstanceId) -> Denial {
    Denial::new("E-GRANT-013", format!("`{id}` was granted nothing"), "carapace plugin list")
}

/// Nothing is lent for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
const UNRECORDED: &str = "the revocation holds until the next start, but was not recorded";

/// The lines of a consent screen.
pub(super) fn lines(capabilities: &CapabilitySet, id: Option<&InstanceId>) -> Vec<String> {
    capabilities.sentences(id).iter().map(said).collect()
}

/// One of them: what can be refused alone says by which name.
pub(crate) fn said(s: &Sentence) -> String {
    if s.optional { format!("{} (optional: {})", s.text, s.capability) } else { s.text.clone() }
}

/// What the owner agreed to is what is there now.
pub(super) fn as_shown(what: &impl fmt::Display, shown: Digest, now: Digest, again: &str) -> Result<(), Denial> {
    if shown == now {
        return Ok(());
    }
    let why = format!("what `{what}` asks, or what it was granted, has changed since it was shown; look again");
    Err(Denial::new("E-GRANT-011", why, again))
}

/// Whether a growth is about a capability.
pub(super) fn is_about(growth: &str, capability: &str) -> bool {
    growth.strip_prefix(capability).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Only what a package says that it works without can be refused or given alone.
pub(super) fn check_optional(what: &impl fmt::Display, asked: &CapabilitySet, names: &Names) -> Result<(), Denial> {
    let Some(name) = names.iter().find(|name| !asked.optional.contains(*name)) else { return Ok(()) };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let known: Vec<&str> = asked.optional.iter().map(String::as_str).collect();
    let fix = match known.is_empty() {
        true => {
            "it has no optional capabilities; without `--without` and names, all of it is granted or revoked".to_owned()
        }
        false => format!("one of: {}", known.join(", ")),
    };
    Err(Denial::new("E-GRANT-014", format!("`{shown}` is not an optional capability of `{what}`"), fix))
}

/// What the owner is told when a name has passed to another publisher.
pub(crate) fn strangers(component: &ComponentId) -> String {
    format!(
        "what was granted to `{component}` before was granted to another publisher, whose key is no longer pinned here; nothing goes over \
         to this one: the data, notes and secrets kept for the earlier one are deleted if you agree (to keep them, \
         `carapace publisher add {} KEY` with the earlier key first)",
        component.publisher
    )
}

/// Ends what another publisher was given under that name, and deletes what it kept.
pub(crate) fn forget_stranger(batch: Batch, component: &ComponentId, old: &[Grant]) -> Batch {
    let batch = batch.forget_data(component.clone()).package_forget_before(component.clone());
    old.iter().fold(batch, |batch, grant| batch.grant_delete(grant.instance.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growth_belongs_to_the_capability_whose_name_it_begins_with() {
        assert!(is_about("kv", "kv") && is_about("http:api.methods", "http:api"));
        assert!(is_about("asset:model.gguf.size", "asset:model.gguf"));
        assert!(!is_about("http:api-2.methods", "http:api") && !is_about("kvs", "kv"));
    }
}
