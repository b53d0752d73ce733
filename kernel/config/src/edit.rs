//! Changing a file that a person wrote: a few keys change; every other key, and every comment, stays as they wrote it.

use crate::env::Env;
use crate::model::Config;
use crate::problem::ConfigError;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::Path;

/// One key, and what it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// From the top: `["agent", "timezone"]`.
    pub path: Vec<String>,
    /// Its value.
    pub value: Value,
}

impl Change {
    /// `path` becomes `value`.
    pub fn new(path: &[&str], value: impl Into<Value>) -> Self {
        Self { path: path.iter().map(|p| (*p).to_owned()).collect(), value: value.into() }
    }

    /// The change as lines for a file of its own, or for a person to put into theirs.
    pub fn line(&self) -> String {
        let mut text = json(&self.value);
        for step in self.path.iter().rev() {
            text = format!("{{ {}: {text} }}", key(step));
        }
        text
    }
}

/// Why a file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// As it stands, the file is not valid.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// What the keys mean is decided elsewhere too: an included file, or a variable.
    #[error("{0}")]
    Elsewhere(String),
}

/// `text` with `changes` made. What comes out is read again: it means what the file meant, and the changes, and nothing else.
///
/// # Errors
/// The file is not valid as it is, or such a change cannot be made in it (it includes files that say something else).
pub fn edit(text: &str, file: &Path, env: &dyn Env, changes: &[Change]) -> Result<String, EditError> {
    let before = Config::parse(text, file, env)?;
    let edited = edited(text, changes)
        .ok_or_else(|| EditError::Elsewhere(format!("{} cannot be changed key by key", file.display())))?;
    let mut wanted = serde_json::to_value(&before).unwrap_or_default();
    for change in changes {
        set(&mut wanted, &change.path, &change.value);
    }
    let after = Config::parse(&edited, file, env);
    match (serde_json::from_value::<Config>(wanted), after) {
        (Ok(wanted), Ok(after)) if wanted == after => Ok(edited),
        (_, Err(e)) => Err(e.into()),
        _ => Err(EditError::Elsewhere(format!(
            "{} takes in other files, and together they would not say what is wanted",
            file.display()
        ))),
    }
}

/// A new file with nothing but `changes`, under a comment.
pub fn fresh(comment: &str, changes: &[Change]) -> String {
    let mut whole = Value::Object(Map::new());
    for change in changes {
        set(&mut whole, &change.path, &change.value);
    }
    let mut out = comment.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "// {line}");
        out
    });
    pretty(&whole, 0, &mut out);
    out.push('\n');
    out
}

fn edited(text: &str, changes: &[Change]) -> Option<String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = CstRootNode::parse(body, &ParseOptions::default()).ok()?;
    let top = root.object_value_or_create()?;
    for change in changes {
        let (last, above) = change.path.split_last()?;
        let mut at: CstObject = top.clone();
        for step in above {
            at = at.object_value_or_create(step)?;
        }
        let value = input(&change.value);
        match at.get(last) {
            Some(property) => property.set_value(value),
            None => drop(at.append(last, value)),
        }
    }
    let mark = if body.len() == text.len() { "" } else { "\u{feff}" };
    Some(format!("{mark}{root}"))
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(b) => CstInputValue::Bool(*b),
        Value::Number(n) => CstInputValue::Number(n.to_string()),
        Value::String(s) => CstInputValue::String(s.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => CstInputValue::Object(fields.iter().map(|(k, v)| (k.clone(), input(v))).collect()),
    }
}

fn set(at: &mut Value, path: &[String], value: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *at = value.clone();
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    if let Value::Object(fields) = at {
        set(fields.entry(step.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Objects over several lines, lists on one: as the examples of the book are written.
fn pretty(value: &Value, depth: usize, out: &mut String) {
    let Value::Object(fields) = value else {
        out.push_str(&json(value));
        return;
    };
    out.push_str("{\n");
    for (name, inner) in fields {
        let _ = write!(out, "{}{}: ", "  ".repeat(depth + 1), key(name));
        pretty(inner, depth + 1, out);
        out.push_str(",\n");
    }
    let _ = write!(out, "{}}}", "  ".repeat(depth));
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    if plain { name.to_owned() } else { Value::from(name).to_string() }
}

fn json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{}: {}", key(k), json(v))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoEnv;
    use serde_json::json;

    fn route(model: &str) -> Change {
        Change::new(&["agent", "route"], json!([model]))
    }

    fn at(text: &str, changes: &[Change]) -> Result<String, EditError> {
        edit(text, Path::new("carapace.json5"), &NoEnv, changes)
    }

    #[test]
    fn what_was_not_asked_about_stays_as_it_was_written() {
        let text = "\u{feff}// Mine.\n{\n  /* the door */ gateway: { port: 0x4a5, }, // hexadecimal, as I like it\n  agent: {\n    // Cheap first.\n    'route': ['openai/gpt-5-mini'], maxTurns: +3,\n  },\n}\n// The end.\n";
        let edited =
            at(text, &[route("ollama/llama3.2"), Change::new(&["agent", "timezone"], "Europe/Berlin")]).unwrap();
        for kept in [
            "\u{feff}// Mine.",
            "/* the door */ gateway: { port: 0x4a5, }, // hexadecimal, as I like it",
            "// Cheap first.",
            "maxTurns: +3",
            "// The end.",
        ] {
            assert!(edited.contains(kept), "{kept} is gone:\n{edited}");
        }
        let config = Config::parse(&edited, Path::new("x"), &NoEnv).unwrap();
        assert_eq!(config.agent.route[0].to_string(), "ollama/llama3.2");
        assert_eq!(config.agent.timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!((config.gateway.port, config.agent.max_turns), (0x4a5, 3));
        // Asked again, nothing changes.
        assert_eq!(at(&edited, &[route("ollama/llama3.2")]).unwrap(), edited);
    }

    #[test]
    fn an_empty_file_and_an_empty_object_take_changes() {
        for text in ["", "{}", "{ // nothing yet\n}"] {
            let edited = at(text, &[route("a/b")]).unwrap();
            assert!(Config::parse(&edited, Path::new("x"), &NoEnv).unwrap().agent.route.len() == 1, "{edited}");
        }
    }

    #[test]
    fn a_file_that_is_not_valid_is_not_touched() {
        let error = at("{ agent: { maxTurn: 3 } }", &[route("a/b")]).unwrap_err();
        assert!(error.to_string().contains("maxTurns"), "{error}");
    }

    #[test]
    fn what_an_included_file_adds_to_is_left_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("more.json5"), "{ agent: { route: [\"openai/one\"] } }").unwrap();
        let file = dir.path().join("carapace.json5");
        let error = edit("{ $include: 'more.json5' }", &file, &NoEnv, &[route("a/b")]).unwrap_err();
        assert!(matches!(error, EditError::Elsewhere(_)), "{error}");
        // Another key of the same file can be set.
        let zone = Change::new(&["agent", "timezone"], "UTC");
        assert!(edit("{ $include: 'more.json5' }", &file, &NoEnv, &[zone]).is_ok());
    }

    #[test]
    fn a_new_file_reads_like_the_book() {
        let endpoint = Change::new(&["instances", "openai:lm-studio", "endpoints", "api"], "http://127.0.0.1:1234/v1");
        let text = fresh("Written by `carapace setup`.", &[route("openai:lm-studio/qwen3"), endpoint.clone()]);
        insta::assert_snapshot!(text, @r#"
        // Written by `carapace setup`.
        {
          agent: {
            route: ["openai:lm-studio/qwen3"],
          },
          instances: {
            "openai:lm-studio": {
              endpoints: {
                api: "http://127.0.0.1:1234/v1",
              },
            },
          },
        }
        "#);
        assert!(Config::parse(&text, Path::new("x"), &NoEnv).is_ok());
        assert_eq!(
            endpoint.line(),
            r#"{ instances: { "openai:lm-studio": { endpoints: { api: "http://127.0.0.1:1234/v1" } } } }"#
        );
    }
}
