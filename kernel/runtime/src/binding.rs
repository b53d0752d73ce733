//! How the versions of the contract are bound to the one host.
//!
//! To the engine a version is a part of a name, and types are structural: what two versions have in common is the same host function under
//! two names. Only an interface that changed needs something between, and that is a [`Binding`] of its version.

use crate::bindings::{assets, clock, completion, config, http, kv, log, memory, random, requests, secrets, sessions, settings};
use crate::linker::Interface;
use crate::refusal::{Refused, RefusedOf};
use crate::state::Imports;
use crate::wasi;
use carapace_contract::Contract;
use wasmtime::component::{HasSelf, Linker};

/// One version of the contract, bound to what implements it.
pub trait Binding<T: 'static>: Send + Sync {
    /// Which.
    fn contract(&self) -> Contract;

    /// Puts an interface into a linker, under this version's name: the real one, or its refusal.
    ///
    /// # Errors
    /// The linker has it already.
    fn link(&self, interface: Interface, real: bool, linker: &mut Linker<T>) -> wasmtime::Result<()>;
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

    fn link(&self, interface: Interface, real: bool, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        /// The real interface, or its refusal.
        macro_rules! either {
            ($module:ident, $instance:expr) => {
                if real {
                    $module::add_to_linker_instance::<T, HasSelf<T>>($instance, |t| t)
                } else {
                    $module::add_to_linker_instance::<T, RefusedOf<T>>($instance, |t| Refused(t.core()))
                }
            };
        }
        if let Interface::Wasi(part) = interface {
            return wasi::link(part, linker);
        }
        let mut instance = linker.instance(&name_of(interface.name(), self.0))?;
        let i = &mut instance;
        match interface {
            Interface::Log => log::add_to_linker_instance::<T, HasSelf<T>>(i, |t| t),
            Interface::Clock => clock::add_to_linker_instance::<T, HasSelf<T>>(i, |t| t),
            Interface::Random => random::add_to_linker_instance::<T, HasSelf<T>>(i, |t| t),
            Interface::Config => config::add_to_linker_instance::<T, HasSelf<T>>(i, |t| t),
            Interface::Kv => either!(kv, i),
            Interface::Http => either!(http, i),
            Interface::Secrets => either!(secrets, i),
            Interface::Assets => either!(assets, i),
            Interface::Memory => either!(memory, i),
            Interface::Sessions => either!(sessions, i),
            Interface::Settings => either!(settings, i),
            Interface::Requests => either!(requests, i),
            Interface::Completion => either!(completion, i),
            // Above: its names and versions are not the contract's.
            Interface::Wasi(_) => Ok(()),
        }
    }
}
