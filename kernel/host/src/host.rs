//! The loaded instances, and the calls into them.

use crate::behind::{Behind, Handed};
use crate::convert;
use crate::grants::{GrantCell, GrantSnapshot};
use crate::instance::{Eviction, Live, Rate};
use crate::models::{self, Listings};
use crate::services::Services;
use crate::state::HostState;
use crate::tools;
use arc_swap::ArcSwap;
use carapace_contract::completion::{CompletionEvent, CompletionFailure, FailureKind, ModelInfo};
use carapace_contract::decision::PlannedCall;
use carapace_contract::diff;
use carapace_contract::grant::Grant;
use carapace_contract::limits::{Life, Limits};
use carapace_contract::name::EndpointName;
use carapace_contract::ports::ToolFailure;
use carapace_contract::turn::{InstanceStatus, ToolInfo};
use carapace_contract::{Denial, HostPort, InstanceId};
use carapace_egress::Policy;
use carapace_registry::VerifiedPackage;
use carapace_runtime::bindings::{provider, tools as wit};
use carapace_runtime::{Admission, Class, Core, Entry, Instance, Loader, Warm};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What an instance is made of.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Which.
    pub id: InstanceId,
    /// Its package.
    pub package: Arc<VerifiedPackage>,
    /// What it was granted.
    pub grant: Grant,
    /// The operator's own base URLs, from the configuration.
    pub endpoints: BTreeMap<EndpointName, url::Url>,
    /// Servers that the operator opened to public fetches.
    pub public_allow: BTreeSet<HostPort>,
    /// Its own section of the configuration.
    pub config: serde_json::Value,
    /// Limits in force: the manifest's, with the operator's figures and ceiling.
    pub limits: Limits,
}

/// Why an instance could not be loaded.
pub type InstallError = Denial;

/// How a host is made.
pub struct HostOptions {
    /// What the imports stand on.
    pub services: Arc<Services>,
    /// Compiles, caches and maps.
    pub loader: Loader,
    /// Models to try, in order, as people write them.
    pub route: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The owner's time zone.
    pub timezone: Option<String>,
}

/// The loaded instances. Implements the ports `Tools` and `Models`.
pub struct Host {
    services: Arc<Services>,
    loader: Loader,
    route: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    timezone: Option<String>,
    instances: ArcSwap<BTreeMap<InstanceId, Arc<Live>>>,
    catalog: ArcSwap<Vec<ToolInfo>>,
    pub(crate) listings: Listings,
    /// Loads happen one after the other, so that two cannot both find a tool's name free.
    loading: tokio::sync::Mutex<()>,
}

impl Host {
    /// With no instance yet.
    pub fn new(options: HostOptions) -> Arc<Self> {
        Arc::new(Self {
            services: options.services,
            loader: options.loader,
            route: options.route,
            timezone: options.timezone,
            instances: ArcSwap::default(),
            catalog: ArcSwap::default(),
            listings: Listings::default(),
            loading: tokio::sync::Mutex::default(),
        })
    }

    /// Loads an instance, or replaces it: calls in flight finish on the old code.
    ///
    /// # Errors
    /// The grant does not cover what the code needs, the code cannot be loaded, or it lists tools that its manifest does not have.
    pub async fn load(&self, spec: InstanceSpec) -> Result<(), InstallError> {
        let InstanceSpec { id, package, grant, endpoints, public_allow, config, limits } = spec;
        let _one_at_a_time = self.loading.lock().await;
        covered(&id, &grant, &package)?;
        let policy = self.policy(&id, &grant, endpoints, limits)?.opening(public_allow);
        let loaded = self.loader.load::<HostState>(&package).await.map_err(|e| match e {
            carapace_runtime::LoadError::Denied(denial) => denial,
            other => {
                Denial::new("E-HOST-001", other.to_string(), format!("carapace plugin inspect, or disable `{id}`"))
            }
        })?;
        let keeps = package.manifest().provider.is_some() && grant.capabilities.life == Life::Warm;
        let live = Arc::new(Live {
            warm: keeps.then(|| Warm::new(loaded.clone())),
            runtime: Instance::new(id.clone(), limits),
            grant: GrantCell::new(GrantSnapshot { grant, policy: Arc::new(policy) }),
            id: id.clone(),
            package,
            config,
            loaded,
            log_rate: Rate::default(),
            eviction: Eviction::default(),
        });
        let tools = if live.package.manifest().tools.is_empty() { Vec::new() } else { self.list_tools(&live).await? };
        if live.package.manifest().provider.is_some() {
            // Fails now, with the command that helps, rather than in the first conversation.
            let granted = live.grant.load();
            if !granted.grant.revoked {
                live.loaded.plan(&id, &granted.grant.capabilities, Entry::Provider)?;
            }
        }
        self.check_names(&live, &tools)?;
        self.instances.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(id.clone(), live.clone());
            new
        });
        self.catalog.rcu(|old| {
            let mut new: Vec<ToolInfo> = old.iter().filter(|t| t.instance != id).cloned().collect();
            new.extend(tools.iter().cloned());
            new.sort_by(|a, b| a.name.cmp(&b.name));
            new
        });
        self.listings.forget(Some(&id));
        Ok(())
    }

    /// Takes an instance out: calls in flight finish.
    pub fn unload(&self, id: &InstanceId) -> bool {
        let known = self.instances.load().contains_key(id);
        self.instances.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(id);
            new
        });
        self.catalog.rcu(|old| old.iter().filter(|t| &t.instance != id).cloned().collect::<Vec<_>>());
        self.listings.forget(Some(id));
        known
    }

    /// Throws an instance out: unlike after [`Self::unload`], calls in flight end now, with `why`. False if there is none.
    pub fn evict(&self, id: &InstanceId, why: Denial) -> bool {
        let Some(live) = self.instances.load().get(id).cloned() else { return false };
        live.grant.set_revoked(true);
        live.eviction.evict(why);
        self.unload(id)
    }

    /// What is loaded.
    pub fn packages(&self) -> Vec<(InstanceId, Arc<VerifiedPackage>)> {
        self.instances.load().iter().map(|(id, live)| (id.clone(), live.package.clone())).collect()
    }

    /// Revokes a grant or gives it back; bites on the next host call of every call in flight. False if there is no such instance.
    pub fn set_revoked(&self, id: &InstanceId, revoked: bool) -> bool {
        let instances = self.instances.load();
        let Some(live) = instances.get(id) else { return false };
        live.grant.set_revoked(revoked);
        true
    }

    /// Forgets what providers said they have: after a secret was set.
    pub fn forget_models(&self) {
        self.listings.forget(None);
    }

    /// Every instance with what it used.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.instances.load().values().map(|live| status(live)).collect()
    }

    /// Whether any provider may answer.
    pub fn has_provider(&self) -> bool {
        !self.providers().is_empty()
    }

    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.clone()
    }

    pub(crate) fn configured_route(&self) -> Vec<String> {
        (self.route)()
    }

    pub(crate) fn tool_catalog(&self) -> Arc<Vec<ToolInfo>> {
        let catalog = self.catalog.load_full();
        let instances = self.instances.load();
        let revoked = |id: &InstanceId| instances.get(id).is_none_or(|l| l.grant.load().grant.revoked);
        if catalog.iter().any(|t| revoked(&t.instance)) {
            return Arc::new(catalog.iter().filter(|t| !revoked(&t.instance)).cloned().collect());
        }
        catalog
    }

    pub(crate) fn providers(&self) -> Vec<Arc<Live>> {
        let offers = |l: &&Arc<Live>| {
            let grant = l.grant.load();
            l.package.manifest().provider.is_some() && grant.grant.capabilities.provider && !grant.grant.revoked
        };
        self.instances.load().values().filter(offers).cloned().collect()
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> Result<Arc<Live>, Denial> {
        let instances = self.instances.load();
        let live = instances.get(id).ok_or_else(|| {
            Denial::new("E-HOST-002", format!("no instance `{id}` is loaded"), "carapace plugin list")
        })?;
        live.grant.load().runnable(id)?;
        Ok(live.clone())
    }

    /// What egress enforces: the granted endpoints, where the operator pointed them.
    fn policy(
        &self,
        id: &InstanceId,
        grant: &Grant,
        mut endpoints: BTreeMap<EndpointName, url::Url>,
        limits: Limits,
    ) -> Result<Policy, Denial> {
        for (name, http) in &grant.capabilities.http {
            let free = Live::hears_environment(id) && !endpoints.contains_key(name);
            let Some(variable) = http.url_env.as_ref().filter(|_| free) else { continue };
            let Some(text) = (self.services.environment)(variable).filter(|t| !t.is_empty()) else { continue };
            let url = text.trim_end_matches('/').parse().map_err(|e| {
                Denial::new(
                    "E-HOST-003",
                    format!("{variable} is not a URL: {e}"),
                    format!("{variable}=http://127.0.0.1:8000/v1"),
                )
            })?;
            endpoints.insert(name.clone(), url);
        }
        Policy::new(id.clone(), &grant.capabilities, &endpoints, limits)
    }

    fn state(&self, live: &Arc<Live>, entry: Entry<'_>, cancel: CancellationToken) -> Result<HostState, Denial> {
        let granted = live.grant.load();
        granted.runnable(&live.id)?;
        let capabilities = &granted.grant.capabilities;
        let plan = live.loaded.plan(&live.id, capabilities, entry)?;
        let uses = match entry {
            Entry::ListTools => Some(BTreeSet::new()),
            Entry::Tool(name) => Some(capabilities.tools.get(name).map(|t| t.uses.clone()).unwrap_or_default()),
            Entry::Provider => None,
        };
        Ok(HostState {
            core: Core::new(&live.runtime, &plan, cancel),
            instance: live.clone(),
            services: self.services.clone(),
            uses,
            behind: None,
            sink: None,
        })
    }

    async fn list_tools(&self, live: &Arc<Live>) -> Result<Vec<ToolInfo>, Denial> {
        if live.grant.load().grant.revoked {
            return Ok(Vec::new());
        }
        let state = self.state(live, Entry::ListTools, CancellationToken::new())?;
        let listed = live.loaded.list_tools(state, Admission::new(Class::Tool)).await;
        let listed = listed.map_err(|e| Denial::new(e.kind.code(), e.message, e.fix))?;
        let granted = live.grant.load();
        let mut tools = Vec::with_capacity(listed.len());
        for tool in listed {
            let wit::Tool { name, description, parameters, .. } = tool;
            let Some(declared) = live.package.manifest().tool(&name) else {
                let quoted: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(Denial::new(
                    "E-HOST-004",
                    format!("`{}` offers a tool `{quoted}` that its manifest does not declare", live.id),
                    "[[tool]] with that name in its manifest, signed anew",
                ));
            };
            let parameters = serde_json::from_str(&parameters).map_err(|e| {
                Denial::new("E-HOST-005", format!("the schema of `{name}` of `{}` is not JSON: {e}", live.id), "")
            })?;
            if let Some(tool) = granted.grant.capabilities.tools.get(&name) {
                // Never less than the owner was told.
                let effects = declared.effects.union(tool.effects);
                let (instance, digest) = (live.id.clone(), live.package.digest());
                tools.push(ToolInfo { instance, digest, name, description, parameters, effects });
            }
        }
        Ok(tools)
    }

    /// Two instances cannot offer a tool of the same name: the model could not tell them apart.
    fn check_names(&self, live: &Live, tools: &[ToolInfo]) -> Result<(), Denial> {
        let catalog = self.catalog.load();
        for tool in tools {
            if let Some(other) = catalog.iter().find(|t| t.name == tool.name && t.instance != live.id) {
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

    pub(crate) async fn tool_call(
        &self,
        live: &Arc<Live>,
        call: &PlannedCall,
        handed: Handed,
        cancel: CancellationToken,
    ) -> Result<Vec<wit::Content>, ToolFailure> {
        let mut state = self.state(live, Entry::Tool(&call.tool), cancel).map_err(|d| tools::denied(&d))?;
        state.behind = Some(Behind::of(call, handed));
        let context = wit::Context {
            call_id: call.call_id.clone(),
            session: convert::session(&live.id, &call.session),
            timezone: self.timezone.clone(),
            extra: Vec::new(),
        };
        let arguments = call.arguments.to_string();
        let admission = Admission::new(Class::Tool);
        let answer = live.loaded.call_tool(state, admission, call.tool.clone(), arguments, context);
        let answer = live.eviction.or(answer).await.map_err(|d| tools::denied(&d))?;
        answer.map_err(|e| tools::broken(&e))?.map_err(convert::tool_failure)
    }

    pub(crate) async fn provider_models(&self, live: &Arc<Live>) -> Result<Vec<ModelInfo>, CompletionFailure> {
        let state = self.state(live, Entry::Provider, CancellationToken::new()).map_err(models::denied)?;
        let answer = live.loaded.models(state, Admission::new(Class::Provider));
        let answer = live.eviction.or(answer).await.map_err(models::denied)?;
        let listed = answer.map_err(|e| models::broken(&e))?.map_err(convert::failure)?;
        Ok(listed.into_iter().map(|m| convert::model(&live.id, m)).collect())
    }

    pub(crate) async fn provider_complete(
        &self,
        live: &Arc<Live>,
        request: provider::Request,
        sink: mpsc::Sender<CompletionEvent>,
        cancel: CancellationToken,
    ) -> Result<(), CompletionFailure> {
        let mut state = self.state(live, Entry::Provider, cancel).map_err(models::denied)?;
        state.sink = Some(sink.clone());
        let admission = Admission::new(Class::Provider);
        let answer = async {
            match &live.warm {
                Some(warm) => warm.complete(state, admission, request).await,
                None => live.loaded.complete(state, admission, request).await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = live.eviction.or(answer) => answer.map_err(models::denied)?,
            // Nobody reads any more: a guest that takes no notice of that is stopped by dropping its call.
            () = sink.closed() => return Err(models::failure(FailureKind::Cancelled, "nobody reads the answer any more", false)),
        };
        answer.map_err(|e| models::broken(&e))?.map_err(convert::failure)
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

fn status(live: &Live) -> InstanceStatus {
    let manifest = live.package.manifest();
    let mut kinds = Vec::new();
    if manifest.provider.is_some() {
        kinds.push("provider".to_owned());
    }
    if !manifest.tools.is_empty() {
        kinds.push("tool".to_owned());
    }
    let state = match live.grant.load().runnable(&live.id) {
        Ok(()) => "ready".to_owned(),
        Err(denial) => denial.to_string(),
    };
    InstanceStatus {
        instance: live.id.clone(),
        digest: live.package.digest(),
        version: manifest.component.version.to_string(),
        kinds,
        state,
        meter: live.runtime.meter().snapshot(),
    }
}
