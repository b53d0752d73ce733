//! The engines: one per profile, the ticker behind both, and the threads guests run on.

use crate::permits::{PermitOptions, Permits};
use crate::ticker::{Running, Ticker};
use carapace_contract::limits::{Limits, Profile};
use sha2::{Digest as _, Sha256};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How the engines are made.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// The pool of profile `metered`; `None` = allocate on demand.
    pub pool: Option<PoolOptions>,
    /// Threads for guests; 0 = as many as there are CPUs, at most 8.
    pub threads: usize,
    /// Calls at once.
    pub permits: PermitOptions,
    /// Where ticks come from.
    pub ticks: Ticks,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            pool: Some(PoolOptions::default()),
            threads: 0,
            permits: PermitOptions::default(),
            ticks: Ticks::Every10Ms,
        }
    }
}

/// Where epoch ticks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks {
    /// A thread of its own.
    Every10Ms,
    /// [`Engines::tick`] alone: for tests.
    ByHand,
}

/// Size of the pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Stores at once that are kept beyond a call; calls have their permits' number on top.
    pub kept: u32,
    /// The largest memory of an instance: the operator's ceiling.
    pub max_memory: u64,
    /// Linear memories a store may have on average; each reserves 4 GiB of address space.
    pub memories_per_store: u32,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { kept: 16, max_memory: Limits::ceiling().memory, memories_per_store: 2 }
    }
}

/// How instances of profile `metered` get their memory. Profile `cpu` always allocates on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool reserved at start.
    Pooling,
    /// One by one.
    OnDemand {
        /// Why there is no pool.
        reason: String,
    },
}

/// The engines could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source} [E-RUNTIME-042]")]
pub struct EngineError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl EngineError {
    fn new(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what, source: source.into() }
    }
}

/// The two engines and what runs them. Cheap to clone.
#[derive(Clone)]
pub struct Engines(Arc<Inner>);

struct Inner {
    metered: Engine,
    cpu: Engine,
    allocation: Allocation,
    permits: Permits,
    ticker: Ticker,
    // Taken only in `drop`.
    guests: Option<tokio::runtime::Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.guests.take() {
            // The last owner may itself be on an async thread, where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines").field("allocation", &self.0.allocation).finish_non_exhaustive()
    }
}

impl Engines {
    /// Makes both engines. Where the pool cannot be reserved (small address spaces, `RLIMIT_AS`), instances are
    /// allocated on demand and [`allocation`](Self::allocation) says why.
    ///
    /// # Errors
    /// The CPU or the operating system cannot run the engine, or threads cannot be started.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let (metered, allocation) = match options.pool {
            None => (on_demand(Profile::Metered)?, Allocation::OnDemand { reason: "so configured".into() }),
            Some(pool) => match pooled(pool, options.permits.total()) {
                Ok(engine) => (engine, Allocation::Pooling),
                Err(error) => {
                    let reason = format!("the pool could not be reserved: {error:#}");
                    tracing::warn!(code = "E-RUNTIME-043", %reason, "instances are allocated on demand");
                    (on_demand(Profile::Metered)?, Allocation::OnDemand { reason })
                }
            },
        };
        let cpu = on_demand(Profile::Cpu)?;
        let ticker = Ticker::new(options.ticks == Ticks::ByHand)
            .map_err(|e| EngineError::new("the ticker's thread did not start", e))?;
        ticker.add(&metered);
        ticker.add(&cpu);
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8),
            n => n,
        };
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("carapace-guest")
            .on_thread_start(Engine::tls_eager_initialize)
            .enable_all()
            .build()
            .map_err(|e| EngineError::new("the guests' threads did not start", e))?;
        let permits = Permits::new(options.permits);
        Ok(Self(Arc::new(Inner { metered, cpu, allocation, permits, ticker, guests: Some(guests) })))
    }

    /// How instances of profile `metered` get their memory.
    pub fn allocation(&self) -> &Allocation {
        &self.0.allocation
    }

    /// Runs a future where guests run, apart from I/O. Dropping the handle stops it at its next wait or tick.
    pub fn spawn<F>(&self, future: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = match &self.0.guests {
            Some(runtime) => runtime.spawn(future),
            // Only while being dropped, when nobody can hold a reference any more.
            None => tokio::spawn(future),
        };
        AbortOnDropHandle::new(handle)
    }

    /// What an artefact must have been compiled with to run here: engine version, settings and CPU features.
    pub fn compatibility(&self, profile: Profile) -> [u8; 32] {
        compatibility(self.engine(profile))
    }

    /// One tick, by hand ([`Ticks::ByHand`]).
    pub fn tick(&self) {
        self.0.ticker.tick();
    }

    /// Whether the ticker sleeps because nothing has run for a while.
    pub fn ticker_sleeps(&self) -> bool {
        self.0.ticker.parked()
    }

    /// Linear memories in use in the pool; `None` without one.
    pub fn pooled_memories(&self) -> Option<usize> {
        self.0.metered.pooling_allocator_metrics().map(|m| m.memories())
    }

    pub(crate) fn engine(&self, profile: Profile) -> &Engine {
        match profile {
            Profile::Metered => &self.0.metered,
            Profile::Cpu => &self.0.cpu,
        }
    }
    pub(crate) fn permits(&self) -> &Permits {
        &self.0.permits
    }
    pub(crate) fn now(&self) -> u64 {
        self.0.ticker.now()
    }
    pub(crate) fn running(&self) -> Running {
        self.0.ticker.running()
    }
}

fn pooled(options: PoolOptions, calls: u32) -> wasmtime::Result<Engine> {
    let stores = calls.saturating_add(options.kept);
    let max_memory = usize::try_from(options.max_memory).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(stores)
        .total_core_instances(stores.saturating_mul(8))
        .total_memories(stores.saturating_mul(options.memories_per_store.max(1)))
        .total_tables(stores.saturating_mul(4))
        .total_stacks(stores)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(32)
        // Large guests (language runtimes) have more metadata than the default allows.
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_tables_per_module(8)
        .table_elements(100_000)
        .max_memory_size(max_memory)
        .max_unused_warm_slots(32)
        .decommit_batch_size(8)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10)
        // What a call has touched is put back where it is; else all but the beginning of a memory is given back and faulted in again.
        .pagemap_scan(Enabled::Auto);
    let mut config = config(Profile::Metered)?;
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// An engine without a pool: for profile `cpu`, the fall-back, and the compile worker, whose artefacts run in all of them.
pub(crate) fn on_demand(profile: Profile) -> Result<Engine, EngineError> {
    config(profile).and_then(|c| Engine::new(&c)).map_err(|e| EngineError::new("the engine cannot run here", e))
}

/// Everything that decides what compiled code looks like, and the stack it runs on.
fn config(profile: Profile) -> wasmtime::Result<Config> {
    let mut c = Config::new();
    // Threads, GC, stack switching and component-model async are not even compiled in.
    c.wasm_memory64(false)
        // What the engine itself puts between nested components has both their memories.
        .wasm_multi_memory(true)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .epoch_interruption(true)
        .consume_fuel(profile == Profile::Metered)
        .wasm_relaxed_simd(profile == Profile::Cpu)
        // Guest stack overflow is a trap well before the fiber's own end.
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(32 << 20)
        // With the whole 32-bit space reserved, bounds checks cost nothing.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .guard_before_linear_memory(true)
        .table_lazy_init(true)
        .parallel_compilation(true);
    Ok(c)
}

pub(crate) fn compatibility(engine: &Engine) -> [u8; 32] {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}
