//! The command line.

mod channels;
mod registry;

pub(crate) use channels::{ChannelsCommand, EventsCommand, OutboxCommand, PairingCommand};
pub(crate) use registry::RegistryCommand;

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
    /// Stop a running assistant.
    Stop,
    /// Show what runs.
    Status(OutputArgs),
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

/// `plugin …`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// What is installed and how it stands.
    List(OutputArgs),
    /// Look for components in the registries.
    Search {
        /// All of these words, in names, descriptions and what is asked for; everything without them.
        words: Vec<String>,
        #[command(flatten)]
        reading: ReadingArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What the registries have in a newer version than is installed.
    Outdated {
        #[command(flatten)]
        reading: ReadingArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put a signed package into a registry.
    Publish {
        /// A `.wasm` file with its `.sigstore.json` beside it.
        file: PathBuf,
        /// Its bundle, if elsewhere.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// The directory of a registry, or `oci://HOST/REPOSITORY[:TAG]`.
        #[arg(long, value_name = "DIR|OCI")]
        to: String,
    },
    /// Install a component: shows who signed it and everything it asks, and asks you.
    Install {
        /// `NAME[@VERSION]` in a registry, `oci://HOST/REPOSITORY[:TAG]`, `https://….wasm`, or a `.wasm` file.
        source: String,
        #[command(flatten)]
        bring: BringArgs,
        /// Name of the instance (default: `main`); another name beside an installed one makes a further instance.
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
    },
    /// Bring in another version of an installed component; calls in flight finish on the old one.
    Update {
        /// `publisher/name`
        name: String,
        /// As for `install`; without it, the newest version in the registries.
        source: Option<String>,
        #[command(flatten)]
        bring: BringArgs,
    },
    /// Go back to the version before.
    Rollback {
        /// `publisher/name`
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Load a disabled instance again.
    Enable {
        /// `publisher/name[/instance]`
        instance: String,
    },
    /// Keep an instance from being loaded.
    Disable {
        /// `publisher/name[/instance]`
        instance: String,
    },
    /// Uninstall a component and end the grants of all its instances.
    Uninstall {
        /// `publisher/name`
        name: String,
        /// Keep its data and secrets (the default).
        #[arg(long, conflicts_with = "delete_data")]
        keep_data: bool,
        /// Delete its data and secrets, too.
        #[arg(long)]
        delete_data: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// What stands granted, since when, by whom.
    Grants {
        /// `publisher/name[/instance]`; all without it.
        instance: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What was refused to an instance lately, and what would allow it.
    Why {
        /// `publisher/name[/instance]`
        instance: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Who signed a file, what it asks for, what it could do.
    Inspect {
        /// A `.wasm` file.
        file: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check signature, publisher and manifest without installing.
    Verify {
        /// A `.wasm` file with its `.sigstore.json` beside it.
        file: PathBuf,
        /// Its bundle, if elsewhere.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a package from a core module (or component) and its manifest.
    Build {
        /// What the compiler made.
        #[arg(long, value_name = "WASM")]
        core: PathBuf,
        /// carapace.toml
        #[arg(long, value_name = "TOML")]
        manifest: PathBuf,
        /// Where to write the package.
        #[arg(long, value_name = "WASM")]
        out: PathBuf,
    },
    /// Run a component's tests: against its code, then against the component built of it.
    Test {
        /// The folder of its crate.
        #[arg(default_value = ".", value_name = "DIR")]
        folder: PathBuf,
        /// What was built: a package, or a core module (default: what cargo makes of the crate).
        #[arg(long, value_name = "WASM")]
        component: Option<PathBuf>,
        /// For `cargo test`.
        #[arg(last = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Run one component for the tests of another process.
    #[command(hide = true)]
    TestHost {
        /// A package; it need not be signed.
        file: PathBuf,
    },
    /// Sign packages with a publisher's key.
    Sign {
        /// `.wasm` packages.
        #[arg(required_unless_present = "bundle")]
        files: Vec<PathBuf>,
        /// Sign every package of a directory instead.
        #[arg(long, value_name = "DIR", conflicts_with = "files")]
        bundle: Option<PathBuf>,
        /// The key file (default: the local publisher's, made and pinned if missing).
        #[arg(long, value_name = "PEM")]
        key: Option<PathBuf>,
    },
    /// Make a publisher key.
    Keygen {
        /// Where to write it (mode 0600).
        #[arg(long, value_name = "PEM")]
        out: PathBuf,
    },
    /// Take an instance's grant away; it bites on its next call into the kernel.
    Revoke {
        /// `publisher/name[/instance]`
        instance: String,
    },
    /// Show what an instance asks for, and grant it: a further instance, one that was revoked, or one that has grown.
    Grant {
        /// `publisher/name[/instance]`
        instance: String,
        /// Grant what is shown without asking at the terminal.
        #[arg(long)]
        yes: bool,
    },
    /// Make a statement by which those who trust your old key also trust a new one.
    RotateKey {
        /// The key file that is trusted now.
        #[arg(long, value_name = "PEM")]
        old: PathBuf,
        /// The new public key: `ed25519:<base64>`
        #[arg(long, value_name = "KEY")]
        new: String,
        /// Nothing that the old key signed is accepted afterwards.
        #[arg(long)]
        retire_old: bool,
        /// Where to write the statement.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a list of packages, keys and publishers that must not run.
    DenyList {
        /// The key file of those who sign such lists.
        #[arg(long, value_name = "PEM")]
        key: PathBuf,
        /// Higher than that of the last list.
        #[arg(long)]
        list_version: u64,
        /// When a newer one should be there.
        #[arg(long, default_value_t = 90)]
        expires_days: u64,
        /// A package, `sha256:<hex>`; repeatable.
        #[arg(long, value_name = "DIGEST")]
        digest: Vec<String>,
        /// A publisher's id; repeatable.
        #[arg(long, value_name = "ID")]
        publisher: Vec<String>,
        /// A public key, `ed25519:<base64>`; repeatable.
        #[arg(long, value_name = "KEY")]
        signer: Vec<String>,
        /// Where to write the list.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a `trusted_root.json` of Sigstore's for those who pinned your key for it.
    TrustedRoot {
        /// As fetched, just now, from where it is kept.
        file: PathBuf,
        /// The key file of those who sign such roots.
        #[arg(long, value_name = "PEM")]
        key: PathBuf,
        /// Higher than that of the last root.
        #[arg(long)]
        root_version: u64,
        /// Where to write it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What `plugin install` and `plugin update` bring in.
#[derive(Debug, Args, Clone)]
pub(crate) struct BringArgs {
    /// A file's bundle, if not beside it.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Agree, without a terminal, to exactly this package: `sha256:<hex>`.
    #[arg(long, value_name = "DIGEST")]
    pub accept: Option<carapace_contract::Digest>,
    /// Let it in although a newer version was here before.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// How registries are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Print JSON for scripts.
    #[arg(long)]
    pub json: bool,
}

/// How registries are read.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct ReadingArgs {
    /// Look in this registry only.
    #[arg(long, value_name = "ID")]
    pub registry: Option<carapace_contract::Name>,
    /// Take an index although it has expired.
    #[arg(long)]
    pub accept_expired: bool,
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
