//! The instance's own section.

use carapace_provider_wire::section::Section;
use carapace_sdk::provider::Failure;
use serde_json::{Map, Value};

/// Which field carries the limit on an answer's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TokensField {
    /// What every server knows.
    #[default]
    MaxTokens,
    /// What OpenAI's reasoning models insist on.
    MaxCompletionTokens,
}

impl TokensField {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
    pub(crate) fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

/// `instances.<this>.config`
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    /// `model`: used when a request names none, and listed even if the server lists nothing.
    pub(crate) model: Option<String>,
    /// `maxTokensField`: `max_tokens` (default) or `max_completion_tokens`.
    pub(crate) tokens_field: TokensField,
    /// `headers`: sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// `extraBody`: merged into the body of every completion.
    pub(crate) extra_body: Map<String, Value>,
}

impl Options {
    pub(crate) fn parse(section: &str) -> Result<Self, Failure> {
        let mut s = Section::parse("openai", section)?;
        let fields =
            [("max_tokens", TokensField::MaxTokens), ("max_completion_tokens", TokensField::MaxCompletionTokens)];
        let options = Self {
            model: s.text("model")?,
            tokens_field: s.word("maxTokensField", &fields)?.unwrap_or_default(),
            headers: s.headers()?,
            extra_body: s.object("extraBody")?,
        };
        s.end()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_and_an_unknown_key_is_named() {
        let o = Options::parse(
            r#"{"model":"m","maxTokensField":"max_completion_tokens","headers":{"X-Title":"t"},"extraBody":{"k":1}}"#,
        )
        .unwrap();
        assert_eq!((o.model.as_deref(), o.tokens_field), (Some("m"), TokensField::MaxCompletionTokens));
        assert_eq!((o.headers.len(), o.extra_body.len()), (1, 1));
        assert_eq!(Options::parse("{}").unwrap(), Options::default());
        assert!(Options::parse(r#"{"modle":"m"}"#).unwrap_err().message.contains("`modle`"));
        assert!(Options::parse(r#"{"maxTokensField":"x"}"#).is_err());
        assert!(Options::parse("[]").is_err());
    }
}
