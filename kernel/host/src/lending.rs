//! Optional capabilities that are granted for a while: for the next call that uses them, or for some time. In memory only, so that the
//! end of the kernel ends them, and as long as the grant they were added to stands.

use crate::grants::GrantSnapshot;
use crate::host::Host;
use crate::instance::{Live, MadeOf};
use carapace_contract::manifest::Use;
use carapace_contract::{Denial, InstanceId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long something is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// For the next call that uses it.
    Once,
    /// For so long.
    For(Duration),
}

/// What is granted for a while.
#[derive(Debug, Clone)]
pub(crate) struct Lent {
    /// The grant as it stood; another one in its place ends this.
    base: Arc<GrantSnapshot>,
    /// The grant with what is lent.
    pub(crate) with: Arc<GrantSnapshot>,
    names: BTreeSet<String>,
    /// None: for one call.
    until: Option<Instant>,
}

impl Lent {
    fn holds(&self, now: &Arc<GrantSnapshot>) -> bool {
        Arc::ptr_eq(&self.base, now) && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether a call uses any of it.
    fn is_used(&self, uses: Option<&BTreeSet<Use>>) -> bool {
        let Some(uses) = uses else { return true };
        let used = |name: &String| match name.split_once(':') {
            None => match name.as_str() {
                "kv" => uses.contains(&Use::Kv),
                "memory" => uses.contains(&Use::Memory) || uses.contains(&Use::MemoryRead),
                "sessions" => uses.contains(&Use::Sessions),
                "settings" => uses.contains(&Use::Settings),
                "requests" => uses.contains(&Use::Requests),
                "message" => uses.contains(&Use::Message),
                "blob" => uses.contains(&Use::Blob),
                _ => false,
            },
            Some(("http", endpoint)) => uses.iter().any(|u| matches!(u, Use::Http(e) if e.as_str() == endpoint)),
            Some(("asset", _)) => uses.contains(&Use::Assets),
            // A secret is used by what is sent, too.
            Some(("secret", _)) => uses.iter().any(|u| matches!(u, Use::Secrets | Use::Http(_))),
            Some(_) => false,
        };
        self.names.iter().any(used)
    }
}

/// What is lent to an instance now.
#[derive(Debug, Default)]
pub(crate) struct Lendings(Mutex<Option<Lent>>);

impl Lendings {
    /// What a call gets of it. What is for one call is gone then.
    pub(crate) fn take(&self, now: &Arc<GrantSnapshot>, uses: Option<&BTreeSet<Use>>) -> Option<Lent> {
        let mut lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lent.as_ref().is_some_and(|l| !l.holds(now)) {
            *lent = None;
        }
        let found = lent.as_ref().filter(|l| l.is_used(uses)).cloned()?;
        if found.until.is_none() {
            *lent = None;
        }
        Some(found)
    }
}

/// The grant of an instance as it stands for a call at this moment.
pub(crate) fn granted(instance: &Live, lent: Option<&Lent>) -> Arc<GrantSnapshot> {
    let now = instance.grant.load();
    match lent {
        Some(lent) if lent.holds(&now) => lent.with.clone(),
        _ => now,
    }
}

impl Host {
    /// Grants refused optional capabilities for a while, instead of what was lent before.
    ///
    /// # Errors
    /// It is not loaded, or its grant was revoked.
    pub fn lend(&self, id: &InstanceId, names: &BTreeSet<String>, lending: Lending) -> Result<(), Denial> {
        let live = self.instance(id)?;
        let base = live.grant.load();
        let mut grant = base.grant.clone();
        grant.refused.retain(|name| !names.contains(name));
        grant.capabilities = grant.asked(live.package.capabilities());
        let MadeOf { endpoints, public_allow, limits } = &live.made_of;
        let policy = self.policy(id, &grant, endpoints.clone(), *limits)?.opening(public_allow.clone());
        let until = match lending {
            Lending::Once => None,
            Lending::For(time) => Some(Instant::now() + time),
        };
        let with = Arc::new(GrantSnapshot { grant, policy: Arc::new(policy) });
        let lent = Lent { base, with, names: names.clone(), until };
        *live.lendings.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lent);
        Ok(())
    }

    /// What is lent to an instance, and for how much longer; no time: for the next call.
    pub fn lent(&self, id: &InstanceId) -> Option<(BTreeSet<String>, Option<Duration>)> {
        let live = self.instances.load().get(id)?.now.clone();
        let lent = live.lendings.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lent = lent.filter(|l| l.holds(&live.grant.load()))?;
        Some((lent.names, lent.until.map(|until| until.saturating_duration_since(Instant::now()))))
    }
}
