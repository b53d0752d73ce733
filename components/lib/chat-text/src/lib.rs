//! What a model writes is Markdown; what a chat platform takes is something else, and never more than so much of it at once.
//!
//! [`parse`] turns Markdown into plain text with styles over ranges of it; [`split`] cuts that at a limit counted in the platform's own
//! unit, where a person would: between paragraphs, lines, sentences or words. No text is lost, and a style that a cut falls into stands
//! on both sides, so a code block that is too long becomes two code blocks.

mod parse;
mod split;

pub use parse::parse;
pub use split::{Unit, split};

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

impl Text {
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
