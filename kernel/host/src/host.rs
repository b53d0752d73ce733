//! The loaded instances, and the calls into them.

use crate::convert;
use crate::grants::{GrantCell, GrantSnapshot};
use crate::instance::{Live, Rate};
use crate::models::{self, Listing};
use crate::services::Services;
use crate::state::HostState;
use crate::tools;
use arc_swap::ArcSwap;
use carapace_contract::completion::{CompletionEvent, CompletionFailure, ModelInfo};
use carapace_contract::decision::PlannedCall;
use carapace_contract::grant::Grant;
use carapace_contract::limits::Limits;
use carapace_contract::name::EndpointName;
use carapace_contract::ports::ToolFailure;
use carapace_contract::turn::{InstanceStatus, ToolInfo};
use carapace_contract::{Denial, InstanceId};
use carapace_egress::Policy;
use carapace_registry::VerifiedPackage;
use carapace_runtime::bindings::{provider, tools as wit};
use carapace_runtime::{Admission, Class, Core, Entry, Instance, Loader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
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
    pub route: Vec<String>,
    /// The owner's time zone.
    pub timezone: Option<String>,
}

/// The loaded instances. Implements the ports `Tools` and `Models`.
pub struct Host {
    services: Arc<Services>,
    loader: Loader,
    route: Vec<String>,
    timezone: Option<String>,
    instances: ArcSwap<BTreeMap<InstanceId, Arc<Live>>>,
    catalog: ArcSwap<Vec<ToolInfo>>,
    listings: Mutex<BTreeMap<InstanceId, Arc<tokio::sync::Mutex<Option<Listing>>>>>,
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
            listings: Mutex::default(),
        })
    }

    /// Loads an instance, or replaces it: calls in flight finish on the old code.
    ///
    /// # Errors
    /// The grant does not cover what the code needs, the code cannot be loaded, or it lists tools that its manifest does not have.
    pub async fn load(&self, spec: InstanceSpec) -> Result<(), InstallError> {
        let InstanceSpec { id, package, grant, endpoints, config, limits } = spec;
        let policy = self.policy(&id, &grant, endpoints, limits)?;
        let loaded = self.loader.load::<HostState>(&package).await.map_err(|e| match e {
            carapace_runtime::LoadError::Denied(denial) => denial,
            other => {
                Denial::new("E-HOST-001", other.to_string(), format!("carapace plugin inspect, or disable `{id}`"))
            }
        })?;
        let live = Arc::new(Live {
            runtime: Instance::new(id.clone(), limits),
            grant: GrantCell::new(GrantSnapshot { grant, policy: Arc::new(policy) }),
            id: id.clone(),
            package,
            config,
            loaded,
            log_rate: Rate::default(),
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
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
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
        known
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
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Every instance with what it used.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.instances.load().values().map(|live| status(live)).collect()
    }

    /// Whether any provider may answer.
    pub fn has_provider(&self) -> bool {
        !self.providers().is_empty()
    }

    pub(crate) fn configured_route(&self) -> Vec<String> {
        self.route.clone()
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

    pub(crate) fn listing(&self, id: &InstanceId) -> Arc<tokio::sync::Mutex<Option<Listing>>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().clone()
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
            let Some(variable) = http.url_env.as_ref().filter(|_| !endpoints.contains_key(name)) else { continue };
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
            if granted.grant.capabilities.tools.contains_key(&name) {
                let (instance, digest, effects) = (live.id.clone(), live.package.digest(), declared.effects);
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
        cancel: CancellationToken,
    ) -> Result<Vec<wit::Content>, ToolFailure> {
        let state = self.state(live, Entry::Tool(&call.tool), cancel).map_err(|d| tools::denied(&d))?;
        let context = wit::Context {
            call_id: call.call_id.clone(),
            session: call.session.clone(),
            timezone: self.timezone.clone(),
            extra: Vec::new(),
        };
        let arguments = call.arguments.to_string();
        let admission = Admission::new(Class::Tool);
        let answer = live.loaded.call_tool(state, admission, call.tool.clone(), arguments, context).await;
        answer.map_err(|e| tools::broken(&e))?.map_err(convert::tool_failure)
    }

    pub(crate) async fn provider_models(&self, live: &Arc<Live>) -> Result<Vec<ModelInfo>, CompletionFailure> {
        let state = self.state(live, Entry::Provider, CancellationToken::new()).map_err(models::denied)?;
        let answer = live.loaded.models(state, Admission::new(Class::Provider)).await;
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
        state.sink = Some(sink);
        let answer = live.loaded.complete(state, Admission::new(Class::Provider), request).await;
        answer.map_err(|e| models::broken(&e))?.map_err(convert::failure)
    }
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
