//! `carapace registry …`

use super::{OutputArgs, RotateKeyArgs};
use clap::Subcommand;
use std::path::PathBuf;

/// `registry …`
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// The registries that names are looked up in, in that order.
    List(OutputArgs),
    /// Add a registry, whose index must be signed with this key.
    Add {
        /// Its id, as its keeper calls it.
        id: String,
        /// A directory, or `https://…`
        location: String,
        /// `ed25519:<base64>`
        key: String,
        /// Take its index although it has expired.
        #[arg(long)]
        accept_expired: bool,
    },
    /// Forget a registry; what was installed from it stays.
    Remove {
        /// Its id.
        id: String,
    },
    /// Follow a registry's statement that its index is signed with a new key.
    Rotate {
        /// What `registry rotate-key` made.
        file: PathBuf,
    },
    /// Make or renew the signed index of a directory of packages; all it says is read from the packages themselves.
    Index {
        /// The directory; its packages lie in `packages`, where `plugin publish --to DIR` puts them.
        dir: PathBuf,
        /// The registry's id.
        #[arg(long)]
        id: String,
        /// The key file that signs the index (default: the local publisher's, made and pinned if missing).
        #[arg(long, value_name = "PEM")]
        key: Option<PathBuf>,
        /// When a newer index must be there.
        #[arg(long, default_value_t = 90)]
        days: u64,
        /// Withdraw a package, `publisher/name@version` or `sha256:<hex>`; repeatable.
        #[arg(long, value_name = "PACKAGE")]
        yank: Vec<String>,
        /// Why it is withdrawn.
        #[arg(long, value_name = "TEXT", default_value = "withdrawn", requires = "yank")]
        reason: String,
        /// Offer a withdrawn package again; repeatable.
        #[arg(long, value_name = "PACKAGE")]
        unyank: Vec<String>,
        /// The public key that signed the index that is there, if it was another one.
        #[arg(long, value_name = "KEY")]
        earlier_key: Option<String>,
    },
    /// Make a statement by which those who added the registry also trust a new key of its index.
    RotateKey {
        /// The registry's id.
        #[arg(long)]
        id: String,
        #[command(flatten)]
        how: RotateKeyArgs,
    },
}
