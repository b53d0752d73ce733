//! Discord's Markdown: <https://support.discord.com/hc/en-us/articles/210298617>. Text stands in it with its special characters escaped, so
//! that nothing a model writes turns into markup that it was not.

use crate::{Span, Style, Text, Unit, is_web, split_by};

/// What Discord takes in one message, characters.
pub const LIMIT: usize = 2_000;
/// The longest address behind words; a longer one is spelled out, where it can be cut.
const LONGEST_LINK: usize = 512;
/// Separates what would otherwise be read together.
const NOTHING: char = '\u{200b}';

/// A text as messages of at most [`LIMIT`] characters.
#[must_use]
pub fn messages(text: &Text) -> Vec<String> {
    within(text, LIMIT)
}

fn within(text: &Text, limit: usize) -> Vec<String> {
    let text = spelled_out(text);
    let length = |part: &Text| Unit::Scalars.len(&write(part));
    split_by(&text, limit, Unit::Scalars, length).iter().map(write).collect()
}

/// Links that Discord would not make, or not show, in words.
fn spelled_out(text: &Text) -> Text {
    text.with_links_in_words(|words, url| url.len() <= LONGEST_LINK && !words.contains("://"))
}

/// One text as one message.
#[must_use]
pub fn write(text: &Text) -> String {
    let mut w = Writer { text, out: String::new(), line_start: true, closed: false, quoted: false, raw: 0 };
    let mut open: Vec<&Span> = Vec::new();
    let mut spans = text.spans.iter().filter(|s| shrunk(text, s).is_some()).peekable();
    let mut at = 0;
    while at < text.plain.len() || !open.is_empty() {
        if let Some(span) = open.last()
            && end_of(text, span) <= at
        {
            w.close(span);
            open.pop();
            continue;
        }
        if let Some(span) = spans.next_if(|s| start_of(text, s) <= at) {
            // One that begins in another and ends after it ends with it: styles nest.
            w.open(span);
            open.push(span);
            continue;
        }
        if at >= text.plain.len() {
            break;
        }
        let next_open = spans.peek().map_or(text.plain.len(), |s| start_of(text, s));
        let next_close = open.iter().map(|s| end_of(text, s)).min().unwrap_or(text.plain.len());
        let until = next_open.min(next_close).max(at + 1).min(text.plain.len());
        w.text(at, text.plain.ceil_char_boundary(until));
        at = text.plain.ceil_char_boundary(until);
    }
    w.out
}

/// A span without white space at its edges, where Discord takes no marker.
fn shrunk(text: &Text, span: &Span) -> Option<std::ops::Range<usize>> {
    let inside = text.plain.get(span.range.clone())?;
    if matches!(span.style, Style::Block(_)) {
        return (!inside.is_empty()).then(|| span.range.clone());
    }
    let from = span.range.start + (inside.len() - inside.trim_start().len());
    let to = span.range.start + inside.trim_end().len();
    (from < to).then_some(from..to)
}

fn start_of(text: &Text, span: &Span) -> usize {
    shrunk(text, span).map_or(span.range.start, |r| r.start)
}

fn end_of(text: &Text, span: &Span) -> usize {
    shrunk(text, span).map_or(span.range.end, |r| r.end)
}

struct Writer<'a> {
    text: &'a Text,
    out: String,
    /// Nothing but white space stands in the line.
    line_start: bool,
    /// The last thing was a closing marker.
    closed: bool,
    quoted: bool,
    /// How many open styles take text as it is.
    raw: u32,
}

impl Writer<'_> {
    fn marker(&mut self, marker: &str, closing: bool) {
        if !closing && self.closed {
            self.out.push(NOTHING);
        }
        self.out.push_str(marker);
        self.closed = closing;
        self.line_start = false;
    }

    fn newline(&mut self) {
        self.out.push('\n');
        if self.quoted {
            self.out.push_str("> ");
        }
        self.line_start = true;
        self.closed = false;
    }

    /// Where a block begins or ends, unless a line does so anyway.
    fn own_line(&mut self) {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        if !line.is_empty() && line != "> " {
            self.newline();
        }
    }

    fn inside(&self, span: &Span) -> &str {
        shrunk(self.text, span).and_then(|r| self.text.plain.get(r)).unwrap_or_default()
    }

    fn open(&mut self, span: &Span) {
        if self.raw > 0 {
            return self.raw += u32::from(is_raw(&span.style));
        }
        match &span.style {
            Style::Bold => self.marker("**", false),
            Style::Italic => self.marker("*", false),
            Style::Strike => self.marker("~~", false),
            Style::Quote if !self.quoted => {
                self.own_line();
                self.quoted = true;
                self.out.push_str("> ");
                self.line_start = true;
            }
            Style::Quote => {}
            Style::Code => {
                let fence = self.fence(span);
                self.marker(fence, false);
                if fence.len() > 1 {
                    self.out.push(' ');
                }
            }
            Style::Block(language) => {
                self.own_line();
                self.out.push_str("```");
                // What is no language would be the first line of the code.
                let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '#' | '_' | '.');
                if let Some(language) = language.as_deref().filter(|l| l.len() <= 32 && l.chars().all(known)) {
                    self.out.push_str(language);
                }
                self.newline();
            }
            Style::Link(url) => {
                if self.inside(span) != url && is_web(url) {
                    self.marker("[", false);
                }
            }
        }
        self.raw += u32::from(is_raw(&span.style));
    }

    fn close(&mut self, span: &Span) {
        if self.raw > 1 || (self.raw == 1 && !is_raw(&span.style)) {
            return self.raw -= u32::from(is_raw(&span.style));
        }
        self.raw = 0;
        match &span.style {
            Style::Bold => self.marker("**", true),
            Style::Italic => self.marker("*", true),
            Style::Strike => self.marker("~~", true),
            Style::Quote => {
                // A quotation lasts to the end of its line.
                self.quoted = false;
            }
            Style::Code => {
                let fence = self.fence(span);
                if fence.len() > 1 {
                    self.out.push(' ');
                }
                self.marker(fence, true);
            }
            Style::Block(_) => {
                self.own_line();
                self.out.push_str("```");
                self.line_start = false;
                self.closed = false;
            }
            Style::Link(url) => {
                if self.inside(span) != url && is_web(url) {
                    let url = url.replace('<', "%3C").replace('>', "%3E").replace('\\', "%5C").replace('`', "%60");
                    self.marker(&format!("](<{url}>)"), true);
                }
            }
        }
    }

    fn fence(&self, span: &Span) -> &'static str {
        if self.inside(span).contains('`') { "``" } else { "`" }
    }

    fn text(&mut self, from: usize, to: usize) {
        let text = self.text.plain.get(from..to).unwrap_or_default();
        // After a block, a line of its own follows anyway.
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if self.raw == 0
                && let Some(url) = address(rest)
            {
                self.out.push_str(url);
                self.line_start = false;
                self.closed = false;
                rest = rest.get(url.len()..).unwrap_or_default();
                continue;
            }
            self.character(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }

    fn character(&mut self, c: char) {
        if c == '\n' {
            return self.newline();
        }
        if self.raw > 0 {
            // Three in a row would end a block, two a piece of code.
            if c == '`' && self.out.ends_with('`') {
                self.out.push(NOTHING);
            }
        } else {
            let anywhere = matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<');
            if anywhere || (self.line_start && matches!(c, '>' | '#' | '-')) {
                self.out.push('\\');
            }
        }
        self.out.push(c);
        self.line_start = self.line_start && c.is_whitespace();
        self.closed = false;
    }
}

fn is_raw(style: &Style) -> bool {
    matches!(style, Style::Code | Style::Block(_))
}

/// The address at the beginning of a text, which Discord makes a link of as it stands.
fn address(text: &str) -> Option<&str> {
    let scheme = ["https://", "http://"].into_iter().find(|s| text.starts_with(s))?;
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '`' | '|' | '\\')).unwrap_or(text.len());
    let url = text.get(..end)?.trim_end_matches(|c: char| c.is_ascii_punctuation() && c != '/');
    (url.len() > scheme.len()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::split::tests::broken;
    use proptest::prelude::*;

    fn shown(markdown: &str) -> String {
        messages(&parse(markdown)).join("\n---\n")
    }

    #[test]
    fn markdown_is_discords_own() {
        assert_eq!(
            shown("**bold _both_** and `code`, ~~gone~~, [a link](https://example.com/x_y)"),
            "**bold *both*** and `code`, ~~gone~~, [a link](<https://example.com/x_y>)"
        );
        assert_eq!(shown("# Title\n\n- a\n- b\n\n> said\n> so\n\nend"), "**Title**\n\n• a\n• b\n\n> said\n> so\n\nend");
        assert_eq!(shown("```rust\nlet a = *b;\n```\nend"), "```rust\nlet a = *b;\n```\n\nend");
        assert_eq!(shown("**a**_b_"), "**a**\u{200b}*b*");
    }

    #[test]
    fn what_is_no_markup_does_not_become_any() {
        assert_eq!(shown(r"2 \* 3 \* 4, snake_case_name, ||x||"), r"2 \* 3 \* 4, snake\_case\_name, \|\|x\|\|");
        assert_eq!(shown(r"\# no heading"), r"\# no heading");
        assert_eq!(shown("<@123> and <@&5> and <#7> and @everyone"), r"\<@123> and \<@&5> and \<#7> and @everyone");
        assert_eq!(shown("see https://example.com/a_b_c?x=*."), "see https://example.com/a_b_c?x=\\*.");
        assert_eq!(shown("`` a`b ``"), "`` a`b ``");
        assert_eq!(shown("````\n```\n````"), "```\n`\u{200b}`\u{200b}`\n```");
        assert_eq!(shown("[click](javascript:x)"), "click");
        assert_eq!(
            shown("[https://good.example](https://evil.example)"),
            "https://good.example (https://evil.example)"
        );
    }

    #[test]
    fn markup_of_a_link_does_not_stand_in_anothers() {
        assert_eq!(shown("[![a_b](https://i.example/a.png)](https://a.example)"), r"[a\_b](<https://a.example>)");
        assert_eq!(
            shown("[see ![it](https://i.example) **now**](https://a.example)"),
            "[see it **now**](<https://a.example>)"
        );
    }

    #[test]
    fn an_address_too_long_for_a_link_is_said_in_words() {
        let url = format!("https://example.com/{}", "x".repeat(3_000));
        let parts = messages(&parse(&format!("a **[word](  {url}  ) more** b")));
        assert!(parts.len() == 2 && parts.iter().all(|p| p.chars().count() <= LIMIT), "{parts:?}");
        assert_eq!(parts.concat().matches('x').count(), 3_001);
    }

    /// Every character of one stands in the other, in the same order.
    fn holds(all: &str, some: &str) -> bool {
        let mut rest = all.chars();
        some.chars().filter(|c| !c.is_whitespace()).all(|c| rest.any(|r| r == c))
    }

    proptest! {
        #[test]
        fn no_message_is_too_long_none_breaks_a_block_or_a_link_and_nothing_is_lost(
            markdown in "\\PC{0,300}|([a-z*_`~\\[\\]()#>|<@ \n-]{0,400})|((```\n|`|\\*\\*|_|x y|\n|> |[a-z_]{40}|!|\\[a b\\]\\(https://b.c/[a-z]{0,40}\\)){0,120})",
            limit in 150usize..400,
        ) {
            let text = parse(&markdown);
            let parts = within(&text, limit);
            let joined = parts.join("\n");
            for part in &parts {
                prop_assert!(part.chars().count() <= limit, "{} of {limit}: {part}", part.chars().count());
                prop_assert!(!part.trim().is_empty());
            }
            prop_assert!(holds(&joined, &text.plain), "{:?} is not all in {joined:?}", text.plain);
            let (whole, length) = (spelled_out(&text), |p: &Text| Unit::Scalars.len(&write(p)));
            let cut = split_by(&whole, limit, Unit::Scalars, length);
            prop_assert_eq!(broken(&whole, &cut, |t| length(t) <= limit), None);
            for (part, text) in parts.iter().zip(cut) {
                let blocks = text.spans.iter().filter(|s| matches!(s.style, Style::Block(_))).count();
                prop_assert_eq!(part.matches("```").count(), 2 * blocks, "{}", part);
            }
        }
    }
}
