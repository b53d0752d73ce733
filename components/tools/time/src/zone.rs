//! A moment in a zone, and zones that were meant.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZoneDatabase;

/// `2026-07-01T14:34:56.789+02:00 (Wednesday, Europe/Berlin; unix ms …)`
pub(crate) fn describe(now_ms: u64, name: &str) -> Result<String, String> {
    let moment = i64::try_from(now_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .ok_or_else(|| format!("the clock says {now_ms} ms, which is no date"))?;
    let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown(name))?;
    let name = zone.iana_name().unwrap_or(name).to_owned();
    let there = moment.to_zoned(zone);
    let (date, offset) = (there.datetime(), there.offset().seconds());
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() % 3600 / 60);
    Ok(format!("{date}{sign}{hours:02}:{minutes:02} ({}, {name}; unix ms {now_ms})", weekday(date.weekday())))
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    let near = nearest(&shown);
    let hint = if near.is_empty() {
        "use an IANA name, e.g. Europe/Berlin or UTC".to_owned()
    } else {
        format!("did you mean {}? (IANA names)", near.join(", "))
    };
    format!("`{shown}` is not a time zone; {hint}")
}

/// Up to three names: first those whose city it is, then those spelled much like it.
fn nearest(name: &str) -> Vec<String> {
    let wanted = name.trim().to_ascii_lowercase().replace(' ', "_");
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut scored: Vec<(usize, String)> = TimeZoneDatabase::bundled()
        .available()
        .filter_map(|zone| {
            let zone = zone.as_str().to_owned();
            let lower = zone.to_ascii_lowercase();
            let city = lower.rsplit('/').next().unwrap_or(&lower);
            let score = if city == wanted {
                0
            } else {
                let whole = strsim::damerau_levenshtein(&lower, &wanted);
                1 + whole.min(strsim::damerau_levenshtein(city, &wanted))
            };
            (score <= 1 + wanted.len() / 3).then_some((score, zone))
        })
        .collect();
    scored.sort();
    scored.truncate(3);
    scored.into_iter().map(|(_, zone)| zone).collect()
}
