//! A kernel of one file: the imports as the tests need them, and a world around the loader.
#![allow(dead_code, reason = "each test crate uses what it needs")]

use crate::fixtures;
use carapace_contract::InstanceId;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::limits::Limits;
use carapace_registry::{VerifiedPackage, testing};
use carapace_runtime::bindings::{
    HttpResponse, ResponseBody, assets, blob, clock, completion, config, http, kv, lines, log, memory, message,
    provider, random, requests, secrets, sessions, settings, tools, types,
};
use carapace_runtime::engine_types::Result;
use carapace_runtime::{
    Admission, AotCache, Binding, CallError, Class, Core, EngineOptions, Engines, Entry, Guest, InProcess, Instance,
    Loaded, Loader, Sends,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What the imports saw, and how the test holds them.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) logged: Mutex<Vec<String>>,
    pub(crate) emitted: Mutex<Vec<String>>,
    /// The guest entered an import.
    pub(crate) entered: Notify,
    /// `clock.sleep-ms` returns after one of these.
    pub(crate) release: Notify,
    /// What the guest said it used.
    pub(crate) used: Mutex<Option<completion::Usage>>,
    /// What `config.get` gives; without it, the guest waits for ever.
    pub(crate) config: Option<String>,
    /// The one asset, whatever it is called; without it, it is empty.
    pub(crate) asset: Option<File>,
}

pub(crate) struct State {
    core: Core,
    watch: Arc<Watch>,
}

impl Guest for State {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, _: log::Level, message: String, _: Vec<(String, String)>) -> Result<()> {
        self.core.host_call()?;
        self.watch.logged.lock().unwrap().push(message);
        self.watch.entered.notify_one();
        Ok(())
    }
}

impl clock::Host for State {
    async fn now_ms(&mut self) -> Result<u64> {
        self.core.host_call()?;
        Ok(0)
    }
    async fn monotonic_ms(&mut self) -> Result<u64> {
        self.core.host_call()?;
        Ok(0)
    }
    async fn sleep_ms(&mut self, _: u32) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        self.watch.entered.notify_one();
        self.watch.release.notified().await;
        // Like any real wait, it ends with the guest being woken, even if the release came before the wait.
        tokio::task::yield_now().await;
        Ok(Ok(()))
    }
}

impl random::Host for State {
    async fn bytes(&mut self, length: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.core.host_call()?;
        assert_ne!(length, 13, "an import with a bug");
        Ok(Ok(vec![0; length as usize]))
    }
}

impl config::Host for State {
    async fn get(&mut self) -> Result<String> {
        self.core.host_call()?;
        self.watch.entered.notify_one();
        match &self.watch.config {
            Some(config) => Ok(config.clone()),
            None => std::future::pending().await,
        }
    }
}

impl kv::Host for State {
    async fn get(&mut self, _: String) -> Result<Result<Option<kv::Entry>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(None))
    }
    async fn set(&mut self, _: String, _: Vec<u8>, _: Option<u64>) -> Result<Result<u64, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(1))
    }
    async fn delete(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(false))
    }
    async fn keys(&mut self, _: String, _: Option<String>, _: u32) -> Result<Result<Vec<String>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
    async fn swap(
        &mut self,
        _: String,
        _: Option<u64>,
        _: Vec<u8>,
        _: Option<u64>,
    ) -> Result<Result<bool, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(false))
    }
    async fn schema(&mut self) -> Result<Result<u32, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(1))
    }
    async fn migrated(&mut self) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        Ok(Ok(()))
    }
}

struct Empty;

#[async_trait::async_trait]
impl ResponseBody for Empty {
    async fn read(&mut self, _: u32) -> std::result::Result<Vec<u8>, types::Error> {
        Ok(Vec::new())
    }
    async fn to_blob(&mut self, _: u64) -> std::result::Result<String, types::Error> {
        Ok(String::new())
    }
}

impl Sends for State {
    async fn send(&mut self, _: http::Request) -> Result<Result<HttpResponse, http::Failure>> {
        Ok(Ok(HttpResponse { status: 200, headers: Vec::new(), url: String::new(), body: Box::new(Empty) }))
    }
}

impl assets::Host for State {
    async fn describe(&mut self, _: String) -> Result<Result<assets::Info, types::Error>> {
        self.core.host_call()?;
        let size = self.watch.asset.as_ref().map_or(0, |file| file.metadata().unwrap().len());
        Ok(Ok(assets::Info { size, sha256: String::new() }))
    }
    async fn read(&mut self, _: String, offset: u64, max: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.core.host_call()?;
        let Some(file) = &self.watch.asset else { return Ok(Ok(Vec::new())) };
        let mut bytes = vec![0; max as usize];
        let read = file.read_at(&mut bytes, offset).unwrap();
        bytes.truncate(read);
        Ok(Ok(bytes))
    }
}

impl memory::Host for State {
    async fn read(&mut self, _: String) -> Result<Result<Option<memory::Note>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(None))
    }
    async fn write(&mut self, _: String, _: String) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        Ok(Ok(()))
    }
    async fn delete(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(false))
    }
    async fn list(&mut self, _: u32) -> Result<Result<Vec<memory::Note>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
    async fn search(&mut self, _: String, _: u32) -> Result<Result<Vec<memory::Note>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
}

impl sessions::Host for State {
    async fn list(&mut self, _: u32) -> Result<Result<Vec<sessions::Session>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
    async fn read(&mut self, _: String, _: u32) -> Result<Result<Vec<sessions::Entry>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
}

impl settings::Host for State {
    async fn read(&mut self, _: String) -> Result<Result<Option<String>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(None))
    }
}

impl blob::Host for State {
    async fn put(&mut self, _: Vec<u8>) -> Result<Result<String, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(String::new()))
    }
    async fn describe(&mut self, _: String) -> Result<Result<blob::Info, types::Error>> {
        self.core.host_call()?;
        Ok(Err(types::Error::NotFound(String::new())))
    }
    async fn read(&mut self, _: String, _: u64, _: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
}

impl lines::Host for State {
    async fn write(&mut self, _: String, _: String, _: String) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        Ok(Ok(()))
    }
}

impl message::Host for State {
    async fn send(&mut self, _: String, _: String) -> Result<Result<String, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(String::new()))
    }
}

impl requests::Host for State {
    async fn install(&mut self, _: String, _: String) -> Result<Result<String, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(String::new()))
    }
}

impl secrets::Host for State {
    async fn exists(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(false))
    }
    async fn hmac_sha256(&mut self, _: String, _: Vec<u8>) -> Result<Result<Vec<u8>, types::Error>> {
        self.core.host_call()?;
        Ok(Ok(Vec::new()))
    }
}

impl completion::Host for State {
    async fn emit(&mut self, event: completion::Event) -> Result<Result<(), types::Error>> {
        self.core.host_call()?;
        match event {
            completion::Event::Text(text) => self.watch.emitted.lock().unwrap().push(text),
            completion::Event::Usage(usage) => *self.watch.used.lock().unwrap() = Some(usage),
            _ => {}
        }
        Ok(Ok(()))
    }
}

/// A loaded component, and everything around one instance of it.
pub(crate) struct Subject {
    pub(crate) loaded: Arc<Loaded<State>>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) granted: CapabilitySet,
    pub(crate) watch: Arc<Watch>,
    pub(crate) cancel: CancellationToken,
}

pub(crate) fn engines() -> Engines {
    Engines::new(EngineOptions::default()).unwrap()
}

pub(crate) fn loader(engines: &Engines, cache: Option<Arc<AotCache>>) -> Loader {
    Loader::new(engines, Arc::new(InProcess::new(engines)), cache)
}

/// A verified tool package from a fixture's fields.
pub(crate) fn tool(fields: &str, uses: &str, more: &str) -> VerifiedPackage {
    testing::verified(fixtures::tool(fields), &fixtures::tool_manifest("fixture", uses, more))
}

pub(crate) fn provider(fields: &str, more: &str) -> VerifiedPackage {
    testing::verified(fixtures::provider(fields), &fixtures::provider_manifest("fixture", more))
}

impl Subject {
    /// Everything the package asks is granted; its limits are in force.
    pub(crate) async fn new(engines: &Engines, package: &VerifiedPackage) -> Self {
        Self::limited(engines, package, package.manifest().limits).await
    }

    /// With a binding of its own.
    pub(crate) async fn bound(engines: &Engines, package: &VerifiedPackage, binding: Arc<dyn Binding<State>>) -> Self {
        let loaded = loader(engines, None).load_bound(package, binding).await.unwrap_or_else(|e| panic!("{e}"));
        Self::of(loaded, package, package.manifest().limits)
    }

    pub(crate) async fn limited(engines: &Engines, package: &VerifiedPackage, limits: Limits) -> Self {
        let loaded = loader(engines, None).load(package).await.unwrap_or_else(|e| panic!("{e}"));
        Self::of(loaded, package, limits)
    }

    fn of(loaded: Arc<Loaded<State>>, package: &VerifiedPackage, limits: Limits) -> Self {
        let id: InstanceId = "local/fixture/main".parse().unwrap();
        Self {
            loaded,
            instance: Instance::new(id, limits),
            granted: package.capabilities().clone(),
            watch: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) fn state(&self, entry: Entry<'_>) -> State {
        let plan = self.loaded.plan(self.instance.id(), &self.granted, entry).unwrap_or_else(|e| panic!("{e}"));
        State { core: Core::new(&self.instance, &plan, self.cancel.clone()), watch: self.watch.clone() }
    }

    /// Calls tool `run`.
    pub(crate) async fn run(&self, arguments: &str) -> Result<Result<String, String>, CallError> {
        self.run_admitted(arguments, Admission::new(Class::Tool)).await
    }

    pub(crate) async fn run_admitted(
        &self,
        arguments: &str,
        admission: Admission,
    ) -> Result<Result<String, String>, CallError> {
        let context = tools::Context { call_id: "1".into(), session: "test".into(), timezone: None, extra: Vec::new() };
        let state = self.state(Entry::Tool("run"));
        let answer = self.loaded.call_tool(state, admission, "run".into(), arguments.into(), context).await?;
        Ok(match answer {
            Ok(content) => match content.as_slice() {
                [tools::Content::Text(text)] => Ok(text.clone()),
                other => panic!("not one text: {other:?}"),
            },
            Err(tools::ToolError::Denied(text)) => Err(text),
            Err(other) => panic!("not a denial: {other:?}"),
        })
    }
}

pub(crate) fn request() -> provider::Request {
    provider::Request {
        model: "m".into(),
        messages: Vec::new(),
        tools: Vec::new(),
        tool_choice: provider::ToolChoice::Auto,
        max_output: None,
        temperature: None,
        top_p: None,
        seed: None,
        stop: Vec::new(),
        json_schema: None,
        extra: Vec::new(),
    }
}
