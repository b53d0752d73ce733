//! What authors say: make, build, check, test, run and watch a component.

use super::OutputArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `plugin …`, for those who write components.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorCommand {
    /// Make the folder of a new component, with code, a manifest and tests that pass.
    New(NewArgs),
    /// Make a package: of a component's folder, or of what a compiler made and a manifest.
    Build(BuildArgs),
    /// Say what is wrong with a component or could be less, and what its tests use of its limits.
    Check(CheckArgs),
    /// Run a component's tests: against its code (Rust), then against the component built of it, then its recordings.
    Test {
        /// Its folder.
        #[arg(default_value = ".", value_name = "DIR")]
        folder: PathBuf,
        /// What was built: a package, a component or a core module (default: what the compiler makes of the folder).
        #[arg(long, value_name = "WASM")]
        component: Option<PathBuf>,
        /// For `cargo test`, or for the script `test` of package.json.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run one component for the tests of another process.
    #[command(hide = true)]
    TestHost {
        /// A package; it need not be signed.
        file: PathBuf,
        /// A folder for what its calls use.
        #[arg(long, env = "CARAPACE_TEST_MEASURE", value_name = "DIR")]
        measure: Option<PathBuf>,
    },
    /// Build a component whenever its folder changes, and bring it into the running assistant.
    Dev(DevArgs),
    /// What an instance logged lately, and what ended its calls.
    Logs(LogsArgs),
    /// Write down what an instance is called with, asks, is told and answers; no secret is in it.
    Record(RecordArgs),
    /// Run a component on a recording, without an assistant or a network, and say where it does otherwise.
    Replay {
        /// What `plugin record` wrote.
        file: PathBuf,
        /// The component (default: the installed package that was recorded).
        #[arg(long, value_name = "WASM")]
        component: Option<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Something that a model can call.
    Tool,
    /// A way to language models.
    Provider,
    /// A chat service.
    Channel,
}

/// What a component is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust
    Rust,
    /// TypeScript
    #[value(name = "ts", alias = "typescript")]
    TypeScript,
}

/// Options of `plugin new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Its name: 1 to 64 of `a-z 0-9 -`.
    #[arg(default_value_ifs = [("kind", "tool", "my-tool"), ("kind", "provider", "my-provider"), ("kind", "channel", "my-channel")])]
    pub name: Option<String>,
    /// What it is.
    #[arg(long, value_enum)]
    pub kind: Kind,
    /// What it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    pub lang: Language,
    /// The folder to make (default: NAME).
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The SDK's folder (`sdk/rust` or `sdk/typescript` of Carapace's sources); without it, the SDK of this program's version is put into the new folder.
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}

/// Options of `plugin build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Its folder.
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
    /// What a compiler made, a core module or a component; nothing is compiled then.
    #[arg(long, value_name = "WASM", requires = "manifest", requires = "out")]
    pub core: Option<PathBuf>,
    /// carapace.toml (default: DIR's).
    #[arg(long, value_name = "TOML")]
    pub manifest: Option<PathBuf>,
    /// Where to write the package (default: NAME.wasm in DIR's `bundle`).
    #[arg(long, value_name = "WASM")]
    pub out: Option<PathBuf>,
    /// For `cargo build`, or for the script `build` of package.json.
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}

/// Options of `plugin check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A package, or a component's folder: then it is built, and its tests show what it uses of its limits.
    #[arg(default_value = ".", value_name = "FILE|DIR")]
    pub path: PathBuf,
    /// Of a folder: do not run the tests.
    #[arg(long)]
    pub no_tests: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `plugin dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Its folder.
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
    /// Agree to what it asks for without being asked, now and whenever it asks for more.
    #[arg(long)]
    pub yes: bool,
    /// Sign with this key (default: the local publisher's).
    #[arg(long, value_name = "PEM")]
    pub key: Option<PathBuf>,
    /// Uninstall it at the end, with what it kept; only if this command installed it.
    #[arg(long)]
    pub remove: bool,
    /// Build and bring it in once; do not watch.
    #[arg(long)]
    pub once: bool,
    /// For `cargo build`, or for the script `build` of package.json.
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}

/// How much a line of a log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// Everything
    Trace,
    /// From debug on
    Debug,
    /// From info on
    Info,
    /// Warnings and errors
    Warn,
    /// Errors
    Error,
}

/// Options of `plugin logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// `publisher/name[/instance]`
    pub instance: String,
    /// Go on with what comes, until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
    /// Leave out what matters less.
    #[arg(long, value_enum, default_value = "trace")]
    pub level: Level,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `plugin record`.
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// `publisher/name[/instance]`
    pub instance: String,
    /// Where to write it (default: NAME.recording.jsonl); a file that is there already is not touched.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How many calls of tools or completions; Ctrl-C ends it earlier.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub calls: u64,
}

/// Options of `top`.
#[derive(Debug, Args, Clone)]
pub(crate) struct TopArgs {
    /// Print one table, of what was used since the assistant started.
    #[arg(long)]
    pub once: bool,
    /// Seconds between two tables.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub interval: u64,
    #[command(flatten)]
    pub output: OutputArgs,
}
