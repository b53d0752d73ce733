//! From a verified package to something that can be called.

use crate::binding::{Binding, Plain};
use crate::cache::{AotCache, Key};
use crate::compile::{CompileError, Compiler};
use crate::engine::Engines;
use crate::instance::Loaded;
use crate::linker;
use crate::sealed::Sealed;
use crate::state::Imports;
use carapace_contract::Denial;
use carapace_registry::VerifiedPackage;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wasmtime::component::Component;

/// Why a package was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It imports what this kernel does not offer.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// It could not be compiled.
    #[error("{component}: {source}")]
    Compile {
        /// Which.
        component: String,
        /// Why.
        source: CompileError,
    },
    /// The artefact could not be mapped.
    #[error("{component} was compiled but cannot be mapped: {reason} [E-RUNTIME-033]")]
    Map {
        /// Which.
        component: String,
        /// Why.
        reason: String,
    },
}

/// Loads verified packages: from the cache if its artefact is authentic, else through the compiler.
pub struct Loader {
    engines: Engines,
    compiler: Arc<dyn Compiler>,
    cache: Option<Arc<AotCache>>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("cached", &self.cache.is_some()).finish_non_exhaustive()
    }
}

impl Loader {
    /// Without a cache every load compiles.
    pub fn new(engines: &Engines, compiler: Arc<dyn Compiler>, cache: Option<Arc<AotCache>>) -> Self {
        Self { engines: engines.clone(), compiler, cache }
    }

    /// The engines it loads into.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Loads a package. Only verification makes a [`VerifiedPackage`], so nothing else is ever run.
    ///
    /// # Errors
    /// It does not compile, or imports an interface that this kernel does not offer; that one is named.
    pub async fn load<T: Imports>(&self, package: &VerifiedPackage) -> Result<Arc<Loaded<T>>, LoadError> {
        self.load_bound(package, Arc::new(Plain(package.contract()))).await
    }

    /// Loads a package whose version of the contract has a binding of its own.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_bound<T: Imports>(
        &self,
        package: &VerifiedPackage,
        binding: Arc<dyn Binding<T>>,
    ) -> Result<Arc<Loaded<T>>, LoadError> {
        let component = self.component(package).await?;
        let id = package.id().clone();
        let imports = linker::imports(&component).map_err(|unknown| {
            Denial::new(
                "E-RUNTIME-020",
                format!("{id} imports {}, which this kernel does not offer", quoted(&unknown)),
                "",
            )
        })?;
        Ok(Arc::new(Loaded {
            engines: self.engines.clone(),
            component,
            profile: package.manifest().instance.profile,
            id,
            digest: package.digest(),
            asked: package.capabilities().clone(),
            imports,
            binding,
            templates: Mutex::new(HashMap::new()),
        }))
    }

    /// Compiles a package into the cache, so that its first call need not wait.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn prepare(&self, package: &VerifiedPackage) -> Result<(), LoadError> {
        self.component(package).await.map(drop)
    }

    async fn component(&self, package: &VerifiedPackage) -> Result<Component, LoadError> {
        let profile = package.manifest().instance.profile;
        let engine = self.engines.engine(profile).clone();
        let key = Key { digest: package.digest(), profile, compatibility: self.engines.compatibility(profile) };
        let component = package.id().to_string();
        let unmapped = |reason: String| LoadError::Map { component: component.clone(), reason };
        if let Some(cache) = self.cache.clone() {
            let engine = engine.clone();
            let found = tokio::task::spawn_blocking(move || {
                let artefact = cache.get(&key)?;
                artefact.map(&engine).map_err(|e| cache.unmappable(&key, &e)).ok()
            });
            if let Some(found) = found.await.map_err(|e| unmapped(e.to_string()))? {
                return Ok(found);
            }
        }
        let artefact = self
            .compiler
            .compile(package.bytes().clone(), profile)
            .await
            .map_err(|source| LoadError::Compile { component: component.clone(), source })?;
        if artefact.compatibility != key.compatibility {
            return Err(unmapped("the compiler's settings or CPU are not this process's".into()));
        }
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || {
            let sealed = Sealed::new(&mut artefact.bytes.as_slice()).map_err(|e| e.to_string())?;
            if let Some(cache) = cache {
                // A full disk costs time at the next start, nothing else.
                if let Err(error) = cache.put(&key, &sealed) {
                    tracing::warn!(code = "E-RUNTIME-041", %error, "the compiled artefact was not kept");
                }
            }
            sealed.map(&engine).map_err(|e| format!("{e:#}"))
        })
        .await
        .map_err(|e| unmapped(e.to_string()))?
        .map_err(unmapped)
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
