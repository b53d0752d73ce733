//! Finds places by name.

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug)]
pub struct MyTool;

impl Tools for MyTool {
    fn tools(set: &mut ToolSet) {
        set.add("my_tool_find", "Finds places by name; gives their names and countries.", find);
    }
}

carapace_sdk::component!(MyTool: Tools);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Find {
    /// A name, or the beginning of one.
    name: String,
}

#[derive(Deserialize)]
struct Place {
    name: String,
    country: String,
}

fn find(args: Find, _: &Context) -> Result<String, ToolError> {
    let name = args.name.trim();
    if name.is_empty() {
        return Err(ToolError::invalid("`name` is empty; give a place's name"));
    }
    let places: Vec<Place> = http::get("api", "/places").query("name", name).send()?.success()?.json()?;
    if places.is_empty() {
        return Err(ToolError::not_found(format!("no place is called `{name}`")));
    }
    Ok(places.iter().map(|p| format!("{}, {}", p.name, p.country)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_sdk::testing::Answer;

    #[carapace_sdk::test]
    fn places_are_asked_for_by_name_and_listed(host: &mut TestHost) {
        let places = json!([{ "name": "Bergen", "country": "NO" }, { "name": "Bergen", "country": "DE" }]);
        host.on("GET", "api", "/places", Answer::new(200).json(places));
        let found = host.call_tool("my_tool_find", json!({ "name": " Bergen " })).unwrap();
        assert_eq!(found.text(), "Bergen, NO\nBergen, DE");
        assert_eq!(host.sent()[0].path(), "/places?name=Bergen");
    }

    #[carapace_sdk::test]
    fn what_the_model_can_correct_it_is_told(host: &mut TestHost) {
        let empty = host.call_tool("my_tool_find", json!({ "name": " " })).unwrap_err();
        assert!(matches!(empty, ToolError::InvalidArguments(_)), "{empty:?}");
        host.answer(Answer::new(200).json(json!([])));
        let none = host.call_tool("my_tool_find", json!({ "name": "Nowhere" })).unwrap_err();
        assert_eq!(none, ToolError::not_found("no place is called `Nowhere`"));
    }

    #[carapace_sdk::test]
    fn a_server_that_fails_may_be_asked_again(host: &mut TestHost) {
        host.answer(Answer::new(503)).answer(Answer::unreachable());
        for _ in 0..2 {
            let error = host.call_tool("my_tool_find", json!({ "name": "Bergen" })).unwrap_err();
            assert!(matches!(error, ToolError::Unavailable(_)), "{error:?}");
        }
    }
}
