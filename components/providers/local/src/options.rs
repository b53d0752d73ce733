//! The instance's own section of the configuration.

use crate::failure;
use carapace_sdk::provider::{Failure, FailureKind};
use carapace_sdk::serde_json::{self, Value};

/// What an owner may set: `[instances.local] { "answer-tokens": 80, "context-tokens": 2048 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Tokens of an answer at most; 1 to 1024.
    pub answer: usize,
    /// Tokens of a conversation at most, the answer and about 200 fixed ones included; 512 to 2048, which is what its memory holds.
    pub context: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { answer: 80, context: 2048 }
    }
}

impl Options {
    /// Reads a section; what is not there has its default.
    ///
    /// # Errors
    /// An unknown key, or a number out of bounds.
    pub fn read(section: &str) -> Result<Self, Failure> {
        let wrong =
            |why: String| failure(FailureKind::InvalidRequest, format!("The built-in model's configuration: {why}"));
        let mut options = Self::default();
        let Ok(Value::Object(section)) = serde_json::from_str(section) else {
            return Err(wrong("it is no object".to_owned()));
        };
        for (key, value) in section {
            let (place, bounds) = match key.as_str() {
                "answer-tokens" => (&mut options.answer, 1..=1024),
                "context-tokens" => (&mut options.context, 512..=2048),
                _ => return Err(wrong(format!("`{key}` is unknown; there are `answer-tokens` and `context-tokens`"))),
            };
            match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
                Some(n) if bounds.contains(&n) => *place = n,
                _ => {
                    return Err(wrong(format!(
                        "`{key}` must be a whole number from {} to {}",
                        bounds.start(),
                        bounds.end()
                    )));
                }
            }
        }
        if options.answer + 256 > options.context {
            return Err(wrong("`context-tokens` must exceed `answer-tokens` by at least 256".to_owned()));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(Options::read("{}").unwrap(), Options::default());
        let set = Options::read(r#"{"answer-tokens":200}"#).unwrap();
        assert_eq!((set.answer, set.context), (200, 2048));
    }

    #[test]
    fn a_wrong_setting_names_what_would_be_right() {
        for (section, right) in [
            (r#"{"answer_tokens":5}"#, "`answer-tokens`"),
            (r#"{"answer-tokens":0}"#, "from 1 to 1024"),
            (r#"{"context-tokens":"many"}"#, "from 512 to 2048"),
            (r#"{"answer-tokens":1000,"context-tokens":1000}"#, "at least 256"),
        ] {
            let failure = Options::read(section).unwrap_err();
            assert!(failure.message.contains(right), "{}", failure.message);
        }
    }
}
