//! `carapace plugin …`

use super::{AuthorCommand, GrantArgs, OutputArgs, RequestsArgs, RevokeArgs, RollbackArgs, RotateKeyArgs, WithoutArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
        /// It must be by this publisher, as you pinned it.
        #[arg(long, value_name = "ID")]
        publisher: Option<carapace_contract::Name>,
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
    /// Install exactly what a `plugins.lock` names, from where it names it, and ask about each.
    Sync(SyncArgs),
    /// Go back to the version before.
    Rollback(RollbackArgs),
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
    /// What the assistant proposes to install; only you decide.
    Requests(RequestsArgs),
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
    /// Write one: make, build, check, test, run, watch.
    #[command(flatten)]
    Author(AuthorCommand),
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
    /// Take an instance's grant away, or optional capabilities of it; it bites on its next call into the kernel.
    Revoke(RevokeArgs),
    /// Show what an instance asks for, and grant it: a further instance, one that was revoked, or one that has grown.
    Grant(GrantArgs),
    /// Make a statement by which those who trust your old key also trust a new one.
    RotateKey(RotateKeyArgs),
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
        /// Who signs without a key, in one argument: `issuer=URL repository-id=NUMBER workflow=PATH`; repeatable.
        #[arg(long, value_name = "RULE")]
        keyless: Vec<String>,
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
    #[command(flatten)]
    pub without: WithoutArgs,
    /// Let it in although a newer version was here before.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// How registries are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Print JSON for scripts.
    #[arg(long)]
    pub json: bool,
    /// What a lock names; nothing else is brought.
    #[arg(skip)]
    pub locked: Option<carapace_contract::Digest>,
}

/// What `plugin sync` brings in.
#[derive(Debug, Args, Clone)]
pub(crate) struct SyncArgs {
    /// A copy of the `plugins.lock` of another machine.
    pub file: PathBuf,
    /// Agree, without a terminal, to exactly this package: `sha256:<hex>`; repeatable.
    #[arg(long, value_name = "DIGEST")]
    pub accept: Vec<carapace_contract::Digest>,
    /// Let packages in although newer versions were here before.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Take an index although it has expired.
    #[arg(long)]
    pub accept_expired: bool,
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
