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
    /// Grant these capabilities for the next call that uses any of them.
    #[arg(long, requires = "capabilities", conflicts_with = "time")]
    pub once: bool,
    /// Grant these capabilities for so long: `90s`, `30m`, `8h`; at most a day, and while the assistant runs.
    #[arg(long = "for", value_name = "TIME", requires = "capabilities", value_parser = seconds)]
    pub time: Option<u64>,
    /// Grant what is shown without asking at the terminal.
    #[arg(long)]
    pub yes: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "is no time of 1s to 24h; write e.g. 30m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    seconds.filter(|s| (1..=86_400).contains(s)).ok_or_else(wrong)
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

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_is_a_number_and_a_unit_and_no_more_than_a_day() {
        assert_eq!((seconds("90s"), seconds("30m"), seconds("24h")), (Ok(90), Ok(1_800), Ok(86_400)));
        for bad in ["", "0s", "25h", "m", "5", "-5m", "5d", "1h30m", "9999999999999999999h", "5\u{20ac}"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
