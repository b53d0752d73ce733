//! The instance's own section.

use carapace_provider_wire::section::Section;
use carapace_sdk::provider::Failure;
use serde_json::{Map, Value};

/// Tokens of context that a model is loaded with, at most. Ollama's own default forgets the beginning of any longer conversation, and the
/// full length of some models fills more memory than there is.
const CONTEXT: u32 = 16_384;

/// `instances.<this>.config`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// `model`: used when a request names none, and listed even if it is not installed.
    pub(crate) model: Option<String>,
    /// `contextTokens`: 16,384 unless said otherwise; the server lowers it to what the model was trained for. `"server"` leaves it to the
    /// server.
    pub(crate) context: Option<u32>,
    /// `think`: true, false, `low`, `medium` or `high`. Without it, the model's own.
    pub(crate) think: Option<Value>,
    /// `keepAlive`: how long the model stays loaded (`"10m"`, seconds, -1 = for ever). Without it, the server's own.
    pub(crate) keep_alive: Option<Value>,
    /// `options`: further parameters of the model (`top_k`, `repeat_penalty`, …).
    pub(crate) parameters: Map<String, Value>,
    /// `headers`: sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// `extraBody`: merged into the body of every completion.
    pub(crate) extra_body: Map<String, Value>,
}

impl Options {
    pub(crate) fn parse(section: &str) -> Result<Self, Failure> {
        let mut s = Section::parse("ollama", section)?;
        let options = Self {
            model: s.text("model")?,
            context: context(&mut s)?,
            think: one_of(&mut s, "think", "true, false, `low`, `medium` or `high`", |v| {
                v.is_boolean() || matches!(v.as_str(), Some("low" | "medium" | "high"))
            })?,
            keep_alive: one_of(&mut s, "keepAlive", "a time such as `10m`, or a number of seconds", |v| {
                v.is_number() || v.as_str().is_some_and(|t| !t.is_empty())
            })?,
            parameters: s.object("options")?,
            headers: s.headers()?,
            extra_body: s.object("extraBody")?,
        };
        s.end()?;
        Ok(options)
    }
}

fn context(s: &mut Section) -> Result<Option<u32>, Failure> {
    match s.take("contextTokens") {
        None => Ok(Some(CONTEXT)),
        Some(Value::String(word)) if word == "server" => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= 512) {
            Some(tokens) => Ok(Some(tokens)),
            None => Err(s.wrong("`contextTokens` must be a whole number from 512, or `server`")),
        },
    }
}

fn one_of(
    s: &mut Section,
    key: &'static str,
    what: &str,
    good: impl Fn(&Value) -> bool,
) -> Result<Option<Value>, Failure> {
    match s.take(key) {
        None => Ok(None),
        Some(value) if good(&value) => Ok(Some(value)),
        Some(_) => Err(s.wrong(&format!("`{key}` must be {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_section_is_read_and_mistakes_are_named() {
        let o = Options::parse(
            r#"{"model":"m","contextTokens":32768,"think":"low","keepAlive":-1,"options":{"top_k":3},"headers":{"X":"y"},"extraBody":{"k":1}}"#,
        )
        .unwrap();
        assert_eq!((o.model.as_deref(), o.context, o.think), (Some("m"), Some(32_768), Some(json!("low"))));
        assert_eq!((o.keep_alive, o.parameters.len(), o.headers.len(), o.extra_body.len()), (Some(json!(-1)), 1, 1, 1));
        assert_eq!(Options::parse("{}").unwrap().context, Some(16_384));
        assert_eq!(Options::parse(r#"{"contextTokens":"server"}"#).unwrap().context, None);
        for (wrong, named) in [
            (r#"{"modle":"m"}"#, "`modle`"),
            (r#"{"contextTokens":"all"}"#, "`server`"),
            (r#"{"contextTokens":5}"#, "from 512"),
            (r#"{"think":"hard"}"#, "`high`"),
            (r#"{"keepAlive":true}"#, "`10m`"),
        ] {
            assert!(Options::parse(wrong).unwrap_err().message.contains(named), "{wrong}");
        }
    }
}
