//! A turn: context → provider → checkpoint → tool → … → reply; budgets and taint.
//!
//! A message is durable before it is acknowledged, and answered exactly once, crash or not. Models and tools are reached through the
//! ports of `carapace-contract` only; every tool call goes through its checkpoint. This room never talks to the network, never sees a
//! secret, and knows nothing of WebAssembly.
//!
//! One starts from [`Agent::new`] with [`Deps`], calls [`Agent::recover`] once, and then uses it as
//! [`Assistant`](carapace_contract::ports::Assistant).

mod accept;
mod agent;
mod arguments;
mod calls;
mod clock;
mod completion;
mod context;
mod events;
mod journal;
mod lanes;
mod ledger;
mod problem;
mod repeats;
mod rows;
mod runs;
mod tokens;
mod turn;
mod view;

pub use agent::{Agent, Deps};
pub use clock::{Clock, SystemClock};
pub use completion::Patience;
