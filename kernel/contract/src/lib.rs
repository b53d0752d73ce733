//! Plain types every room shares, and the ports by which rooms call each other.
//!
//! No I/O and no wasmtime here. Strings are parsed once, at the edge, into types that carry proofs:
//! [`Name`], [`InstanceId`], [`Digest`], [`manifest::Manifest`]. A tool call becomes runnable only as
//! [`decision::Authorized`], and only [`decision::authorize`] makes one.
//!
//! ```
//! use carapace_contract::{ComponentId, InstanceId};
//! let id: InstanceId = "carapace/openai/main".parse()?;
//! assert_eq!(id.component(), &"carapace/openai".parse::<ComponentId>()?);
//! # Ok::<(), carapace_contract::NameError>(())
//! ```

pub mod capability;
pub mod channel;
pub mod completion;
pub mod control;
pub mod decision;
pub mod denial;
pub mod diff;
pub mod digest;
pub mod grant;
mod host_port;
pub mod limits;
pub mod lines;
pub mod log;
pub mod manifest;
pub mod media;
pub mod message;
pub mod meter;
pub mod name;
pub mod ports;
pub mod recording;
pub mod turn;
mod version;
pub mod wasi;

pub use denial::Denial;
pub use digest::Digest;
pub use host_port::HostPort;
pub use name::{AssetName, ComponentId, EndpointName, InstanceId, Name, NameError, SecretName};
pub use ulid::Ulid;
pub use version::{Contract, Contracts, V0_1};
