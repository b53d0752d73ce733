//! A turn: context → provider → checkpoint → tool → … → reply; budgets and taint.
//!
//! A message is durable before it is acknowledged, and answered exactly once, crash or not. Models and tools are reached through the
//! ports of `carapace-contract` only; every tool call goes through its checkpoint. This room never talks to the network, never sees a
//! secret, and knows nothing of WebAssembly.
//!
//! One starts from [`Agent::new`] with [`Deps`], calls [`Agent::recover`] once, and then uses it as
//! [`Assistant`](carapace_contract::ports::Assistant).
//!
//! ```
//! # use carapace_contract::{Denial, completion::*, decision::*, message::Part, ports::*, turn::*};
//! # use carapace_agent::{Agent, Deps, Patience, SystemClock};
//! # use std::sync::Arc;
//! # use tokio::sync::mpsc::Sender;
//! # use tokio_util::sync::CancellationToken;
//! struct Parrot;
//!
//! #[async_trait::async_trait]
//! impl Models for Parrot {
//!     async fn list(&self) -> Vec<ModelInfo> {
//!         Vec::new()
//!     }
//!     async fn route(&self, _: Option<&str>) -> Result<Vec<ModelRef>, Denial> {
//!         let instance = "local/parrot/main".parse().map_err(|e| Denial::new("E-ROUTE-002", format!("{e}"), ""))?;
//!         Ok(vec![ModelRef { instance, model: "grey".into() }])
//!     }
//!     async fn complete(
//!         &self, _: &ModelRef, request: &CompletionRequest, sink: Sender<CompletionEvent>, _: CancellationToken,
//!     ) -> Result<(), CompletionFailure> {
//!         let heard = request.messages.last().map(|m| m.plain_text()).unwrap_or_default();
//!         let _ = sink.send(CompletionEvent::Text(heard)).await;
//!         Ok(())
//!     }
//! }
//! # struct NoTools;
//! # #[async_trait::async_trait]
//! # impl Tools for NoTools {
//! #     fn catalog(&self) -> Arc<Vec<ToolInfo>> { Arc::default() }
//! #     async fn call(&self, _: &Authorized<PlannedCall>, _: CancellationToken) -> Result<ToolOutput, ToolFailure> {
//! #         Err(ToolFailure { kind: "not-found".into(), message: "there are no tools".into(), tainted: false })
//! #     }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let env = Arc::new(carapace_config::NoEnv);
//! # let config = carapace_config::ConfigHandle::load(dir.path().join("carapace.json5"), env)?;
//! let agent = Agent::new(Deps {
//!     store: carapace_store::Store::open(dir.path(), Default::default())?,
//!     config: Arc::new(config),
//!     tools: Arc::new(NoTools),
//!     models: Arc::new(Parrot),
//!     clock: Arc::new(SystemClock),
//!     patience: Patience::default(),
//! });
//! agent.recover().await?;
//! let mut turn = agent.submit(TurnRequest {
//!     session: "main".into(),
//!     origin: Origin::Owner,
//!     parts: vec![Part::text("hello")],
//!     history: vec![],
//!     system: None,
//!     model: None,
//!     idempotency_key: None,
//!     options: TurnOptions::default(),
//!     place: None,
//! }).await?;
//! let mut said = String::new();
//! while let Some(event) = turn.events.recv().await {
//!     if let TurnEventKind::Text { delta } = &event.kind {
//!         said.push_str(delta);
//!     }
//! }
//! assert_eq!(said, "hello");
//! # Ok(())
//! # }
//! ```

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
mod media;
mod problem;
mod repeats;
mod rows;
mod runs;
mod thread;
mod tokens;
mod turn;
mod view;

pub use agent::{Agent, Deps};
pub use clock::{Clock, SystemClock};
pub use completion::Patience;
