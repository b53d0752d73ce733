//! One function: a part of WASI into a linker.

use super::http::Hooks;
use crate::state::Imports;
use carapace_contract::wasi::Part;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};
use wasmtime_wasi_http::p2::bindings::http as wasi_http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView};
use wasmtime_wasi_io::bindings::wasi::io;

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

// Each function of WASI begins with one of these.
fn io_of<T: Imports>(t: &mut T) -> &mut ResourceTable {
    t.core().count_host_call();
    t.core().table()
}
fn cli_of<T: Imports>(t: &mut T) -> WasiCliCtxView<'_> {
    let (entered, table) = t.core().called_wasi();
    WasiCliCtxView { ctx: entered.ctx.cli(), table }
}
fn clocks_of<T: Imports>(t: &mut T) -> WasiClocksCtxView<'_> {
    let (entered, table) = t.core().called_wasi();
    WasiClocksCtxView { ctx: entered.ctx.clocks(), table }
}
fn files_of<T: Imports>(t: &mut T) -> WasiFilesystemCtxView<'_> {
    let (entered, table) = t.core().called_wasi();
    WasiFilesystemCtxView { ctx: entered.ctx.filesystem(), table }
}
fn random_of<T: Imports>(t: &mut T) -> &mut WasiRandomCtx {
    t.core().called_wasi().0.ctx.random()
}
fn sockets_of<T: Imports>(t: &mut T) -> WasiSocketsCtxView<'_> {
    let (entered, table) = t.core().called_wasi();
    WasiSocketsCtxView { ctx: entered.ctx.sockets(), table }
}
fn http_of<T: Imports>(t: &mut T) -> WasiHttpCtxView<'_> {
    let (entered, table) = t.core().called_wasi();
    let hooks: &mut Hooks = &mut entered.hooks;
    WasiHttpCtxView { ctx: &mut entered.http, hooks, table }
}

/// Links a part.
pub(crate) fn link<T: Imports>(part: Part, l: &mut Linker<T>) -> wasmtime::Result<()> {
    match part {
        Part::World => {
            io::error::add_to_linker::<T, Io>(l, io_of)?;
            io::poll::add_to_linker::<T, Io>(l, io_of)?;
            io::streams::add_to_linker::<T, Io>(l, io_of)?;
            cli::environment::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::exit::add_to_linker::<T, WasiCli>(l, cli_of)?;
            filesystem::preopens::add_to_linker::<T, WasiFilesystem>(l, files_of)?;
            filesystem::types::add_to_linker::<T, WasiFilesystem>(l, files_of)?;
            // All of these answer `access-denied`: the context allows no protocol, no address and no name.
            sockets::tcp::add_to_linker::<T, WasiSockets>(l, sockets_of)?;
            sockets::tcp_create_socket::add_to_linker::<T, WasiSockets>(l, sockets_of)?;
            sockets::udp::add_to_linker::<T, WasiSockets>(l, sockets_of)?;
            sockets::udp_create_socket::add_to_linker::<T, WasiSockets>(l, sockets_of)?;
            sockets::instance_network::add_to_linker::<T, WasiSockets>(l, sockets_of)?;
            sockets::network::add_to_linker::<T, WasiSockets>(
                l,
                &sockets::network::LinkOptions::default(),
                sockets_of,
            )?;
            sockets::ip_name_lookup::add_to_linker::<T, WasiSockets>(l, sockets_of)
        }
        Part::Clocks => {
            clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, clocks_of)?;
            clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, clocks_of)
        }
        Part::Random => {
            random::random::add_to_linker::<T, WasiRandom>(l, random_of)?;
            random::insecure::add_to_linker::<T, WasiRandom>(l, random_of)?;
            random::insecure_seed::add_to_linker::<T, WasiRandom>(l, random_of)
        }
        Part::Stdio => {
            cli::stdin::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::stdout::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::stderr::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::terminal_input::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::terminal_output::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, cli_of)?;
            cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, cli_of)
        }
        Part::Http => {
            wasi_http::outgoing_handler::add_to_linker::<T, WasiHttp>(l, http_of)?;
            wasi_http::types::add_to_linker::<T, WasiHttp>(l, &wasi_http::types::LinkOptions::default(), http_of)
        }
    }
}
