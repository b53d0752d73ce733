//! What `component!` writes code against. Not for authors; may change with any version.
#![allow(missing_docs, reason = "not for people")]

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
