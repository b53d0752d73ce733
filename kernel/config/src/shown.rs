//! The configuration as it may be shown to the owner's assistant: no secret stands in the file, and what looks like one after all, or
//! came from the environment, is left out.

use crate::model::Config;
use crate::names::InstanceKey;
use crate::tree::{Content, Node};
use serde_json::Value;
use std::collections::BTreeSet;
use url::Url;

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "[redacted]";

/// Where a tree's values came from the environment, by the keys that [`Config`] knows them under.
pub(crate) fn from_environment(root: &Node) -> BTreeSet<String> {
    fn walk(node: &Node, path: &str, found: &mut BTreeSet<String>) {
        if node.from_env {
            found.insert(path.to_owned());
        }
        match &node.content {
            Content::Scalar(_) => {}
            Content::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}/{index}"), found);
                }
            }
            Content::Object(fields) => {
                for (key, inner) in fields {
                    // `openai:main` is another way to write `openai`.
                    let known = if path == "/instances" { key.parse::<InstanceKey>().ok() } else { None };
                    let key = known.map_or_else(|| key.clone(), |k| k.to_string());
                    walk(inner, &format!("{path}/{}", escaped(&key)), found);
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, "", &mut found);
    found
}

/// One token of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn shown(config: &Config) -> Value {
    // Every key is text and every number finite, so nothing can fail; if it did, nothing would be shown.
    let mut all = serde_json::to_value(config).unwrap_or_default();
    hide(&mut all, "", &config.from_environment);
    all
}

fn hide(value: &mut Value, path: &str, from_environment: &BTreeSet<String>) {
    if from_environment.contains(path) {
        *value = Value::from(HIDDEN);
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                if is_secretive(key) && !matches!(inner, Value::Null | Value::Bool(_) | Value::Number(_)) {
                    *inner = Value::from(HIDDEN);
                } else {
                    hide(inner, &format!("{path}/{}", escaped(key)), from_environment);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                hide(item, &format!("{path}/{index}"), from_environment);
            }
        }
        Value::String(text) => {
            if let Some(clean) = clean(text) {
                *text = clean;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Wider than what the file is checked for: here a word too many costs a value on a screen, there a start.
fn is_secretive(key: &str) -> bool {
    let folded: String = key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ["token", "secret", "password", "passwd", "passphrase", "credential", "auth", "cookie", "key", "signature"]
        .iter()
        .any(|word| folded.contains(word))
}

/// A text without the credentials in it; none if it holds none.
fn clean(text: &str) -> Option<String> {
    let scheme = text.split_whitespace().next().unwrap_or_default();
    if ["bearer", "basic"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) && text.trim().len() > scheme.len() {
        return Some(format!("{scheme} {HIDDEN}"));
    }
    let mut url = Url::parse(text).ok().filter(|u| u.has_host())?;
    let spelled_out = url.query().is_some() || !url.username().is_empty() || url.password().is_some();
    if !spelled_out {
        return None;
    }
    if url.query().is_some() {
        url.set_query(Some("redacted"));
    }
    // Only a URL that cannot have them refuses.
    let (name, password) = (url.set_username(""), url.set_password(None));
    Some(if name.is_ok() && password.is_ok() { url.to_string() } else { HIDDEN.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use serde_json::json;

    struct One;
    impl Env for One {
        fn var(&self, name: &str) -> Option<String> {
            match name {
                "PORT" => Some("18999".into()),
                "BASE" => Some("https://internal.example/v1".into()),
                "WORD" => Some("hunter2-hunter2".into()),
                _ => None,
            }
        }
    }

    fn parse(text: &str) -> Value {
        Config::parse(text, "carapace.json5".as_ref(), &One).unwrap_or_else(|e| panic!("{e}")).shown()
    }

    #[test]
    fn what_the_file_says_is_shown_with_its_defaults() {
        let all = parse(
            "{ agent: { route: [\"openai:vllm/m\"], maxOutputTokens: 100 }, limits: { ceiling: { memory: \"1MiB\" } } }",
        );
        assert_eq!(all["agent"]["route"], json!(["openai:vllm/m"]));
        assert_eq!(all["agent"]["maxOutputTokens"], 100, "a number of tokens is no token");
        assert_eq!(all["budget"]["dailyTokens"], 5_000_000);
        assert_eq!(all["limits"]["ceiling"]["memory"], 1 << 20);
        assert!(!all.to_string().contains("fromEnvironment"));
    }

    #[test]
    fn what_came_from_the_environment_is_hidden_under_whatever_key() {
        let all = parse(
            "{ gateway: { port: \"${PORT}\" }, agent: { system: \"say ${WORD}\" }, instances: { \"openai:main\": { \
               endpoints: { api: \"${BASE}\" }, config: { a: [\"x\", \"${WORD}\"], \"b/c~d\": \"${WORD}\" } } } }",
        );
        let text = all.to_string();
        for value in ["18999", "internal.example", "hunter2"] {
            assert!(!text.contains(value), "{text}");
        }
        assert_eq!(all["gateway"]["port"], HIDDEN);
        assert_eq!(all["instances"]["openai"]["config"], json!({"a": ["x", HIDDEN], "b/c~d": HIDDEN}));
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden_although_none_may_stand_there() {
        let all = parse(
            "{ instances: { x: { config: { headers: { Authorization: \"short\", \"X-Api-Key\": \"k\", Accept: \"text/plain\" }, \
               sessionToken: \"1234567\", tokens: [\"a\"], say: \"Bearer abcdef\", deep: [{ private_key_id: \"7\" }], \
               hook: \"https://me:pw@hooks.example/x?sig=abc#top\", plain: \"https://example.com/x\", limit: 7 } } } }",
        );
        assert_eq!(
            all["instances"]["x"]["config"],
            json!({
                "headers": {"Authorization": HIDDEN, "X-Api-Key": HIDDEN, "Accept": "text/plain"},
                "sessionToken": HIDDEN, "tokens": HIDDEN, "say": "Bearer [redacted]", "deep": [{"private_key_id": HIDDEN}],
                "hook": "https://hooks.example/x?redacted#top", "plain": "https://example.com/x", "limit": 7,
            })
        );
    }
}
