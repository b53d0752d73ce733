//! The `Models` port: which model is meant, and a completion by its provider.

use crate::convert;
use crate::host::Host;
use crate::instance::Live;
use crate::services::Vault;
use async_trait::async_trait;
use carapace_contract::Denial;
use carapace_contract::InstanceId;
use carapace_contract::completion::{
    CompletionEvent, CompletionFailure, CompletionRequest, FailureKind, ModelInfo, ModelRef,
};
use carapace_contract::ports::Models;
use carapace_runtime::{CallError, TrapKind};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a provider's list of models is believed.
const FRESH: Duration = Duration::from_secs(300);
/// How long a failed listing is remembered, so that a dead server is not asked for every message.
const RETRY: Duration = Duration::from_secs(5);
/// The same, where asking again is answered in the same way. A secret that is set makes it forgotten.
const REFUSED: Duration = Duration::from_secs(60);
/// How long a provider may take to list its models.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a provider said it has.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    at: Instant,
    models: Result<Arc<Vec<ModelInfo>>, CompletionFailure>,
}

impl Listing {
    fn holds(&self) -> bool {
        let believed = match &self.models {
            Ok(_) => FRESH,
            Err(failure) if failure.retryable => RETRY,
            Err(_) => REFUSED,
        };
        self.at.elapsed() < believed
    }
}

/// What one provider said last.
#[derive(Debug, Default)]
struct Known {
    /// Held while it is asked.
    asking: tokio::sync::Mutex<()>,
    last: Mutex<Option<Listing>>,
}

impl Known {
    fn last(&self) -> Option<Listing> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What all providers said last.
#[derive(Debug, Default)]
pub(crate) struct Listings(Mutex<BTreeMap<InstanceId, Arc<Known>>>);

impl Listings {
    fn of(&self, id: &InstanceId) -> Arc<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().clone()
    }

    /// Forgets what this one said, or everything.
    pub(crate) fn forget(&self, id: Option<&InstanceId>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match id {
            Some(id) => drop(all.remove(id)),
            None => all.clear(),
        }
    }
}

impl Host {
    /// The models of a provider, asked for at most every few minutes.
    async fn models_of(&self, live: &Arc<Live>) -> Result<Arc<Vec<ModelInfo>>, CompletionFailure> {
        let known = self.listings.of(&live.id);
        let _asking = known.asking.lock().await;
        if let Some(listing) = known.last().filter(Listing::holds) {
            return listing.models;
        }
        let asked = tokio::time::timeout(PATIENCE, self.provider_models(live)).await.unwrap_or_else(|_| {
            let why = format!("`{}` did not list its models within {} s", live.id, PATIENCE.as_secs());
            Err(failure(FailureKind::Unavailable, &why, true))
        });
        let models = asked.map(Arc::new);
        let listing = Listing { at: Instant::now(), models: models.clone() };
        *known.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(listing);
        models
    }

    /// What is known of the providers' models at this moment. Asks nobody and waits for nothing; whoever is due is asked
    /// behind the answer.
    pub fn known_models(self: &Arc<Self>) -> Vec<ModelInfo> {
        let mut all = Vec::new();
        for live in self.providers() {
            let known = self.listings.of(&live.id);
            let last = known.last();
            if let Some(Listing { models: Ok(models), .. }) = &last {
                all.extend(models.iter().cloned());
            }
            if last.is_none_or(|l| !l.holds()) && known.asking.try_lock().is_ok() {
                let host = self.clone();
                tokio::spawn(async move {
                    if is_fallback(&live) || host.is_configured(&live).await {
                        // Its failure is remembered with it.
                        let _ = host.models_of(&live).await;
                    }
                });
            }
        }
        all
    }

    /// The model of a provider that is used when nobody names one: its manifest's, if it has that one or cannot say; else its first.
    async fn default_of(&self, live: &Arc<Live>) -> Result<ModelRef, CompletionFailure> {
        let reference = |model: String| ModelRef { instance: live.id.clone(), model };
        // What the owner wrote is not second-guessed: a server may answer to names that it does not list.
        if let Some(model) = live.config.get("model").and_then(|m| m.as_str()) {
            return Ok(reference(model.to_owned()));
        }
        let wanted = live.package.manifest().provider.as_ref().and_then(|p| p.default_model.clone());
        match (self.models_of(live).await, wanted) {
            (Ok(models), Some(wanted)) if models.iter().any(|m| m.reference.model == wanted) => Ok(reference(wanted)),
            (Ok(models), wanted) => match (models.first(), wanted) {
                (Some(first), _) => Ok(first.reference.clone()),
                (None, Some(wanted)) => Ok(reference(wanted)),
                (None, None) => Err(no_model(live)),
            },
            (Err(failure), _) => Err(failure),
        }
    }

    /// Whether its owner has pointed at this provider in any way: a route names it, its section says something, one of its endpoints was
    /// pointed somewhere, one of its secrets is set. One that needs neither endpoint nor secret has nothing to be told.
    async fn is_configured(&self, live: &Arc<Live>) -> bool {
        let granted = live.grant.load();
        let needs = &granted.grant.capabilities;
        let section = live.config.as_object().is_some_and(|section| !section.is_empty());
        let pointed = granted.policy.endpoints.values().any(|endpoint| endpoint.operator);
        let route = self.configured_route();
        let named = route.iter().filter_map(|m| m.split_once('/')).any(|(written, _)| is_called(live, written));
        if section || pointed || named || (needs.http.is_empty() && needs.secrets.is_empty()) {
            return true;
        }
        let vault = Vault::new(self.services(), live.clone(), None);
        for secret in needs.secrets.keys() {
            // One that is there and cannot be read is there: its owner should hear of that, not be answered by another.
            if !matches!(vault.find(secret).await, Ok(None)) {
                return true;
            }
        }
        false
    }

    /// The providers that may be asked without being named, in the order of their names: those that are configured, and apart from them
    /// those whose manifest says `fallback`. Nobody else is contacted: a key or a server that nobody gave is not waited for.
    async fn ready(&self) -> Ready {
        let (mut configured, mut fallback) = (Vec::new(), Vec::new());
        for live in self.providers() {
            if is_fallback(&live) {
                fallback.push(live);
            } else if self.is_configured(&live).await {
                configured.push(live);
            }
        }
        Ready { configured, fallback }
    }

    /// The provider that answers only because no other is configured. Asks nobody.
    pub async fn stand_in(&self) -> Option<InstanceId> {
        let Ready { configured, fallback } = self.ready().await;
        let alone = configured.is_empty() && self.configured_route().is_empty();
        fallback.first().filter(|_| alone).map(|live| live.id.clone())
    }

    /// What would configure one of the others.
    fn how_to_configure(&self) -> String {
        let mut ways = Vec::new();
        for live in self.providers().iter().filter(|live| Live::hears_environment(&live.id)) {
            let granted = live.grant.load();
            let needs = &granted.grant.capabilities;
            let keys = needs.secrets.values().filter_map(|s| s.env.as_deref());
            let servers = needs.http.values().filter_map(|e| e.url_env.as_deref());
            let names: Vec<&str> = keys.chain(servers).collect();
            if !names.is_empty() {
                ways.push(format!("{} (for `{}`)", names.join(" or "), live.id.name()));
            }
        }
        format!("set {} and start again, or name a model in `agent: {{ route: [..] }}`", ways.join(", or "))
    }

    /// `instance/model`, `component:id/model`, or a bare model id that some provider lists.
    async fn named(&self, wanted: &str) -> Result<ModelRef, Denial> {
        if let Some((instance, model)) = wanted.split_once('/')
            && let Some(live) = self.providers().iter().find(|l| is_called(l, instance))
        {
            return Ok(ModelRef { instance: live.id.clone(), model: model.to_owned() });
        }
        let mut known = Vec::new();
        for live in &self.ready().await.all() {
            if let Ok(models) = self.models_of(live).await {
                if let Some(m) = models.iter().find(|m| m.reference.model == wanted) {
                    return Ok(m.reference.clone());
                }
                known.extend(models.iter().map(|m| m.reference.to_string()));
            }
        }
        known.truncate(10);
        Err(Denial::new(
            "E-ROUTE-002",
            format!("no provider here has the model `{wanted}`"),
            if known.is_empty() {
                "none could be listed: `carapace doctor` says why".to_owned()
            } else {
                format!("name one of: {}; `carapace doctor` tells which providers are not loaded", known.join(", "))
            },
        ))
    }
}

/// Whom to ask when nobody is named.
struct Ready {
    configured: Vec<Arc<Live>>,
    fallback: Vec<Arc<Live>>,
}

impl Ready {
    fn all(self) -> Vec<Arc<Live>> {
        let Self { mut configured, fallback } = self;
        configured.extend(fallback);
        configured
    }
}

fn is_fallback(live: &Live) -> bool {
    live.package.manifest().provider.as_ref().is_some_and(|p| p.fallback)
}

/// People write `openai` or `openai:vllm`.
fn is_called(live: &Live, written: &str) -> bool {
    let (name, id) = written.split_once(':').unwrap_or((written, "main"));
    live.id.name().as_str() == name && live.id.id().as_str() == id
}

pub(crate) fn failure(kind: FailureKind, message: &str, retryable: bool) -> CompletionFailure {
    CompletionFailure { kind, message: message.to_owned(), retryable, retry_after_ms: None }
}

fn no_model(live: &Live) -> CompletionFailure {
    failure(FailureKind::UnknownModel, &format!("`{}` lists no model", live.id), false)
}

#[async_trait]
impl Models for Host {
    async fn list(&self) -> Vec<ModelInfo> {
        let mut all = Vec::new();
        let providers = self.ready().await.all();
        let listed = join_all(providers.iter().map(|live| self.models_of(live))).await;
        for (live, models) in providers.iter().zip(listed) {
            match models {
                Ok(models) => all.extend(models.iter().cloned()),
                Err(e) => tracing::warn!(instance = %live.id, error = %e, "models could not be listed"),
            }
        }
        all
    }

    async fn route(&self, wanted: Option<&str>) -> Result<Vec<ModelRef>, Denial> {
        if let Some(wanted) = wanted {
            return Ok(vec![self.named(wanted).await?]);
        }
        let (mut route, mut missing) = (Vec::new(), None);
        for wanted in self.configured_route() {
            match self.named(&wanted).await {
                Ok(model) => route.push(model),
                Err(denial) => {
                    tracing::warn!(model = wanted, error = %denial, "a model of the route is passed over");
                    missing = missing.or(Some(denial));
                }
            }
        }
        match missing {
            // The others of the route stand in for one whose provider is not loaded.
            _ if !route.is_empty() => return Ok(route),
            Some(denial) => return Err(denial),
            None => {}
        }
        let Ready { configured, fallback } = self.ready().await;
        // The fall-back is for an owner who configured nothing. Who did, hears what is wrong with it rather than a weaker model.
        let asked = if configured.is_empty() { fallback } else { configured };
        let mut problems = Vec::new();
        for live in asked {
            match self.default_of(&live).await {
                Ok(model) => return Ok(vec![model]),
                Err(e) => problems.push(format!("{}: {e}", live.id)),
            }
        }
        if problems.is_empty() {
            let none =
                if self.has_provider() { "no provider is configured" } else { "no provider is installed and granted" };
            problems.push(none.to_owned());
        }
        Err(Denial::new(
            "E-ROUTE-001",
            format!("no model can answer ({})", problems.join("; ")),
            format!("{}; `carapace doctor` says more", self.how_to_configure()),
        ))
    }

    async fn complete(
        &self,
        model: &ModelRef,
        request: &CompletionRequest,
        sink: mpsc::Sender<CompletionEvent>,
        cancel: CancellationToken,
    ) -> Result<(), CompletionFailure> {
        let live = self.instance(&model.instance).map_err(denied)?;
        let request = convert::request(&model.model, request);
        self.provider_complete(&live, request, sink, cancel).await
    }
}

/// A refusal in the words of completions.
#[allow(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn denied(denial: Denial) -> CompletionFailure {
    failure(FailureKind::Component, &denial.to_string(), false)
}

/// A trap or a limit in the words of completions.
pub(crate) fn broken(e: &CallError) -> CompletionFailure {
    let kind = if e.kind == TrapKind::Cancelled { FailureKind::Cancelled } else { FailureKind::Component };
    CompletionFailure { kind, message: e.to_string(), retryable: e.kind.is_temporary(), retry_after_ms: None }
}
