//! Write tools, model providers and chat channels for [Carapace](https://github.com/carapace-ai/carapace): a trait, a macro, and tests that run without a kernel.
//!
//! A component is one WebAssembly file that reaches the world only through what its `carapace.toml` asks for and the owner granted. This
//! crate is the whole contract, as Rust: the generated bindings stay behind it.
//!
//! ```
//! use carapace_sdk::prelude::*;
//!
//! struct Dice;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Roll {
//!     /// How many dice.
//!     #[schemars(range(min = 1, max = 100))]
//!     count: u8,
//! }
//!
//! impl Tools for Dice {
//!     fn tools(set: &mut ToolSet) {
//!         set.add("dice_roll", "Rolls six-sided dice and gives each result.", roll);
//!     }
//! }
//!
//! fn roll(args: Roll, _cx: &Context) -> Result<String, ToolError> {
//!     let mut rolls = Vec::new();
//!     for _ in 0..args.count {
//!         rolls.push((random::below(6)? + 1).to_string());
//!     }
//!     Ok(rolls.join(" "))
//! }
//!
//! carapace_sdk::component!(Dice: Tools, manifest = "tests/dice.toml");
//! # fn main() {}
//! ```
//!
//! Start with [`Tools`], [`Provider`] or [`Channel`], and [`component!`]. The imports are the modules [`http`], [`kv`], [`memory`], [`sessions`], [`settings`], [`requests`],
//! [`secrets`], [`assets`], [`config`], [`log`], [`clock`] and [`random`]; [`sse`] and [`ndjson`] read streams. [`testing`] (feature
//! `testing`) is a host for tests.
//!
//! What this crate never does: it imports no WASI, keeps no state between the calls of a fresh instance, and imports nothing that the component's code does
//! not call.

#![warn(missing_docs, unreachable_pub, missing_debug_implementations)]

pub mod assets;
mod bindings;
pub mod blob;
pub mod channel;
pub mod clock;
pub mod collections;
pub mod config;
mod error;
mod glue;
mod host;
pub mod http;
pub mod kv;
pub mod lines;
pub mod log;
pub mod memory;
pub mod message;
pub mod ndjson;
pub mod prelude;
pub mod provider;
pub mod random;
pub mod requests;
pub mod secrets;
pub mod sessions;
pub mod settings;
pub mod sse;
mod stream;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
pub mod tools;

/// For the code that the macros write.
#[doc(hidden)]
#[allow(missing_docs, reason = "not for people")]
pub mod __private {
    pub use crate::glue::*;
}

/// Makes a crate a component: `component!(Type: Tools)`, `component!(Type: Provider)`, `component!(Type: Channel)`, or several of them, once, at the root of the crate.
///
/// It reads `carapace.toml` beside `Cargo.toml` while compiling (a change there compiles again). What is exported and what is declared must
/// agree: tools need a `[[tool]]` each, a provider needs `[provider]`, a channel `[channel]`. A generated test, `carapace_toml::names_every_tool_and_no_other`, holds the names
/// against each other. Another manifest is named by `component!(Type: Tools, manifest = "path/from/Cargo.toml's/folder.toml")`.
pub use carapace_sdk_macros::component;

/// A test of a component: `#[carapace_sdk::test] fn name(host: &mut TestHost) { … }`; see [`testing`]. In a crate's `tests/` folder it names the
/// component's crate: `#[carapace_sdk::test(my_component)]`.
#[cfg(feature = "testing")]
pub use carapace_sdk_macros::test;

pub use channel::Channel;
pub use error::Error;
pub use provider::{Completion, Failure, Provider};
pub use tools::{Context, NoArguments, ToolError, ToolSet, Tools};

pub use schemars;
pub use serde;
pub use serde_json;
