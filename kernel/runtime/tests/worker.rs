//! The compile worker, with this test's own executable as the child: `main` does what the kernel's does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests may be blunt, also in their helpers"
)]

use std::ffi::OsString;
use std::process::ExitCode;

#[path = "fixtures/mod.rs"]
mod fixtures;
#[path = "runtime/support.rs"]
mod support;

use carapace_contract::limits::Profile;
use carapace_runtime::{
    AotCache, CacheStats, CompileError, Compiler, EngineOptions, Engines, Loader, WORKER_ARGUMENT, Worker,
    WorkerOptions, worker_main,
};
use fixtures::wat;
use libtest_mimic::{Arguments, Trial};
use std::sync::Arc;
use std::time::Duration;
use support::Subject;

fn worker(options: WorkerOptions) -> Worker {
    Worker::this_executable(options).unwrap()
}

/// A component whose one function has this many additions: valid, and as much work as one likes.
fn heavy(additions: usize) -> Arc<[u8]> {
    let mut fields = String::from("(func $main (result i32) (local $a i32)\n");
    for n in 0..additions {
        fields.push_str(&format!(
            "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const {n})) (i32.load (local.get $a))))\n"
        ));
    }
    fields.push_str("(call $text (local.get $a) (i32.const 0)))");
    fixtures::tool(&fields).into()
}

async fn what_the_worker_compiles_runs_here() {
    let engines = Engines::new(EngineOptions::default()).unwrap();
    let state = tempfile::tempdir().unwrap();
    let cache = Arc::new(AotCache::open(state.path()).unwrap());
    let loader = Loader::new(&engines, Arc::new(worker(WorkerOptions::default())), Some(cache.clone()));
    for profile in ["metered", "cpu"] {
        let package = support::tool(wat::ECHO, "", &format!("[instance]\nprofile = \"{profile}\"\n"));
        for _ in 0..2 {
            let mut subject = Subject::new(&engines, &package).await;
            subject.loaded = loader.load(&package).await.unwrap();
            assert_eq!(subject.run(profile).await.unwrap().unwrap(), profile);
        }
    }
    assert_eq!(cache.stats(), CacheStats { hits: 2, misses: 2, rejected: 0 });
}

async fn an_invalid_component_is_named_as_such() {
    let error = worker(WorkerOptions::default()).compile(b"\0asm nonsense".to_vec().into(), Profile::Metered).await;
    assert!(matches!(error, Err(CompileError::Invalid(_))), "{error:?}");
}

async fn a_compile_bomb_ends_at_the_memory_limit() {
    let options = WorkerOptions { memory: 48 << 20, ..WorkerOptions::default() };
    let error = worker(options).compile(heavy(60_000), Profile::Metered).await.unwrap_err();
    assert_eq!(error, CompileError::Limit { limit: "48 MiB of memory".into() });
    assert!(error.to_string().contains("E-RUNTIME-031"), "{error}");
}

async fn a_compile_bomb_ends_at_the_cpu_limit() {
    let options = WorkerOptions { cpu_seconds: 1, ..WorkerOptions::default() };
    let error = worker(options).compile(heavy(400_000), Profile::Metered).await.unwrap_err();
    assert_eq!(error, CompileError::Limit { limit: "1 s of CPU".into() });
}

async fn a_compile_bomb_ends_at_the_wall_clock() {
    let options = WorkerOptions { wall: Duration::from_millis(1), ..WorkerOptions::default() };
    let error = worker(options).compile(heavy(1_000), Profile::Metered).await.unwrap_err();
    assert_eq!(error, CompileError::Limit { limit: "0.001 s of wall time".into() });
}

async fn an_artefact_that_is_too_large_is_refused() {
    let options = WorkerOptions { output: 1_000, ..WorkerOptions::default() };
    let error = worker(options).compile(heavy(10), Profile::Metered).await.unwrap_err();
    assert_eq!(error, CompileError::Limit { limit: "1000 bytes of output".into() });
}

async fn an_executable_that_is_no_worker_is_a_named_error() {
    let missing = Worker::new("/nowhere/carapace".into(), WorkerOptions::default());
    let error = missing.compile(heavy(1), Profile::Metered).await.unwrap_err();
    assert!(error.to_string().contains("it did not start"), "{error}");
    let mute = Worker::new("/bin/true".into(), WorkerOptions::default());
    let error = mute.compile(heavy(1), Profile::Metered).await.unwrap_err();
    assert!(error.to_string().contains("its answer makes no sense"), "{error}");
}

/// The child confines itself, then tries what it must not be able to do, and says how that went.
#[cfg(target_os = "linux")]
async fn a_confined_worker_reaches_no_file_and_no_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["__try", &file.path().display().to_string(), &listener.local_addr().unwrap().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "read: denied\nwrite: denied\nconnect: denied\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(target_os = "linux")]
fn try_everything(file: &str, address: &str) -> ExitCode {
    // An empty input ends in an error, after the process has confined itself.
    let _ = worker_main(["metered", "2147483648", "60"].map(OsString::from));
    let tell = |what: &str, ok: bool| println!("{what}: {}", if ok { "allowed" } else { "denied" });
    tell("read", std::fs::read(file).is_ok());
    tell("write", std::fs::write(file, "x").is_ok());
    tell("connect", std::net::TcpStream::connect(address).is_ok());
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(WORKER_ARGUMENT.as_ref()) {
        return worker_main(arguments);
    }
    #[cfg(target_os = "linux")]
    if first.as_deref() == Some("__try".as_ref()) {
        let rest: Vec<_> = arguments.map(|a| a.into_string().unwrap()).collect();
        return try_everything(&rest[0], &rest[1]);
    }
    macro_rules! trials {
        ($($test:ident)*) => {
            vec![$(Trial::test(stringify!($test), || {
                tokio::runtime::Runtime::new().unwrap().block_on($test());
                Ok(())
            })),*]
        };
    }
    #[allow(unused_mut, reason = "only Linux confines the worker, so only there it is tested")]
    let mut tests = trials! {
        what_the_worker_compiles_runs_here
        an_invalid_component_is_named_as_such
        a_compile_bomb_ends_at_the_memory_limit
        a_compile_bomb_ends_at_the_cpu_limit
        a_compile_bomb_ends_at_the_wall_clock
        an_artefact_that_is_too_large_is_refused
        an_executable_that_is_no_worker_is_a_named_error
    };
    #[cfg(target_os = "linux")]
    tests.extend(trials! { a_confined_worker_reaches_no_file_and_no_network });
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
