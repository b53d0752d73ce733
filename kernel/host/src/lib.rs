//! The kernel's side of every WIT import, one module per interface, and the components behind the ports.
//!
//! [`Host`] keeps the loaded instances: it takes verified packages with their grants, and answers the `Tools` and `Models` ports
//! by calling them. Every import looks at the instance's grant as it stands at that moment ([`GrantCell`]), so a revocation bites on
//! the next call. This room never opens a socket (that is `egress`) and never hands a guest a secret's value.

mod behind;
mod convert;
mod grants;
mod host;
mod imports;
mod instance;
mod lending;
mod loading;
mod models;
mod probation;
mod services;
mod state;
mod tools;

pub use grants::{GrantCell, GrantSnapshot};
pub use host::{Host, HostOptions, InstallError, InstanceSpec};
pub use lending::Lending;
pub use loading::{DRAINING, Ended, Prepared};
pub use probation::{PROBATION, PROBATION_BROKEN, PROBATION_CALLS, Relapse};
pub use services::{Environment, Services, Settings};
