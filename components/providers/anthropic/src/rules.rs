//! What a model takes, as far as its name tells.
//!
//! Sources: <https://platform.claude.com/docs/en/about-claude/models/migration-guide> and the guides of the models. A name without a version,
//! or of another vendor, is taken to be a server of the owner's own that takes everything and promises nothing.

/// How many of temperature and top-p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sampling {
    /// Neither.
    None,
    /// One of them.
    One,
    /// Both.
    Both,
}

/// What there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) sampling: Sampling,
    /// Follows a JSON Schema by itself (`output_config.format`).
    pub(crate) schema: bool,
    /// The length of an answer that nobody limited: within what every model of that age can do.
    pub(crate) max_tokens: u32,
}

impl Rules {
    pub(crate) fn of(model: &str) -> Self {
        let opus = model.contains("opus");
        let Some(version) = version(model) else {
            return Self { sampling: Sampling::Both, schema: false, max_tokens: 4096 };
        };
        Self {
            sampling: match version {
                (4, 7..) | (5.., _) => Sampling::None,
                (4, 5..) => Sampling::One,
                (4, 1..) if opus => Sampling::One,
                _ => Sampling::Both,
            },
            schema: version >= (4, 5) || (opus && version >= (4, 1)),
            max_tokens: match version {
                (..3, _) | (3, ..5) => 4096,
                (3, _) => 8192,
                _ => 16_384,
            },
        }
    }
}

/// `claude-opus-4-8`, `claude-3-7-sonnet-20250219`, `anthropic/claude-haiku-4.5`: the first one or two numbers of at most two digits.
fn version(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.split_once("claude")?;
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric()).skip_while(|w| number(w).is_none());
    let major = words.next().and_then(number)?;
    Some((major, words.next().and_then(number).unwrap_or(0)))
}

fn number(word: &str) -> Option<u32> {
    (word.len() <= 2).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_wherever_the_name_has_it() {
        for (name, expected) in [
            ("claude-opus-4-8", Some((4, 8))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-3-opus-20240229", Some((3, 0))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-haiku-4-5-20251001", Some((4, 5))),
            ("anthropic/claude-haiku-4.5", Some((4, 5))),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", Some((4, 1))),
            ("claude-mythos-preview", None),
            ("SmolLM2-135M-Instruct", None),
            ("", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }

    #[test]
    fn later_models_take_less_and_can_more() {
        let of = |name| {
            let r = Rules::of(name);
            (r.sampling, r.schema, r.max_tokens)
        };
        assert_eq!(of("claude-3-haiku-20240307"), (Sampling::Both, false, 4096));
        assert_eq!(of("claude-3-5-sonnet-latest"), (Sampling::Both, false, 8192));
        assert_eq!(of("claude-sonnet-4-0"), (Sampling::Both, false, 16_384));
        assert_eq!(of("claude-opus-4-1"), (Sampling::One, true, 16_384));
        assert_eq!(of("claude-haiku-4-5"), (Sampling::One, true, 16_384));
        assert_eq!(of("claude-sonnet-4-6"), (Sampling::One, true, 16_384));
        assert_eq!(of("claude-opus-4-7"), (Sampling::None, true, 16_384));
        assert_eq!(of("claude-sonnet-5-5"), (Sampling::None, true, 16_384));
        assert_eq!(of("a-model-of-ones-own"), (Sampling::Both, false, 4096));
    }
}
