//! The time, injected.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// `YYYY-MM-DD` in UTC: the day that usage is booked on.
pub(crate) fn utc_day(ms: u64) -> String {
    at(ms).to_zoned(TimeZone::UTC).date().to_string()
}

/// The date as a model should know it, in the owner's time zone where that is known.
pub(crate) fn date_line(ms: u64, zone: Option<&str>) -> String {
    let known = zone.and_then(|name| TimeZone::get(name).ok().map(|tz| (name, tz)));
    let (name, tz) = known.unwrap_or(("UTC", TimeZone::UTC));
    let local = at(ms).to_zoned(tz);
    // The day, not the minute: a context that changes every minute is never cached by a provider.
    format!("Today is {} (time zone {name}).", local.strftime("%A, %-d %B %Y"))
}

fn at(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_the_owners_where_the_zone_is_known() {
        // 2024-02-29 23:30 UTC
        let ms = 1_709_249_400_000;
        assert_eq!(date_line(ms, None), "Today is Thursday, 29 February 2024 (time zone UTC).");
        assert_eq!(date_line(ms, Some("Asia/Tokyo")), "Today is Friday, 1 March 2024 (time zone Asia/Tokyo).");
        assert_eq!(date_line(ms, Some("Nowhere/Land")), "Today is Thursday, 29 February 2024 (time zone UTC).");
        assert_eq!(utc_day(ms), "2024-02-29");
    }
}
