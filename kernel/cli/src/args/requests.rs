//! Arguments of `plugin requests`.

use super::{BringArgs, OutputArgs};
use clap::{Args, Subcommand};

/// Options of `plugin requests`.
#[derive(Debug, Args, Clone)]
pub(crate) struct RequestsArgs {
    /// What to do; lists them without it.
    #[command(subcommand)]
    pub command: Option<RequestsCommand>,
}

/// `plugin requests …`
#[derive(Debug, Subcommand, Clone)]
pub(crate) enum RequestsCommand {
    /// What components propose to install.
    List(OutputArgs),
    /// Look at one as at any installation, and install it if you agree.
    Approve {
        /// As `list` shows it.
        id: String,
        #[command(flatten)]
        bring: Box<BringArgs>,
    },
    /// Say no.
    Reject {
        /// As `list` shows it.
        id: String,
    },
}
