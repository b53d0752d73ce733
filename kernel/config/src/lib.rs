//! The operator's configuration file, `carapace.json5`: parse → `$include` → `${ENV}` → schema → typed [`Config`].
//!
//! Every problem is reported at once, with its file, its path and what to write instead; an unknown key is an error that
//! names the nearest known one. A missing file means the defaults. No secret stands in the file: secrets live in the store.
//! The environment is reached through [`Env`] only, so a test brings its own.
//!
//! One starts from [`ConfigHandle`] (the current configuration, reloaded in place, keeping the last good one) or from
//! [`Config::parse`]; [`StatePaths`] says where everything lies.
//!
//! ```
//! use carapace_config::{Config, NoEnv};
//! let config = Config::parse("{ gateway: { port: 0 } }", "carapace.json5".as_ref(), &NoEnv)?;
//! assert_eq!(config.gateway.port, 0);
//!
//! let error = Config::parse("{ gateway: { prot: 0 } }", "carapace.json5".as_ref(), &NoEnv).unwrap_err();
//! assert!(error.to_string().contains("did you mean `gateway.port`"));
//! # Ok::<(), carapace_config::ConfigError>(())
//! ```
#![allow(clippy::disallowed_methods, reason = "this room owns the configuration files and the environment")]

mod channel;
mod check;
mod edit;
mod env;
mod handle;
mod limits;
mod load;
mod model;
mod names;
mod paths;
mod problem;
mod schema;
mod shown;
mod tree;

pub use channel::{ChannelPolicy, ChannelsSection, Direct, Groups, SessionScope, Target, Uncertain};
pub use edit::{Change, EditError, edit, fresh};
pub use env::{Env, NoEnv, SystemEnv};
pub use handle::ConfigHandle;
pub use limits::{ByteSize, LimitOverrides};
pub use model::{
    Agent, Allocator, Budget, Config, Gateway, Instance, LimitsSection, Log, LogFormat, LogLevel, Price, Runtime,
};
pub use names::{InstanceKey, ModelName};
pub use paths::StatePaths;
pub use problem::{ConfigError, Problem, Rule};
