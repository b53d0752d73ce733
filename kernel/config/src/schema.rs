//! The schema of the file, and what a value says against it, in words.

use crate::model::Config;
use crate::problem::{Problem, Rule};
use crate::tree::{Content, Node, Step, dotted};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The schema, without references: an error's schema path then leads straight to its place.
pub(crate) fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
        if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            properties.insert("$schema".into(), json!({ "type": "string" }));
        }
        schema
    })
}

fn validator() -> Option<&'static Validator> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    VALIDATOR.get_or_init(|| jsonschema::validator_for(schema()).ok()).as_ref()
}

/// `"${PORT}"` is text; where the schema wants a number or a truth value, what it says is taken for one.
pub(crate) fn coerce(root: &mut Node) {
    let value = root.value();
    let Some(validator) = validator() else { return };
    let places: Vec<Vec<Step>> = validator
        .iter_errors(&value)
        .filter(|e| matches!(e.kind(), ValidationErrorKind::Type { .. }))
        .map(|e| steps(e.instance_path()))
        .collect();
    for place in places {
        let Some(node) = root.at_mut(&place).filter(|n| n.from_env) else { continue };
        let Content::Scalar(Value::String(text)) = &node.content else { continue };
        if let Ok(v @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text.trim()) {
            node.content = Content::Scalar(v);
        }
    }
}

pub(crate) fn problems(root: &Node, value: &Value) -> Vec<Problem> {
    let Some(validator) = validator() else { return Vec::new() };
    let mut out = Vec::new();
    for error in validator.iter_errors(value) {
        describe(root, &error, &mut out);
    }
    out
}

fn steps(location: &Location) -> Vec<Step> {
    location
        .iter()
        .map(|s| match s {
            LocationSegment::Property(p) => Step::Key(p.into_owned()),
            LocationSegment::Index(i) => Step::Index(i),
        })
        .collect()
}

fn describe(root: &Node, error: &ValidationError<'_>, out: &mut Vec<Problem>) {
    let path = steps(error.instance_path());
    let node = root.nearest(&path);
    let found = if node.from_env { "what the environment gave".to_owned() } else { shown(error.instance()) };
    let mut value = |message: String| out.push(Problem::new(Rule::Value, &node.file, dotted(&path), message));
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let place = error.schema_path().as_str();
            let known = known_keys(place);
            for key in unexpected {
                out.push(unknown(root, &path, key, &known));
            }
        }
        ValidationErrorKind::Type { kind } => value(format!("must be {}, not {found}", kinds(kind))),
        ValidationErrorKind::Minimum { limit } => value(format!("must be at least {limit}, not {found}")),
        ValidationErrorKind::Maximum { limit } => value(format!("must be at most {limit}, not {found}")),
        ValidationErrorKind::Enum { options } => value(format!("must be one of {}, not {found}", words(options))),
        ValidationErrorKind::Required { property } => value(format!("needs the key {}", shown(property))),
        ValidationErrorKind::Pattern { .. } => {
            value(format!(
                "must be a number of bytes or text like \"64MiB\" (B, kB, MB, GB, KiB, MiB, GiB), not {found}"
            ));
        }
        _ => value(error.masked_with(found).to_string()),
    }
}

/// The keys of the object schema at `<schema path>/additionalProperties`.
fn known_keys(schema_path: &str) -> Vec<&'static str> {
    schema_path
        .strip_suffix("/additionalProperties")
        .and_then(|parent| schema().pointer(parent))
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object)
        .map(|p| p.keys().map(String::as_str).filter(|k| !k.starts_with('$')).collect())
        .unwrap_or_default()
}

fn unknown(root: &Node, parent: &[Step], key: &str, known: &[&str]) -> Problem {
    let at = |k: &str| {
        let mut p = parent.to_vec();
        p.push(Step::Key(k.to_owned()));
        p
    };
    let path = at(key);
    let file = &root.nearest(&path).file;
    let problem = Problem::new(Rule::UnknownKey, file, dotted(&path), "unknown key");
    if let Some(near) = nearest(key, known) {
        return problem.fix(format!("did you mean `{}`?", dotted(&at(near))));
    }
    if crate::check::names_a_secret(key) {
        return crate::check::secret(file, &path);
    }
    if let Some(elsewhere) = elsewhere(key) {
        return problem.fix(format!("did you mean {elsewhere}?"));
    }
    problem.fix(format!("known here: {}", known.join(", ")))
}

/// Letters only, so that `max_turns` and `MaxTurns` are `maxTurns`.
fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let wanted = folded(key);
    let allowed = 1.max(wanted.chars().count() / 3);
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &folded(k)), *k))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// The same key in a section, or in two; where more have it, nobody knows.
fn elsewhere(key: &str) -> Option<String> {
    let wanted = folded(key);
    let sections = schema().get("properties")?.as_object()?;
    let found = sections.iter().flat_map(|(section, s)| {
        s.get("properties").and_then(Value::as_object).into_iter().flatten().map(move |(k, _)| (section, k))
    });
    let hits: Vec<String> =
        found.filter(|(_, k)| folded(k) == wanted).map(|(section, k)| format!("`{section}.{k}`")).take(3).collect();
    (1..=2).contains(&hits.len()).then(|| hits.join(" or "))
}

/// A value in a message: short, and only its kind where it is large.
fn shown(v: &Value) -> String {
    match v {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(s) if s.chars().count() > 60 => "a long text".to_owned(),
        other => other.to_string(),
    }
}

fn words(options: &Value) -> String {
    options.as_array().map(|a| a.iter().map(shown).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

fn kinds(kind: &TypeKind) -> String {
    let word = |t: jsonschema::JsonType| match t {
        jsonschema::JsonType::Array => "an array",
        jsonschema::JsonType::Boolean => "true or false",
        jsonschema::JsonType::Integer => "a whole number",
        jsonschema::JsonType::Null => "null",
        jsonschema::JsonType::Number => "a number",
        jsonschema::JsonType::Object => "an object",
        jsonschema::JsonType::String => "text",
    };
    match kind {
        TypeKind::Single(t) => word(*t).to_owned(),
        TypeKind::Multiple(set) => set.iter().map(word).collect::<Vec<_>>().join(" or "),
    }
}
