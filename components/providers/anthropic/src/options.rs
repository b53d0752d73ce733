//! The instance's own section.

use carapace_provider_wire::section::Section;
use carapace_sdk::provider::Failure;
use serde_json::{Map, Value};

/// How the model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// Not at all, where the model can be told so.
    Off,
    /// As much as it sees fit; `effort` guides it.
    Adaptive,
    /// Up to so many tokens, which come on top of the answer's.
    Budget(u32),
}

/// How long a prompt's beginning is kept by the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Nothing is marked.
    Off,
    /// Five minutes.
    #[default]
    Minutes,
    /// One hour; writing costs more.
    Hour,
}

/// `instances.<this>.config`
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    /// `model`: used when a request names none, and listed even if the server lists nothing.
    pub(crate) model: Option<String>,
    /// `maxTokens`: the answer's length where a request names none.
    pub(crate) max_tokens: Option<u32>,
    /// `thinking`: `off`, `adaptive`, or a number of tokens from 1,024. Without it, the model does as it does by itself.
    pub(crate) thinking: Option<Thinking>,
    /// `thinkingDisplay`: `summarized` or `omitted`. Without it, the model's own.
    pub(crate) display: Option<&'static str>,
    /// `effort`: `low`, `medium`, `high`, `xhigh` or `max`.
    pub(crate) effort: Option<&'static str>,
    /// `cache`: `off`, `5m` (default) or `1h`.
    pub(crate) cache: Cache,
    /// `headers`: sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// `extraBody`: merged into the body of every completion.
    pub(crate) extra_body: Map<String, Value>,
}

/// The least that the server takes as a budget.
const LEAST_BUDGET: u32 = 1024;

impl Options {
    pub(crate) fn parse(section: &str) -> Result<Self, Failure> {
        let mut s = Section::parse("anthropic", section)?;
        let same = |word: &'static str| (word, word);
        let options = Self {
            model: s.text("model")?,
            max_tokens: s.count("maxTokens")?,
            thinking: thinking(&mut s)?,
            display: s.word("thinkingDisplay", &["summarized", "omitted"].map(same))?,
            effort: s.word("effort", &["low", "medium", "high", "xhigh", "max"].map(same))?,
            cache: s
                .word("cache", &[("off", Cache::Off), ("5m", Cache::Minutes), ("1h", Cache::Hour)])?
                .unwrap_or_default(),
            headers: s.headers()?,
            extra_body: s.object("extraBody")?,
        };
        s.end()?;
        Ok(options)
    }
}

fn thinking(s: &mut Section) -> Result<Option<Thinking>, Failure> {
    let Some(value) = s.take("thinking") else { return Ok(None) };
    let budget = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= LEAST_BUDGET);
    match (value.as_str(), budget) {
        (Some("off"), _) => Ok(Some(Thinking::Off)),
        (Some("adaptive"), _) => Ok(Some(Thinking::Adaptive)),
        (None, Some(tokens)) => Ok(Some(Thinking::Budget(tokens))),
        _ => Err(s.wrong("`thinking` must be `off`, `adaptive`, or a number of tokens from 1024")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_and_mistakes_are_named() {
        let o = Options::parse(
            r#"{"model":"m","maxTokens":100,"thinking":2048,"thinkingDisplay":"summarized","effort":"low","cache":"1h","headers":{"anthropic-beta":"x"},"extraBody":{"k":1}}"#,
        )
        .unwrap();
        assert_eq!(
            (o.model.as_deref(), o.max_tokens, o.thinking),
            (Some("m"), Some(100), Some(Thinking::Budget(2048)))
        );
        assert_eq!((o.display, o.effort, o.cache), (Some("summarized"), Some("low"), Cache::Hour));
        assert_eq!((o.headers.len(), o.extra_body.len()), (1, 1));
        assert_eq!(Options::parse("{}").unwrap(), Options::default());
        assert_eq!(Options::parse(r#"{"thinking":"adaptive"}"#).unwrap().thinking, Some(Thinking::Adaptive));
        for (wrong, named) in [
            (r#"{"modle":"m"}"#, "`modle`"),
            (r#"{"thinking":100}"#, "from 1024"),
            (r#"{"thinking":"on"}"#, "`adaptive`"),
            (r#"{"effort":"huge"}"#, "`xhigh`"),
            (r#"{"cache":true}"#, "`5m`"),
        ] {
            assert!(Options::parse(wrong).unwrap_err().message.contains(named), "{wrong}");
        }
    }
}
