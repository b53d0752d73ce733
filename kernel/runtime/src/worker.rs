//! Compiling in a child process: this executable again, with nothing but a pipe.
//!
//! Compilers are large and wasm is hostile, and neither compile time nor compile memory is bounded by the engine.
//! The worker gets the wasm on its standard input, gives up everything else (see `confine`), and answers with one
//! line of JSON and the artefact. Its environment is empty; it is killed at its deadline.

use crate::compile::{Artefact, CompileError, Compiler, compile_here};
use crate::confine::{self, confine};
use async_trait::async_trait;
use carapace_contract::limits::Profile;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// The first argument that makes an executable call [`worker_main`] with the rest.
pub const WORKER_ARGUMENT: &str = "__compile-worker";

const MAX_HEADER: usize = 4 << 10;
const MAX_COMPLAINT: u64 = 8 << 10;
/// Exit codes.
const INVALID: u8 = 2;
const BROKEN: u8 = 3;

/// Limits of one compilation.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Bytes of memory.
    pub memory: u64,
    /// Seconds of CPU, over all threads.
    pub cpu_seconds: u64,
    /// Wall time.
    pub wall: Duration,
    /// Bytes of the artefact.
    pub output: u64,
    /// Compilations at once.
    pub at_once: usize,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { memory: 2 << 30, cpu_seconds: 120, wall: Duration::from_secs(180), output: 512 << 20, at_once: 2 }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    compatibility: String,
    confinement: String,
    length: u64,
}

/// Compiles in a confined child process.
#[derive(Debug)]
pub struct Worker {
    executable: PathBuf,
    options: WorkerOptions,
    gate: Semaphore,
    warned: AtomicBool,
}

impl Worker {
    /// Runs this executable again; its `main` must hand [`WORKER_ARGUMENT`] to [`worker_main`].
    ///
    /// # Errors
    /// The operating system does not say where this executable is.
    pub fn this_executable(options: WorkerOptions) -> std::io::Result<Self> {
        // The link survives an upgrade that replaces the file under a running kernel.
        let link = PathBuf::from("/proc/self/exe");
        let executable = if cfg!(target_os = "linux") && link.exists() { link } else { std::env::current_exe()? };
        Ok(Self::new(executable, options))
    }

    /// Runs another executable that does the same.
    pub fn new(executable: PathBuf, options: WorkerOptions) -> Self {
        Self { executable, options, gate: Semaphore::new(options.at_once.max(1)), warned: AtomicBool::new(false) }
    }

    async fn work(&self, wasm: Arc<[u8]>, profile: Profile) -> Result<Artefact, CompileError> {
        let broken = |what: &'static str| move |e: std::io::Error| CompileError::Worker(format!("{what}: {e}"));
        let o = &self.options;
        let mut child = tokio::process::Command::new(&self.executable)
            .arg(WORKER_ARGUMENT)
            .arg(name(profile))
            .arg(o.memory.to_string())
            .arg(o.cpu_seconds.to_string())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken("it did not start"))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CompileError::Worker("it has no pipes".into()));
        };
        let feed = async move {
            // A worker that stopped reading says why on its way out.
            let _ = stdin.write_all(&wasm).await;
            drop(stdin);
        };
        let (mut out, mut complaint) = (Vec::new(), Vec::new());
        let cap = o.output.saturating_add(MAX_HEADER as u64);
        let read_out = async { stdout.take(cap + 1).read_to_end(&mut out).await.map(|_| ()) };
        let read_complaint = async {
            let mut stderr = stderr;
            (&mut stderr).take(MAX_COMPLAINT).read_to_end(&mut complaint).await?;
            // What is beyond the cap is read and forgotten, so that the worker does not wait for us.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.map(|_| ())
        };
        let (_, outcome, _) = tokio::join!(feed, read_out, read_complaint);
        outcome.map_err(broken("its answer could not be read"))?;
        if out.len() as u64 > cap {
            return Err(limit(format!("{} bytes of output", o.output)));
        }
        let status = child.wait().await.map_err(broken("it was lost"))?;
        if !status.success() {
            return Err(self.failure(status, &complaint));
        }
        self.answer(out)
    }

    fn answer(&self, out: Vec<u8>) -> Result<Artefact, CompileError> {
        let nonsense = || CompileError::Worker("its answer makes no sense".into());
        let end = out.iter().take(MAX_HEADER).position(|b| *b == b'\n').ok_or_else(nonsense)?;
        let (head, rest) = out.split_at_checked(end + 1).ok_or_else(nonsense)?;
        let header: Header = serde_json::from_slice(head).map_err(|_| nonsense())?;
        let mut compatibility = [0; 32];
        hex::decode_to_slice(&header.compatibility, &mut compatibility).map_err(|_| nonsense())?;
        if rest.len() as u64 != header.length {
            return Err(nonsense());
        }
        if header.confinement != "full" && !self.warned.swap(true, Relaxed) {
            tracing::warn!(code = "E-RUNTIME-034", confinement = %header.confinement, "the compile worker is less confined than it could be");
        }
        Ok(Artefact { bytes: rest.to_vec(), compatibility })
    }

    fn failure(&self, status: ExitStatus, complaint: &[u8]) -> CompileError {
        let text = printable(complaint);
        if text.contains("memory allocation of")
            || text.contains("allocation failed")
            || text.contains("Cannot allocate")
        {
            return limit(format!("{} MiB of memory", self.options.memory >> 20));
        }
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return match rustix::process::Signal::from_named_raw(signal) {
                Some(rustix::process::Signal::XCPU) => limit(format!("{} s of CPU", self.options.cpu_seconds)),
                // The hard CPU limit, or the system's own out-of-memory killer.
                Some(rustix::process::Signal::KILL) => {
                    limit("the operating system, which killed the worker".to_owned())
                }
                _ => CompileError::Worker(format!("it ended by signal {signal}: {text}")),
            };
        }
        match status.code() {
            Some(code) if code == i32::from(INVALID) => CompileError::Invalid(text),
            _ => CompileError::Worker(format!("it ended with {status}: {text}")),
        }
    }
}

#[async_trait]
impl Compiler for Worker {
    async fn compile(&self, wasm: Arc<[u8]>, profile: Profile) -> Result<Artefact, CompileError> {
        let _permit = self.gate.acquire().await.map_err(|e| CompileError::Worker(e.to_string()))?;
        let wall = self.options.wall;
        // Dropping the future kills the child.
        tokio::time::timeout(wall, self.work(wasm, profile))
            .await
            .unwrap_or_else(|_| Err(limit(format!("{} s of wall time", wall.as_secs_f64()))))
    }
}

fn limit(limit: String) -> CompileError {
    CompileError::Limit { limit }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4)
}

fn name(profile: Profile) -> &'static str {
    match profile {
        Profile::Metered => "metered",
        Profile::Cpu => "cpu",
    }
}

/// What a worker printed, fit to be shown: it may quote names out of the component.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect();
    shown.trim().to_owned()
}

/// The worker's `main`. `arguments` are those after [`WORKER_ARGUMENT`]. Call it before anything else is started:
/// what confines it holds for threads that are made afterwards.
pub fn worker_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(code)
        }
    }
}

fn serve(arguments: impl IntoIterator<Item = OsString>) -> Result<(), (u8, String)> {
    let broken = |text: String| (BROKEN, text);
    let mut arguments = arguments.into_iter();
    let profile = match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("metered") => Profile::Metered,
        Some("cpu") => Profile::Cpu,
        _ => return Err(broken("this command is for the kernel itself".into())),
    };
    let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
    let (Some(memory), Some(cpu)) = (number(), number()) else {
        return Err(broken("this command is for the kernel itself".into()));
    };
    let confinement = confine(confine::Limits { memory, cpu }).map_err(broken)?;
    let mut wasm = Vec::new();
    std::io::stdin().lock().read_to_end(&mut wasm).map_err(|e| broken(format!("no input: {e}")))?;
    let artefact = compile_here(&wasm, profile).map_err(|e| match e {
        CompileError::Invalid(text) => (INVALID, text),
        other => broken(other.to_string()),
    })?;
    let header =
        Header { compatibility: hex::encode(artefact.compatibility), confinement, length: artefact.bytes.len() as u64 };
    let mut head = serde_json::to_vec(&header).map_err(|e| broken(e.to_string()))?;
    head.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&head)
        .and_then(|()| out.write_all(&artefact.bytes))
        .and_then(|()| out.flush())
        .map_err(|e| broken(format!("no output: {e}")))
}
