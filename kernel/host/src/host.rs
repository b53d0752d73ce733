//! The loaded instances, and the calls into them.

use crate::behind::{Behind, Handed};
use crate::convert;
use crate::instance::{Live, Slot};
use crate::models::{self, Listings};
use crate::probation::Relapse;
use crate::services::Services;
use crate::state::HostState;
use crate::tape::Tapes;
use crate::tools;
use arc_swap::ArcSwap;
use carapace_contract::completion::{CompletionEvent, CompletionFailure, FailureKind, ModelInfo};
use carapace_contract::decision::PlannedCall;
use carapace_contract::grant::Grant;
use carapace_contract::limits::Limits;
use carapace_contract::name::EndpointName;
use carapace_contract::ports::ToolFailure;
use carapace_contract::turn::{ChannelTool, InstanceStatus, ToolInfo};
use carapace_contract::{Denial, Digest, HostPort, InstanceId, Name};
use carapace_egress::Policy;
use carapace_registry::VerifiedPackage;
use carapace_runtime::bindings::{provider, tools as wit};
use carapace_runtime::{Admission, Class, Core, Entry, Loader};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};
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
    /// Directories by the name under which the manifest asks for them, from the configuration.
    pub directories: BTreeMap<Name, PathBuf>,
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

/// The loaded instances. Implements the ports `Tools`, `Models` and `Channels`.
pub struct Host {
    services: Arc<Services>,
    pub(crate) loader: Loader,
    route: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    timezone: Option<String>,
    pub(crate) instances: ArcSwap<BTreeMap<InstanceId, Slot>>,
    pub(crate) catalog: ArcSwap<Vec<ToolInfo>>,
    pub(crate) listings: Listings,
    /// Loads happen one after the other, so that two cannot both find a tool's name free.
    pub(crate) loading: Arc<tokio::sync::Mutex<()>>,
    /// What was replaced or unloaded, and may still be called.
    pub(crate) retired: Mutex<Vec<Weak<Live>>>,
    pub(crate) relapses: mpsc::UnboundedSender<Relapse>,
    relapsed: Mutex<Option<mpsc::UnboundedReceiver<Relapse>>>,
    pub(crate) tapes: Tapes,
    pub(crate) channels_changed: watch::Sender<u64>,
    pub(crate) me: Weak<Self>,
}

impl Host {
    /// With no instance yet.
    pub fn new(options: HostOptions) -> Arc<Self> {
        let (relapses, relapsed) = mpsc::unbounded_channel();
        Arc::new_cyclic(|me| Self {
            services: options.services,
            loader: options.loader,
            route: options.route,
            timezone: options.timezone,
            instances: ArcSwap::default(),
            catalog: ArcSwap::default(),
            listings: Listings::default(),
            loading: Arc::default(),
            retired: Mutex::default(),
            relapses,
            relapsed: Mutex::new(Some(relapsed)),
            tapes: Tapes::default(),
            channels_changed: watch::Sender::new(0),
            me: me.clone(),
        })
    }

    /// Where it is told that an instance broke within its probation. For one listener: none the second time.
    pub fn relapses(&self) -> Option<mpsc::UnboundedReceiver<Relapse>> {
        self.relapsed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Forgets what providers said they have: after a secret was set.
    pub fn forget_models(&self) {
        self.listings.forget(None);
        self.changed_channels();
    }

    /// Every instance with what it used.
    pub fn statuses(&self) -> Vec<InstanceStatus> {
        self.instances.load().values().map(|slot| status(&slot.now)).collect()
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
        let revoked = |id: &InstanceId| instances.get(id).is_none_or(|slot| slot.now.grant.load().grant.revoked);
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
        self.instances.load().values().map(|slot| &slot.now).filter(offers).cloned().collect()
    }

    fn slot(&self, id: &InstanceId) -> Result<Slot, Denial> {
        self.instances
            .load()
            .get(id)
            .cloned()
            .ok_or_else(|| Denial::new("E-HOST-002", format!("no instance `{id}` is loaded"), "carapace plugin list"))
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> Result<Arc<Live>, Denial> {
        let live = self.slot(id)?.now;
        live.grant.load().runnable(id)?;
        Ok(live)
    }

    /// The instance as the call was planned for it: one that was replaced a moment ago still answers what was planned before.
    pub(crate) fn instance_of(&self, id: &InstanceId, digest: Digest) -> Result<Option<Arc<Live>>, Denial> {
        let Slot { now, before } = self.slot(id)?;
        let Some(live) = [Some(now), before].into_iter().flatten().find(|l| l.package.digest() == digest) else {
            return Ok(None);
        };
        live.grant.load().runnable(id)?;
        Ok(Some(live))
    }

    /// What egress enforces: the granted endpoints, where the operator pointed them.
    pub(crate) fn policy(
        &self,
        id: &InstanceId,
        grant: &Grant,
        mut endpoints: BTreeMap<EndpointName, url::Url>,
        limits: Limits,
    ) -> Result<Policy, Denial> {
        let http = grant.capabilities.http.iter().map(|(name, http)| (name, &http.url_env));
        let sockets = grant.capabilities.sockets.iter().map(|(name, socket)| (name, &socket.url_env));
        for (name, variable) in http.chain(sockets) {
            let free = Live::hears_environment(id) && !endpoints.contains_key(name);
            let Some(variable) = variable.as_ref().filter(|_| free) else { continue };
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

    pub(crate) fn state(
        &self,
        live: &Arc<Live>,
        entry: Entry<'_>,
        cancel: CancellationToken,
    ) -> Result<HostState, Denial> {
        let now = live.grant.load();
        now.runnable(&live.id)?;
        let declared = |name: &str| now.grant.capabilities.tools.get(name).map(|t| t.uses.clone()).unwrap_or_default();
        let lent = match entry {
            Entry::ListTools | Entry::ChannelPure(_) => None,
            Entry::Tool(name) => live.lendings.take(&now, Some(&declared(name))),
            Entry::Provider | Entry::Channel => live.lendings.take(&now, None),
        };
        let capabilities = &lent.as_ref().map_or(&now, |lent| &lent.with).grant.capabilities;
        let plan = live.loaded.plan(&live.id, capabilities, entry)?;
        let uses = match entry {
            Entry::ListTools | Entry::ChannelPure(_) => Some(BTreeSet::new()),
            Entry::Tool(name) => Some(capabilities.tools.get(name).map(|t| t.uses.clone()).unwrap_or_default()),
            Entry::Provider | Entry::Channel => None,
        };
        Ok(HostState {
            core: Core::new(&live.runtime, &plan, cancel),
            instance: live.clone(),
            services: self.services.clone(),
            uses,
            lent,
            behind: None,
            messages: 0,
            sink: None,
        })
    }

    pub(crate) async fn list_tools(&self, live: &Arc<Live>) -> Result<Vec<ToolInfo>, Denial> {
        if live.grant.load().grant.revoked {
            return Ok(Vec::new());
        }
        let mut state = self.state(live, Entry::ListTools, CancellationToken::new())?;
        state.enter()?;
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
                let channel = live.package.manifest().channel.is_some();
                let channel = channel.then(|| ChannelTool { conversation: declared.conversation.clone() });
                tools.push(ToolInfo { instance, digest, name, description, parameters, effects, channel });
            }
        }
        Ok(tools)
    }

    pub(crate) async fn tool_call(
        &self,
        live: &Arc<Live>,
        call: &PlannedCall,
        handed: Handed,
        cancel: CancellationToken,
    ) -> Result<Vec<wit::Content>, ToolFailure> {
        let state = self.state(live, Entry::Tool(&call.tool), cancel);
        let mut state = state.inspect_err(|d| live.runtime.meter().denial(d)).map_err(|d| tools::denied(&d))?;
        state.behind = Some(Behind::of(call, handed));
        state.enter().map_err(|d| tools::denied(&d))?;
        state.core = self.tapes.attach(live, state.core, true, call.tainted);
        let context = wit::Context {
            call_id: call.call_id.clone(),
            session: convert::session(&live.id, &call.session),
            timezone: self.timezone.clone(),
            extra: convert::channel::place(call.place.as_ref().filter(|p| p.instance == live.id)),
        };
        let arguments = call.arguments.to_string();
        let admission = Admission::new(Class::Tool);
        let answer = live.loaded.call_tool(state, admission, call.tool.clone(), arguments, context);
        let answer = live.eviction.or(answer).await.map_err(|d| tools::denied(&d))?;
        self.watch(live, answer.as_ref().err());
        let answer = answer.map_err(|e| tools::broken(&e))?.map_err(convert::tool_failure)?;
        let quiet = live.package.manifest().tool(&call.tool).is_some_and(|t| t.quiet);
        if quiet { tools::quietly(answer) } else { Ok(answer) }
    }

    pub(crate) async fn provider_models(&self, live: &Arc<Live>) -> Result<Vec<ModelInfo>, CompletionFailure> {
        let mut state = self.state(live, Entry::Provider, CancellationToken::new()).map_err(models::denied)?;
        state.enter().map_err(models::denied)?;
        state.core = self.tapes.attach(live, state.core, false, false);
        let answer = live.loaded.models(state, Admission::new(Class::Provider));
        let answer = live.eviction.or(answer).await.map_err(models::denied)?;
        self.watch(live, answer.as_ref().err());
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
        let state = self.state(live, Entry::Provider, cancel);
        let mut state = state.inspect_err(|d| live.runtime.meter().denial(d)).map_err(models::denied)?;
        state.sink = Some(sink.clone());
        state.enter().map_err(models::denied)?;
        // Nobody tells a provider what of a conversation is from outside, so all of it may be.
        state.core = self.tapes.attach(live, state.core, true, true);
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
        self.watch(live, answer.as_ref().err());
        answer.map_err(|e| models::broken(&e))?.map_err(convert::failure)
    }

    /// The last refusals of an instance, oldest first; none if it is not loaded.
    pub fn recent_denials(&self, id: &InstanceId) -> Vec<(SystemTime, Denial)> {
        let live = self.instances.load().get(id).map(|slot| slot.now.clone());
        live.map(|live| live.runtime.meter().recent_denials()).unwrap_or_default()
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
    if manifest.channel.is_some() {
        kinds.push("channel".to_owned());
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
        previous: None,
        note: None,
    }
}
