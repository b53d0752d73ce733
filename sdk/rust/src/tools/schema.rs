//! The schema of a tool's arguments, as models like it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// JSON Schema (2020-12) of an argument type: without references where there is no recursion, without what only Rust cares for, and
/// closed to fields that do not exist, so that a misspelt one is refused by the kernel before the call.
pub(super) fn of<A: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.meta_schema = None;
        s.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<A>().to_value();
    trim(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.remove("title");
        // Flattened and tagged types say themselves what they hold.
        let plain = !["allOf", "anyOf", "oneOf", "$ref", "unevaluatedProperties"].iter().any(|k| root.contains_key(*k));
        if plain && root.get("type").is_some_and(|t| t == "object") {
            root.entry("properties").or_insert_with(|| Value::Object(serde_json::Map::new()));
            root.entry("additionalProperties").or_insert(Value::Bool(false));
        }
    }
    schema.to_string()
}

/// Takes out `format`s of number types: no model needs them, and some servers refuse schemas that have them.
fn trim(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let number = |f: &Value| {
                f.as_str()
                    .is_some_and(|f| f.starts_with("int") || f.starts_with("uint") || f == "float" || f == "double")
            };
            // A property may itself be called `format`; that one is an object.
            if fields.get("format").is_some_and(number) {
                fields.remove("format");
            }
            fields.values_mut().for_each(trim);
        }
        Value::Array(items) => items.iter_mut().for_each(trim),
        _ => {}
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "only the shapes count")]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    fn schema<A: JsonSchema>() -> Value {
        serde_json::from_str(&of::<A>()).unwrap()
    }

    #[derive(Deserialize, JsonSchema)]
    struct Roll {
        /// How many dice.
        #[schemars(range(min = 1, max = 100))]
        count: u8,
        format: Option<String>,
        kind: Kind,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        SixSided,
        TwentySided,
    }

    #[test]
    fn a_struct_is_a_closed_object_with_its_comments_and_ranges() {
        assert_eq!(
            schema::<Roll>(),
            json!({
                "type": "object",
                "properties": {
                    "count": { "description": "How many dice.", "type": "integer", "minimum": 1, "maximum": 100 },
                    "format": { "type": ["string", "null"] },
                    "kind": { "type": "string", "enum": ["six-sided", "twenty-sided"] },
                },
                "required": ["count", "kind"],
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn no_arguments_are_an_empty_object() {
        assert_eq!(
            schema::<crate::NoArguments>()["properties"],
            json!({}),
            "some servers want the field even if it is empty"
        );
        assert_eq!(schema::<crate::NoArguments>()["additionalProperties"], json!(false));
    }

    #[test]
    fn a_type_that_is_open_stays_open() {
        #[derive(Deserialize, JsonSchema)]
        struct Open {
            name: String,
            #[serde(flatten)]
            rest: std::collections::BTreeMap<String, String>,
        }
        assert_ne!(schema::<Open>()["additionalProperties"], json!(false));
    }
}
