//! The grant of an instance as it stands at this moment.

use arc_swap::ArcSwap;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::grant::Grant;
use carapace_contract::manifest::Use;
use carapace_contract::name::{EndpointName, InstanceId, SecretName};
use carapace_contract::Denial;
use carapace_egress::Policy;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is granted now. Immutable; a change is a new snapshot.
#[derive(Debug)]
pub struct GrantSnapshot {
    /// The record it was made from.
    pub grant: Grant,
    /// What egress enforces for it.
    pub policy: Arc<Policy>,
}

impl GrantSnapshot {
    fn live(&self, instance: &InstanceId) -> Result<&CapabilitySet, Denial> {
        if self.grant.revoked {
            return Err(Denial::new(
                "E-GRANT-001",
                format!("the grant of `{instance}` was revoked"),
                format!("carapace plugin grant {instance}"),
            ));
        }
        Ok(&self.grant.capabilities)
    }

    /// Whether the instance may run at all.
    ///
    /// # Errors
    /// `E-GRANT-001` when its grant was revoked.
    pub fn runnable(&self, instance: &InstanceId) -> Result<(), Denial> {
        self.live(instance).map(drop)
    }

    /// Whether it may use its kv namespace.
    pub(crate) fn kv(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.kv {
            return Err(not_granted(instance, "kv", "[kv]"));
        }
        used(instance, uses, &Use::Kv, "kv")
    }

    /// Whether it may know of the secret `name`, or use it for HMAC.
    pub(crate) fn secret(
        &self,
        instance: &InstanceId,
        uses: Option<&BTreeSet<Use>>,
        name: &str,
        hmac: bool,
    ) -> Result<SecretName, Denial> {
        let granted = self.live(instance)?;
        used(instance, uses, &Use::Secrets, "secrets")?;
        let found = name.parse::<SecretName>().ok().and_then(|n| granted.secrets.get_key_value(&n));
        match found {
            Some((name, s)) if s.hmac || !hmac => Ok(name.clone()),
            Some(_) => Err(not_granted(instance, &format!("hmac with `{name}`"), "hmac = true")),
            None => Err(not_granted(instance, &format!("secret:{name}"), "[secrets.<name>]")),
        }
    }

    /// Whether it may send to an endpoint.
    pub(crate) fn endpoint(
        &self,
        instance: &InstanceId,
        uses: Option<&BTreeSet<Use>>,
        name: &str,
    ) -> Result<EndpointName, Denial> {
        let granted = self.live(instance)?;
        let found = name.parse::<EndpointName>().ok().filter(|n| granted.http.contains_key(n));
        let Some(name) = found else {
            return Err(not_granted(instance, &format!("http:{name}"), "[[http]]"));
        };
        used(instance, uses, &Use::Http(name.clone()), &format!("http:{name}"))?;
        Ok(name)
    }

    /// Whether it may fetch any public address.
    pub(crate) fn public_http(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.public_http {
            return Err(not_granted(instance, "http:public", "http = \"public\""));
        }
        used(instance, uses, &Use::PublicHttp, "http:public")
    }

    /// Whether it may follow a captured handle: any endpoint it may use could have made it; egress knows which.
    pub(crate) fn handles(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        let granted = self.live(instance)?;
        let any = granted.http.keys().any(|n| uses.is_none_or(|u| u.contains(&Use::Http(n.clone()))));
        if any { Ok(()) } else { Err(not_granted(instance, "http", "[[http]]")) }
    }
}

fn not_granted(instance: &InstanceId, what: &str, line: &str) -> Denial {
    Denial::new(
        "E-GRANT-002",
        format!("`{instance}` was not granted `{what}`"),
        format!("the manifest must ask for it ({line}) and the owner grant it: carapace plugin grant {instance}"),
    )
}

/// A tool's call is limited to what the manifest says that tool uses.
fn used(instance: &InstanceId, uses: Option<&BTreeSet<Use>>, want: &Use, word: &str) -> Result<(), Denial> {
    if uses.is_none_or(|u| u.contains(want)) {
        return Ok(());
    }
    Err(Denial::new(
        "E-GRANT-003",
        format!("this tool of `{instance}` does not declare that it uses `{word}`"),
        format!("uses = [\"{word}\"] at the tool in its manifest, signed and granted anew"),
    ))
}

/// Where the snapshot lives. Readers take it anew for each host call.
#[derive(Debug)]
pub struct GrantCell(ArcSwap<GrantSnapshot>);

impl GrantCell {
    /// With its first snapshot.
    pub fn new(first: GrantSnapshot) -> Self {
        Self(ArcSwap::from_pointee(first))
    }
    /// As it stands.
    pub fn load(&self) -> Arc<GrantSnapshot> {
        self.0.load_full()
    }
    /// Takes effect on the next host call.
    pub fn set_revoked(&self, revoked: bool) {
        self.0.rcu(|old| {
            let mut grant = old.grant.clone();
            grant.revoked = revoked;
            GrantSnapshot { grant, policy: old.policy.clone() }
        });
    }
}
