//! The current time: tools `time` (UTC and the owner's zone) and `current_time` (any IANA zone).
//!
//! The IANA time zone database is compiled in; the clock is the kernel's.

mod zone;

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug)]
pub struct Time;

impl Tools for Time {
    fn tools(set: &mut ToolSet) {
        set.add("time", "The current date and time, in UTC and in the owner's time zone.", time);
        set.add(
            "current_time",
            "The current date and time in a time zone: ISO 8601 with offset, weekday, and milliseconds since 1970.",
            current_time,
        );
    }
}

carapace_sdk::component!(Time: Tools);

fn time(_: NoArguments, cx: &Context) -> Result<String, ToolError> {
    let now = clock::now_ms();
    let utc = zone::describe(now, "UTC").map_err(ToolError::Failed)?;
    Ok(match cx.timezone.as_deref() {
        // The owner's own setting is no argument of the model's: a bad one is told, and the time all the same.
        Some(zone) if zone != "UTC" => match zone::describe(now, zone) {
            Ok(there) => format!("{utc}\n{there}"),
            Err(e) => format!("{utc}\nThe owner's time zone is not known: {e}"),
        },
        _ => utc,
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Where {
    /// IANA name, e.g. Europe/Berlin or UTC. Without it: the owner's zone.
    timezone: Option<String>,
}

fn current_time(place: Where, cx: &Context) -> Result<String, ToolError> {
    let now = clock::now_ms();
    match place.timezone {
        Some(zone) => zone::describe(now, zone.trim()).map_err(ToolError::InvalidArguments),
        None => zone::describe(now, cx.timezone.as_deref().unwrap_or("UTC")).map_err(ToolError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-07-01 12:34:56.789 UTC, a Wednesday.
    const NOW: u64 = 1_782_909_296_789;

    fn ok(host: &mut TestHost, name: &str, arguments: serde_json::Value) -> String {
        host.call_tool(name, arguments).unwrap().text()
    }
    fn invalid(host: &mut TestHost, name: &str, arguments: serde_json::Value) -> String {
        match host.call_tool(name, arguments) {
            Err(ToolError::InvalidArguments(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    #[carapace_sdk::test]
    fn time_is_told_in_utc_and_in_the_owners_zone(host: &mut TestHost) {
        host.now_ms(NOW);
        let utc = "2026-07-01T12:34:56.789+00:00 (Wednesday, UTC; unix ms 1782909296789)";
        assert_eq!(ok(host, "time", json!({})), utc);
        let both = ok(host.timezone("Asia/Kolkata"), "time", json!({}));
        assert_eq!(
            both.lines().nth(1),
            Some("2026-07-01T18:04:56.789+05:30 (Wednesday, Asia/Kolkata; unix ms 1782909296789)")
        );
    }

    #[carapace_sdk::test]
    fn a_zone_may_be_named_and_the_owners_is_the_default(host: &mut TestHost) {
        host.now_ms(NOW);
        let mut there = |zone| ok(host, "current_time", json!({ "timezone": zone }));
        assert!(there("Europe/Berlin").starts_with("2026-07-01T14:34:56.789+02:00 (Wednesday, Europe/Berlin;"));
        assert!(there("america/new_york").contains("-04:00 (Wednesday, America/New_York;"));
        assert!(ok(host, "current_time", json!({ "timezone": null })).contains("UTC"));
        let owners = ok(host.timezone("Pacific/Auckland"), "current_time", json!({}));
        assert!(owners.starts_with("2026-07-02T00:34:56.789+12:00 (Thursday"), "{owners}");
    }

    #[carapace_sdk::test]
    fn a_zone_follows_its_summer_time(host: &mut TestHost) {
        let winter = ok(host.now_ms(1_767_225_600_000), "current_time", json!({ "timezone": "Europe/Berlin" }));
        assert!(winter.starts_with("2026-01-01T01:00:00+01:00 (Thursday"), "{winter}");
    }

    #[carapace_sdk::test]
    fn an_unknown_zone_names_the_nearest_ones(host: &mut TestHost) {
        let mut says = |zone: &str| invalid(host, "current_time", json!({ "timezone": zone }));
        assert!(says("Europe/Berlim").contains("Europe/Berlin"));
        assert!(says("Tokyo").contains("Asia/Tokyo"));
        assert!(says("new york").contains("America/New_York"));
        assert!(says("").contains("IANA"));
        assert!(says(&"x".repeat(5000)).len() < 400);
    }

    #[carapace_sdk::test]
    fn an_owners_zone_that_is_wrong_is_told_beside_the_time(host: &mut TestHost) {
        host.now_ms(NOW).timezone("Mars/Base");
        let text = ok(host, "time", json!({}));
        assert!(text.starts_with("2026-07-01T12:34:56.789+00:00") && text.contains("not known"), "{text}");
        assert!(matches!(host.call_tool("current_time", json!({})), Err(ToolError::Failed(_))));
    }

    #[carapace_sdk::test]
    fn other_arguments_and_other_tools_are_refused(host: &mut TestHost) {
        assert!(invalid(host, "current_time", json!({ "zone": "UTC" })).contains("zone"));
        assert!(invalid(host, "time", json!({ "timezone": "UTC" })).contains("timezone"));
        assert!(invalid(host, "current_time", json!({ "timezone": 5 })).contains("string"));
        assert!(matches!(host.call_tool("date", json!({})), Err(ToolError::NotFound(_))));
        assert!(matches!(host.now_ms(u64::MAX).call_tool("time", json!({})), Err(ToolError::Failed(_))));
    }

    #[carapace_sdk::test]
    fn every_listed_tool_can_be_called(host: &mut TestHost) {
        assert_eq!(host.tools(), ["time", "current_time"]);
        for tool in host.tools() {
            assert!(!ok(host, &tool, json!({})).is_empty());
        }
    }
}
