//! Why an import refused or failed.

use crate::bindings::imports::carapace::plugin::types::Error as Wit;
use serde::{Deserialize, Serialize};

/// Why the kernel refused something, or failed to do it. The text is for a person; match on the case.
///
/// With `?` it becomes a [`ToolError`](crate::ToolError) or a [`Failure`](crate::Failure) of the fitting kind: what was denied
/// stays denied, what is unavailable stays worth another try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// The grant does not cover this. The text names the rule, the value and the command that would allow it.
    Denied(String),
    /// A limit of the manifest or of the operator was reached.
    Limit(String),
    /// The thing named does not exist.
    NotFound(String),
    /// An argument was malformed.
    Invalid(String),
    /// The other side could not be reached or answered nonsense; trying again may help.
    Unavailable(String),
    /// A deadline passed.
    Timeout(String),
    /// The owner or the kernel stopped this run; return as soon as possible.
    Cancelled,
    /// Anything a later version of the kernel adds.
    Other(String),
}

impl Error {
    /// Nobody wants the result any more.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// The grant or the manifest does not allow it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(_))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(t)
            | Self::Limit(t)
            | Self::NotFound(t)
            | Self::Invalid(t)
            | Self::Unavailable(t)
            | Self::Timeout(t)
            | Self::Other(t) => f.write_str(t),
            Self::Cancelled => f.write_str("the run was cancelled"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Wit> for Error {
    fn from(e: Wit) -> Self {
        match e {
            Wit::Denied(t) => Self::Denied(t),
            Wit::Limit(t) => Self::Limit(t),
            Wit::NotFound(t) => Self::NotFound(t),
            Wit::Invalid(t) => Self::Invalid(t),
            Wit::Unavailable(t) => Self::Unavailable(t),
            Wit::Timeout(t) => Self::Timeout(t),
            Wit::Cancelled => Self::Cancelled,
            Wit::Other(t) => Self::Other(t),
        }
    }
}
