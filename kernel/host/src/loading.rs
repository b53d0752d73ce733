//! How instances come, follow each other, and go.

use crate::grants::{GrantCell, GrantSnapshot};
use crate::host::{Host, InstallError, InstanceSpec};
use crate::instance::{Eviction, Live, MadeOf, Rate, Slot};
use crate::lending::Lendings;
use crate::probation::Probation;
use crate::wasi;
use carapace_contract::grant::Grant;
use carapace_contract::limits::Life;
use carapace_contract::turn::ToolInfo;
use carapace_contract::{Denial, InstanceId, diff};
use carapace_registry::VerifiedPackage;
use carapace_runtime::{Entry, Instance, LoadError, Warm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// For so long after a swap, what was replaced still takes the calls that were planned for it.
pub const DRAINING: Duration = Duration::from_secs(60);

/// Instances that stand beside what runs: loaded, linked, their tools listed. Nothing calls them before [`Host::swap`];
/// dropped, they never were.
pub struct Prepared {
    lives: Vec<(Arc<Live>, Vec<ToolInfo>)>,
    /// Nothing else is loaded meanwhile: the names of these tools stay free.
    _alone: tokio::sync::OwnedMutexGuard<()>,
}

/// Code that was ended while it ran, or could still have been called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Of which instance.
    pub instance: InstanceId,
    /// Which package.
    pub digest: carapace_contract::Digest,
    /// What it is no longer let run for.
    pub why: Denial,
    /// Another version had taken its place, and the instance goes on.
    pub replaced: bool,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.lives.iter().map(|(live, _)| &live.id)).finish()
    }
}

impl Host {
    /// Loads an instance, or replaces it: calls in flight, and those already planned, finish on the old code.
    ///
    /// # Errors
    /// The grant does not cover what the code needs, the code cannot be loaded, or it lists tools that its manifest does not have.
    pub async fn load(&self, spec: InstanceSpec) -> Result<(), InstallError> {
        let prepared = self.prepare(vec![spec], None).await?;
        self.swap(prepared);
        Ok(())
    }

    /// Loads instances beside what runs, so that it is known whether they work before anything is changed. `probation`: they replace an
    /// earlier version, and for so long it is watched whether they break.
    ///
    /// # Errors
    /// As [`Self::load`], for the first of them that does not work.
    pub async fn prepare(
        &self,
        specs: Vec<InstanceSpec>,
        probation: Option<Duration>,
    ) -> Result<Prepared, InstallError> {
        let mut prepared = Prepared { lives: Vec::new(), _alone: self.loading.clone().lock_owned().await };
        for spec in specs {
            let live = self.live(spec, probation).await?;
            let tools =
                if live.package.manifest().tools.is_empty() { Vec::new() } else { self.list_tools(&live).await? };
            self.check_names(&live, &tools, &prepared)?;
            prepared.lives.push((live, tools));
        }
        Ok(prepared)
    }

    async fn live(&self, spec: InstanceSpec, probation: Option<Duration>) -> Result<Arc<Live>, InstallError> {
        let InstanceSpec { id, package, grant, endpoints, public_allow, directories, config, limits } = spec;
        covered(&id, &grant, &package)?;
        let policy = self.policy(&id, &grant, endpoints.clone(), limits)?.opening(public_allow.clone());
        let directories = wasi::directories(&id, &grant, &directories, &self.services().private)?;
        let loaded = self.loader.load(&package).await.map_err(|e| match e {
            LoadError::Denied(denial) => denial,
            other => {
                Denial::new("E-HOST-001", other.to_string(), format!("carapace plugin inspect, or disable `{id}`"))
            }
        })?;
        let keeps = package.manifest().provider.is_some() && grant.capabilities.life == Life::Warm;
        let earlier = self.instances.load().get(&id).map(|slot| slot.now.runtime.clone());
        let mut live = Arc::new(Live {
            warm: keeps.then(|| Warm::new(loaded.clone())),
            runtime: earlier.map_or_else(|| Instance::new(id.clone(), limits), |e| e.succeeded_by(limits)),
            grant: GrantCell::new(GrantSnapshot { grant, policy: Arc::new(policy) }),
            lendings: Lendings::default(),
            id,
            package,
            config,
            directories,
            loaded,
            description: None,
            log_rate: Rate::default(),
            eviction: Eviction::default(),
            probation: probation.map(Probation::lasting),
            made_of: MadeOf { endpoints, public_allow, limits },
        });
        if live.package.manifest().provider.is_some() {
            // Fails now, with the command that helps, rather than in the first conversation.
            let granted = live.grant.load();
            if !granted.grant.revoked {
                live.loaded.plan(&live.id, &granted.grant.capabilities, Entry::Provider)?;
            }
        }
        if live.package.manifest().channel.is_some() && !live.grant.load().grant.revoked {
            let description = self.describe_channel(&live).await?;
            // Nobody else holds it yet.
            if let Some(live) = Arc::get_mut(&mut live) {
                live.description = Some(description);
            }
        }
        Ok(live)
    }

    /// Puts what was prepared in the place of what runs.
    pub fn swap(&self, prepared: Prepared) {
        for (live, tools) in prepared.lives {
            let id = live.id.clone();
            let replaced = self.instances.load().get(&id).map(|slot| slot.now.clone());
            self.instances.rcu(|old| {
                let mut new = BTreeMap::clone(old);
                new.insert(id.clone(), Slot { now: live.clone(), before: replaced.clone() });
                new
            });
            self.catalog.rcu(|old| {
                let mut new: Vec<ToolInfo> = old.iter().filter(|t| t.instance != id).cloned().collect();
                new.extend(tools.iter().cloned());
                new.sort_by(|a, b| a.name.cmp(&b.name));
                new
            });
            self.listings.forget(Some(&id));
            if let Some(replaced) = replaced {
                self.retire(&replaced);
                self.drain(id, replaced);
            }
        }
        self.changed_channels();
    }

    /// What was replaced can still be revoked and thrown out while calls of it run.
    fn retire(&self, live: &Arc<Live>) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|l| l.strong_count() > 0);
        retired.push(Arc::downgrade(live));
    }

    fn retired(&self, id: &InstanceId) -> Vec<Arc<Live>> {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.iter().filter_map(std::sync::Weak::upgrade).filter(|l| &l.id == id).collect()
    }

    /// Lets go of what was replaced once nothing planned before can still ask for it.
    fn drain(&self, id: InstanceId, replaced: Arc<Live>) {
        let (host, replaced) = (self.me.clone(), Arc::downgrade(&replaced));
        tokio::spawn(async move {
            tokio::time::sleep(DRAINING).await;
            if let (Some(host), Some(replaced)) = (host.upgrade(), replaced.upgrade()) {
                host.let_go(&id, &replaced);
            }
        });
    }

    /// What was replaced takes no call any more.
    fn let_go(&self, id: &InstanceId, replaced: &Arc<Live>) {
        let is_it = |slot: &Slot| slot.before.as_ref().is_some_and(|b| Arc::ptr_eq(b, replaced));
        self.instances.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            if let Some(slot) = new.get_mut(id).filter(|slot| is_it(slot)) {
                slot.before = None;
            }
            new
        });
    }

    /// Takes an instance out: calls in flight finish.
    pub fn unload(&self, id: &InstanceId) -> bool {
        let known = self.instances.load().get(id).cloned();
        self.instances.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(id);
            new
        });
        self.catalog.rcu(|old| old.iter().filter(|t| &t.instance != id).cloned().collect::<Vec<_>>());
        self.listings.forget(Some(id));
        self.changed_channels();
        if let Some(slot) = &known {
            self.retire(&slot.now);
        }
        known.is_some()
    }

    /// Throws an instance out: unlike after [`Self::unload`], calls in flight end now, with `why`, those on code that was replaced
    /// included. False if there is none.
    pub fn evict(&self, id: &InstanceId, why: Denial) -> bool {
        let known = self.unload(id);
        for live in self.retired(id) {
            live.grant.set_revoked(true);
            live.eviction.evict(why.clone());
        }
        known
    }

    /// Takes optional capabilities away from an instance, on whatever code; bites on the next host call of every call in flight. What
    /// cannot be narrowed is revoked whole. False if there is no such instance.
    pub fn refuse(&self, id: &InstanceId, capabilities: &BTreeSet<String>) -> bool {
        let now = self.instances.load().get(id).map(|slot| slot.now.clone());
        for live in self.retired(id).iter().chain(&now) {
            live.grant.change(|old| {
                let mut grant = old.grant.clone();
                grant.refused.extend(capabilities.iter().cloned());
                grant.capabilities = grant.capabilities.without_optional(capabilities);
                let MadeOf { endpoints, public_allow, limits } = &live.made_of;
                match self.policy(id, &grant, endpoints.clone(), *limits) {
                    Ok(policy) => GrantSnapshot { grant, policy: Arc::new(policy.opening(public_allow.clone())) },
                    Err(_) => GrantSnapshot { grant: Grant { revoked: true, ..grant }, policy: old.policy.clone() },
                }
            });
        }
        now.is_some()
    }

    /// Ends everything on code that `still` no longer lets run: instances, and what was replaced or unloaded and is still at work.
    pub fn recheck(&self, still: impl Fn(&VerifiedPackage) -> Result<(), Denial>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (id, package) in self.packages() {
            if let Err(why) = still(&package) {
                self.evict(&id, why.clone());
                ended.push(Ended { instance: id, digest: package.digest(), why, replaced: false });
            }
        }
        let retired: Vec<Arc<Live>> = {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.retain(|l| l.strong_count() > 0);
            retired.iter().filter_map(std::sync::Weak::upgrade).collect()
        };
        for live in retired.into_iter().filter(|live| !live.eviction.is_evicted()) {
            let Err(why) = still(&live.package) else { continue };
            live.grant.set_revoked(true);
            live.eviction.evict(why.clone());
            self.let_go(&live.id, &live);
            ended.push(Ended { instance: live.id.clone(), digest: live.package.digest(), why, replaced: true });
        }
        ended
    }

    /// What is loaded.
    pub fn packages(&self) -> Vec<(InstanceId, Arc<VerifiedPackage>)> {
        self.instances.load().iter().map(|(id, slot)| (id.clone(), slot.now.package.clone())).collect()
    }

    /// Revokes a grant or gives it back; bites on the next host call of every call in flight, on whatever code. False if there is no
    /// such instance.
    pub fn set_revoked(&self, id: &InstanceId, revoked: bool) -> bool {
        // What was replaced never gets a grant back.
        if revoked {
            self.retired(id).iter().for_each(|live| live.grant.set_revoked(true));
        }
        let instances = self.instances.load();
        let Some(slot) = instances.get(id) else { return false };
        slot.now.grant.set_revoked(revoked);
        self.changed_channels();
        true
    }

    /// Two instances cannot offer a tool of the same name: the model could not tell them apart.
    fn check_names(&self, live: &Live, tools: &[ToolInfo], beside: &Prepared) -> Result<(), Denial> {
        let catalog = self.catalog.load();
        // What will be replaced by one beside it counts as that one.
        let replaced = |t: &&ToolInfo| beside.lives.iter().all(|(l, _)| l.id != t.instance);
        let others: Vec<&ToolInfo> =
            catalog.iter().filter(replaced).chain(beside.lives.iter().flat_map(|(_, tools)| tools)).collect();
        for tool in tools {
            // A channel's are told apart by where they are called.
            let apart = |other: &ToolInfo| {
                tool.channel.is_some() && other.channel.is_some() && other.instance.component() == live.id.component()
            };
            if let Some(other) = others.iter().find(|t| t.name == tool.name && t.instance != live.id && !apart(t)) {
                return Err(Denial::new(
                    "E-HOST-006",
                    format!("`{}` and `{}` both offer a tool `{}`", other.instance, live.id, tool.name),
                    format!(
                        "instances: {{ \"{}\": {{ enabled: false }} }} in carapace.json5 for one of them",
                        live.id.name()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// A grant belongs to the package it was given for; another one is carried by it only if it asks for nothing more.
fn covered(id: &InstanceId, grant: &Grant, package: &VerifiedPackage) -> Result<(), Denial> {
    if grant.revoked || grant.digest == package.digest() {
        return Ok(());
    }
    let asked = package.capabilities();
    let grown = diff::growth(&grant.capabilities, &asked.without_optional(&grant.capabilities.refused(asked)));
    if grown.is_empty() {
        return Ok(());
    }
    let more: Vec<String> = grown.iter().map(|g| format!("{}: {}", g.capability, g.text)).collect();
    Err(Denial::new(
        "E-GRANT-005",
        format!("`{id}` asks for more than it was granted for an earlier version ({})", more.join("; ")),
        format!("carapace plugin grant {id}"),
    ))
}
