//! What an authenticated owner may ask of a running kernel: its status, and changes to secrets and grants.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::failure::{Failure, Outcome};
use crate::{assembly, bundled, trust};
use async_trait::async_trait;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use carapace_contract::ports::{Control, Models, Status};
use carapace_contract::turn::KernelStatus;
use carapace_contract::{Denial, InstanceId, SecretName};
use carapace_host::Host;
use carapace_registry::Trust;
use carapace_store::{AuditRow, Batch, PackageRow, SecretId, Store};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The owner's side of a running kernel.
pub(crate) struct Owner {
    paths: StatePaths,
    store: Store,
    /// None when no kernel runs and the CLI works on the state itself.
    host: Option<Arc<Host>>,
    trust: Trust,
    config: Arc<ConfigHandle>,
    stop: CancellationToken,
    problems: Mutex<Vec<(InstanceId, String)>>,
    started_ms: u64,
}

impl Owner {
    /// Of this kernel. `problems`: instances that are not loaded, and why.
    pub(crate) fn new(
        paths: StatePaths,
        store: Store,
        host: Option<Arc<Host>>,
        trust: Trust,
        config: Arc<ConfigHandle>,
        stop: CancellationToken,
        problems: Vec<(InstanceId, String)>,
    ) -> Self {
        let started_ms = trust::now_ms();
        Self { paths, store, host, trust, config, stop, problems: Mutex::new(problems), started_ms }
    }

    async fn commit(&self, batch: Batch, what: &str) -> Result<(), Denial> {
        self.store.commit(batch).await.map(drop).map_err(|e| {
            e.denial().cloned().unwrap_or_else(|| Denial::new("E-STORE-001", format!("{what}: {e}"), "carapace doctor"))
        })
    }

    fn forget_models(&self) {
        if let Some(host) = &self.host {
            host.forget_models();
        }
    }

    async fn package(&self, id: &InstanceId) -> Result<PackageRow, Denial> {
        let rows =
            self.store.packages().await.map_err(|e| Denial::new("E-STORE-002", e.to_string(), "carapace doctor"))?;
        rows.into_iter().find(|r| r.instance.component() == id.component()).ok_or_else(|| {
            Denial::new(
                "E-GRANT-010",
                format!("no component `{}` is installed", id.component()),
                "carapace plugin list",
            )
        })
    }

    /// A secret must be one that the component declares: a misspelt name would never be used.
    async fn declared(&self, id: &InstanceId, name: &SecretName) -> Result<(), Denial> {
        let row = self.package(id).await?;
        let package = assembly::verify_installed(&self.paths, &self.trust, &row).map_err(|e| refused(&e))?;
        let secrets = &package.manifest().secrets;
        if secrets.contains_key(name) {
            return Ok(());
        }
        let known: Vec<_> = secrets.keys().map(ToString::to_string).collect();
        Err(Denial::new(
            "E-SECRET-004",
            format!("`{}` has no secret `{name}`", id.component()),
            if known.is_empty() { "it takes no secrets".to_owned() } else { format!("one of: {}", known.join(", ")) },
        ))
    }

    async fn restore(&self, id: &InstanceId) -> Result<(), Denial> {
        let row = self.package(id).await?;
        let package = assembly::verify_installed(&self.paths, &self.trust, &row).map_err(|e| refused(&e))?;
        let old = self.store.grant(id).await.map_err(|e| Denial::new("E-STORE-002", e.to_string(), ""))?;
        let mut grant = old.unwrap_or_else(|| bundled::whole_grant(id, &package, "owner, CLI"));
        grant.revoked = false;
        self.commit(Batch::new().grant_put(grant).audit(audit("grant-given", id)), "the grant was not recorded")
            .await?;
        if let Some(host) = &self.host {
            // Loaded anew: what was loaded while revoked has no tools listed.
            let config = self.config.current();
            assembly::load(&self.paths, &self.store, &self.trust, &config, host, id, &row)
                .await
                .map_err(|e| refused(&e))?;
        }
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).retain(|(p, _)| p != id);
        Ok(())
    }
}

fn refused(e: &Failure) -> Denial {
    let json = e.json();
    let text = |key: &str| json["error"][key].as_str().unwrap_or_default().to_owned();
    Denial::new(
        if text("code").is_empty() { "E-HOST-010".into() } else { text("code") }.as_str(),
        text("message"),
        text("help"),
    )
}

fn audit(kind: &str, subject: &InstanceId) -> AuditRow {
    AuditRow { kind: kind.to_owned(), subject: subject.to_string(), detail: Value::Null, at_ms: trust::now_ms() }
}

#[async_trait]
impl Control for Owner {
    async fn control(&self, request: ControlRequest) -> Result<Value, Denial> {
        match request {
            ControlRequest::SecretSet { instance, name, value } => {
                self.declared(&instance, &name).await?;
                let id = SecretId::new(instance.clone(), name);
                let row = AuditRow { subject: id.to_string(), ..audit("secret-set", &instance) };
                let batch = Batch::new().secret_put(id, SecretString::from(value.0)).audit(row);
                self.commit(batch, "the secret was not stored").await?;
                self.forget_models();
                Ok(json!({}))
            }
            ControlRequest::SecretRemove { instance, name } => {
                let id = SecretId::new(instance.clone(), name);
                let known = self.store.secret_exists(&id).await.unwrap_or(false);
                let row = AuditRow { subject: id.to_string(), ..audit("secret-removed", &instance) };
                self.commit(Batch::new().secret_delete(id).audit(row), "the secret was not removed").await?;
                self.forget_models();
                Ok(json!({ "removed": known }))
            }
            ControlRequest::SecretList => {
                let names = self.store.secret_names().await;
                let names = names.map_err(|e| Denial::new("E-STORE-002", e.to_string(), "carapace doctor"))?;
                let list: Vec<_> =
                    names.iter().map(|s| json!({ "name": s.id.to_string(), "updated_ms": s.updated_ms })).collect();
                Ok(Value::Array(list))
            }
            ControlRequest::GrantRevoke { instance } => {
                self.package(&instance).await?;
                // In memory first: what is running must not go on while the disk is slow.
                if let Some(host) = &self.host {
                    host.set_revoked(&instance, true);
                }
                let batch = Batch::new().grant_revoke(instance.clone()).audit(audit("grant-revoked", &instance));
                self.commit(batch, "the revocation holds until the next start, but was not recorded").await?;
                Ok(json!({}))
            }
            ControlRequest::GrantRestore { instance } => {
                self.restore(&instance).await?;
                Ok(json!({}))
            }
            ControlRequest::AuditVerify => {
                let report = self.store.verify().await;
                let report = report.map_err(|e| Denial::new("E-STORE-002", e.to_string(), "carapace doctor"))?;
                serde_json::to_value(report).map_err(|e| Denial::new("E-STORE-003", e.to_string(), ""))
            }
            ControlRequest::Shutdown => {
                self.stop.cancel();
                Ok(json!({}))
            }
        }
    }
}

#[async_trait]
impl Status for Owner {
    async fn status(&self) -> KernelStatus {
        let mut instances = self.host.as_ref().map(|h| h.statuses()).unwrap_or_default();
        for (id, why) in self.problems.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            instances.push(carapace_contract::turn::InstanceStatus {
                instance: id.clone(),
                digest: carapace_contract::Digest::from_bytes([0; 32]),
                version: String::new(),
                kinds: Vec::new(),
                state: why.clone(),
                meter: carapace_contract::meter::Meter::default(),
            });
        }
        let mut not_ready = Vec::new();
        if !self.host.as_ref().is_some_and(|h| h.has_provider()) {
            not_ready.push("no provider is loaded and granted".to_owned());
        }
        let route = self.config.current().agent.route.iter().map(ToString::to_string).collect();
        KernelStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            instances,
            not_ready,
            route,
            models: match &self.host {
                Some(host) => host.list().await,
                None => Vec::new(),
            },
        }
    }
}

/// Carries a request out: through the running kernel if there is one, else directly on the state.
pub(crate) async fn carry_out(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    request: ControlRequest,
) -> Outcome<Value> {
    if let Some(client) = crate::client::Client::running(paths).await? {
        return client.control(&request).await;
    }
    let store = assembly::open_store(paths)?;
    let owner = Owner::new(
        paths.clone(),
        store.clone(),
        None,
        trust::load(paths)?,
        config,
        CancellationToken::new(),
        Vec::new(),
    );
    let answer = owner.control(request).await.map_err(Failure::from);
    store.close().await;
    answer
}
