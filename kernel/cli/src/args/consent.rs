//! Arguments by which an owner agrees or refuses.

use super::OutputArgs;
use carapace_contract::Digest;
use clap::Args;
use std::collections::BTreeSet;

/// `--without`
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct WithoutArgs {
    /// Refuse an optional capability, such as `memory` or `http:search`, and grant the rest; repeatable.
    #[arg(long, value_name = "CAPABILITY")]
    without: Vec<String>,
}

impl WithoutArgs {
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.without.iter().cloned().collect()
    }
}

/// Options of `plugin grant`.
#[derive(Debug, Args, Clone)]
pub(crate) struct GrantArgs {
    /// `publisher/name[/instance]`
    pub instance: String,
    /// Optional capabilities that were refused, and are granted now.
    pub capabilities: Vec<String>,
    #[command(flatten)]
    pub without: WithoutArgs,
    /// Grant what is shown without asking at the terminal.
    #[arg(long)]
    pub yes: bool,
}

/// Options of `plugin revoke`.
#[derive(Debug, Args, Clone)]
pub(crate) struct RevokeArgs {
    /// `publisher/name[/instance]`
    pub instance: String,
    /// Optional capabilities; all of the grant without any.
    pub capabilities: Vec<String>,
}

/// Options of `plugin rollback`.
#[derive(Debug, Args, Clone)]
pub(crate) struct RollbackArgs {
    /// `publisher/name`
    pub name: String,
    /// Agree, without a terminal, to what comes back with exactly this package: `sha256:<hex>`.
    #[arg(long, value_name = "DIGEST")]
    pub accept: Option<Digest>,
    #[command(flatten)]
    pub output: OutputArgs,
}
