//! How the versions of the contract are bound to the one host.
//!
//! To the engine a version is a part of a name, and types are structural: what two versions have in common is the same host function under
//! two names. Only an interface that changed needs something between, and that is a [`Binding`] of its version.

use crate::bindings::{
    assets, blob, clock, completion, config, http, kv, lines, log, memory, message, random, requests, secrets,
    sessions, settings,
};
use crate::http::{Http, HttpOf};
use crate::linker::Interface;
use crate::recording::{Recorded, RecordedOf};
use crate::refusal::{Refused, RefusedOf};
use crate::state::Imports;
use crate::wasi;
use carapace_contract::Contract;
use wasmtime::component::{HasSelf, Linker};

/// One version of the contract, bound to what implements it.
pub trait Binding<T: 'static>: Send + Sync {
    /// Which.
    fn contract(&self) -> Contract;

    /// Puts an interface into a linker, under this version's name.
    ///
    /// # Errors
    /// The linker has it already.
    fn link(&self, interface: Interface, how: How, linker: &mut Linker<T>) -> wasmtime::Result<()>;
}

/// Who answers an interface's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// What the host implements; else a refusal.
    pub real: bool,
    /// Every call is written down, with its answer.
    pub recorded: bool,
}

/// A version whose interfaces are those of `wit/`, whatever it is called.
#[derive(Debug, Clone, Copy)]
pub struct Plain(pub Contract);

/// The name of an interface in a version.
pub fn name_of(interface: &str, contract: Contract) -> String {
    format!("carapace:plugin/{interface}@{}", contract.wit)
}

impl<T: Imports> Binding<T> for Plain {
    fn contract(&self) -> Contract {
        self.0
    }

    fn link(&self, interface: Interface, how: How, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        /// As granted or by a refusal, written down or not.
        macro_rules! either {
            ($module:ident, $i:expr, $real:ty, $made:expr) => {
                match (how.real, how.recorded) {
                    (true, false) => $module::add_to_linker_instance::<T, $real>($i, |t| $made(t)),
                    (true, true) => $module::add_to_linker_instance::<T, RecordedOf<$real>>($i, |t| Recorded($made(t))),
                    (false, false) => $module::add_to_linker_instance::<T, RefusedOf<T>>($i, |t| Refused(t.core())),
                    (false, true) => $module::add_to_linker_instance::<T, RecordedOf<RefusedOf<T>>>($i, |t| {
                        Recorded(Refused(t.core()))
                    }),
                }
            };
            ($module:ident, $i:expr) => {
                either!($module, $i, HasSelf<T>, std::convert::identity)
            };
        }
        /// What every component has.
        macro_rules! baseline {
            ($module:ident, $i:expr) => {
                if how.recorded {
                    $module::add_to_linker_instance::<T, RecordedOf<HasSelf<T>>>($i, |t| Recorded(t))
                } else {
                    $module::add_to_linker_instance::<T, HasSelf<T>>($i, |t| t)
                }
            };
        }
        if let Interface::Wasi(part) = interface {
            return wasi::link(part, linker);
        }
        let mut instance = linker.instance(&name_of(interface.name(), self.0))?;
        let i = &mut instance;
        match interface {
            Interface::Log => baseline!(log, i),
            Interface::Clock => baseline!(clock, i),
            Interface::Random => baseline!(random, i),
            Interface::Config => baseline!(config, i),
            Interface::Kv => either!(kv, i),
            Interface::Http => either!(http, i, HttpOf<T>, Http),
            Interface::Secrets => either!(secrets, i),
            Interface::Assets => either!(assets, i),
            Interface::Memory => either!(memory, i),
            Interface::Sessions => either!(sessions, i),
            Interface::Settings => either!(settings, i),
            Interface::Requests => either!(requests, i),
            Interface::Message => either!(message, i),
            Interface::Lines => either!(lines, i),
            Interface::Blob => either!(blob, i),
            Interface::Completion => either!(completion, i),
            // Above: its names and versions are not the contract's.
            Interface::Wasi(_) => Ok(()),
        }
    }
}
