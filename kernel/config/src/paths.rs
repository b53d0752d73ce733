//! Where everything lies.

use crate::env::Env;
use crate::problem::{ConfigError, Problem, Rule};
use std::path::{Path, PathBuf};

/// The state directory, and the configuration file's place.
///
/// `CARAPACE_STATE_DIR`, else the platform's place for an application's own files: `~/.config/carapace`,
/// `~/Library/Application Support/carapace`, `%APPDATA%\carapace`. `CARAPACE_CONFIG_PATH`, else `carapace.json5` in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePaths {
    root: PathBuf,
    config: PathBuf,
}

impl StatePaths {
    /// From the environment. Nothing is created.
    ///
    /// # Errors
    /// When the environment names no directory and the user has no home.
    pub fn resolve(env: &dyn Env) -> Result<Self, ConfigError> {
        let given = |name: &str| env.var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = match given("CARAPACE_STATE_DIR") {
            Some(dir) => dir,
            None => directories::BaseDirs::new().map(|b| b.config_dir().join("carapace")).ok_or_else(|| {
                Problem::new(
                    Rule::Unreadable,
                    Path::new("carapace.json5"),
                    "",
                    "this user has no home directory, so there is no place for the state",
                )
                .fix("set CARAPACE_STATE_DIR to a directory of your own")
            })?,
        };
        // Relative paths would change their meaning with the working directory.
        let absolute = |p: PathBuf| std::path::absolute(&p).unwrap_or(p);
        let root = absolute(root);
        let config = given("CARAPACE_CONFIG_PATH").map_or_else(|| root.join("carapace.json5"), absolute);
        Ok(Self { root, config })
    }

    /// Everything under `root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { config: root.join("carapace.json5"), root }
    }

    /// The state directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("carapace.db")
    }
    /// Installed packages.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }
    /// Files that packages read.
    pub fn assets(&self) -> PathBuf {
        self.root.join("assets")
    }
    /// Compiled artefacts.
    pub fn aot(&self) -> PathBuf {
        self.root.join("aot")
    }
    /// Publishers' private keys made here.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    /// The token a client of the gateway shows.
    pub fn gateway_token(&self) -> PathBuf {
        self.root.join("gateway.token")
    }
    /// Pinned publishers.
    pub fn publishers(&self) -> PathBuf {
        self.root.join("publishers.json")
    }
    /// Registries, and which versions of their indexes were seen.
    pub fn registries(&self) -> PathBuf {
        self.root.join("registries.json")
    }
    /// The signed deny-list.
    pub fn deny_list(&self) -> PathBuf {
        self.root.join("deny-list.json")
    }
    /// The signed trusted root for keyless signatures, where it replaces the built-in one.
    pub fn trusted_root(&self) -> PathBuf {
        self.root.join("trusted-root.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn the_state_directory_holds_the_configuration_unless_told_otherwise() {
        let p = StatePaths::resolve(&env(&[("CARAPACE_STATE_DIR", "/s")])).unwrap();
        assert_eq!(p.config(), Path::new("/s/carapace.json5"));
        assert_eq!(p.database(), Path::new("/s/carapace.db"));
        let p =
            StatePaths::resolve(&env(&[("CARAPACE_STATE_DIR", "/s"), ("CARAPACE_CONFIG_PATH", "/c/x.json5")])).unwrap();
        assert_eq!(p.config(), Path::new("/c/x.json5"));
    }

    #[test]
    fn an_empty_variable_counts_as_unset_and_a_relative_one_becomes_absolute() {
        let p = StatePaths::resolve(&env(&[("CARAPACE_STATE_DIR", "state"), ("CARAPACE_CONFIG_PATH", "")])).unwrap();
        assert!(p.root().is_absolute());
        assert_eq!(p.config(), p.root().join("carapace.json5"));
    }
}
