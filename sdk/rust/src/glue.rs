//! What `component!` writes code against. Not for authors; may change with any version.
#![allow(missing_docs, reason = "not for people")]

pub use crate::bindings::channel as channel_bindings;
pub use crate::bindings::channel::export_channel;
pub use crate::bindings::channel::exports::carapace::plugin::channel as wit_channel;
pub use crate::bindings::provider as provider_bindings;
pub use crate::bindings::provider::export_provider;
pub use crate::bindings::provider::exports::carapace::plugin::provider::{
    Failure as WitFailure, Guest as ProviderGuest,
};
pub use crate::bindings::tools as tools_bindings;
pub use crate::bindings::tools::export_tools;
pub use crate::bindings::tools::exports::carapace::plugin::tools::{
    Content as WitContent, Context as WitContext, Guest as ToolsGuest, Tool, ToolError as WitToolError,
};
use crate::channel::{self, Channel};
use crate::provider::{Completion, Failure, Model, Provider, Request};
use crate::tools::{ToolSet, Tools, set};

/// What `carapace.toml` says, as far as code depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Manifest {
    pub name: &'static str,
    pub sections: &'static [&'static str],
    pub kv_schema: u32,
    pub endpoints: &'static [(&'static str, &'static [&'static str])],
    pub public_http: bool,
    pub secrets: &'static [(&'static str, bool)],
    pub tools: &'static [ToolDecl],
    pub warm: bool,
}

/// `[[tool]]`
#[derive(Debug, Clone, Copy)]
pub struct ToolDecl {
    pub name: &'static str,
    pub uses: &'static [&'static str],
}

/// A component, as its tests see it.
#[derive(Clone, Copy)]
pub struct Component {
    pub manifest: &'static Manifest,
    pub tools: Option<fn(&mut ToolSet)>,
    pub provider: Option<fn() -> Box<dyn AnyProvider>>,
    pub channel: Option<fn() -> Box<dyn AnyChannel>>,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("name", &self.manifest.name).finish_non_exhaustive()
    }
}

impl Component {
    /// The manifest and the code name the same tools.
    ///
    /// # Panics
    /// They do not.
    #[allow(clippy::panic, reason = "it is the body of a test")]
    pub fn assert_tools_agree(&self) {
        let Some(tools) = self.tools else { return };
        let here = set::names(tools);
        let declared: Vec<&str> = self.manifest.tools.iter().map(|t| t.name).collect();
        for (index, name) in here.iter().enumerate() {
            assert!(
                declared.contains(&name.as_str()),
                "the code adds the tool `{name}`; carapace.toml has no [[tool]] of that name"
            );
            assert!(!here.iter().take(index).any(|n| n == name), "the code adds the tool `{name}` twice");
        }
        for name in declared {
            assert!(
                here.iter().any(|n| n == name),
                "carapace.toml has a [[tool]] `{name}`, which the code does not add"
            );
        }
    }
}

/// A provider of any type.
pub trait AnyProvider {
    fn models(&self) -> Result<Vec<Model>, Failure>;
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure>;
}

impl<P: Provider> AnyProvider for P {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        Provider::models(self)
    }
    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        Provider::complete(self, request, out)
    }
}

/// A new provider of that type.
pub fn provider<P: Provider>() -> Box<dyn AnyProvider> {
    Box::<P>::default()
}

/// A channel of any type, as its export is.
pub trait AnyChannel {
    fn describe(&self) -> channel::Description;
    fn start(&self, state: Vec<u8>) -> Result<wit_channel::Outcome, channel::Failure>;
    fn on_event(
        &self,
        state: Vec<u8>,
        event: wit_channel::Event,
        attempt: u32,
    ) -> Result<wit_channel::Outcome, channel::Failure>;
    fn split(&self, response: channel::PollResponse) -> Result<Vec<channel::Item>, channel::Failure>;
    fn render(
        &self,
        conversation: &channel::Conversation,
        content: channel::Content,
    ) -> Result<Vec<channel::Part>, channel::Failure>;
    fn send(&self, outgoing: channel::Outgoing) -> Result<channel::Receipt, channel::Failure>;
    fn edit(&self, outgoing: channel::Outgoing, id: String) -> Result<(), channel::Failure>;
    fn typing(&self, conversation: &channel::Conversation, on: bool) -> Result<(), channel::Failure>;
    fn fetch_media(&self, attachment: channel::Attachment) -> Result<String, channel::Failure>;
}

impl<C: Channel> AnyChannel for C {
    fn describe(&self) -> channel::Description {
        Channel::describe(self)
    }
    fn start(&self, state: Vec<u8>) -> Result<wit_channel::Outcome, channel::Failure> {
        Channel::start(self, channel::state(&state)?)?.into_wit()
    }
    fn on_event(
        &self,
        state: Vec<u8>,
        event: wit_channel::Event,
        attempt: u32,
    ) -> Result<wit_channel::Outcome, channel::Failure> {
        Channel::on_event(self, channel::state(&state)?, channel::event(event), attempt)?.into_wit()
    }
    fn split(&self, response: channel::PollResponse) -> Result<Vec<channel::Item>, channel::Failure> {
        Channel::split(self, response)
    }
    fn render(
        &self,
        conversation: &channel::Conversation,
        content: channel::Content,
    ) -> Result<Vec<channel::Part>, channel::Failure> {
        Channel::render(self, conversation, content)
    }
    fn send(&self, outgoing: channel::Outgoing) -> Result<channel::Receipt, channel::Failure> {
        Channel::send(self, outgoing)
    }
    fn edit(&self, outgoing: channel::Outgoing, id: String) -> Result<(), channel::Failure> {
        Channel::edit(self, outgoing, &id)
    }
    fn typing(&self, conversation: &channel::Conversation, on: bool) -> Result<(), channel::Failure> {
        Channel::typing(self, conversation, on)
    }
    fn fetch_media(&self, attachment: channel::Attachment) -> Result<String, channel::Failure> {
        Channel::fetch_media(self, attachment)
    }
}

/// A request as the kernel gets it, of one that the test host got.
#[cfg(not(target_family = "wasm"))]
pub fn request_of(outgoing: crate::host::Outgoing) -> crate::bindings::imports::carapace::plugin::http::Request {
    outgoing.into()
}

/// A new channel of that type, with its panics going to the log.
pub fn channel<C: Channel>() -> Box<dyn AnyChannel> {
    panics_go_to_the_log();
    Box::<C>::default()
}

/// `tools.list`
pub fn list<T: Tools>() -> Vec<Tool> {
    panics_go_to_the_log();
    set::list(T::tools)
}

/// `tools.call`
pub fn call<T: Tools>(name: &str, arguments: &str, context: WitContext) -> Result<Vec<WitContent>, WitToolError> {
    panics_go_to_the_log();
    set::call(T::tools, name, arguments, &context).map_err(Into::into)
}

/// `provider.models`
pub fn models<P: Provider>(provider: &P) -> Result<Vec<Model>, WitFailure> {
    panics_go_to_the_log();
    provider.models().map_err(Into::into)
}

/// `provider.complete`
pub fn complete<P: Provider>(provider: &mut P, request: Request) -> Result<(), WitFailure> {
    panics_go_to_the_log();
    provider.complete(request, &mut Completion::new()).map_err(Into::into)
}

/// A panic is a trap, and a trap has no text: it goes to the log before.
fn panics_go_to_the_log() {
    #[cfg(target_family = "wasm")]
    {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|info| crate::log::error(info.to_string())));
        });
    }
}
