//! The machine: room, time, memory for components, and the port.

use super::{Check, Finding};
use crate::assembly::engine_options;
use crate::trust;
use carapace_config::{Allocator, Config, StatePaths};
use carapace_runtime::{Allocation, Engines};
use carapace_store::Reader;

/// Nothing is written any more long before the disk is full to the last byte.
const LITTLE_ROOM: u64 = 1 << 30;
const NO_ROOM: u64 = 100 << 20;
/// Until a clock counts as wrong: what was written before must not be from the future.
const SLACK_MS: u64 = 5 * 60 * 1000;
/// 2026-01-01T00:00:00Z. This program is younger.
const YOUNGER_MS: u64 = 1_767_225_600_000;

/// Free space where the state is.
pub(crate) fn room(paths: &StatePaths) -> Finding {
    let check = Check("disk", "there is room on the disk");
    let existing = paths.root().ancestors().find(|p| p.exists()).unwrap_or(paths.root());
    let Some(free) = free(existing) else { return check.good() };
    let problem = format!("{} MiB are free at {}", free >> 20, existing.display());
    let fix =
        "free some, or move the state directory (CARAPACE_STATE_DIR); `aot` in it is made again when it is missing";
    match free {
        free if free < NO_ROOM => check.wrong(problem, fix),
        free if free < LITTLE_ROOM => check.hint(problem, fix),
        _ => check.good(),
    }
}

#[cfg(unix)]
fn free(place: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(place).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &std::path::Path) -> Option<u64> {
    None
}

/// The clock, against the program's own age and what was written here before.
pub(crate) async fn clock(paths: &StatePaths, reader: Option<&Reader>) -> Finding {
    let check = Check("clock", "the clock is not behind");
    let now = trust::now_ms();
    let fix = "timedatectl set-ntp true, or set the clock by hand; signatures, budgets and schedules go by it";
    if now < YOUNGER_MS {
        return check.wrong(format!("it says {}, and this program is younger", date(now)), fix);
    }
    let mut newest =
        std::fs::metadata(paths.database()).and_then(|m| m.modified()).map(trust::ms_of).unwrap_or_default();
    if let Some(reader) = reader {
        let packages = reader.packages().await.unwrap_or_default();
        let grants = reader.grants().await.unwrap_or_default();
        newest = packages.iter().map(|p| p.at_ms).chain(grants.iter().map(|g| g.at_ms)).fold(newest, u64::max);
    }
    if newest > now + SLACK_MS {
        return check.wrong(format!("it says {}, and something was written here at {}", date(now), date(newest)), fix);
    }
    check.good()
}

fn date(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// The engine, and how it gets memory.
pub(crate) fn engine(config: &Config) -> Finding {
    let check = Check("engine", "the WebAssembly engine runs, with its memory pool");
    let allocator = config.runtime.allocator;
    match Engines::new(engine_options(config)) {
        Ok(engines) => match engines.allocation() {
            Allocation::OnDemand { reason } if allocator == Allocator::Pooling => check.wrong(
                format!("the pool that the configuration insists on cannot be had: {reason}"),
                "ulimit -v unlimited, or runtime: { allocator: \"auto\" }",
            ),
            Allocation::OnDemand { reason } if allocator == Allocator::Auto => check.hint(
                format!("without the pool, which makes calls slower: {reason}"),
                "ulimit -v unlimited; runtime: { allocator: \"on-demand\" } if that is how it shall be",
            ),
            _ => check.good(),
        },
        Err(e) => check.wrong(e.to_string(), "another machine: this CPU or operating system is not supported"),
    }
}

/// The gateway's port, while no assistant of this state directory has it.
pub(crate) async fn port(config: &Config) -> Finding {
    let check = Check("port", "the gateway's port is free");
    match carapace_gateway::can_listen(config.gateway.bind, config.gateway.port).await {
        Ok(()) => check.good(),
        Err(denial) => check.wrong(format!("{} [{}]", denial.message, denial.code), denial.fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_birth_is_written_as_people_write_it() {
        assert_eq!(date(YOUNGER_MS), "2026-01-01 00:00 UTC");
    }

    #[tokio::test]
    async fn a_state_from_the_future_means_that_the_clock_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StatePaths::under(dir.path());
        assert_eq!(clock(&paths, None).await.level, super::super::Level::Good);
        let file = std::fs::File::create(paths.database()).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(86_400)).unwrap();
        let found = clock(&paths, None).await;
        assert!(found.problem.contains("something was written here"), "{found:?}");
    }
}
