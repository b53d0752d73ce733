//! A call's arguments against its tool's schema. Compiled schemas are kept per package and tool.

use carapace_contract::Digest;
use carapace_contract::turn::ToolInfo;
use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled schemas.
#[derive(Default)]
pub(crate) struct Schemas {
    compiled: Mutex<HashMap<(Digest, String), Compiled>>,
}

/// A validator, or why the schema is not usable.
type Compiled = Arc<Result<Validator, String>>;

/// A schema never makes the kernel open a file or a connection.
struct NoRemote;

impl Retrieve for NoRemote {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is outside the schema; remote references are off").into())
    }
}

/// More compiled schemas than any catalogue needs: beyond it, packages were replaced many times and the cache starts afresh.
const KEPT: usize = 1_024;

impl Schemas {
    /// The arguments as an object, or a text for the model that says what to change.
    pub(crate) fn check(&self, tool: &ToolInfo, raw: &str) -> Result<Value, String> {
        let raw = if raw.trim().is_empty() { "{}" } else { raw };
        let value: Value = serde_json::from_str(raw).map_err(|e| {
            format!("the arguments of `{}` are not JSON: {e}; give one JSON object that follows its schema", tool.name)
        })?;
        if !value.is_object() {
            return Err(format!("the arguments of `{}` must be one JSON object", tool.name));
        }
        let compiled = self.compiled(tool);
        let validator = match compiled.as_ref() {
            Ok(validator) => validator,
            Err(why) => {
                return Err(format!("`{}` cannot be called: its own schema is not usable ({why})", tool.name));
            }
        };
        let problems: Vec<String> = validator.iter_errors(&value).take(5).map(|e| problem(&e)).collect();
        if problems.is_empty() {
            return Ok(value);
        }
        Err(format!("the arguments of `{}` do not follow its schema: {}", tool.name, problems.join("; ")))
    }

    fn compiled(&self, tool: &ToolInfo) -> Compiled {
        // The schema comes from the guest, so the same package and name may show another one after an update of its config.
        let schema = Digest::of(tool.parameters.to_string().as_bytes());
        let key = (schema, tool.name.clone());
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.get(&key) {
            return Arc::clone(found);
        }
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        let built = jsonschema::options()
            .with_retriever(NoRemote)
            // Linear time: pattern and value both come from outside.
            .with_pattern_options(PatternOptions::regex())
            .build(&tool.parameters)
            .map_err(|e| e.to_string());
        let built = Arc::new(built);
        compiled.insert(key, Arc::clone(&built));
        built
    }
}

fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { "at the top".to_owned() } else { format!("at `{path}`") };
    let text: String = error.to_string().chars().take(300).collect();
    format!("{place}: {text}")
}

/// Known names that look like `name`, nearest first.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> =
        known.map(|k| (strsim::jaro_winkler(name, k), k)).filter(|(s, _)| *s > 0.7).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, k)| k).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::decision::Effects;
    use serde_json::json;

    fn tool(parameters: Value) -> ToolInfo {
        ToolInfo {
            instance: "local/math/main".parse().unwrap(),
            digest: Digest::of(b"m"),
            name: "add".into(),
            description: String::new(),
            parameters,
            effects: Effects::NONE,
            channel: None,
        }
    }

    #[test]
    fn a_wrong_argument_is_named_with_its_path_and_what_was_expected() {
        let s = Schemas::default();
        let t = tool(
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}}, "required": ["a"]}),
        );
        let e = s.check(&t, r#"{"a":{"b":"x"}}"#).unwrap_err();
        assert!(e.contains("/a/b") && e.contains("integer"), "{e}");
        let e = s.check(&t, "").unwrap_err();
        assert!(e.contains("\"a\""), "{e}");
        assert_eq!(s.check(&t, r#"{"a":{"b":1}}"#).unwrap(), json!({"a": {"b": 1}}));
    }

    #[test]
    fn arguments_that_are_no_object_are_refused() {
        let s = Schemas::default();
        let t = tool(json!({}));
        assert!(s.check(&t, "[1]").unwrap_err().contains("object"));
        assert!(s.check(&t, "{\"a\":").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn a_schema_that_points_elsewhere_makes_the_tool_unusable_instead_of_opening_a_connection() {
        let s = Schemas::default();
        let t = tool(json!({"$ref": "https://evil.example/schema.json"}));
        assert!(s.check(&t, "{}").unwrap_err().contains("remote references are off"));
        let t = tool(json!({"$ref": "file:///etc/passwd"}));
        assert!(s.check(&t, "{}").unwrap_err().contains("remote references are off"));
    }

    #[test]
    fn the_nearest_names_come_first() {
        let known = ["web_search", "math_eval", "web_fetch"];
        assert_eq!(nearest("websearch", known.into_iter()).first(), Some(&"web_search"));
        assert!(nearest("zzz", known.into_iter()).is_empty());
    }
}
