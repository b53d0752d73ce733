//! Tools: functions that a model can call.

mod content;
pub(crate) mod place;
mod schema;
pub(crate) mod set;

pub use crate::bindings::imports::carapace::plugin::types::Image;
pub use crate::bindings::tools::exports::carapace::plugin::tools::{Content, Context, File};
pub use content::{IntoContent, Structured};
pub use place::Place;
pub use set::ToolSet;

use crate::Error;
use crate::bindings::tools::exports::carapace::plugin::tools::ToolError as Wit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a component with tools implements. Each call is served by a fresh instance: nothing is left from the call before, and
/// what must last goes into [`kv`](crate::kv) or [`memory`](crate::memory).
///
/// ```
/// use carapace_sdk::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Greet {
///     /// Whom to greet.
///     name: String,
/// }
///
/// struct Greeter;
///
/// impl Tools for Greeter {
///     fn tools(set: &mut ToolSet) {
///         set.add("greet", "Greets somebody.", |args: Greet, _cx| Ok(format!("Hello, {}!", args.name)));
///     }
/// }
/// ```
pub trait Tools: 'static {
    /// Names every tool with its function. Runs for each call, so it only registers; the imports beyond
    /// [`log`](crate::log), [`clock`](crate::clock), [`random`](crate::random) and [`config`](crate::config) are not there yet.
    fn tools(set: &mut ToolSet);
}

/// Arguments of a tool that takes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// Why a call failed. The text is for the model, except where a case says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolError {
    /// The arguments make no sense; the text tells the model what to change.
    InvalidArguments(String),
    /// What was asked for does not exist.
    NotFound(String),
    /// Not allowed; the text is an import's `denied` text.
    Denied(String),
    /// Try again later.
    Unavailable(String),
    /// It failed, and trying again will not help.
    Failed(String),
    /// Anything else.
    Other(String),
}

impl ToolError {
    /// [`InvalidArguments`](Self::InvalidArguments)
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::InvalidArguments(text.into())
    }
    /// [`NotFound`](Self::NotFound)
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }
    /// [`Unavailable`](Self::Unavailable)
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }
    /// [`Failed`](Self::Failed)
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Self::InvalidArguments(t)
            | Self::NotFound(t)
            | Self::Denied(t)
            | Self::Unavailable(t)
            | Self::Failed(t)
            | Self::Other(t) => t,
        }
    }
}

impl std::fmt::Display for ToolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for ToolError {}

impl From<Error> for ToolError {
    fn from(e: Error) -> Self {
        match e {
            Error::Denied(t) => Self::Denied(t),
            Error::NotFound(t) => Self::NotFound(t),
            Error::Unavailable(t) | Error::Timeout(t) => Self::Unavailable(t),
            // An import's argument is this component's, not the model's.
            Error::Limit(t) | Error::Invalid(t) | Error::Other(t) => Self::Failed(t),
            Error::Cancelled => Self::Failed(Error::Cancelled.to_string()),
        }
    }
}

impl From<crate::http::Error> for ToolError {
    fn from(e: crate::http::Error) -> Self {
        e.into_inner().into()
    }
}

impl From<ToolError> for Wit {
    fn from(e: ToolError) -> Self {
        match e {
            ToolError::InvalidArguments(t) => Self::InvalidArguments(t),
            ToolError::NotFound(t) => Self::NotFound(t),
            ToolError::Denied(t) => Self::Denied(t),
            ToolError::Unavailable(t) => Self::Unavailable(t),
            ToolError::Failed(t) => Self::Failed(t),
            ToolError::Other(t) => Self::Other(t),
        }
    }
}
