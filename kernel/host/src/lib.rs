//! The kernel's side of every WIT import, one module per interface, and the components behind the ports.
//!
//! [`Host`] keeps the loaded instances: it takes verified packages with their grants, and answers the `Tools`, `Models` and `Channels` ports
//! by calling them. Every import looks at the instance's grant as it stands at that moment ([`GrantCell`]), so a revocation bites on
//! the next call. This room never opens a socket (that is `egress`) and never hands a guest a secret's value.

mod behind;
mod channels;
mod convert;
mod grants;
mod host;
mod imports;
mod instance;
mod lending;
mod loading;
mod logbook;
mod media;
mod models;
mod probation;
mod services;
mod sockets;
mod splice;
mod state;
mod tape;
mod tools;
mod wasi;
mod webhook;

pub use grants::{GrantCell, GrantSnapshot};
pub use host::{Host, HostOptions, InstallError, InstanceSpec};
pub use lending::Lending;
pub use loading::{DRAINING, Ended, Prepared};
pub use logbook::{LOG_BYTES, LOG_LINES, LogLine};
pub use probation::{PROBATION, PROBATION_BROKEN, PROBATION_CALLS, Relapse};
pub use services::{Environment, SecretFrom, SecretStanding, Services, Settings};
pub use tape::Recorded;
