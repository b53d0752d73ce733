//! `carapace channels …`, `pairing …`, `outbox …`, `events …`

use super::OutputArgs;
use clap::Subcommand;

/// `channels …`
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelsCommand {
    /// Every channel and how it stands.
    List(OutputArgs),
    /// One channel, with all that waits.
    Status {
        /// `name`, `publisher/name` or `publisher/name/instance`
        instance: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Load a channel again, as `plugin enable` does.
    Enable {
        /// `name`, `publisher/name` or `publisher/name/instance`
        instance: String,
    },
    /// Keep a channel from being loaded, as `plugin disable` does. What waits in its outbox stays there.
    Disable {
        /// `name`, `publisher/name` or `publisher/name/instance`
        instance: String,
    },
    /// Try a channel with the real account: says step by step how it stands, then sends you a short message through it and waits for the
    /// platform's answer.
    Test {
        /// `name`, `publisher/name` or `publisher/name/instance`
        instance: String,
        /// How long to wait for the answer.
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
        wait: u64,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `pairing …`
#[derive(Debug, Subcommand)]
pub(crate) enum PairingCommand {
    /// Strangers who wait with a code, and those who may talk.
    List(OutputArgs),
    /// Let a stranger talk to the assistant.
    Approve {
        /// The code that the stranger was given.
        code: String,
        /// It is you: what this account writes counts as yours, as far as the channel's component tells the truth.
        #[arg(long)]
        owner: bool,
    },
    /// Forget a stranger and the code.
    Reject {
        /// The code.
        code: String,
    },
    /// Somebody may no longer talk.
    Remove {
        /// Through which channel.
        instance: String,
        /// The platform's id, as `pairing list` shows it.
        sender: String,
    },
}

/// `outbox …`
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// What has not gone out: waiting, uncertain, given up.
    List {
        /// Of one channel only.
        #[arg(long, value_name = "INSTANCE")]
        of: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Send it (again) now; an uncertain one may then arrive twice.
    Retry {
        /// As `outbox list` shows it.
        id: ulid::Ulid,
    },
    /// Give it up.
    Drop {
        /// As `outbox list` shows it.
        id: ulid::Ulid,
    },
}

/// `events …`
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Events and messages that were put aside because a component broke on them.
    #[command(visible_alias = "dead")]
    List(OutputArgs),
    /// Give one to its channel again.
    Replay {
        /// As `events list` shows it.
        id: ulid::Ulid,
    },
    /// Forget one.
    Drop {
        /// As `events list` shows it.
        id: ulid::Ulid,
    },
}
