//! The `Models` port: which model is meant, and a completion by its provider.

use crate::convert;
use crate::host::Host;
use crate::instance::Live;
use async_trait::async_trait;
use carapace_contract::Denial;
use carapace_contract::completion::{
    CompletionEvent, CompletionFailure, CompletionRequest, FailureKind, ModelInfo, ModelRef,
};
use carapace_contract::ports::Models;
use carapace_runtime::{CallError, TrapKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a provider's list of models is believed.
const FRESH: Duration = Duration::from_secs(300);
/// How long a failed listing is remembered, so that a dead server is not asked for every message.
const RETRY: Duration = Duration::from_secs(5);

/// What a provider said it has.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    at: Instant,
    models: Result<Arc<Vec<ModelInfo>>, CompletionFailure>,
}

impl Listing {
    fn holds(&self) -> bool {
        self.at.elapsed() < if self.models.is_ok() { FRESH } else { RETRY }
    }
}

impl Host {
    /// The models of a provider, asked for at most every few minutes.
    async fn models_of(&self, live: &Arc<Live>) -> Result<Arc<Vec<ModelInfo>>, CompletionFailure> {
        let cell = self.listing(&live.id);
        let mut listing = cell.lock().await;
        if let Some(known) = listing.as_ref().filter(|l| l.holds()) {
            return known.models.clone();
        }
        let models = self.provider_models(live).await.map(Arc::new);
        *listing = Some(Listing { at: Instant::now(), models: models.clone() });
        models
    }

    /// The model of a provider that is used when nobody names one: its manifest's, if it has that one or cannot say; else its first.
    async fn default_of(&self, live: &Arc<Live>) -> Result<ModelRef, CompletionFailure> {
        let wanted = live
            .config
            .get("model")
            .and_then(|m| m.as_str())
            .map(str::to_owned)
            .or_else(|| live.package.manifest().provider.as_ref().and_then(|p| p.default_model.clone()));
        let reference = |model: String| ModelRef { instance: live.id.clone(), model };
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

    /// `instance/model`, `component:id/model`, or a bare model id that some provider lists.
    async fn named(&self, wanted: &str) -> Result<ModelRef, Denial> {
        let providers = self.providers();
        if let Some((instance, model)) = wanted.split_once('/')
            && let Some(live) = providers.iter().find(|l| is_called(l, instance))
        {
            return Ok(ModelRef { instance: live.id.clone(), model: model.to_owned() });
        }
        let mut known = Vec::new();
        for live in &providers {
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
            format!("name one of: {}", if known.is_empty() { "none could be listed".into() } else { known.join(", ") }),
        ))
    }
}

/// People write `openai` or `openai:vllm`.
fn is_called(live: &Live, written: &str) -> bool {
    let (name, id) = written.split_once(':').unwrap_or((written, "main"));
    live.id.name().as_str() == name && live.id.id().as_str() == id
}

fn no_model(live: &Live) -> CompletionFailure {
    CompletionFailure {
        kind: FailureKind::UnknownModel,
        message: format!("`{}` lists no model", live.id),
        retryable: false,
        retry_after_ms: None,
    }
}

#[async_trait]
impl Models for Host {
    async fn list(&self) -> Vec<ModelInfo> {
        let mut all = Vec::new();
        for live in self.providers() {
            match self.models_of(&live).await {
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
        let mut route = Vec::new();
        for wanted in self.configured_route() {
            route.push(self.named(&wanted).await?);
        }
        if !route.is_empty() {
            return Ok(route);
        }
        let mut problems = Vec::new();
        for live in self.providers() {
            match self.default_of(&live).await {
                Ok(model) => return Ok(vec![model]),
                Err(e) => problems.push(format!("{}: {e}", live.id)),
            }
        }
        if problems.is_empty() {
            problems.push("no provider is installed and granted".to_owned());
        }
        Err(Denial::new(
            "E-ROUTE-001",
            format!("no model can answer ({})", problems.join("; ")),
            "set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own, and start again; `carapace doctor` says more",
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
pub(crate) fn denied(denial: Denial) -> CompletionFailure {
    CompletionFailure {
        kind: FailureKind::Component,
        message: denial.to_string(),
        retryable: false,
        retry_after_ms: None,
    }
}

/// A trap or a limit in the words of completions.
pub(crate) fn broken(e: &CallError) -> CompletionFailure {
    let kind = if e.kind == TrapKind::Cancelled { FailureKind::Cancelled } else { FailureKind::Component };
    CompletionFailure { kind, message: e.to_string(), retryable: e.kind.is_temporary(), retry_after_ms: None }
}
