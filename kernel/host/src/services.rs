//! What the imports stand on: the store, the door out, the environment, secrets, files of packages.

use crate::grants::GrantSnapshot;
use crate::instance::Live;
use crate::lending::{self, Lent};
use crate::logbook::Logbook;
use async_trait::async_trait;
use carapace_contract::ports::{Lines, Messages};
use carapace_contract::{Denial, SecretName};
use carapace_egress::{Door, SecretSource};
use carapace_registry::AssetFiles;
use carapace_store::{SecretId, Store};
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The owner's configuration as it is in force, with nothing secret in it.
pub type Settings = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// Reads one variable of the kernel's environment.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Shared by all instances.
pub struct Services {
    /// Durable state.
    pub store: Store,
    /// The one door to the network.
    pub door: Door,
    /// The kernel's environment; only variables that a grant names are read.
    pub environment: Environment,
    /// Files that packages read.
    pub assets: AssetFiles,
    /// The configuration in force; without the right to `settings`, nobody asks for it.
    pub settings: Settings,
    /// The kernel's own files and directories, which no component is ever given.
    pub private: Vec<PathBuf>,
    pub(crate) logbook: Logbook,
    /// Who sends messages; it stands on the host, which stands on this.
    messages: OnceLock<Weak<dyn Messages>>,
    lines: OnceLock<Weak<dyn Lines>>,
    pub(crate) started: Instant,
}

impl Services {
    /// Puts them together.
    pub fn new(
        store: Store,
        door: Door,
        environment: Environment,
        assets: AssetFiles,
        settings: Settings,
        private: Vec<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            door,
            environment,
            assets,
            settings,
            private,
            logbook: Logbook::default(),
            messages: OnceLock::new(),
            lines: OnceLock::new(),
            started: Instant::now(),
        })
    }

    /// From now on, tools' messages leave through this.
    pub fn send_through(&self, messages: &Arc<dyn Messages>) {
        // Whoever was first stays.
        let _ = self.messages.set(Arc::downgrade(messages));
    }

    /// From now on, channels write to programs through this.
    pub fn write_through(&self, lines: &Arc<dyn Lines>) {
        let _ = self.lines.set(Arc::downgrade(lines));
    }

    pub(crate) fn lines(&self) -> Option<Arc<dyn Lines>> {
        self.lines.get().and_then(Weak::upgrade)
    }

    pub(crate) fn messages(&self) -> Option<Arc<dyn Messages>> {
        self.messages.get().and_then(Weak::upgrade)
    }
}

/// ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Where a secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFrom {
    /// The owner stored it.
    Store,
    /// An environment variable that the grant names.
    Environment,
    /// It is not set.
    Nowhere,
}

/// How a secret of an instance stands; never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretStanding {
    /// Its name in the manifest.
    pub name: SecretName,
    /// Where it comes from.
    pub from: SecretFrom,
    /// The component works without it.
    pub optional: bool,
}

/// The secrets of one instance. Values leave it only towards egress and HMAC.
#[derive(Clone)]
pub(crate) struct Vault {
    services: Arc<Services>,
    instance: Arc<Live>,
    lent: Option<Lent>,
}

impl Vault {
    pub(crate) fn new(services: Arc<Services>, instance: Arc<Live>, lent: Option<Lent>) -> Self {
        Self { services, instance, lent }
    }

    fn granted(&self) -> Arc<GrantSnapshot> {
        lending::granted(&self.instance, self.lent.as_ref())
    }

    /// What the owner stored; else the environment variable that the grant names. A revoked grant, or one without this
    /// secret, gives nothing, whatever is stored.
    pub(crate) async fn find(&self, name: &SecretName) -> Result<Option<SecretString>, Denial> {
        Ok(self.find_with_source(name).await?.map(|(value, _)| value))
    }

    /// The same, and where it comes from.
    pub(crate) async fn find_with_source(
        &self,
        name: &SecretName,
    ) -> Result<Option<(SecretString, SecretFrom)>, Denial> {
        self.granted().secret(&self.instance.id, None, name.as_str(), false)?;
        let id = SecretId::new(self.instance.id.clone(), name.clone());
        match self.services.store.secret_get(&id).await {
            Ok(Some(value)) => return Ok(Some((value, SecretFrom::Store))),
            Ok(None) => {}
            Err(e) => {
                return Err(e.denial().cloned().unwrap_or_else(|| {
                    Denial::new("E-SECRET-003", format!("the secret `{id}` cannot be read: {e}"), "carapace doctor")
                }));
            }
        }
        let snapshot = self.granted();
        let heard = Live::hears_environment(&self.instance.id);
        let variable = snapshot.grant.capabilities.secrets.get(name).and_then(|s| s.env.clone()).filter(|_| heard);
        let value = variable.and_then(|v| (self.services.environment)(&v)).filter(|v| !v.is_empty());
        Ok(value.map(|v| (SecretString::from(v), SecretFrom::Environment)))
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial> {
        if let Some(value) = self.find(name).await? {
            return Ok(value);
        }
        let id = &self.instance.id;
        let snapshot = self.granted();
        let heard = Live::hears_environment(id);
        let variable = snapshot.grant.capabilities.secrets.get(name).and_then(|s| s.env.clone()).filter(|_| heard);
        let or = variable.map(|v| format!(", or set {v}")).unwrap_or_default();
        Err(Denial::new(
            "E-SECRET-001",
            format!("the secret `{name}` of `{id}` is not set"),
            format!("carapace secrets set {name} --instance {id}{or}"),
        ))
    }
}
