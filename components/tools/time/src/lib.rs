//! The current time: tools `time` (UTC and the owner's zone) and `current_time` (any IANA zone).
//!
//! The IANA time zone database is compiled in; the clock is the kernel's.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tool", generate_all });
}
mod zone;

use bindings::carapace::plugin::clock;
use bindings::exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};
use serde_json::Value;

/// The component.
#[derive(Debug)]
pub struct Time;

impl Guest for Time {
    fn list() -> Vec<Tool> {
        let tool = |name: &str, description: &str, parameters: &str| Tool {
            name: name.into(),
            description: description.into(),
            parameters: parameters.into(),
            extra: Vec::new(),
        };
        vec![
            tool(
                "time",
                "The current date and time, in UTC and in the owner's time zone.",
                r#"{"type":"object","properties":{},"additionalProperties":false}"#,
            ),
            tool(
                "current_time",
                "The current date and time in a time zone: ISO 8601 with offset, weekday, and milliseconds since 1970.",
                r#"{"type":"object","properties":{"timezone":{"type":"string","description":"IANA name, e.g. Europe/Berlin or UTC. Without it: the owner's zone."}},"additionalProperties":false}"#,
            ),
        ]
    }

    fn call(name: String, arguments: String, context: Context) -> Result<Vec<Content>, ToolError> {
        let now = clock::now_ms();
        let text = answer(&name, &arguments, context.timezone.as_deref(), now)?;
        Ok(vec![Content::Text(text)])
    }
}

/// What `name` says at `now_ms`.
fn answer(name: &str, arguments: &str, owner: Option<&str>, now_ms: u64) -> Result<String, ToolError> {
    let wrong = |e: String| ToolError::InvalidArguments(e);
    let arguments: Value =
        serde_json::from_str(arguments).map_err(|e| wrong(format!("the arguments are not JSON: {e}")))?;
    let Value::Object(arguments) = arguments else { return Err(wrong("the arguments must be an object".into())) };
    let known: &[&str] = if name == "current_time" { &["timezone"] } else { &[] };
    if let Some(key) = arguments.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(wrong(format!(
            "unknown argument `{key}`; {name} takes {}",
            if known.is_empty() { "none" } else { "`timezone`" }
        )));
    }
    match name {
        "time" => {
            let utc = zone::describe(now_ms, "UTC").map_err(ToolError::Failed)?;
            Ok(match owner {
                // The owner's own setting is no argument of the model's: a bad one is told, and the time all the same.
                Some(zone) if zone != "UTC" => match zone::describe(now_ms, zone) {
                    Ok(there) => format!("{utc}\n{there}"),
                    Err(e) => format!("{utc}\nThe owner's time zone is not known: {e}"),
                },
                _ => utc,
            })
        }
        "current_time" => match arguments.get("timezone") {
            Some(Value::String(zone)) => zone::describe(now_ms, zone.trim()).map_err(wrong),
            Some(Value::Null) | None => zone::describe(now_ms, owner.unwrap_or("UTC")).map_err(ToolError::Failed),
            Some(_) => Err(wrong("`timezone` must be text, e.g. \"Europe/Berlin\"".into())),
        },
        _ => Err(ToolError::NotFound(format!("there is no tool `{name}` here; there are `time` and `current_time`"))),
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
bindings::export!(Time with_types_in bindings);

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-07-01 12:34:56.789 UTC, a Wednesday.
    const NOW: u64 = 1_782_909_296_789;

    fn ok(name: &str, arguments: &str, owner: Option<&str>) -> String {
        answer(name, arguments, owner, NOW).unwrap()
    }
    fn invalid(name: &str, arguments: &str) -> String {
        match answer(name, arguments, None, NOW) {
            Err(ToolError::InvalidArguments(e)) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn time_is_told_in_utc_and_in_the_owners_zone() {
        assert_eq!(ok("time", "{}", None), "2026-07-01T12:34:56.789+00:00 (Wednesday, UTC; unix ms 1782909296789)");
        let both = ok("time", "{}", Some("Asia/Kolkata"));
        assert_eq!(
            both.lines().nth(1),
            Some("2026-07-01T18:04:56.789+05:30 (Wednesday, Asia/Kolkata; unix ms 1782909296789)")
        );
    }

    #[test]
    fn a_zone_may_be_named_and_the_owners_is_the_default() {
        assert!(
            ok("current_time", r#"{"timezone":"Europe/Berlin"}"#, None)
                .starts_with("2026-07-01T14:34:56.789+02:00 (Wednesday, Europe/Berlin;")
        );
        assert!(
            ok("current_time", r#"{"timezone":"america/new_york"}"#, None)
                .contains("-04:00 (Wednesday, America/New_York;")
        );
        assert!(
            ok("current_time", "{}", Some("Pacific/Auckland")).starts_with("2026-07-02T00:34:56.789+12:00 (Thursday")
        );
        assert!(ok("current_time", r#"{"timezone":null}"#, None).contains("UTC"));
    }

    #[test]
    fn a_zone_follows_its_summer_time() {
        let winter = answer("current_time", r#"{"timezone":"Europe/Berlin"}"#, None, 1_767_225_600_000).unwrap();
        assert!(winter.starts_with("2026-01-01T01:00:00+01:00 (Thursday"), "{winter}");
    }

    #[test]
    fn an_unknown_zone_names_the_nearest_ones() {
        assert!(invalid("current_time", r#"{"timezone":"Europe/Berlim"}"#).contains("Europe/Berlin"));
        assert!(invalid("current_time", r#"{"timezone":"Tokyo"}"#).contains("Asia/Tokyo"));
        assert!(invalid("current_time", r#"{"timezone":"new york"}"#).contains("America/New_York"));
        assert!(invalid("current_time", r#"{"timezone":""}"#).contains("IANA"));
        let long = format!(r#"{{"timezone":"{}"}}"#, "x".repeat(5000));
        assert!(invalid("current_time", &long).len() < 400);
    }

    #[test]
    fn an_owners_zone_that_is_wrong_is_told_beside_the_time() {
        let text = ok("time", "{}", Some("Mars/Base"));
        assert!(text.starts_with("2026-07-01T12:34:56.789+00:00") && text.contains("not known"), "{text}");
        assert!(matches!(answer("current_time", "{}", Some("Mars/Base"), NOW), Err(ToolError::Failed(_))));
    }

    #[test]
    fn other_arguments_and_other_tools_are_refused() {
        assert!(invalid("current_time", r#"{"zone":"UTC"}"#).contains("`zone`"));
        assert!(invalid("time", r#"{"timezone":"UTC"}"#).contains("takes none"));
        assert!(invalid("current_time", r#"{"timezone":5}"#).contains("text"));
        assert!(invalid("time", "nonsense").contains("not JSON"));
        assert!(matches!(answer("date", "{}", None, NOW), Err(ToolError::NotFound(_))));
        assert!(matches!(answer("time", "{}", None, u64::MAX), Err(ToolError::Failed(_))));
    }

    #[test]
    fn every_listed_tool_can_be_called_and_its_schema_is_json() {
        for tool in Time::list() {
            assert!(serde_json::from_str::<Value>(&tool.parameters).unwrap().is_object());
            assert!(!ok(&tool.name, "{}", None).is_empty());
        }
    }
}
