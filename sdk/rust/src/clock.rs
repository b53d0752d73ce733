//! Time. In milliseconds only: finer clocks help side channels. `std::time::Instant` and `SystemTime` panic in a component.

use crate::{Error, host};
use std::time::Duration;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// Milliseconds since an arbitrary point; never goes back.
pub fn monotonic_ms() -> u64 {
    host::monotonic_ms()
}

/// Waits. Counts against the call's wall time, not its processor time. Rounded to whole milliseconds, at most 49 days.
///
/// # Errors
/// The run was cancelled, or its time is up.
pub fn sleep(duration: Duration) -> Result<(), Error> {
    host::sleep_ms(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
}
