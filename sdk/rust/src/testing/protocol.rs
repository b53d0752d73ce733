//! What a test's process and the host of a built component say to each other: JSON, one message a line. The host speaks first.
//!
//! The fakes travel with every call and come back as it left them, so that the host keeps nothing but a warm instance.
#![allow(missing_docs, reason = "for the two ends; may change with any version, which is why it has one")]

use super::FakeHost;
pub use super::channel::{ChannelAnswer, ChannelCall};
pub use super::fake::Declared;
use super::fake::Entry;
pub use crate::host::{Incoming, Outgoing};
use crate::provider::{Failure, Model, Request};
use crate::tools::{Content, Context, ToolError};
use serde::{Deserialize, Serialize};

/// Goes up whenever a message changes, [`FakeHost`] included.
pub const VERSION: u32 = 3;

/// The host's first line. Its field `protocol` stays in every version, so that each end can tell the other's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Greeting {
    pub protocol: u32,
    /// The component's name in its manifest; or why it cannot be run.
    pub component: Result<String, String>,
    /// For tests in other languages: a kernel in which nothing is, that holds the component to its manifest.
    #[serde(default)]
    pub fake: Option<Box<FakeHost>>,
}

/// What the test's process asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Is answered with one [`Answered`].
    Call {
        /// Which test: a warm instance is one test's own.
        test: u64,
        call: Box<Call>,
        fake: Box<FakeHost>,
    },
    /// That test is over. Has no answer.
    Over { test: u64 },
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    List,
    Tool { name: String, arguments: String, context: Context },
    Models,
    Complete(Request),
    Channel(Box<ChannelCall>),
}

/// The fakes after a call, and how it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    pub fake: Box<FakeHost>,
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    List(Vec<String>),
    Tool(Result<Vec<Content>, ToolError>),
    Models(Result<Vec<Model>, Failure>),
    Complete(Result<(), Failure>),
    Channel(Box<ChannelAnswer>),
    /// Without an answer: a panic, a limit, or the kernel refused it. The text is the kernel's, with its code.
    Ended(String),
}

impl Call {
    pub(crate) fn entry(&self) -> Entry {
        match self {
            Self::List => Entry::List,
            Self::Tool { name, .. } => Entry::Tool(name.clone()),
            Self::Models | Self::Complete(_) => Entry::Provider,
            Self::Channel(_) => Entry::Channel,
        }
    }
}
