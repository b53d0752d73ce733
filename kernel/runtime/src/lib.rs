//! wasmtime behind a façade: compile → link → limit → call.
//!
//! Nothing outside this room and `host` knows the engine. A component gets in only as a
//! [`VerifiedPackage`](carapace_registry::VerifiedPackage), is compiled in a confined child process
//! ([`Worker`]), kept as an authenticated artefact ([`AotCache`]), linked to exactly what was granted
//! ([`LinkPlan`]) and called under limits that cannot be left out ([`Loaded`]). It never opens a socket,
//! opens no directory of the owner's but those that were granted ([`wasi`]), and never keeps a store after a trap.
//!
//! One starts from [`Engines`] (the two engine profiles, the ticker and the runtime guests run on), a
//! [`Loader`], and the store data: a type that holds a [`Core`], implements [`Guest`] and the generated
//! `Host` traits in [`bindings`].
//!
//! ```
//! use carapace_runtime::{Allocation, EngineOptions, Engines};
//! let engines = Engines::new(EngineOptions::default())?;
//! // Where the address space is too small for the pool, the reason is named and instances are made on demand.
//! if let Allocation::OnDemand { reason } = engines.allocation() {
//!     println!("instances are allocated on demand: {reason}");
//! }
//! # Ok::<(), carapace_runtime::EngineError>(())
//! ```

#![allow(clippy::disallowed_methods, reason = "this room owns the AOT cache's files and the compile worker's process")]

mod binding;
pub mod bindings;
mod cache;
mod call;
mod channel;
mod compile;
mod confine;
mod engine;
mod exports;
mod http;
mod instance;
mod linker;
mod loader;
mod meter;
mod permits;
mod recording;
mod refusal;
mod sealed;
mod size;
mod state;
mod ticker;
mod warm;
pub mod wasi;
mod worker;

pub use binding::{Binding, How, Plain, name_of};
pub use cache::{AotCache, CacheError, CacheStats};
pub use call::{CallError, TrapKind};
pub use compile::{Artefact, CompileError, Compiler, InProcess};
pub use engine::{Allocation, EngineError, EngineOptions, Engines, PoolOptions, Ticks};
pub use http::Sends;
pub use instance::Loaded;
pub use linker::{Entry, Interface, LinkPlan};
pub use loader::{LoadError, Loader};
pub use meter::{InstanceMeter, RECENT_DENIALS};
pub use permits::{Admission, Class, MAX_DEPTH, PermitOptions};
pub use recording::{Difference, Journal, Recorder, Replay, Script};
pub use state::{Core, Guest, Imports, Instance, Stop};
pub use warm::Warm;
pub use worker::{WORKER_ARGUMENT, Worker, WorkerOptions, worker_main};

/// The few engine types that implementing the imports needs.
pub mod engine_types {
    pub use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
    pub use wasmtime::{Error, Result};
}
