//! The grant of an instance as it stands at this moment.

use arc_swap::ArcSwap;
use carapace_contract::Denial;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::grant::Grant;
use carapace_contract::manifest::Use;
use carapace_contract::name::{EndpointName, InstanceId, SecretName};
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

    /// `what`: as it is called in a grant; `line`: where a manifest asks for it.
    fn not_granted(&self, instance: &InstanceId, what: &str, line: &str) -> Denial {
        let fix = if self.grant.refused.contains(what) {
            format!("carapace plugin grant {instance} {what}")
        } else {
            format!("the manifest must ask for it ({line}) and the owner grant it: carapace plugin grant {instance}")
        };
        Denial::new("E-GRANT-002", format!("`{instance}` was not granted `{what}`"), fix)
    }

    /// Whether it may use its kv namespace.
    pub(crate) fn kv(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.kv {
            return Err(self.not_granted(instance, "kv", "[kv]"));
        }
        used(instance, uses, &Use::Kv, "kv")
    }

    /// Whether it may read the file `name` of its package.
    pub(crate) fn asset(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>, name: &str) -> Result<(), Denial> {
        if !self.live(instance)?.assets.keys().any(|known| known.as_str() == name) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(self.not_granted(instance, &format!("asset:{shown}"), "[[asset]]"));
        }
        used(instance, uses, &Use::Assets, "assets")
    }

    /// Whether it may read its notes, or write them.
    pub(crate) fn memory(
        &self,
        instance: &InstanceId,
        uses: Option<&BTreeSet<Use>>,
        write: bool,
    ) -> Result<(), Denial> {
        if !self.live(instance)?.memory {
            return Err(self.not_granted(instance, "memory", "[memory]"));
        }
        if !write && uses.is_some_and(|u| u.contains(&Use::MemoryRead)) {
            return Ok(());
        }
        used(instance, uses, &Use::Memory, "memory")
    }

    /// Whether it may read conversations.
    pub(crate) fn sessions(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.sessions {
            return Err(self.not_granted(instance, "sessions", "[sessions]"));
        }
        used(instance, uses, &Use::Sessions, "sessions")
    }

    /// Whether it may read the configuration.
    pub(crate) fn settings(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.settings {
            return Err(self.not_granted(instance, "settings", "[settings]"));
        }
        used(instance, uses, &Use::Settings, "settings")
    }

    /// Whether it may ask the owner for something.
    pub(crate) fn requests(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.requests {
            return Err(self.not_granted(instance, "requests", "[requests]"));
        }
        used(instance, uses, &Use::Requests, "requests")
    }

    /// Whether it may say something elsewhere.
    pub(crate) fn message(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.message {
            return Err(self.not_granted(instance, "message", "[message]"));
        }
        used(instance, uses, &Use::Message, "message")
    }

    /// Whether it may write to programs on this computer. No tool has a `uses` for it.
    pub(crate) fn lines(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.lines || uses.is_some() {
            return Err(self.not_granted(instance, "lines", "[lines]"));
        }
        Ok(())
    }

    /// Whether it may keep media, and have those it kept.
    pub(crate) fn blob(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.blob {
            return Err(self.not_granted(instance, "blob", "[blob]"));
        }
        used(instance, uses, &Use::Blob, "blob")
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
            Some(_) => Err(self.not_granted(instance, &format!("hmac with `{name}`"), "hmac = true")),
            None => Err(self.not_granted(instance, &format!("secret:{name}"), "[secrets.<name>]")),
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
            return Err(self.not_granted(instance, &format!("http:{name}"), "[[http]]"));
        };
        used(instance, uses, &Use::Http(name.clone()), &format!("http:{name}"))?;
        Ok(name)
    }

    /// Whether it may fetch any public address.
    pub(crate) fn public_http(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        if !self.live(instance)?.public_http {
            return Err(self.not_granted(instance, "http:public", "http = \"public\""));
        }
        used(instance, uses, &Use::PublicHttp, "http:public")
    }

    /// Whether it may follow a captured handle: any endpoint it may use could have made it; egress knows which.
    pub(crate) fn handles(&self, instance: &InstanceId, uses: Option<&BTreeSet<Use>>) -> Result<(), Denial> {
        let granted = self.live(instance)?;
        let any = granted.http.keys().any(|n| uses.is_none_or(|u| u.contains(&Use::Http(n.clone()))));
        if any { Ok(()) } else { Err(self.not_granted(instance, "http", "[[http]]")) }
    }
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
        self.change(|old| {
            let mut grant = old.grant.clone();
            grant.revoked = revoked;
            GrantSnapshot { grant, policy: old.policy.clone() }
        });
    }
    /// Puts another snapshot in its place, made of the one that stands; takes effect on the next host call.
    pub(crate) fn change(&self, to: impl Fn(&GrantSnapshot) -> GrantSnapshot) {
        self.0.rcu(|old| to(old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::limits::Limits;
    use carapace_contract::manifest::Manifest;

    const MANIFEST: &str = r#"
[component]
name = "demo"
version = "1.0.0"
contract = "0.1"
description = "Everything there is to grant"

[kv]

[[asset]]
name = "model.gguf"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
size = 1

[memory]

[sessions]

[settings]

[secrets.key]
prompt = "a key"
hmac = true

[secrets.token]
prompt = "a token"

[[http]]
endpoint = "api"
url = "https://api.example.com"
auth = { scheme = "bearer", secret = "token" }

[[tool]]
name = "stores"
uses = ["kv"]

[[tool]]
name = "remembers"
uses = ["memory"]

[[tool]]
name = "recalls"
uses = ["memory:read"]

[[tool]]
name = "looks"
uses = ["sessions", "settings"]

[[tool]]
name = "signs"
uses = ["secrets"]

[[tool]]
name = "asks"
uses = ["http:api"]

[[tool]]
name = "reads"
uses = ["assets"]
"#;

    fn id() -> InstanceId {
        "local/demo".parse().unwrap()
    }

    fn cell() -> GrantCell {
        let capabilities = CapabilitySet::from(&Manifest::parse(MANIFEST).unwrap());
        let policy = Policy::new(id(), &capabilities, &std::collections::BTreeMap::new(), Limits::default()).unwrap();
        let digest = carapace_contract::Digest::of(b"demo");
        let grant = Grant {
            instance: id(),
            digest,
            capabilities,
            by: "owner, test".into(),
            at_ms: 0,
            revoked: false,
            refused: Default::default(),
        };
        GrantCell::new(GrantSnapshot { grant, policy: Arc::new(policy) })
    }

    fn uses(tool: &str) -> BTreeSet<Use> {
        cell().load().grant.capabilities.tools[tool].uses.clone()
    }

    fn code<T: std::fmt::Debug>(result: Result<T, Denial>) -> String {
        result.unwrap_err().code
    }

    #[test]
    fn what_was_granted_and_declared_is_allowed() {
        let grant = cell().load();
        grant.kv(&id(), Some(&uses("stores"))).unwrap();
        grant.memory(&id(), Some(&uses("remembers")), false).unwrap();
        grant.memory(&id(), Some(&uses("remembers")), true).unwrap();
        grant.memory(&id(), Some(&uses("recalls")), false).unwrap();
        grant.sessions(&id(), Some(&uses("looks"))).unwrap();
        grant.settings(&id(), Some(&uses("looks"))).unwrap();
        grant.secret(&id(), Some(&uses("signs")), "key", true).unwrap();
        grant.secret(&id(), Some(&uses("signs")), "token", false).unwrap();
        grant.endpoint(&id(), Some(&uses("asks")), "api").unwrap();
        grant.handles(&id(), Some(&uses("asks"))).unwrap();
        grant.asset(&id(), Some(&uses("reads")), "model.gguf").unwrap();
    }

    #[test]
    fn what_was_not_granted_is_named_with_the_line_that_would_ask_for_it() {
        let grant = cell().load();
        let denial = grant.endpoint(&id(), None, "other").unwrap_err();
        assert_eq!(denial.code, "E-GRANT-002");
        assert!(denial.message.contains("http:other") && denial.fix.contains("[[http]]"), "{denial}");
        assert_eq!(code(grant.public_http(&id(), None)), "E-GRANT-002");
        assert_eq!(code(grant.secret(&id(), None, "nope", false)), "E-GRANT-002");
        assert_eq!(code(grant.secret(&id(), None, "token", true)), "E-GRANT-002", "hmac was declared for another");
        assert_eq!(code(grant.secret(&id(), None, "../key", false)), "E-GRANT-002");
        assert_eq!(code(grant.asset(&id(), None, "../model.gguf")), "E-GRANT-002");
    }

    #[test]
    fn a_tool_reaches_only_what_it_declares_whatever_the_component_was_granted() {
        let grant = cell().load();
        assert_eq!(code(grant.kv(&id(), Some(&uses("asks")))), "E-GRANT-003");
        assert_eq!(code(grant.memory(&id(), Some(&uses("asks")), false)), "E-GRANT-003");
        assert_eq!(code(grant.memory(&id(), Some(&uses("recalls")), true)), "E-GRANT-003", "it said it only reads");
        assert_eq!(code(grant.sessions(&id(), Some(&uses("recalls")))), "E-GRANT-003");
        assert_eq!(code(grant.settings(&id(), Some(&uses("recalls")))), "E-GRANT-003");
        assert_eq!(code(grant.endpoint(&id(), Some(&uses("stores")), "api")), "E-GRANT-003");
        assert_eq!(code(grant.secret(&id(), Some(&uses("asks")), "key", true)), "E-GRANT-003");
        assert_eq!(code(grant.handles(&id(), Some(&uses("stores")))), "E-GRANT-002");
        assert_eq!(code(grant.asset(&id(), Some(&uses("stores")), "model.gguf")), "E-GRANT-003");
    }

    #[test]
    fn what_the_owner_refused_is_not_had_although_the_tool_declares_it() {
        let cell = cell();
        let mut grant = cell.load().grant.clone();
        (grant.capabilities.memory, grant.capabilities.sessions, grant.capabilities.settings) = (false, false, false);
        let cell = GrantCell::new(GrantSnapshot { grant, policy: cell.load().policy.clone() });
        let grant = cell.load();
        assert_eq!(code(grant.memory(&id(), Some(&uses("remembers")), false)), "E-GRANT-002");
        assert_eq!(code(grant.sessions(&id(), Some(&uses("looks")))), "E-GRANT-002");
        assert_eq!(code(grant.settings(&id(), Some(&uses("looks")))), "E-GRANT-002");
    }

    #[test]
    fn a_revocation_bites_on_the_next_look_and_can_be_taken_back() {
        let cell = cell();
        cell.load().kv(&id(), None).unwrap();
        cell.set_revoked(true);
        let denial = cell.load().kv(&id(), None).unwrap_err();
        assert_eq!(denial.code, "E-GRANT-001");
        assert_eq!(denial.fix, "carapace plugin grant local/demo/main");
        assert_eq!(code(cell.load().runnable(&id())), "E-GRANT-001");
        cell.set_revoked(false);
        cell.load().kv(&id(), None).unwrap();
    }
}
