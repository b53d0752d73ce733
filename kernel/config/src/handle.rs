//! The current configuration, reloaded in place.

use crate::env::Env;
use crate::model::Config;
use crate::problem::ConfigError;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Holds the last good configuration. Reading is lock-free; a reload that fails changes nothing and is remembered.
pub struct ConfigHandle {
    file: PathBuf,
    env: Arc<dyn Env>,
    current: ArcSwap<Config>,
    last_error: ArcSwapOption<ConfigError>,
    changes: watch::Sender<Arc<Config>>,
    // Two reloads at once could otherwise publish the older file last.
    reloading: Mutex<()>,
}

impl ConfigHandle {
    /// Reads `file` for the first time.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn load(file: impl Into<PathBuf>, env: Arc<dyn Env>) -> Result<Self, ConfigError> {
        let file = file.into();
        let config = Config::load(&file, env.as_ref())?;
        Ok(Self::holding(file, env, config))
    }

    /// A configuration made by the caller; `file` is read only by [`Self::reload`].
    pub fn holding(file: impl Into<PathBuf>, env: Arc<dyn Env>, config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            file: file.into(),
            env,
            current: ArcSwap::new(Arc::clone(&config)),
            last_error: ArcSwapOption::empty(),
            changes: watch::Sender::new(config),
            reloading: Mutex::new(()),
        }
    }

    /// The configuration in force.
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// The file it comes from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file again. Says whether anything changed; if so, [`Self::changes`] is told.
    ///
    /// # Errors
    /// Every problem of the file; the configuration in force stays.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        match Config::load(&self.file, self.env.as_ref()) {
            Ok(config) => {
                self.last_error.store(None);
                if config == **self.current.load() {
                    return Ok(false);
                }
                let config = Arc::new(config);
                self.current.store(Arc::clone(&config));
                self.changes.send_replace(config);
                tracing::info!(file = %self.file.display(), "configuration reloaded");
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(file = %self.file.display(), %error, "configuration not reloaded; the last good one stays in force");
                self.last_error.store(Some(Arc::new(error.clone())));
                Err(error)
            }
        }
    }

    /// Why the last reload failed; none if it did not.
    pub fn last_error(&self) -> Option<Arc<ConfigError>> {
        self.last_error.load_full()
    }

    /// Told of every change; holds the newest configuration.
    pub fn changes(&self) -> watch::Receiver<Arc<Config>> {
        self.changes.subscribe()
    }
}

impl std::fmt::Debug for ConfigHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigHandle").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoEnv;

    #[test]
    fn a_bad_reload_keeps_the_last_good_configuration_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("carapace.json5");
        std::fs::write(&file, "{ gateway: { port: 1 } }").unwrap();
        let handle = ConfigHandle::load(&file, Arc::new(NoEnv)).unwrap();
        let mut changes = handle.changes();

        std::fs::write(&file, "{ gateway: { prot: 2 } }").unwrap();
        assert!(handle.reload().is_err());
        assert_eq!(handle.current().gateway.port, 1);
        assert!(handle.last_error().unwrap().to_string().contains("gateway.port"));
        assert!(!changes.has_changed().unwrap());

        std::fs::write(&file, "{ gateway: { port: 2 } }").unwrap();
        assert_eq!(handle.reload(), Ok(true));
        assert!(changes.has_changed().unwrap());
        assert_eq!(changes.borrow_and_update().gateway.port, 2);
        assert!(handle.last_error().is_none());
        assert_eq!(handle.reload(), Ok(false));
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn a_missing_file_means_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let handle = ConfigHandle::load(dir.path().join("none.json5"), Arc::new(NoEnv)).unwrap();
        assert_eq!(*handle.current(), Config::default());
    }
}
