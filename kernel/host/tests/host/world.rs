//! A host around a store of its own; its only door leads to nowhere unless a test serves something.

use crate::fixtures;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::completion::{CompletionEvent, CompletionFailure, CompletionRequest, ModelRef};
use carapace_contract::decision::{Circumstances, Origin, PlannedCall, Verdict, authorize};
use carapace_contract::grant::Grant;
use carapace_contract::ports::{Models, ToolFailure, ToolOutput, Tools};
use carapace_contract::{Denial, Digest, InstanceId};
use carapace_egress::Door;
use carapace_host::{Host, HostOptions, InstanceSpec, Services};
use carapace_registry::{AssetFiles, VerifiedPackage, testing};
use carapace_runtime::{EngineOptions, Engines, InProcess, Loader};
use carapace_store::{Store, StoreOptions, Unlocker};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A host and what it stands on.
pub(crate) struct World {
    pub(crate) host: Arc<Host>,
    pub(crate) store: Store,
    dir: tempfile::TempDir,
}

/// `local/fixture/main`
pub(crate) fn id() -> InstanceId {
    "local/fixture/main".parse().unwrap()
}

/// The tool fixture's list: one tool `run`.
const LISTING: &str = r#"(data (i32.const 640) "\00\08\00\00\01\00\00\00")
(data (i32.const 2048) "\00\0c\00\00\03\00\00\00\00\0c\00\00\03\00\00\00\03\0c\00\00\11\00\00\00\00\00\00\00\00\00\00\00")
(data (i32.const 3072) "run{\22type\22:\22object\22}")"#;

/// A package with the tool `run`; `more` is TOML.
pub(crate) fn tool(fields: &str, uses: &str, more: &str) -> VerifiedPackage {
    let fields = format!("{fields}\n{LISTING}");
    testing::verified(fixtures::tool(&fields), &fixtures::tool_manifest("fixture", uses, more))
}

/// A package of a provider.
pub(crate) fn provider(fields: &str) -> VerifiedPackage {
    provider_with(fields, "")
}

/// The same with a manifest that says more.
pub(crate) fn provider_with(fields: &str, more: &str) -> VerifiedPackage {
    testing::verified(fixtures::provider(fields), &fixtures::provider_manifest("fixture", more))
}

/// What a first consent gives.
pub(crate) fn granted(package: &VerifiedPackage) -> Grant {
    grant(package, package.capabilities().clone())
}

/// These capabilities, for this package.
pub(crate) fn grant(package: &VerifiedPackage, capabilities: CapabilitySet) -> Grant {
    Grant {
        instance: id(),
        digest: package.digest(),
        capabilities,
        by: "owner, test".into(),
        at_ms: 0,
        revoked: false,
        refused: Default::default(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_environment(|_| None)
    }

    pub(crate) fn with_environment(environment: fn(&str) -> Option<String>) -> Self {
        Self::with_route(environment, Vec::new())
    }

    pub(crate) fn with_route(environment: fn(&str) -> Option<String>, route: Vec<String>) -> Self {
        Self::open(tempfile::tempdir().unwrap(), "a password", environment, route)
    }

    /// The same state with another password.
    pub(crate) async fn reopened(self, password: &str) -> Self {
        self.store.close().await;
        Self::open(self.dir, password, |_| None, Vec::new())
    }

    fn open(
        dir: tempfile::TempDir,
        password: &str,
        environment: fn(&str) -> Option<String>,
        route: Vec<String>,
    ) -> Self {
        let options = StoreOptions { unlocker: Unlocker::Password(password.into()), ..StoreOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        let engines = Engines::new(EngineOptions::default()).unwrap();
        let assets = AssetFiles::new(dir.path().join("assets"));
        let settings = Arc::new(|| json!({"agent": {"maxTurns": 16}}));
        let door = Door::builder().build();
        let services = Services::new(store.clone(), door, Arc::new(environment), assets, settings, Vec::new());
        let host = Host::new(HostOptions {
            services,
            loader: Loader::new(&engines, Arc::new(InProcess::new(&engines)), None),
            route: Arc::new(move || route.clone()),
            timezone: None,
        });
        Self { host, store, dir }
    }

    pub(crate) async fn load(&self, package: VerifiedPackage, grant: Grant) -> Result<(), Denial> {
        self.load_with(package, grant, json!({}), &[]).await
    }

    pub(crate) async fn load_with(
        &self,
        package: VerifiedPackage,
        grant: Grant,
        config: Value,
        endpoints: &[(&str, String)],
    ) -> Result<(), Denial> {
        let endpoints: BTreeMap<_, _> =
            endpoints.iter().map(|(n, u)| (n.parse().unwrap(), u.parse().unwrap())).collect();
        let limits = grant.capabilities.limits;
        let id = grant.instance.clone();
        self.host
            .load(InstanceSpec {
                id,
                package: Arc::new(package),
                grant,
                endpoints,
                public_allow: BTreeSet::new(),
                directories: Default::default(),
                config,
                limits,
            })
            .await
    }

    /// Puts `content` where the file that is `signed` lies.
    pub(crate) fn asset(&self, signed: &[u8], content: &[u8]) {
        let path = AssetFiles::new(self.dir.path().join("assets")).path(&Digest::of(signed));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Calls `run` as the owner.
    pub(crate) async fn call(&self, arguments: Value) -> Result<ToolOutput, ToolFailure> {
        self.call_as(Origin::Owner, "s", false, arguments).await
    }

    /// Calls `run` in a turn that somebody else may be behind.
    pub(crate) async fn call_as(
        &self,
        origin: Origin,
        session: &str,
        tainted: bool,
        arguments: Value,
    ) -> Result<ToolOutput, ToolFailure> {
        let catalog = self.host.catalog();
        let tool = catalog.iter().find(|t| t.name == "run").expect("the tool is on offer").clone();
        let call = PlannedCall {
            run: ulid::Ulid::nil(),
            session: session.into(),
            call_id: "c".into(),
            instance: tool.instance,
            digest: tool.digest,
            tool: tool.name,
            arguments,
            effects: tool.effects,
            origin,
            tainted,
            place: None,
            elsewhere: false,
        };
        let circumstances = Circumstances { trusted_text: Vec::new() };
        let Verdict::Allow(call) = authorize(call, &circumstances) else { panic!("the checkpoint lets this pass") };
        Tools::call(&*self.host, &call, CancellationToken::new()).await
    }

    /// A completion under way: what it says, and its end.
    pub(crate) fn complete(
        &self,
        room: usize,
    ) -> (mpsc::Receiver<CompletionEvent>, tokio::task::JoinHandle<Result<(), CompletionFailure>>) {
        let (sink, source) = mpsc::channel(room);
        let host = self.host.clone();
        let model = ModelRef { instance: id(), model: "m".into() };
        let running = tokio::spawn(async move {
            host.complete(&model, &CompletionRequest::default(), sink, CancellationToken::new()).await
        });
        (source, running)
    }
}
