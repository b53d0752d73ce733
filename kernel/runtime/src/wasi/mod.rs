//! WASI 0.2, as far as it was granted: an empty environment, no arguments, closed input, no sockets; and the time, chance, printing,
//! directories and requests that the owner agreed to.
//!
//! The interfaces are wasmtime-wasi's. What it would take from the process is never given to it: it makes no connection, and its
//! requests are handed to [`Requests`], behind which `host` puts egress.

mod http;
mod link;
mod print;

pub use http::{Request, RequestError, Requests, Response};
pub(crate) use link::link;
pub use print::Printed;

use crate::state::Core;
use carapace_contract::Name;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{Deterministic, FsPerms, HostMonotonicClock, HostWallClock, WasiCtx};
use wasmtime_wasi_http::WasiHttpCtx;

/// Bytes of randomness a call may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// What one call finds beside the empty world.
#[derive(Default)]
pub struct World {
    /// Where printed lines go; none = nowhere.
    pub printed: Option<Arc<dyn Printed>>,
    /// Directories, each opened now.
    pub directories: Vec<Directory>,
    /// How requests leave; none = refused.
    pub requests: Option<Arc<dyn Requests>>,
    /// The largest body of a request, bytes.
    pub max_request: u64,
    /// Time and chance that are the same in every run; none = the machine's.
    pub fixed: Option<Fixed>,
    /// Whether all this still stands; asked at every tick of the guest's, because WASI's functions do not ask. None = yes.
    pub stands: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// For tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The time, ms since the Unix epoch.
    pub now_ms: u64,
    /// Chance is these bytes, over and over; at least one.
    pub seed: Vec<u8>,
}

/// A directory of the owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where the guest finds it, e.g. `/notes`.
    pub at: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it may be changed.
    pub write: bool,
}

/// What the interfaces of a store work on.
pub(crate) struct Entered {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    hooks: http::Hooks,
    stands: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Entered {
    /// Whether what was granted still is.
    pub(crate) fn stands(&self) -> bool {
        self.stands.as_ref().is_none_or(|stands| stands())
    }

    fn new(world: World) -> io::Result<Self> {
        let mut ctx = WasiCtx::builder();
        ctx.max_random_size(MAX_RANDOM);
        ctx.wall_clock(Wall).monotonic_clock(Steady(Instant::now()));
        ctx.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        if let Some(Fixed { now_ms, seed }) = world.fixed.filter(|f| !f.seed.is_empty()) {
            let chance = || Deterministic::new(seed.clone());
            ctx.wall_clock(Still(now_ms)).secure_random(chance()).insecure_random(chance()).insecure_random_seed(1);
        }
        if let Some(printed) = world.printed {
            ctx.stdout(print::Stream::new(printed.clone(), false)).stderr(print::Stream::new(printed, true));
        }
        for directory in &world.directories {
            let perms = if directory.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            ctx.preopened_dir(&directory.path, &directory.at, perms).map_err(|e| {
                io::Error::other(format!("the directory {} cannot be opened: {e:#}", directory.path.display()))
            })?;
        }
        let hooks = http::Hooks { requests: world.requests, max_body: world.max_request };
        Ok(Self { ctx: ctx.build(), http: WasiHttpCtx::new(), hooks, stands: world.stands })
    }

    fn empty() -> Self {
        let hooks = http::Hooks { requests: None, max_body: 0 };
        let mut ctx = WasiCtx::builder();
        ctx.max_random_size(MAX_RANDOM).allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        Self { ctx: ctx.build(), http: WasiHttpCtx::new(), hooks, stands: None }
    }
}

impl Core {
    /// Puts a world around this call. Without it, WASI's is empty in every respect.
    ///
    /// # Errors
    /// A directory cannot be opened.
    pub fn enter(&mut self, world: World) -> io::Result<()> {
        self.wasi = Some(Box::new(Entered::new(world)?));
        Ok(())
    }

    /// What the interfaces work on, for a call that counts.
    pub(crate) fn called_wasi(&mut self) -> (&mut Entered, &mut ResourceTable) {
        self.count_host_call();
        let entered = self.wasi.get_or_insert_with(|| Box::new(Entered::empty()));
        (entered, &mut self.table)
    }
}

/// Whole milliseconds, as in the contract: finer clocks help side channels.
struct Wall;

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        whole(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Of a test.
struct Still(u64);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// From the beginning of the call.
struct Steady(Instant);

impl HostMonotonicClock for Steady {
    fn resolution(&self) -> u64 {
        1_000_000
    }
    fn now(&self) -> u64 {
        u64::try_from(whole(self.0.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A directory cannot be given to a component.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", path.display())]
pub struct DirectoryError {
    path: PathBuf,
    why: String,
}

impl Directory {
    /// `path` as the guest's `/<name>`, with every link on the way resolved now.
    ///
    /// # Errors
    /// It is not absolute, no directory, or overlaps one of `private`, the kernel's own.
    pub fn new(name: &Name, path: &Path, write: bool, private: &[PathBuf]) -> Result<Self, DirectoryError> {
        let refused = |why: String| DirectoryError { path: path.to_path_buf(), why };
        if !path.is_absolute() {
            return Err(refused("is no absolute path".into()));
        }
        let real = path.canonicalize().map_err(|e| refused(format!("cannot be opened: {e}")))?;
        if !real.is_dir() {
            return Err(refused("is no directory".into()));
        }
        for own in private {
            let own = own.canonicalize().unwrap_or_else(|_| own.clone());
            if own.starts_with(&real) || real.starts_with(&own) {
                return Err(refused(format!("overlaps the kernel's own {}", own.display())));
            }
        }
        Ok(Self { at: format!("/{name}"), path: real, write })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_directories_are_given_to_nobody_by_whatever_way() {
        let home = tempfile::tempdir().unwrap();
        let (state, notes) = (home.path().join("state"), home.path().join("notes"));
        for made in [&state, &state.join("keys"), &notes] {
            std::fs::create_dir_all(made).unwrap();
        }
        let name: Name = "notes".parse().unwrap();
        let give = |path: &Path| Directory::new(&name, path, false, std::slice::from_ref(&state));
        assert_eq!(give(&notes).unwrap().at, "/notes");
        let mut ways = vec![state.clone(), state.join("keys"), home.path().to_path_buf(), notes.join("../state")];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&state, notes.join("link")).unwrap();
            ways.push(notes.join("link"));
        }
        for way in ways {
            let error = give(&way).unwrap_err().to_string();
            assert!(error.contains("overlaps the kernel's own"), "{}: {error}", way.display());
        }
        assert!(give(Path::new("notes")).unwrap_err().to_string().contains("absolute"));
        assert!(give(&home.path().join("gone")).unwrap_err().to_string().contains("cannot be opened"));
    }
}
