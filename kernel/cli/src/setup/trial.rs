//! Before anything is called ready, it answers: through the running kernel, or one that runs for this moment. What had to be changed in
//! the state for that is taken back when it does not.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::assembly::{Kernel, StartOptions};
use crate::bundled::Consent;
use crate::client::{Answer, Client};
use crate::commands::chat::visible;
use crate::commands::start;
use crate::failure::{Exit, Failure, Outcome};
use carapace_config::{Config, ConfigHandle, StatePaths, SystemEnv};
use carapace_contract::control::{ControlRequest, Sensitive};
use carapace_contract::{Digest, InstanceId, SecretName};
use serde_json::Value;
use std::sync::Arc;

/// What is asked. Any model can answer it, in a few tokens.
const QUESTION: &str = "Say hello in one short sentence.";

/// A kernel to try things on.
pub(crate) struct Trial {
    client: Client,
    /// Ours, for this moment.
    kernel: Option<Kernel>,
    /// What takes back what was done, last first.
    undo: Vec<ControlRequest>,
}

impl Trial {
    /// On the kernel that runs.
    pub(crate) fn on(client: Client) -> Self {
        Self { client, kernel: None, undo: Vec::new() }
    }

    /// On a kernel of its own, with a configuration that need not be on the disk.
    pub(crate) async fn start(paths: &StatePaths, config: &Config) -> Outcome<Self> {
        let handle = Arc::new(ConfigHandle::holding(paths.config(), Arc::new(SystemEnv), config.clone()));
        // The bundle was brought in before.
        let options = StartOptions { bundle: None, consent: Consent::Ask, port: Some(0) };
        let kernel = Kernel::start(paths, handle, options).await?;
        let client = Client::to(&format!("http://{}", kernel.gateway.addr), start::read_token(paths)?)?;
        Ok(Self { client, kernel: Some(kernel), undo: Vec::new() })
    }

    /// Grants an instance what its owner was shown of the package `digest`.
    pub(crate) async fn grant(&mut self, instance: &InstanceId, digest: Digest) -> Outcome {
        let show = ControlRequest::GrantShow { instance: instance.clone(), capabilities: Default::default() };
        let shown = self.client.control(&show).await?;
        if shown["digest"] != digest.to_string() {
            let why = format!("`{}` was replaced since its request was shown", instance.component());
            return Err(Failure::coded(Exit::Refused, "E-GRANT-011", why).help("carapace setup"));
        }
        let request = ControlRequest::GrantRestore {
            instance: instance.clone(),
            capabilities: Default::default(),
            without: Default::default(),
            shown: shown["shown"].as_str().and_then(|s| s.parse().ok()),
        };
        self.client.control(&request).await?;
        let (instance, capabilities) = (instance.clone(), Default::default());
        self.undo.push(ControlRequest::GrantRevoke { instance, capabilities });
        Ok(())
    }

    /// Stores a secret that was not there.
    pub(crate) async fn store(&mut self, instance: &InstanceId, name: &SecretName, value: String) -> Outcome {
        let set = ControlRequest::SecretSet { instance: instance.clone(), name: name.clone(), value: Sensitive(value) };
        self.client.control(&set).await?;
        self.undo.push(ControlRequest::SecretRemove { instance: instance.clone(), name: name.clone() });
        Ok(())
    }

    /// The model of `instance` (as routes write it) that is `wanted`, else the first it lists.
    pub(crate) async fn model(&self, instance: &str, wanted: Option<&str>) -> Outcome<String> {
        let list = self.client.get("/v1/models").await?;
        let ids = list["data"].as_array().into_iter().flatten().filter_map(|m| m["id"].as_str());
        let models: Vec<&str> = ids.filter_map(|id| id.strip_prefix(instance)?.strip_prefix('/')).collect();
        let found = models.iter().find(|m| Some(**m) == wanted).or(models.first());
        found.map(|m| (*m).to_owned()).ok_or_else(|| {
            let why = self.problem(instance).unwrap_or_else(|| format!("`{instance}` lists no model"));
            Failure::new(Exit::Failed, why).help(format!("name one: carapace setup --model {instance}/MODEL"))
        })
    }

    /// Why an instance is not loaded.
    fn problem(&self, instance: &str) -> Option<String> {
        let problems = self.kernel.as_ref().map(|k| k.problems.as_slice()).unwrap_or_default();
        let named = |id: &InstanceId| match id.id().as_str() {
            "main" => id.name().to_string(),
            other => format!("{}:{other}", id.name()),
        };
        problems.iter().find(|(id, _)| named(id) == instance).map(|(_, why)| why.clone())
    }

    /// One completion, in no conversation, by this model; by the route without one.
    pub(crate) async fn answer(&self, model: Option<&str>) -> Outcome<Answer> {
        let mut answer = self.client.turn("", model, QUESTION, |_| {}).await?;
        answer.text = visible(answer.text.trim());
        if answer.text.is_empty() {
            return Err(Failure::new(Exit::Failed, format!("`{}` answered with nothing", answer.model))
                .help("another model: carapace setup --model PROVIDER/MODEL"));
        }
        Ok(answer)
    }

    /// Takes back what was done, and says what could not be.
    pub(crate) async fn take_back(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(request) = self.undo.pop() {
            if let Err(why) = self.client.control(&request).await {
                left.push(why.line());
            }
        }
        left
    }

    /// The end of a kernel that ran for this moment.
    pub(crate) async fn end(self) {
        if let Some(kernel) = self.kernel {
            kernel.shutdown().await;
        }
    }
}

/// What an answer was made of, for programs.
pub(crate) fn as_json(answer: &Answer) -> Value {
    serde_json::json!({ "model": answer.model, "text": answer.text, "usage": answer.usage })
}
