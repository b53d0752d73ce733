//! Markdown to styled text.

use crate::{Span, Style, Text};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Reads Markdown (CommonMark, strike-through, tables, task lists). Raw HTML stays as the text it is.
pub fn parse(markdown: &str) -> Text {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::default();
    for event in Parser::new_ext(markdown, options) {
        writer.event(event);
    }
    let end = writer.out.plain.trim_end().len();
    let mut text = writer.out.slice(0..end);
    // Outer before inner: they were closed the other way round.
    text.spans.sort_by_key(|s| (s.range.start, std::cmp::Reverse(s.range.end)));
    text
}

#[derive(Default)]
struct Writer {
    out: Text,
    /// Where each open style began.
    open: Vec<(usize, Style)>,
    /// Number of the next item, or none for bullets; one per list that is open.
    lists: Vec<Option<u64>>,
    /// Cells of a table's row, so far.
    cells: usize,
    /// Links and images within an open one. No platform has a link in a link: what they say is the words of the outer one, which is where a press
    /// leads.
    within: usize,
    /// A block ended: what follows begins after this many line feeds.
    gap: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        // Text right after a block, without one of its own: in an item after a list within it.
        if self.gap > 0 && !text.trim().is_empty() {
            self.block();
        }
        self.out.plain.push_str(text);
    }

    /// Begins a block: as far from the one before as both want.
    fn block(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if self.out.plain.is_empty() {
            return;
        }
        let have = self.out.plain.len() - self.out.plain.trim_end_matches('\n').len();
        for _ in have..gap {
            self.out.plain.push('\n');
        }
    }

    fn begin(&mut self, style: Style) {
        self.open.push((self.out.plain.len(), style));
    }

    fn end(&mut self) {
        let Some((start, style)) = self.open.pop() else { return };
        let end = self.out.plain.trim_end_matches('\n').len().max(start);
        if start < end {
            self.out.spans.push(Span { range: start..end, style });
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.finish(tag),
            Event::Text(t) | Event::Html(t) | Event::InlineHtml(t) => self.text(&t),
            Event::Code(t) => {
                self.begin(Style::Code);
                self.text(&t);
                self.end();
            }
            Event::InlineMath(t) | Event::DisplayMath(t) | Event::FootnoteReference(t) => self.text(&t),
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.block();
                self.text("———");
                self.gap = 2;
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.block();
                self.begin(Style::Bold);
                if level >= HeadingLevel::H4 {
                    self.begin(Style::Italic);
                }
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.begin(Style::Quote);
            }
            Tag::CodeBlock(kind) => {
                self.block();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().map(str::to_owned),
                    CodeBlockKind::Indented => None,
                };
                self.begin(Style::Block(language));
            }
            Tag::List(first) => {
                if !self.lists.is_empty() {
                    self.gap = 1;
                }
                self.block();
                self.lists.push(first);
            }
            Tag::Item => {
                self.gap = self.gap.min(1);
                self.block();
                let depth = self.lists.len().saturating_sub(1);
                let marker = match self.lists.last_mut() {
                    Some(Some(n)) => {
                        let marker = format!("{n}. ");
                        *n += 1;
                        marker
                    }
                    _ => "• ".to_owned(),
                };
                let indented = format!("{}{marker}", "  ".repeat(depth));
                self.text(&indented);
            }
            Tag::Emphasis => self.begin(Style::Italic),
            Tag::Strong => self.begin(Style::Bold),
            Tag::Strikethrough => self.begin(Style::Strike),
            Tag::Link { .. } | Tag::Image { .. } if self.is_in_link() => self.within += 1,
            // An image is its description, and leads to where it lies.
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.begin(Style::Link(dest_url.into_string())),
            Tag::TableHead | Tag::TableRow => {
                self.block();
                self.cells = 0;
            }
            Tag::TableCell => {
                if self.cells > 0 {
                    self.text(" | ");
                }
                self.cells += 1;
            }
            _ => self.block(),
        }
    }

    fn finish(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                if level >= HeadingLevel::H4 {
                    self.end();
                }
                self.end();
                self.gap = 2;
            }
            TagEnd::BlockQuote(_) | TagEnd::CodeBlock => {
                self.end();
                self.gap = 2;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap = if self.lists.is_empty() { 2 } else { 1 };
            }
            TagEnd::Item | TagEnd::TableHead | TagEnd::TableRow => self.gap = 1,
            TagEnd::Link | TagEnd::Image if self.within > 0 => self.within -= 1,
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.end(),
            TagEnd::TableCell => {}
            _ => self.gap = 2,
        }
    }

    fn is_in_link(&self) -> bool {
        self.open.iter().any(|(_, style)| matches!(style, Style::Link(_)))
    }

    /// A link without words is its address: nothing of what was written is lost.
    fn end_link(&mut self) {
        if let Some((start, Style::Link(url))) = self.open.last()
            && *start == self.out.plain.len()
        {
            let url = url.clone();
            self.text(&url);
        }
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(markdown: &str) -> (String, Vec<(String, Style)>) {
        let text = parse(markdown);
        let spans = text.spans.iter().map(|s| (text.plain[s.range.clone()].to_owned(), s.style.clone())).collect();
        (text.plain, spans)
    }

    #[test]
    fn styles_stand_over_what_they_belong_to() {
        let (plain, spans) = shown("**bold _both_** and `code`, ~~gone~~, [a link](https://example.com/x_y)");
        assert_eq!(plain, "bold both and code, gone, a link");
        assert_eq!(
            spans,
            [
                ("bold both".to_owned(), Style::Bold),
                ("both".to_owned(), Style::Italic),
                ("code".to_owned(), Style::Code),
                ("gone".to_owned(), Style::Strike),
                ("a link".to_owned(), Style::Link("https://example.com/x_y".to_owned())),
            ]
        );
    }

    #[test]
    fn blocks_are_apart_and_lists_are_close() {
        let (plain, spans) =
            shown("# Title\n\nOne\ntwo\n\n- a\n- b\n  1. c\n  2. d\n\n> said\n\n```rust\nfn x() {}\n```\nend");
        assert_eq!(plain, "Title\n\nOne\ntwo\n\n• a\n• b\n  1. c\n  2. d\n\nsaid\n\nfn x() {}\n\nend");
        assert_eq!(spans[0], ("Title".to_owned(), Style::Bold));
        assert_eq!(spans[1], ("said".to_owned(), Style::Quote));
        assert_eq!(spans[2], ("fn x() {}".to_owned(), Style::Block(Some("rust".to_owned()))));
    }

    #[test]
    fn an_image_in_a_link_is_the_links_words() {
        let linked = |words: &str, to: &str| (words.to_owned(), vec![(words.to_owned(), Style::Link(to.to_owned()))]);
        assert_eq!(shown("[![alt](https://i.example/a.png)](https://a.example)"), linked("alt", "https://a.example"));
        assert_eq!(shown("![an [old](https://b.example) map](https://i.example/a.png)").0, "an old map");
        // Without words of its own the image is nothing to read, and the link its address.
        let bare = shown("[![](https://i.example/a.png)](https://a.example)");
        assert_eq!(bare, linked("https://a.example", "https://a.example"));
        let (plain, spans) = shown("[a ![b](https://i.example) **c**](https://a.example) [d](https://d.example)");
        assert_eq!((plain.as_str(), spans.len()), ("a b c d", 3));
    }

    #[test]
    fn what_is_no_markdown_stays_as_it_is() {
        assert_eq!(shown("a < b && <b>c</b> *d").0, "a < b && <b>c</b> *d");
        assert_eq!(shown("| a | b |\n|---|---|\n| 1 | 2 |").0, "a | b\n1 | 2");
        assert_eq!(shown("[](https://example.com)").0, "https://example.com");
    }
}
