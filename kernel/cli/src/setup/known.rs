//! The providers that are installed, by their own signed manifests.

use crate::failure::{OrFail, Outcome};
use crate::{assembly, trust};
use carapace_config::{Config, Env, InstanceKey, StatePaths};
use carapace_contract::manifest::{HttpEndpoint, Manifest};
use carapace_contract::{InstanceId, Name, SecretName};
use carapace_registry::VerifiedPackage;
use carapace_store::{Reader, SecretId};
use std::sync::Arc;

/// A component that can answer as a model.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub package: Arc<VerifiedPackage>,
}

/// Where the key of an instance comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In this variable.
    Environment(String),
    /// In the secret store.
    Store,
    /// Nowhere.
    Missing,
}

/// A provider's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub name: SecretName,
    pub source: Source,
    /// What the manifest says about it.
    pub prompt: String,
}

/// A provider's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub endpoint: String,
    /// Without a trailing slash.
    pub base: String,
    /// Who named it: the configuration or a variable; none = the manifest's own.
    pub named_by: Option<String>,
}

/// The installed providers that are still trusted.
pub(crate) async fn providers(paths: &StatePaths, reader: &Reader) -> Outcome<Vec<Provider>> {
    let trusted = trust::load(paths)?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    let mut found: Vec<Provider> = Vec::new();
    for row in rows.iter().filter(|row| row.enabled) {
        // One that would not be loaded cannot answer; `doctor` says why.
        let Ok(package) = assembly::verify_installed(paths, &trusted, row) else { continue };
        if package.manifest().provider.is_some() && found.iter().all(|p| p.package.id() != package.id()) {
            found.push(Provider { package: Arc::new(package) });
        }
    }
    Ok(found)
}

impl Provider {
    /// What it signed to ask for.
    pub(crate) fn manifest(&self) -> &Manifest {
        self.package.manifest()
    }

    /// Its name, as routes use it.
    pub(crate) fn name(&self) -> &str {
        self.manifest().component.name.as_str()
    }

    /// Of this provider.
    pub(crate) fn instance(&self, id: &Name) -> InstanceId {
        InstanceId::new(self.package.id().clone(), id.clone())
    }

    /// `main`, and what the configuration names beside it; without those that it switched off.
    pub(crate) fn instances(&self, config: &Config) -> Vec<InstanceKey> {
        let name = &self.manifest().component.name;
        let main = InstanceKey { component: name.clone(), id: Name::main() };
        let mut all = vec![main.clone()];
        all.extend(config.instances.keys().filter(|k| k.component == *name && **k != main).cloned());
        all.retain(|k| config.instance(&self.instance(&k.id)).is_none_or(|section| section.enabled));
        all
    }

    /// Where an instance's requests go.
    pub(crate) fn address(&self, key: &InstanceKey, config: &Config, env: &dyn Env) -> Option<Address> {
        let http: &HttpEndpoint = self.manifest().http.first()?;
        let endpoint = http.endpoint.to_string();
        let address = |base: &str, named_by| {
            Some(Address { endpoint: endpoint.clone(), base: base.trim_end_matches('/').to_owned(), named_by })
        };
        let section = config.instance(&self.instance(&key.id));
        if let Some(url) = section.and_then(|s| s.endpoints.get(&http.endpoint)) {
            return address(url.as_str(), Some("the configuration".to_owned()));
        }
        // The environment speaks for `main` alone.
        let variable = http.url_env.as_ref().filter(|_| key.id == Name::main());
        if let Some((variable, url)) = variable.and_then(|v| Some((v, set(env, v)?))) {
            return address(&url, Some(variable.clone()));
        }
        address(http.url.as_str(), None)
    }

    /// The credential of an instance; none if the component takes none.
    pub(crate) async fn key(&self, key: &InstanceKey, env: &dyn Env, reader: &Reader) -> Option<Key> {
        let (name, declared) = self.manifest().secrets.iter().next()?;
        let id = SecretId::new(self.instance(&key.id), name.clone());
        let variable = declared.env.clone().filter(|_| key.id == Name::main());
        let source = if reader.secret_exists(&id).await.unwrap_or(false) {
            Source::Store
        } else {
            match variable.filter(|v| set(env, v).is_some()) {
                Some(variable) => Source::Environment(variable),
                None => Source::Missing,
            }
        };
        Some(Key { name: name.clone(), source, prompt: declared.prompt.clone() })
    }
}

/// A variable that is set and not empty.
pub(crate) fn set(env: &dyn Env, name: &str) -> Option<String> {
    env.var(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// A provider that needs no server and no key: its model is part of its package.
pub(crate) fn is_built_in(manifest: &Manifest) -> bool {
    manifest.http.is_empty() && manifest.secrets.is_empty()
}
