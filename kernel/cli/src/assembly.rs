//! A running kernel: the rooms, wired.

use crate::assets;
use crate::bundled::{self, Consent};
use crate::desk::{Desk, Port};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::owner::Owner;
use crate::{installed, records, trust};
use carapace_agent::{Agent, Deps, Patience, SystemClock};
use carapace_config::{Allocator, Config, ConfigHandle, StatePaths, SystemEnv};
use carapace_contract::grant::Grant;
use carapace_contract::manifest::AssetDecl;
use carapace_contract::{InstanceId, Name};
use carapace_courier::Courier;
use carapace_egress::Door;
use carapace_gateway::{Gateway, GatewayOptions, RunningGateway};
use carapace_host::{Host, HostOptions, InstanceSpec, Services};
use carapace_registry::{AssetFiles, Trust, VerifiedPackage};
use carapace_runtime::{Allocation, AotCache, EngineOptions, Engines, Loader, Worker, WorkerOptions};
use carapace_store::{Batch, PackageRow, Reader, Store, StoreError, StoreOptions, Unlocker};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How a kernel is started.
#[derive(Debug, Clone)]
pub(crate) struct StartOptions {
    /// Where the bundled components are; none = nothing is installed from a bundle.
    pub bundle: Option<PathBuf>,
    /// How the owner agrees to them.
    pub consent: Consent,
    /// Port instead of the configured one.
    pub port: Option<u16>,
}

/// A kernel that answers.
pub(crate) struct Kernel {
    /// Where it listens.
    pub gateway: RunningGateway,
    /// Cancelled when something asked it to stop.
    pub stop: CancellationToken,
    /// Instances that could not be loaded, and why.
    pub problems: Vec<(InstanceId, String)>,
    /// Who answers because nobody has configured a provider.
    pub stand_in: Option<InstanceId>,
    /// Files that components ask for and that are not here.
    pub missing: Vec<(InstanceId, AssetDecl)>,
    agent: Arc<Agent>,
    courier: Arc<Courier>,
    port: tokio::task::JoinHandle<()>,
    port_stop: CancellationToken,
    store: Store,
    records: Arc<records::ToStore>,
    grace: Duration,
    run_file: PathBuf,
}

impl Kernel {
    /// Opens the state, installs and loads the components, recovers what was interrupted, listens.
    pub(crate) async fn start(paths: &StatePaths, config: Arc<ConfigHandle>, options: StartOptions) -> Outcome<Self> {
        trust::make_state_dir(paths)?;
        let metrics = carapace_gateway::install_metrics()?;
        let store = open_store_patiently(paths).await?;
        let current = config.current();
        let mut trust = trust::load(paths)?;
        if let Some(bundle) = &options.bundle {
            bundled::install(paths, &store, &mut trust, bundle, options.consent).await?;
        }
        crate::owner::sweep(paths, &store).await?;
        crate::owner::write_lock(paths, &store).await;

        let records = records::to_store(store.clone());
        let services = Services::new(
            store.clone(),
            Door::builder().recorder(records.clone()).build(),
            Arc::new(|name: &str| carapace_config::Env::var(&SystemEnv, name)),
            AssetFiles::new(paths.assets()),
            {
                let config = config.clone();
                Arc::new(move || config.current().shown())
            },
            private(paths, options.bundle.as_deref()),
        );
        let engines = Engines::new(engine_options(&current)).or_fail("the WebAssembly engine does not start")?;
        if let (Allocator::Pooling, Allocation::OnDemand { reason }) = (current.runtime.allocator, engines.allocation())
        {
            return Err(Failure::new(
                Exit::Failed,
                format!("the memory pool that the configuration insists on cannot be had: {reason}"),
            )
            .help(
                "runtime: { allocator: \"auto\" } in carapace.json5, or raise the limit on address space (ulimit -v)",
            ));
        }
        let cache = AotCache::open(paths.root()).or_fail("cannot open the cache of compiled components")?;
        let limits = WorkerOptions {
            memory: current.runtime.compile_memory.0,
            cpu_seconds: current.runtime.compile_cpu_seconds,
            ..WorkerOptions::default()
        };
        let worker = Worker::this_executable(limits).or_fail("the compile worker")?;
        let host = Host::new(HostOptions {
            services: services.clone(),
            loader: Loader::new(&engines, Arc::new(worker), Some(Arc::new(cache))),
            route: {
                // Read anew for every turn, so that a reload of the configuration counts.
                let config = config.clone();
                Arc::new(move || config.current().agent.route.iter().map(ToString::to_string).collect())
            },
            timezone: current.agent.timezone.clone(),
        });
        let mut problems = Vec::new();
        // Verifying is most of the work: all at once, and loaded in order.
        let mut specs = Vec::new();
        let instances = bundled::instances(&store, &current).await?;
        for (id, why) in instances.missing {
            let why = why.line();
            tracing::warn!(instance = %id, error = %why, "not loaded");
            problems.push((id, why));
        }
        for (id, row) in instances.here {
            let (paths, store, trust, config) = (paths.clone(), store.clone(), trust.clone(), current.clone());
            let instance = id.clone();
            specs.push((id, tokio::spawn(async move { spec(&paths, &store, &trust, &config, &instance, &row).await })));
        }
        for (id, spec) in specs {
            let loaded = match spec.await.or_fail("a component could not be verified") {
                Ok(Ok(spec)) => host.load(spec).await.map_err(Failure::from),
                Ok(Err(why)) | Err(why) => Err(why),
            };
            if let Err(why) = loaded {
                let why = why.line();
                tracing::warn!(instance = %id, error = %why, "not loaded");
                problems.push((id, why));
            }
        }

        note_signers(&store, &host).await?;
        let missing = assets::bring(paths, host.packages(), options.bundle.as_deref()).await?;
        let stand_in = host.stand_in().await;
        let agent = Agent::new(Deps {
            store: store.clone(),
            config: config.clone(),
            tools: host.clone(),
            models: host.clone(),
            clock: Arc::new(SystemClock),
            patience: Patience::default(),
        });
        // Before anything new is accepted: what was interrupted goes on first.
        let resumed = agent.recover().await.or_fail("cannot resume what was interrupted")?;
        if !resumed.is_empty() {
            tracing::info!(runs = resumed.len(), "interrupted turns go on");
        }
        let stop = CancellationToken::new();
        let owner = Arc::new(Owner::new(
            paths.clone(),
            store.clone(),
            Some(host.clone()),
            config.clone(),
            stop.clone(),
            problems.clone(),
        ));
        if let Some(mut relapses) = host.relapses() {
            let owner = owner.clone();
            tokio::spawn(async move {
                while let Some(relapse) = relapses.recv().await {
                    owner.relapsed(&relapse).await;
                }
            });
        }
        let courier = Courier::new(carapace_courier::Deps {
            store: store.clone(),
            config: config.clone(),
            channels: host.clone(),
            assistant: agent.clone(),
            clock: Arc::new(carapace_courier::SystemClock::default()),
        });
        let messages: Arc<dyn carapace_contract::ports::Messages> = courier.clone();
        services.send_through(&messages);
        let lines: Arc<dyn carapace_contract::ports::Lines> = courier.clone();
        services.write_through(&lines);
        let port = Arc::new(Port::default());
        let desk = Arc::new(Desk { owner, courier: courier.clone(), host: host.clone(), port: port.clone() });
        let mut gateway = GatewayOptions::new(token(paths)?, env!("CARGO_PKG_VERSION"), agent.clone(), desk.clone());
        gateway.bind = current.gateway.bind;
        gateway.port = options.port.unwrap_or(current.gateway.port);
        gateway.limits.body_bytes = usize::try_from(current.gateway.max_body_bytes.0).unwrap_or(usize::MAX);
        gateway.allowed_origins.clone_from(&current.gateway.allowed_origins);
        gateway.page.token_hint = format!("cat {}", paths.gateway_token().display());
        gateway.metrics = Some(metrics);
        gateway.control = Some(desk);
        gateway.lines = Some(lines);
        let gateway = match Gateway::start(gateway).await {
            Ok(gateway) => gateway,
            Err(e) => {
                // Resumed turns are running already; they go on at the next start.
                carapace_contract::ports::Assistant::drain(&*agent, Duration::ZERO).await;
                store.close().await;
                return Err(e.into());
            }
        };
        courier.start().await.or_fail("cannot take up the messages that wait")?;
        let port_stop = CancellationToken::new();
        let port = tokio::spawn(port.keep(host.clone(), courier.clone(), config.clone(), port_stop.clone()));
        let run_file = paths.root().join("run.json");
        let run = serde_json::json!({ "pid": std::process::id(), "http": format!("http://{}", gateway.addr) });
        trust::write_whole(&run_file, run.to_string().as_bytes())?;
        let grace = Duration::from_millis(current.gateway.shutdown_grace_ms);
        Ok(Self {
            gateway,
            stop,
            problems,
            stand_in,
            missing,
            agent,
            courier,
            port,
            port_stop,
            store,
            records,
            grace,
            run_file,
        })
    }

    /// Accepts nothing more, lets turns finish within the grace, keeps the rest for the next start.
    pub(crate) async fn shutdown(self) {
        use carapace_contract::ports::Assistant;
        // Nothing new comes in; what is being answered may still be said.
        self.port_stop.cancel();
        let _ = self.port.await;
        tokio::join!(self.courier.drain(self.grace), self.agent.drain(self.grace));
        self.gateway.shutdown("the assistant is stopping", self.grace).await;
        self.records.flush().await;
        self.store.close().await;
        // Last: whoever waits for it to vanish may open the state itself then.
        let _ = std::fs::remove_file(&self.run_file);
    }
}

/// What no component is ever given: the state, the configuration, the bundle, the program itself.
fn private(paths: &StatePaths, bundle: Option<&Path>) -> Vec<PathBuf> {
    let config = paths.config().to_path_buf();
    let program = std::env::current_exe().ok();
    [Some(paths.root().to_path_buf()), Some(config), bundle.map(Path::to_path_buf), program]
        .into_iter()
        .flatten()
        .collect()
}

/// Opens the store; says who holds it if somebody does.
pub(crate) fn open_store(paths: &StatePaths) -> Outcome<Store> {
    Store::open(paths.root(), store_options()).map_err(|e| unopened(paths, &e))
}

/// How long a start waits for a command that works on the state directly.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same, after whatever command holds it now. Another kernel is not waited for.
async fn open_store_patiently(paths: &StatePaths) -> Outcome<Store> {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        match Store::open(paths.root(), store_options()) {
            Err(e) if e.is_held() && !is_held_by_a_kernel(paths) && std::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            opened => return opened.map_err(|e| unopened(paths, &e)),
        }
    }
}

/// Whether who holds the state has said that it is a kernel.
fn is_held_by_a_kernel(paths: &StatePaths) -> bool {
    let pid = Store::holder(paths.root()).ok().flatten().and_then(|holder| holder.pid);
    let run = std::fs::read_to_string(paths.root().join("run.json")).unwrap_or_default();
    let run: serde_json::Value = serde_json::from_str(&run).unwrap_or_default();
    pid.is_some_and(|pid| run.get("pid") == Some(&pid.into()))
}

fn unopened(paths: &StatePaths, e: &StoreError) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cannot open the state in {}: {e}", paths.root().display()));
    if e.is_held() { failure.help("`carapace stop` stops it; CARAPACE_STATE_DIR names another state") } else { failure }
}

/// The key of the secrets comes from a password where one is given, else from the keyring.
pub(crate) fn store_options() -> StoreOptions {
    let password = carapace_config::Env::var(&SystemEnv, "CARAPACE_PASSWORD").filter(|p| !p.is_empty());
    let unlocker = password.map_or(Unlocker::Keyring, |p| Unlocker::Password(SecretString::from(p)));
    StoreOptions { unlocker, ..StoreOptions::default() }
}

pub(crate) fn engine_options(config: &Config) -> EngineOptions {
    let mut options = EngineOptions::default();
    // Each run that the owner allows at once has a model of its own to wait for.
    let runs = u16::try_from(config.agent.max_concurrent_runs).unwrap_or(u16::MAX);
    options.permits.provider = options.permits.provider.max(runs);
    match config.runtime.allocator {
        Allocator::OnDemand => options.pool = None,
        Allocator::Auto | Allocator::Pooling => {
            if let Some(pool) = &mut options.pool {
                pool.max_memory = config.ceiling().memory;
            }
        }
    }
    options
}

/// What an instance is made of, its package verified again and its grant found.
pub(crate) async fn spec(
    paths: &StatePaths,
    store: &Store,
    trust: &Trust,
    config: &Config,
    id: &InstanceId,
    row: &PackageRow,
) -> Outcome<InstanceSpec> {
    let package = verify_seen(paths, store, trust, row).await?;
    if is_strange(store, &package).await? {
        let why =
            format!("what `{id}` was granted was granted to another publisher, whose key is no longer pinned for it");
        return Err(Failure::coded(Exit::Consent, "E-GRANT-007", why).help(format!("carapace plugin grant {id}")));
    }
    let grant = store.grant(id).await.or_fail("cannot read the grant")?.ok_or_else(|| {
        Failure::coded(Exit::Consent, "E-GRANT-004", format!("`{id}` was not granted anything"))
            .help(format!("carapace plugin grant {id}"))
    })?;
    Ok(spec_of(config, id, package, grant))
}

/// An installed package, verified with the highest version that was ever here.
pub(crate) async fn verify_seen(
    paths: &StatePaths,
    reader: &Reader,
    trust: &Trust,
    row: &PackageRow,
) -> Outcome<VerifiedPackage> {
    let component = row.instance.component();
    let seen = reader.highest_version(component).await.or_fail("cannot read the highest version seen")?;
    let mut trust = trust.clone();
    trust.highest_seen.extend(seen.map(|v| (component.clone(), v)));
    if row.older {
        trust.allowed_downgrades.insert(row.digest);
    }
    verify_installed(paths, &trust, row)
}

/// Whether what stands on record for a package's component was given to another publisher under the same name: one that was forgotten,
/// and whose name went to another key.
pub(crate) async fn is_strange(reader: &Reader, package: &VerifiedPackage) -> Outcome<bool> {
    let mark = reader.signed_by(package.id()).await.or_fail("cannot read who signed")?;
    Ok(mark.is_some_and(|mark| !package.is_of(&mark)))
}

/// Notes by whom each loaded component is signed, where that was not noted yet: what was granted before it was noted, too, must not pass to
/// another publisher with the name.
async fn note_signers(store: &Store, host: &Host) -> Outcome {
    let mut batch = Batch::new();
    for (id, package) in host.packages() {
        if store.signed_by(id.component()).await.or_fail("cannot read who signed")?.is_none() {
            batch = batch.signed_by(id.component().clone(), package.mark());
        }
    }
    if batch.is_empty() { Ok(()) } else { store.commit(batch).await.map(drop).or_fail("cannot note who signed") }
}

/// The same of a package and a grant that are at hand.
pub(crate) fn spec_of(config: &Config, id: &InstanceId, package: VerifiedPackage, grant: Grant) -> InstanceSpec {
    let section = config.instance(id);
    InstanceSpec {
        limits: config.limits_for(id, grant.capabilities.limits),
        endpoints: section.map(|s| s.endpoints.clone()).unwrap_or_default(),
        public_allow: section.map(|s| s.public_allow.clone()).unwrap_or_default(),
        directories: section.map(|s| s.directories.clone()).unwrap_or_default(),
        config: section.map(|s| s.config.clone()).unwrap_or_default().into(),
        id: id.clone(),
        package: Arc::new(package),
        grant,
    }
}

/// A package is verified at every load, not only when it is installed.
pub(crate) fn verify_installed(paths: &StatePaths, trust: &Trust, row: &PackageRow) -> Outcome<VerifiedPackage> {
    let publisher = &row.instance.component().publisher;
    let signature = installed::signature(paths, &row.digest, publisher);
    let package = trust::verify_file(&installed::package(paths, &row.digest), Some(&signature), trust)?;
    if package.id() != row.instance.component() {
        return Err(Failure::new(
            Exit::Refused,
            format!("the package installed as `{}` is `{}`", row.instance.component(), package.id()),
        ));
    }
    Ok(package)
}

/// The owner's token: made at the first start, kept with mode 0600.
fn token(paths: &StatePaths) -> Outcome<SecretString> {
    let file = paths.gateway_token();
    match std::fs::read_to_string(&file) {
        Ok(token) if !token.trim().is_empty() => {
            trust::make_private_file(&file)?;
            return Ok(SecretString::from(token.trim().to_owned()));
        }
        // A crash between making the file and writing it.
        Ok(_) => std::fs::remove_file(&file)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Failure::new(Exit::Failed, format!("cannot read {}: {e}", file.display()))),
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).or_fail("no randomness for the owner's token")?;
    let token = hex::encode(bytes);
    trust::write_private(&file, format!("{token}\n").as_bytes())?;
    Ok(SecretString::from(token))
}

/// `publisher/name[/instance]`, or a bare name of the local publisher.
pub(crate) fn instance_id(text: &str) -> Outcome<InstanceId> {
    let parsed = match text.parse::<Name>() {
        Ok(_) => format!("{}/{text}", trust::LOCAL).parse(),
        Err(_) => text.parse(),
    };
    parsed.map_err(|e: carapace_contract::NameError| Failure::new(Exit::Usage, e.to_string()))
}
