//! Cutting a text where a person would.

use crate::{Span, Style, Text};
use std::ops::Range;

/// What a platform counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// 16-bit units of UTF-16.
    Utf16,
    /// Unicode scalar values.
    Scalars,
}

impl Unit {
    /// What a character counts for.
    pub fn of(self, c: char) -> usize {
        match self {
            Self::Bytes => c.len_utf8(),
            Self::Utf16 => c.len_utf16(),
            Self::Scalars => 1,
        }
    }

    /// What a text counts for.
    pub fn len(self, text: &str) -> usize {
        text.chars().map(|c| self.of(c)).sum()
    }
}

/// Parts of at most `limit` units each (at least 4). White space at a cut is dropped, nothing else is. A link, a piece of code and a block of
/// code stay whole if one part can hold them. An empty text has no parts.
pub fn split(text: &Text, limit: usize, unit: Unit) -> Vec<Text> {
    // What fits is measured before it is cut, and a part is what was measured.
    split_by(text, limit, unit, |_| 0)
}

/// The same where a part takes more room than its text, for its markup: `length` says how much in all, in `unit`s. A single character
/// stands alone even if that is too long.
pub fn split_by(text: &Text, limit: usize, unit: Unit, length: impl Fn(&Text) -> usize) -> Vec<Text> {
    let limit = limit.max(4);
    let fits = |range: Range<usize>| {
        let part = text.slice(range);
        unit.len(&part.plain) <= limit && length(&part) <= limit
    };
    let mut parts = Vec::new();
    let mut start = skip_space(&text.plain, 0);
    while start < text.plain.len() {
        let rest = text.plain.get(start..).unwrap_or_default();
        let mut most = fitting(rest, limit, unit);
        // Never less than what is whole and stands here, or a character.
        let whole = text.spans.iter().filter(|s| is_whole(&s.style) && s.range.start <= start && start < s.range.end);
        let whole = whole.map(|s| s.range.end).filter(|end| fits(start..*end)).max().map(|end| end - start);
        let least = whole.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
        loop {
            let end = if most == rest.len() { text.plain.len() } else { start + cut(text, start, most, &fits) };
            let trimmed = text.plain.get(start..end).unwrap_or_default().trim_end().len();
            let part = text.slice(start..start + trimmed);
            let long = if trimmed == 0 { 0 } else { length(&part) };
            if long > limit && end - start > least {
                // As much less as it is too long: markup is spread over the text, more or less.
                most = rest.floor_char_boundary((end - start).saturating_mul(limit) / long).min(end - start - 1);
                most = rest.floor_char_boundary(most).max(least);
                continue;
            }
            if trimmed > 0 {
                parts.push(part);
            }
            start = skip_space(&text.plain, end);
            break;
        }
    }
    parts
}

/// Line feeds and spaces between two parts; never the indentation of the next line of code.
fn skip_space(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    let before = rest.get(..blank).unwrap_or_default();
    // Up to the last line feed of the white space; without one, all of it.
    from + before.rfind('\n').map_or(blank, |at| at + 1)
}

/// Bytes at the beginning that fit.
fn fitting(text: &str, limit: usize, unit: Unit) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += unit.of(c);
        if used > limit {
            return at;
        }
    }
    text.len()
}

/// Where to cut within the first `most` bytes after `start`: the last good place in the second half of them, the better kind first.
fn cut(text: &Text, start: usize, most: usize, fits: &impl Fn(Range<usize>) -> bool) -> usize {
    // What a cut would spoil, if it is not too long to stay whole anyway.
    let spoilt = |at: usize| {
        let inside = |s: &&Span| is_whole(&s.style) && s.range.start < at && at < s.range.end;
        text.spans.iter().filter(inside).find(|s| fits(s.range.clone()))
    };
    let window = text.plain.get(start..start + most).unwrap_or_default();
    let least = (most / 2).max(1);
    for end in ["\n\n", "\n", ". ", " "] {
        let mut found = window.len();
        while let Some(at) = window.get(..found).and_then(|w| w.rfind(end)) {
            if at < least {
                break;
            }
            // After the full stop, before the white space.
            let at_cut = if end == ". " { at + 1 } else { at };
            if spoilt(start + at_cut).is_none() {
                return at_cut;
            }
            found = at;
        }
    }
    let mut at = most;
    while let Some(whole) = spoilt(start + at).filter(|s| s.range.start > start) {
        at = whole.range.start - start;
    }
    at
}

/// What is one thing to a reader.
fn is_whole(style: &Style) -> bool {
    matches!(style, Style::Code | Style::Block(_) | Style::Link(_))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::parse;
    use proptest::prelude::*;

    fn plains(markdown: &str, limit: usize) -> Vec<String> {
        split(&parse(markdown), limit, Unit::Utf16).into_iter().map(|t| t.plain).collect()
    }

    #[test]
    fn paragraphs_come_before_lines_and_lines_before_words() {
        assert_eq!(plains("One two.\n\nThree four five", 16), ["One two.", "Three four five"]);
        assert_eq!(plains("one two three", 9), ["one two", "three"]);
        assert_eq!(plains("𝒳𝒳𝒳𝒳", 4), ["𝒳𝒳", "𝒳𝒳"]);
    }

    #[test]
    fn a_long_block_of_code_becomes_several_and_keeps_its_indentation() {
        let parts = split(&parse("```py\ndef f():\n    return 1\n    return 2\n```"), 24, Unit::Utf16);
        let texts: Vec<&str> = parts.iter().map(|p| p.plain.as_str()).collect();
        assert_eq!(texts, ["def f():\n    return 1", "    return 2"]);
        for part in &parts {
            assert_eq!(part.spans.len(), 1);
            assert_eq!(
                (part.spans[0].range.clone(), &part.spans[0].style),
                (0..part.plain.len(), &Style::Block(Some("py".into())))
            );
        }
    }

    #[test]
    fn a_link_and_a_block_are_not_cut() {
        let parts = split(&parse("see here [a long link](https://example.com)"), 14, Unit::Bytes);
        assert!(parts.iter().any(|p| p.plain.contains("a long link")), "{parts:?}");
        // Not even where code stands in the link.
        let parts = split(&parse("see [a `long` link](https://example.com)"), 11, Unit::Bytes);
        assert!(parts.iter().any(|p| p.plain == "a long link"), "{parts:?}");
        assert_eq!(plains("It is:\n```\none\ntwo\nthree\n```", 16), ["It is:", "one\ntwo\nthree"]);
    }

    fn bare(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    /// What is whole in a text and in none of its parts, although one of them could hold it.
    pub(crate) fn broken(text: &Text, parts: &[Text], fits: impl Fn(&Text) -> bool) -> Option<Span> {
        let mut ends = Vec::new();
        let mut at = 0;
        for part in parts {
            let rest = &text.plain[at..];
            let gap = (0..=rest.len()).find(|n| rest.is_char_boundary(*n) && rest[*n..].starts_with(&part.plain));
            at += gap.expect("a part is a piece of the text") + part.plain.len();
            ends.push(at);
        }
        let goes_on = |s: &Span, end: usize| !text.plain[end.min(s.range.end)..s.range.end].trim().is_empty();
        let cut = |s: &&Span| ends.iter().any(|end| s.range.start < *end && goes_on(s, *end));
        text.spans
            .iter()
            .filter(|s| is_whole(&s.style))
            .filter(cut)
            .find(|s| fits(&text.slice(s.range.clone())))
            .cloned()
    }

    proptest! {
        #[test]
        fn no_part_is_too_long_and_nothing_is_lost_or_broken(
            markdown in "\\PC{0,300}|([a-z*_`~\\[\\]()#>| \n-]{0,400})|((```\n|`|\\*\\*|x y|\n|> |\\[a `b` c\\]\\(https://d.e/\\)){0,120})",
            limit in 4usize..120,
        ) {
            let text = parse(&markdown);
            for unit in [Unit::Bytes, Unit::Utf16, Unit::Scalars] {
                let parts = split(&text, limit, unit);
                for part in &parts {
                    prop_assert!(unit.len(&part.plain) <= limit);
                    prop_assert!(!part.plain.trim().is_empty());
                    for span in &part.spans {
                        prop_assert!(part.plain.get(span.range.clone()).is_some_and(|s| !s.is_empty()));
                    }
                }
                let all: String = parts.iter().map(|p| bare(&p.plain)).collect();
                prop_assert_eq!(all, bare(&text.plain));
                prop_assert_eq!(broken(&text, &parts, |t| unit.len(&t.plain) <= limit), None);
            }
        }
    }
}
