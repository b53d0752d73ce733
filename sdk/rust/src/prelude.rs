//! What a component's code usually needs: `use carapace_sdk::prelude::*;`.

pub use crate::provider::{
    Completion, Event, Failure, FailureKind, Message, Model, Part, Provider, Request, Role, StopReason, ToolCall, Usage,
};
pub use crate::tools::{
    Content, Context, File, Image, IntoContent, NoArguments, Structured, ToolError, ToolSet, Tools,
};
pub use crate::{clock, config, http, kv, log, memory, random, secrets};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;

#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub use crate::testing::TestHost;
