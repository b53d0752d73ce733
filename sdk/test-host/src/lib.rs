//! The host of a component's tests: one built component, run as the kernel runs it, in a world made of data.
//!
//! Real are the verification (with a key that is thrown away), the link plan from the manifest, the limits, and the engine. Behind every
//! import stands the SDK's [`FakeHost`], the same code that a test meets without a component, so that a test means the same both ways. The
//! test's process sends the fakes with each call and gets them back; see [`protocol`].
//!
//! This room opens no socket, reads no file but the assets that a test names, and keeps nothing but the warm instance of a running test.

#![allow(clippy::disallowed_methods, reason = "the fakes read the files that a test names")]

mod convert;
mod imports;
mod measure;
mod replay;
mod wasi;

pub use carapace_runtime::Difference;
pub use measure::Used;
pub use replay::replay;

use carapace_contract::InstanceId;
use carapace_contract::limits::Life;
use carapace_contract::manifest::{Manifest, Use};
use carapace_registry::{PublisherBook, SigningKey, Trust, VerifiedPackage, package, verify};
use carapace_runtime::{
    Admission, Class, Core, EngineOptions, Engines, Entry, Imports, InProcess, Instance, Loaded, Loader, Warm,
};
use carapace_sdk::testing::{FakeHost, protocol};
use imports::State;
use protocol::{Answered, Ask, Call, ChannelCall, Declared, Greeting, Outcome, VERSION};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Why the host ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The package cannot be run. The test's process was told.
    #[error("{0}")]
    Component(String),
    /// The test's process said something that this version does not know.
    #[error(
        "the test's process said what this host does not understand: {0}; carapace and carapace-sdk must be of one version (test protocol {VERSION})"
    )]
    Protocol(serde_json::Error),
    /// The test's process cannot be read or written.
    #[error("the test's process cannot be reached: {0}")]
    Io(#[from] std::io::Error),
}

/// One component, ready for calls.
pub struct TestHost {
    loaded: Arc<Loaded<State>>,
    package: VerifiedPackage,
    instance: Arc<Instance>,
    /// By test.
    warm: HashMap<u64, Warm<State>>,
    used: Used,
}

impl std::fmt::Debug for TestHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestHost").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

impl TestHost {
    /// Signs the package with a key of its own, verifies it as the kernel would, and compiles it. Everything it asks for is granted.
    ///
    /// # Errors
    /// It is no package, its manifest does not ask for what it imports, or it cannot be compiled.
    pub async fn load(bytes: Vec<u8>) -> Result<Self, HostError> {
        let (loaded, package, instance) = loaded(bytes).await.map_err(HostError::Component)?;
        Ok(Self { loaded, package, instance, warm: HashMap::new(), used: Used::default() })
    }

    /// The most that one of the calls so far used.
    pub fn used(&self) -> Used {
        self.used
    }

    /// Its name in its manifest.
    pub fn component(&self) -> String {
        self.package.manifest().component.name.to_string()
    }

    /// A kernel in which nothing is, that holds the component to its manifest.
    pub fn fake(&self) -> FakeHost {
        FakeHost::declaring(declared(self.package.manifest()))
    }

    /// Makes a call of a test's.
    pub async fn call(&mut self, test: u64, call: Call, fake: FakeHost) -> Answered {
        let fake = Arc::new(Mutex::new(fake));
        let before = self.instance.meter().snapshot();
        let outcome = match self.state(&call, &fake) {
            Ok(state) => self.perform(test, call, state).await,
            Err(denied) => Outcome::Ended(denied),
        };
        self.used.add(&before, &self.instance.meter().snapshot());
        let fake = fake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answered { fake: Box::new(fake), outcome }
    }

    /// Drops what was kept for a test.
    pub fn over(&mut self, test: u64) {
        self.warm.remove(&test);
    }

    fn state(&self, call: &Call, fake: &Arc<Mutex<FakeHost>>) -> Result<State, String> {
        let granted = self.package.capabilities();
        let entry = match call {
            Call::Tool { name, .. } if granted.tools.contains_key(name.as_str()) => Entry::Tool(name),
            // A name that the manifest does not have never gets this far in the kernel. Here the component answers, with nothing at hand.
            Call::List | Call::Tool { .. } => Entry::ListTools,
            Call::Models | Call::Complete(_) => Entry::Provider,
            Call::Channel(call) => channel_entry(call),
        };
        let plan = self.loaded.plan(self.instance.id(), granted, entry).map_err(|denial| denial.to_string())?;
        let mut core = Core::new(&self.instance, &plan, CancellationToken::new());
        wasi::enter(&mut core, fake, granted)?;
        Ok(State::new(core, fake.clone()))
    }

    async fn perform(&mut self, test: u64, call: Call, state: State) -> Outcome {
        let (tool, provider) = (Admission::new(Class::Tool), Admission::new(Class::Provider));
        let ended = match call {
            Call::List => match self.loaded.list_tools(state, tool).await {
                Ok(tools) => return Outcome::List(tools.into_iter().map(|t| t.name).collect()),
                Err(e) => e,
            },
            Call::Tool { name, arguments, context } => {
                match self.loaded.call_tool(state, tool, name, arguments, convert::context(context)).await {
                    Ok(answer) => return Outcome::Tool(convert::tool(answer)),
                    Err(e) => e,
                }
            }
            Call::Channel(call) => match convert::channel::call(&self.loaded, state, *call).await {
                Ok(answer) => return Outcome::Channel(Box::new(answer)),
                Err(e) => e,
            },
            Call::Models => match self.loaded.models(state, provider).await {
                Ok(answer) => return Outcome::Models(convert::models(answer)),
                Err(e) => e,
            },
            Call::Complete(request) => {
                let request = convert::request(request);
                let answer = if self.package.manifest().instance.life == Life::Warm {
                    let warm = self.warm.entry(test).or_insert_with(|| Warm::new(self.loaded.clone()));
                    warm.complete(state, provider, request).await
                } else {
                    self.loaded.complete(state, provider, request).await
                };
                match answer {
                    Ok(answer) => return Outcome::Complete(answer.map_err(convert::failure)),
                    Err(e) => e,
                }
            }
        };
        Outcome::Ended(ended.to_string())
    }
}

/// A manifest as the fakes know it.
fn declared(m: &Manifest) -> Declared {
    let sections = [
        ("kv", m.kv.is_some()),
        ("memory", m.memory.is_some()),
        ("sessions", m.sessions.is_some()),
        ("settings", m.settings.is_some()),
        ("requests", m.requests.is_some()),
        ("message", m.message.is_some()),
        ("lines", m.lines.is_some()),
        ("blob", m.blob.is_some()),
        ("asset", !m.assets.is_empty()),
        ("secrets", !m.secrets.is_empty()),
        ("provider", m.provider.is_some()),
        ("channel", m.channel.is_some()),
    ];
    Declared {
        name: m.component.name.to_string(),
        schema: m.kv.as_ref().map_or(1, |kv| kv.schema),
        sections: sections.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect(),
        endpoints: m.http.iter().map(|e| (e.endpoint.to_string(), e.methods.clone())).collect(),
        public_http: m.public_http,
        secrets: m.secrets.iter().map(|(name, s)| (name.to_string(), s.hmac)).collect(),
        tools: m.tools.iter().map(|t| (t.name.clone(), t.uses.iter().map(Use::word).collect())).collect(),
    }
}

/// A package of whoever asks, ready for calls with any store.
async fn loaded<T: Imports>(bytes: Vec<u8>) -> Result<(Arc<Loaded<T>>, VerifiedPackage, Arc<Instance>), String> {
    let package = verified(bytes)?;
    let engines = Engines::new(EngineOptions::default()).map_err(|e| e.to_string())?;
    let loader = Loader::new(&engines, Arc::new(InProcess::new(&engines)), None);
    let loaded = loader.load(&package).await.map_err(|e| e.to_string())?;
    let id: InstanceId = format!("{}/main", package.id()).parse().map_err(|e| format!("{e}"))?;
    let instance = Instance::new(id, package.manifest().limits);
    Ok((loaded, package, instance))
}

fn channel_entry(call: &ChannelCall) -> Entry<'static> {
    match call {
        ChannelCall::Describe => Entry::ChannelPure("describe"),
        ChannelCall::Split(_) => Entry::ChannelPure("split"),
        ChannelCall::Render(..) => Entry::ChannelPure("render"),
        ChannelCall::Start { .. }
        | ChannelCall::Event { .. }
        | ChannelCall::Send(_)
        | ChannelCall::Edit(..)
        | ChannelCall::Typing(..)
        | ChannelCall::FetchMedia(_) => Entry::Channel,
    }
}

/// Only verification makes a package that can be loaded. Whom to trust is not a question here: whoever tests a component runs their own code.
fn verified(bytes: Vec<u8>) -> Result<VerifiedPackage, String> {
    let key = SigningKey::generate().map_err(|e| e.to_string())?;
    let mut publishers = PublisherBook::empty();
    let local = "local".parse().map_err(|e| format!("{e}"))?;
    publishers.pin(local, key.public(), 0).map_err(|e| e.to_string())?;
    let signature = package::sign(&bytes, &key).map_err(|e| e.to_string())?;
    verify(bytes, &signature, &Trust { publishers, ..Trust::default() }).map_err(|e| e.to_string())
}

/// Serves the process at the other end until its input ends. `note` hears what the calls so far used, before each answer.
///
/// # Errors
/// See [`HostError`]. A component that cannot be run is also told to the other end.
pub fn serve(
    package: Vec<u8>,
    input: impl BufRead,
    mut output: impl Write,
    note: impl Fn(Used) -> std::io::Result<()>,
) -> Result<(), HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loaded = runtime.block_on(TestHost::load(package));
    let component = loaded.as_ref().map(TestHost::component).map_err(ToString::to_string);
    let fake = loaded.as_ref().ok().map(|host| Box::new(host.fake()));
    write_line(&mut output, &Greeting { protocol: VERSION, component, fake })?;
    let mut host = loaded?;
    for line in input.lines() {
        match serde_json::from_str(&line?).map_err(HostError::Protocol)? {
            Ask::Call { test, call, fake } => {
                let answered = runtime.block_on(host.call(test, *call, *fake));
                note(host.used())?;
                write_line(&mut output, &answered)?;
            }
            Ask::Over { test } => host.over(test),
        }
    }
    Ok(())
}

fn write_line(output: &mut impl Write, message: &impl serde::Serialize) -> Result<(), std::io::Error> {
    serde_json::to_writer(&mut *output, message)?;
    output.write_all(b"\n")?;
    output.flush()
}
