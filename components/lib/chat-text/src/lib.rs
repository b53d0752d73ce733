//! What a model writes is Markdown; what a chat platform takes is something else, and never more than so much of it at once.
//!
//! [`parse`] turns Markdown into plain text with styles over ranges of it; [`split`] cuts that at a limit counted in the platform's own
//! unit, where a person would: between paragraphs, lines, sentences or words, and never through a link or a code block that one message can
//! hold. No text is lost, and a style that a cut falls into stands on both sides, so a code block that is too long becomes two code blocks.
//! [`Text::runs`] is for platforms that take styles beside the text; [`discord`] writes one that takes them within.

pub mod discord;
mod parse;
mod split;

pub use parse::parse;
pub use split::{Unit, split, split_by};

use std::ops::Range;

/// A style over a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where, on character boundaries.
    pub range: Range<usize>,
    /// What.
    pub style: Style,
}

/// How a text looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Style {
    /// Bold; headings too.
    Bold,
    /// Italic.
    Italic,
    /// Struck out.
    Strike,
    /// Code within a line.
    Code,
    /// A block of code, and its language if it was named.
    Block(Option<String>),
    /// A link.
    Link(String),
    /// A quotation.
    Quote,
}

/// A text with styles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// What a person reads.
    pub plain: String,
    /// Outer before inner, in order of their beginning. Spans nest; those of one style do not overlap.
    pub spans: Vec<Span>,
}

/// A stretch of a text over which the same styles hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// What a person reads; not empty.
    pub text: &'a str,
    /// Outer before inner.
    pub styles: Vec<&'a Style>,
}

/// Whether an address may stand behind a link: one of the web. Others would be refused, or do something on the reader's device.
#[must_use]
pub fn is_web(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|r| !r.is_empty()) && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

impl Text {
    /// The text in stretches, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<Run<'_>> {
        let mut edges: Vec<usize> = self.spans.iter().flat_map(|s| [s.range.start, s.range.end]).collect();
        edges.extend([0, self.plain.len()]);
        edges.sort_unstable();
        edges.dedup();
        let between = edges.iter().zip(edges.iter().skip(1));
        let run = |(start, end): (&usize, &usize)| {
            let text = self.plain.get(*start..*end).filter(|t| !t.is_empty())?;
            let over = |s: &&Span| s.range.start <= *start && *end <= s.range.end;
            Some(Run { text, styles: self.spans.iter().filter(over).map(|s| &s.style).collect() })
        };
        between.filter_map(run).collect()
    }

    /// The text with the addresses of links after their words, but for those that `keeps` (given words and address) leaves as they are,
    /// those whose words are the address, and those that are none of the web's, which no platform makes.
    #[must_use]
    pub fn with_links_in_words(&self, keeps: impl Fn(&str, &str) -> bool) -> Self {
        let mut out = Self::default();
        let mut done = 0;
        // Where a byte of the old text lies in the new one: later, by what was added before it.
        let mut added: Vec<(usize, usize)> = Vec::new();
        for span in &self.spans {
            let Style::Link(url) = &span.style else { continue };
            let words = self.plain.get(span.range.clone()).unwrap_or_default();
            if words == url || !is_web(url) || keeps(words, url) || span.range.end < done {
                continue;
            }
            let more = format!(" ({url})");
            out.plain.push_str(self.plain.get(done..span.range.end).unwrap_or_default());
            out.plain.push_str(&more);
            done = span.range.end;
            added.push((span.range.end, more.len()));
        }
        out.plain.push_str(self.plain.get(done..).unwrap_or_default());
        let moved = |at: usize, end: bool| -> usize {
            let before = added.iter().filter(|(place, _)| if end { *place < at } else { *place <= at });
            at + before.map(|(_, length)| length).sum::<usize>()
        };
        let spelled = |s: &Span| matches!(&s.style, Style::Link(_)) && added.iter().any(|(at, _)| *at == s.range.end);
        let there = |s: &Span| {
            let range = moved(s.range.start, false)..moved(s.range.end, true);
            Span { range, style: s.style.clone() }
        };
        out.spans = self.spans.iter().filter(|s| !spelled(s)).map(there).collect();
        out
    }

    /// The part in a range of bytes, with the styles that reach into it.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let plain = self.plain.get(range.clone()).unwrap_or_default().to_owned();
        let inside = |s: &Span| {
            let (start, end) = (s.range.start.max(range.start), s.range.end.min(range.end));
            (start < end).then(|| Span { range: start - range.start..end - range.start, style: s.style.clone() })
        };
        Self { plain, spans: self.spans.iter().filter_map(inside).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_address_of_the_web_stands_in_the_words_and_the_other_styles_where_they_were(
            markdown in "([a-z*_`~\\[\\]()#>| \n-]{0,200})|((```\n|`|\\*\\*|x y|\n|> |\\[a `b` c\\]\\(https://d.e/\\)|!\\[f\\]\\(http://g\\)|\\[\\*\\*h\\*\\*\\]\\(mailto:i\\)){0,60})",
        ) {
            let text = parse(&markdown);
            let spelled = text.with_links_in_words(|_, _| false);
            let words = |t: &Text, s: &Span| t.plain[s.range.clone()].to_owned();
            for span in &text.spans {
                if let Style::Link(url) = &span.style && is_web(url) {
                    prop_assert!(spelled.plain.contains(url), "{url} is gone: {spelled:?}");
                }
            }
            let others = |t: &Text| t.spans.iter().filter(|s| !matches!(s.style, Style::Link(_))).count();
            prop_assert_eq!(others(&text), others(&spelled));
            for span in &spelled.spans {
                let same = |s: &Span| s.style == span.style && words(&spelled, span).chars().next() == words(&text, s).chars().next();
                prop_assert!(text.spans.iter().any(same), "{span:?} is new");
            }
        }
    }
}
