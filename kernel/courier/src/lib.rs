//! Messages in and out: ingress sessions, sender policy, lanes, the outbox.
//!
//! A channel's component says what came in and how an answer looks on its platform; this room promises the rest. What a component took
//! in is durable before anything is acknowledged upstream; each message is one turn, in the order of its conversation, crash or not; what
//! is to be said leaves in order, and a send whose fate nobody can know is shown as such and not guessed. A stranger gets a pairing code and
//! nothing else. Components are reached through the port [`Channels`](carapace_contract::ports::Channels), the assistant through
//! [`Assistant`](carapace_contract::ports::Assistant); this room knows no platform, never touches the network and sees no secret.
//!
//! One starts from [`Courier::new`] with [`Deps`], calls [`Courier::start`] once, hands webhooks to it as
//! [`Webhooks`](carapace_contract::ports::Webhooks), and stops it with [`Courier::drain`].
//!
//! ```no_run
//! # use carapace_contract::ports::{Assistant, Channels};
//! # use carapace_courier::{Courier, Deps, SystemClock};
//! # use std::{sync::Arc, time::Duration};
//! # async fn example(
//! #     store: carapace_store::Store, config: Arc<carapace_config::ConfigHandle>,
//! #     channels: Arc<dyn Channels>, assistant: Arc<dyn Assistant>,
//! # ) -> Result<(), carapace_store::StoreError> {
//! let clock = Arc::new(SystemClock::default());
//! let courier = Courier::new(Deps { store, config, channels, assistant, clock });
//! courier.start().await?;
//! for channel in courier.statuses().await? {
//!     println!("{}: {}", channel.instance, channel.state.as_str());
//! }
//! courier.drain(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

mod address;
mod answer;
mod chance;
mod clock;
mod connect;
mod control;
mod courier;
mod draft;
mod effects;
mod events;
mod files;
mod harvest;
mod inbound;
mod ingress;
mod lanes;
mod lines;
mod logins;
mod marks;
mod media;
mod outbox;
mod pairing;
mod policy;
mod polls;
mod pump;
mod sending;
mod slot;
mod sockets;
mod status;
mod targets;
mod timers;
mod trial;
mod typing;
mod webhooks;

pub use clock::{Clock, SystemClock};
pub use courier::{Courier, Deps};
