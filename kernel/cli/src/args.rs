//! The command line.

mod author;
mod channels;
mod consent;
mod plugin;
mod registry;
mod requests;

pub(crate) use author::{
    AuthorCommand, BuildArgs, CheckArgs, DevArgs, Kind, Language, Level, LogsArgs, NewArgs, RecordArgs, TopArgs,
};
pub(crate) use channels::{ChannelsCommand, EventsCommand, OutboxCommand, PairingCommand};
pub(crate) use consent::{GrantArgs, RevokeArgs, RollbackArgs, WithoutArgs};
pub(crate) use plugin::{BringArgs, PluginCommand, ReadingArgs, SyncArgs};
pub(crate) use registry::RegistryCommand;
pub(crate) use requests::{RequestsArgs, RequestsCommand};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A personal AI assistant whose every model and tool is a signed, sandboxed component.
#[derive(Debug, Parser)]
#[command(name = "carapace", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where all state lives.
    #[arg(long, global = true, env = "CARAPACE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The configuration file (default: carapace.json5 in the state directory).
    #[arg(long, global = true, env = "CARAPACE_CONFIG_PATH", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find a model, ask a few questions, try it, and keep what worked.
    Setup(SetupArgs),
    /// Start the assistant and serve until stopped.
    Start(StartArgs),
    /// Talk to the assistant; starts one if none is running.
    Chat(ChatArgs),
    /// Talk through a channel line by line, as a program does: each line of stdin is a message, answers come on stdout.
    Console(ConsoleArgs),
    /// Stop a running assistant.
    Stop,
    /// Show what runs.
    Status(OutputArgs),
    /// Watch what each component uses.
    Top(TopArgs),
    /// Find what is wrong and how to fix it.
    Doctor(DoctorArgs),
    /// Components: look, verify, build, test, sign.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Whom to trust.
    #[command(subcommand)]
    Publisher(PublisherCommand),
    /// Check that a release of Carapace was made by the project's own release workflow.
    VerifyRelease(VerifyReleaseArgs),
    /// Where components are looked up by name.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// The ways on which people reach the assistant.
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Who may talk to the assistant through a channel.
    #[command(subcommand)]
    Pairing(PairingCommand),
    /// What the assistant said and what became of it.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// What came in and was put aside.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Secrets of component instances.
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Files that components need beside their packages, such as a model's weights.
    #[command(subcommand)]
    Assets(AssetsCommand),
    /// The configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The chained record of what happened.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// `--json`
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct OutputArgs {
    /// Print JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// How a statement is made that a new key takes over.
#[derive(Debug, Args, Clone)]
pub(crate) struct RotateKeyArgs {
    /// The key file that is trusted now.
    #[arg(long, value_name = "PEM")]
    pub old: PathBuf,
    /// The new public key: `ed25519:<base64>`
    #[arg(long, value_name = "KEY")]
    pub new: String,
    /// Nothing that the old key signed is accepted afterwards.
    #[arg(long)]
    pub retire_old: bool,
    /// Where to write the statement.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `verify-release`.
#[derive(Debug, Args, Clone)]
pub(crate) struct VerifyReleaseArgs {
    /// What was downloaded, such as carapace-x86_64-linux.tar.gz.
    pub file: PathBuf,
    /// Its bundle (default: FILE.sigstore.json).
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// The rule to check by, in place of the one that releases have compiled in.
    #[arg(long, value_name = "PART", num_args = 2..=3)]
    pub keyless: Vec<String>,
    /// Exactly this ref must have been built, such as refs/tags/v0.1.0 (default: any tag).
    #[arg(long, value_name = "REF")]
    pub r#ref: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `setup`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct SetupArgs {
    /// Take the defaults without asking, first grants of bundled components included.
    #[arg(long)]
    pub yes: bool,
    /// Which model shall answer, as `provider/model`.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Also look for a model server at this address of this machine; repeatable.
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    /// Directory of bundled components (default: `bundle` beside the binary).
    #[arg(long, env = "CARAPACE_BUNDLE", value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct DoctorArgs {
    /// Directory of bundled components (default: `bundle` beside the binary).
    #[arg(long, env = "CARAPACE_BUNDLE", value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// Options of `start`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct StartArgs {
    /// Directory of bundled components (default: `bundle` beside the binary).
    #[arg(long, env = "CARAPACE_BUNDLE", value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Grant the bundled components what they ask, without asking at the terminal.
    #[arg(long)]
    pub accept_bundled: bool,
    /// Also grant what an update of a bundled component asks beyond what you granted before.
    #[arg(long)]
    pub accept_growth: bool,
    /// Port to listen on instead of the configured one (0 = any free one).
    #[arg(long)]
    pub port: Option<u16>,
    /// Print one JSON line when ready.
    #[arg(long)]
    pub json: bool,
    /// Do not open a conversation in this terminal.
    #[arg(long)]
    pub no_chat: bool,
}

/// Options of `chat`.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct ChatArgs {
    /// Send one message, print the answer, end.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// The conversation.
    #[arg(short, long, default_value = "main", value_name = "KEY")]
    pub session: String,
    /// The model, as `instance/model` (default: the configured route).
    #[arg(long)]
    pub model: Option<String>,
    /// Print JSON: one object per event with the last one holding the answer.
    #[arg(long)]
    pub json: bool,
    /// How to start an assistant if none is running.
    #[command(flatten)]
    pub start: ChatStart,
}

/// `console …`
#[derive(Debug, Args, Clone)]
pub(crate) struct ConsoleArgs {
    /// The channel, which must be one that talks with programs: `name`, `publisher/name` or `publisher/name/instance`
    #[arg(default_value = "console", value_name = "CHANNEL")]
    pub channel: String,
    /// The program's name: its conversation. What is said to it while it is away waits for it, for a day.
    #[arg(long = "as", default_value = "terminal", value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How `chat` starts an assistant of its own.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct ChatStart {
    /// Directory of bundled components (default: `bundle` beside the binary).
    #[arg(long, env = "CARAPACE_BUNDLE", value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Grant the bundled components what they ask, without asking at the terminal.
    #[arg(long)]
    pub accept_bundled: bool,
}

/// `publisher …`
#[derive(Debug, Subcommand)]
pub(crate) enum PublisherCommand {
    /// The pinned publishers.
    List(OutputArgs),
    /// Pin a publisher's key, or the rule by which it is recognised without one.
    Add {
        /// Its id.
        id: String,
        /// `ed25519:<base64>`
        #[arg(required_unless_present = "keyless", conflicts_with = "keyless")]
        key: Option<String>,
        /// `issuer=URL repository-id=NUMBER workflow=PATH`, or `issuer=URL email=ADDRESS`
        #[arg(long, value_name = "PART", num_args = 2..=3)]
        keyless: Vec<String>,
    },
    /// Forget a publisher; what it signed no longer runs.
    Remove {
        /// Its id.
        id: String,
    },
    /// Follow a publisher's statement that it signs with a new key.
    Rotate {
        /// What `plugin rotate-key` made.
        file: PathBuf,
    },
    /// Pin the key that may sign deny-lists.
    PinDenyKey {
        /// `ed25519:<base64>`
        key: String,
    },
    /// Take a newer deny-list; what it names is stopped at once.
    Deny {
        /// What `plugin deny-list` made.
        file: PathBuf,
    },
    /// Pin the key that may sign trusted roots.
    PinRootKey {
        /// `ed25519:<base64>`
        key: String,
    },
    /// Take a newer trusted root for keyless signatures.
    TrustedRoot {
        /// What `plugin trusted-root` made.
        file: PathBuf,
    },
}

/// `secrets …`
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Store a secret; its value is read from standard input or asked for, never taken from the command line.
    Set {
        /// Its name in the component's manifest.
        name: String,
        /// `publisher/name[/instance]`
        #[arg(long, value_name = "INSTANCE")]
        instance: String,
        /// Make one by chance that nobody sees, where the component hands it on itself.
        #[arg(long)]
        generate: bool,
    },
    /// Names, never values.
    List(OutputArgs),
    /// Remove a secret.
    Rm {
        /// Its name in the component's manifest.
        name: String,
        /// `publisher/name[/instance]`
        #[arg(long, value_name = "INSTANCE")]
        instance: String,
    },
}

/// `assets …`
#[derive(Debug, Subcommand)]
pub(crate) enum AssetsCommand {
    /// What installed components ask for, and whether it is here.
    List(OutputArgs),
    /// Take a file that is already on this machine.
    Add {
        /// The file; what it is is told by its digest.
        file: PathBuf,
    },
    /// Download what is missing, from the sources that the signed manifest names.
    Fetch {
        /// One file only.
        name: Option<String>,
        /// Take it from here instead; may be a server of your own.
        #[arg(long, value_name = "URL")]
        from: Option<url::Url>,
    },
    /// Remove a file.
    Rm {
        /// Its name.
        name: String,
    },
}

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the file; every problem at once.
    Check(OutputArgs),
    /// Where it is.
    Path,
    /// Its JSON Schema, for editors.
    Schema,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Walk every chain and name the first broken link.
    Verify(OutputArgs),
}
