//! From wasm to native code.

use crate::engine::{Engines, compatibility, on_demand};
use async_trait::async_trait;
use carapace_contract::limits::Profile;
use std::sync::Arc;

/// Native code, made here. Only this room's compilers make one, so nothing else is ever mapped.
pub struct Artefact {
    pub(crate) bytes: Vec<u8>,
    pub(crate) compatibility: [u8; 32],
}

impl Artefact {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
    /// Never true for a compiled component.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// What it was compiled with; equal to [`Engines::compatibility`] of the same profile where it can run.
    pub fn compatibility(&self) -> [u8; 32] {
        self.compatibility
    }
}

impl std::fmt::Debug for Artefact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Artefact({} bytes)", self.bytes.len())
    }
}

/// Why nothing was compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The component is not valid, or needs a feature this kernel does not offer.
    #[error("the component does not compile: {0} [E-RUNTIME-030]")]
    Invalid(String),
    /// The compiler reached a limit: the component is a compile bomb, or far too large.
    #[error(
        "compiling was stopped at the limit of {limit} [E-RUNTIME-031]; a component that cannot be compiled within it cannot be installed"
    )]
    Limit {
        /// Which, with its value.
        limit: String,
    },
    /// The worker process could not be used.
    #[error("the compile worker failed: {0} [E-RUNTIME-032]")]
    Worker(String),
}

/// Compiles a component for a profile.
#[async_trait]
pub trait Compiler: Send + Sync {
    /// `wasm` comes from a verified package.
    async fn compile(&self, wasm: Arc<[u8]>, profile: Profile) -> Result<Artefact, CompileError>;
}

/// Compiles in this process: for tests, where the input is known.
#[derive(Debug, Clone)]
pub struct InProcess(Engines);

impl InProcess {
    /// With these engines.
    pub fn new(engines: &Engines) -> Self {
        Self(engines.clone())
    }
}

#[async_trait]
impl Compiler for InProcess {
    async fn compile(&self, wasm: Arc<[u8]>, profile: Profile) -> Result<Artefact, CompileError> {
        let engine = self.0.engine(profile).clone();
        tokio::task::spawn_blocking(move || precompile(&engine, &wasm))
            .await
            .map_err(|e| CompileError::Worker(format!("the compiler's thread ended: {e}")))?
    }
}

fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Artefact, CompileError> {
    let bytes = engine.precompile_component(wasm).map_err(|e| CompileError::Invalid(format!("{e:#}")))?;
    Ok(Artefact { bytes, compatibility: compatibility(engine) })
}

/// What the worker process does.
pub(crate) fn compile_here(wasm: &[u8], profile: Profile) -> Result<Artefact, CompileError> {
    let engine = on_demand(profile).map_err(|e| CompileError::Worker(e.to_string()))?;
    precompile(&engine, wasm)
}
