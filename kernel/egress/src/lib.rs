//! The one door to the network.
//!
//! Every byte that leaves on behalf of a component goes through [`Door::send`]. It checks the request against a
//! [`Policy`] (endpoints, methods, paths, caps, rates), adds credentials only on the way to the origin they are bound
//! to, resolves names itself and connects only to addresses that passed the filter, follows redirects by its own
//! rules, decompresses under a ratio cap, and scans what comes back for the instance's secrets.
//!
//! A WebSocket is opened by [`Door::connect`] under the same rules, and kept by whoever holds the [`Socket`].
//!
//! It never expands what a guest wrote: `{{secret:x}}` in a body is sent as these characters. It never uses a proxy
//! from the environment, never resolves twice, and never keeps a cookie.
//!
//! The leak scan ([`leak`]) is defence in depth: a server can always encode a secret in a way nobody scans for.
//!
//! Start from [`Policy::new`] (what was granted, and where the operator pointed it), [`Door::builder`], and the two
//! traits the caller brings: [`SecretSource`] and [`Recorder`].
//!
//! ```
//! use carapace_contract::capability::CapabilitySet;
//! use carapace_contract::limits::Limits;
//! use carapace_egress::Policy;
//!
//! let instance = "carapace/web/main".parse()?;
//! let granted = CapabilitySet { public_http: true, ..CapabilitySet::none() };
//! let policy = Policy::new(instance, &granted, &Default::default(), Limits::default())?;
//! assert!(policy.public && policy.endpoints.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod address;
mod audit;
mod auth;
mod body;
mod capture;
mod door;
mod error;
mod headers;
pub mod inject;
mod journey;
pub mod leak;
pub mod local;
pub mod origin;
pub mod path;
mod plan;
mod policy;
mod rate;
mod redirect;
mod resolve;
mod secrets;
mod socket;
mod transport;

pub use audit::{NoRecorder, Outcome, Record, Recorder};
pub use body::Response;
pub use door::{Builder, Door, Request, Target};
pub use error::{EgressError, Failure};
pub use policy::{Endpoint, Policy, SocketEndpoint};
pub use resolve::{Resolver, SystemResolver};
pub use secrets::SecretSource;
pub use socket::{Connect, Incoming, Refused, Socket, SocketPlace};
