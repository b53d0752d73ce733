//! What an authenticated owner may ask of a running kernel: its status, and changes to secrets and grants.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

mod grants;
mod lifecycle;
mod lock;
mod observe;
mod packages;
mod requests;
mod rollback;

pub(crate) use grants::{forget_stranger, said, strangers};
pub(crate) use lifecycle::sweep;
pub(crate) use lock::write as write_lock;

use crate::failure::{Failure, Outcome};
use crate::{assembly, assets, trust};
use async_trait::async_trait;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use carapace_contract::ports::{Control, Status};
use carapace_contract::turn::KernelStatus;
use carapace_contract::{Denial, InstanceId, SecretName};
use carapace_host::{Ended, Host};
use carapace_registry::{AssetFiles, Trust, VerifiedPackage};
use carapace_store::{AuditRow, Batch, PackageRow, SecretId, Store, StoreError};
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
    config: Arc<ConfigHandle>,
    stop: CancellationToken,
    /// Changes happen one after the other: a revocation is not lost in a grant that is being given.
    changing: tokio::sync::Mutex<()>,
    problems: Mutex<Vec<(InstanceId, String)>>,
    started_ms: u64,
}

impl Owner {
    /// Of this kernel. `problems`: instances that are not loaded, and why.
    pub(crate) fn new(
        paths: StatePaths,
        store: Store,
        host: Option<Arc<Host>>,
        config: Arc<ConfigHandle>,
        stop: CancellationToken,
        problems: Vec<(InstanceId, String)>,
    ) -> Self {
        let started_ms = trust::now_ms();
        let changing = tokio::sync::Mutex::default();
        Self { paths, store, host, config, stop, changing, problems: Mutex::new(problems), started_ms }
    }

    async fn commit(&self, batch: Batch, what: &str) -> Result<(), Denial> {
        self.store.commit(batch).await.map(drop).map_err(|e| {
            e.denial().cloned().unwrap_or_else(|| Denial::new("E-STORE-010", format!("{what}: {e}"), "carapace doctor"))
        })?;
        lock::write(&self.paths, &self.store).await;
        Ok(())
    }

    fn forget_models(&self) {
        if let Some(host) = &self.host {
            host.forget_models();
        }
    }

    /// As it stands on the disk now: a publisher may have been forgotten since the start.
    fn trust(&self) -> Result<Trust, Denial> {
        trust::load(&self.paths).map_err(|e| refused(&e))
    }

    async fn package(&self, id: &InstanceId) -> Result<PackageRow, Denial> {
        let rows = self.store.packages().await.map_err(|e| unreadable(&e))?;
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
        let package = assembly::verify_installed(&self.paths, &self.trust()?, &row).map_err(|e| refused(&e))?;
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

    /// What the installed packages ask for besides themselves.
    async fn assets(&self) -> Result<Value, Denial> {
        let (trust, files) = (self.trust()?, AssetFiles::new(self.paths.assets()));
        let mut all = Vec::new();
        for row in self.store.packages().await.map_err(|e| unreadable(&e))? {
            // One that may not run asks for nothing.
            let Ok(package) = assembly::verify_installed(&self.paths, &trust, &row) else { continue };
            all.extend(assets::of(&package, &files));
        }
        Ok(Value::Array(all))
    }

    /// Stops and unloads what publishers, deny-list and trusted root no longer allow.
    async fn recheck(&self) -> Result<Value, Denial> {
        let trust = self.trust()?;
        let mut unloaded = Vec::new();
        let mut batch = Batch::new();
        let still = |package: &VerifiedPackage| trust.still(package).map_err(|why| why.denial());
        for ended in self.host.iter().flat_map(|host| host.recheck(still)) {
            let Ended { instance, digest, why, replaced } = ended;
            tracing::warn!(%instance, %digest, %why, replaced, "unloaded");
            let detail = json!({ "digest": digest, "why": why.to_string(), "replaced": replaced });
            batch = batch.audit(AuditRow { detail: detail.clone(), ..audit("unloaded", &instance) });
            let mut told = detail;
            told["instance"] = json!(instance);
            unloaded.push(told);
            if !replaced {
                self.problems.lock().unwrap_or_else(PoisonError::into_inner).push((instance, why.to_string()));
            }
        }
        if !batch.is_empty() {
            self.commit(batch, "what was unloaded was not recorded").await?;
            self.forget_models();
        }
        Ok(json!({ "unloaded": unloaded }))
    }
}

fn unreadable(e: &StoreError) -> Denial {
    Denial::new("E-STORE-011", e.to_string(), "carapace doctor")
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
            ControlRequest::AssetList => self.assets().await,
            ControlRequest::SecretList => {
                let names = self.store.secret_names().await;
                let names = names.map_err(|e| unreadable(&e))?;
                let list: Vec<_> =
                    names.iter().map(|s| json!({ "name": s.id.to_string(), "updated_ms": s.updated_ms })).collect();
                Ok(Value::Array(list))
            }
            ControlRequest::SecretsOf { instance } => self.secrets_of(&instance).await,
            ControlRequest::GrantRevoke { instance, capabilities } => {
                // At once, whatever else is being changed; recorded when that is done.
                self.revoke_now(&instance, &capabilities);
                let _alone = self.changing.lock().await;
                self.revoke(&instance, &capabilities).await?;
                Ok(json!({}))
            }
            ControlRequest::GrantShow { instance, capabilities } => {
                let _alone = self.changing.lock().await;
                self.show(&instance, &capabilities).await
            }
            ControlRequest::GrantRestore { instance, capabilities, without, shown } => {
                let _alone = self.changing.lock().await;
                self.restore(&instance, &capabilities, &without, shown).await?;
                Ok(json!({}))
            }
            ControlRequest::PackageShow { stage, digest, instance, allow_downgrade } => {
                let _alone = self.changing.lock().await;
                let change = self.change(&stage, digest, instance, allow_downgrade).await?;
                Ok(Self::shown(&change))
            }
            ControlRequest::PackageBring { stage, digest, shown, without, instance, allow_downgrade } => {
                let _alone = self.changing.lock().await;
                let mut change = self.change(&stage, digest, instance, allow_downgrade).await?;
                change.agreed(shown)?;
                change.without(&without)?;
                let brought = self.bring(change).await;
                if brought.is_err() {
                    // What was compiled or put in its place for nothing.
                    self.tidy().await;
                }
                brought
            }
            ControlRequest::PackageRollbackShow { component } => {
                let _alone = self.changing.lock().await;
                self.rollback_shown(&component).await
            }
            ControlRequest::PackageRollback { component, shown } => {
                let _alone = self.changing.lock().await;
                self.rollback(&component, shown, None).await
            }
            ControlRequest::PackageUninstall { component, delete_data } => {
                let _alone = self.changing.lock().await;
                self.uninstall(&component, delete_data).await
            }
            ControlRequest::PackageData { component } => {
                let data = self.store.component_data(&component).await.map_err(|e| unreadable(&e))?;
                serde_json::to_value(data).map_err(|e| Denial::new("E-STORE-012", e.to_string(), ""))
            }
            ControlRequest::InstanceEnable { instance, enabled } => {
                let _alone = self.changing.lock().await;
                let loaded = self.enable(&instance, enabled).await?;
                Ok(json!({ "loaded": loaded }))
            }
            ControlRequest::GrantLend { instance, capabilities, shown, seconds } => {
                let _alone = self.changing.lock().await;
                self.lend(&instance, &capabilities, shown, seconds).await?;
                Ok(json!({}))
            }
            ControlRequest::RequestList => self.requests().await,
            ControlRequest::RequestEnd { id, approved } => {
                let _alone = self.changing.lock().await;
                self.end_request(id, approved).await
            }
            ControlRequest::GrantList => self.grant_list().await,
            ControlRequest::Denials { instance } => {
                let recent = self.host.as_ref().map(|h| h.recent_denials(&instance)).unwrap_or_default();
                let one = |(at, d): &(std::time::SystemTime, Denial)| json!({ "at_ms": trust::ms_of(*at), "code": d.code, "message": d.message, "fix": d.fix });
                Ok(Value::Array(recent.iter().map(one).collect()))
            }
            ControlRequest::Logs { instance, after, wait_ms } => self.logs(&instance, after, wait_ms).await,
            ControlRequest::Record { instance, calls } => self.record(&instance, calls).await,
            ControlRequest::Recorded { instance, from, wait_ms } => self.recorded(&instance, from, wait_ms).await,
            ControlRequest::RecordStop { instance } => {
                self.running(&instance)?.stop_recording(&instance);
                Ok(json!({}))
            }
            ControlRequest::TrustChanged => {
                let _alone = self.changing.lock().await;
                self.recheck().await
            }
            ControlRequest::AuditVerify => {
                let report = self.store.verify().await;
                let report = report.map_err(|e| unreadable(&e))?;
                serde_json::to_value(report).map_err(|e| Denial::new("E-STORE-012", e.to_string(), ""))
            }
            ControlRequest::Channel(_) => {
                Err(Denial::new("E-CHANNEL-001", "no channel runs here", "start the kernel with `carapace start`"))
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
                previous: None,
                note: None,
            });
        }
        let rows = self.store.packages().await.unwrap_or_default();
        let before = self.store.packages_before().await.unwrap_or_default();
        for row in &rows {
            if !row.enabled && instances.iter().all(|i| i.instance != row.instance) {
                instances.push(carapace_contract::turn::InstanceStatus {
                    instance: row.instance.clone(),
                    digest: row.digest,
                    version: row.version.to_string(),
                    kinds: Vec::new(),
                    state: "disabled".to_owned(),
                    meter: carapace_contract::meter::Meter::default(),
                    previous: None,
                    note: None,
                });
            }
        }
        for instance in &mut instances {
            let component = instance.instance.component();
            instance.previous = before.iter().find(|e| &e.component == component).map(|e| e.version.to_string());
            instance.note = rows.iter().find(|r| r.instance == instance.instance).and_then(|r| r.note.clone());
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
                Some(host) => host.known_models(),
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
    let owner = Owner::new(paths.clone(), store.clone(), None, config, CancellationToken::new(), Vec::new());
    let answer = owner.control(request).await.map_err(Failure::from);
    store.close().await;
    answer
}
