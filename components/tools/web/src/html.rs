//! HTML to readable text: headings, lists, tables and links keep their marks; scripts, styles and navigation are left out.

use crate::reader::Text;
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Emitter, Error, ForwardingEmitter, StartTag, Token, Tokenizer};
use iri_string::types::{IriAbsoluteString, IriReferenceStr};

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) title: String,
    pub(crate) text: String,
}

/// Reads a page that came from `url`.
pub(crate) fn read(html: &str, url: &str) -> Page {
    pass(html, url, true).or_else(|| pass(html, url, false)).unwrap_or_default()
}

/// One reading; none if it ended inside of something that was left out, so that the page would have been taken for a menu.
fn pass(html: &str, url: &str, strict: bool) -> Option<Page> {
    let mut writer = Writer { base: absolute(url), shows_unclosed: !strict, ..Writer::default() };
    for token in tokens(html) {
        match token {
            Token::StartTag(tag) => writer.start(&tag),
            Token::EndTag(tag) => writer.end(&tag.name),
            Token::String(text) => writer.text(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    writer.close_link();
    let vanished = writer.skipped.is_some_and(|(name, _)| UNTIL_CLOSED.contains(&name.as_str()));
    // One that is never closed would be the whole page.
    let title: String = writer.title.chars().take(TITLE).collect();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    (!strict || !vanished).then_some(Page { title, text: writer.out })
}

/// The tokens of a page. Scripts and styles are text to their own end tag, not markup.
pub(crate) fn tokens(html: &str) -> impl Iterator<Item = Token> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(Text(html.as_bytes()), Lenient(emitter)).map(|Ok(token)| token)
}

/// What is wrong with a page interests nobody here.
struct Lenient(DefaultEmitter);

impl ForwardingEmitter for Lenient {
    type Token = Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = Token> {
        &mut self.0
    }

    #[inline]
    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn emit_error(&mut self, _: Error) {}
}

/// Elements whose content is not for readers, and is no markup: one that is never closed takes the rest of the page with it in
/// a browser, too.
const LEFT_OUT: &[&str] = &["script", "style", "noscript", "iframe", "textarea"];
/// The same, of markup. Where one is never closed, all of them are shown.
const UNTIL_CLOSED: &[&str] = &["template", "svg", "math", "object", "canvas", "nav", "select"];
/// Characters of a title.
const TITLE: usize = 300;
/// Elements that stand apart from what is around them.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
    "nav",
    "blockquote",
    "figure",
    "figcaption",
    "address",
    "form",
    "fieldset",
    "details",
    "summary",
    "table",
    "ul",
    "ol",
    "dl",
    "hr",
    "body",
];

#[derive(Default)]
struct Writer {
    out: String,
    title: String,
    base: Option<IriAbsoluteString>,
    in_title: bool,
    /// What is left out only if it is closed is shown.
    shows_unclosed: bool,
    /// The element that is left out, and how often it is open.
    skipped: Option<(String, usize)>,
    preformatted: usize,
    /// Line breaks due before the next word.
    breaks: usize,
    /// A space is due before the next word.
    space: bool,
    /// What the next line begins with: `# `, `- `.
    mark: String,
    link: Option<Link>,
}

struct Link {
    to: String,
    begun: bool,
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name);
        if let Some((skipped, depth)) = &mut self.skipped {
            // There is no `<main>` within a `<nav>`: somebody forgot to close it.
            if !(skipped == "nav" && name == "main") {
                *depth += usize::from(*skipped == name && !tag.self_closing);
                return;
            }
            self.skipped = None;
        }
        let left_out = |of: &[&str]| of.contains(&name.as_ref());
        if left_out(LEFT_OUT) || (!self.shows_unclosed && left_out(UNTIL_CLOSED)) {
            // Only foreign elements close themselves; `<script/>` does not.
            if !(tag.self_closing && matches!(name.as_ref(), "svg" | "math")) {
                self.skipped = Some((name.into_owned(), 1));
            }
            return;
        }
        let attribute = |name: &[u8]| tag.attributes.get(name).map(|v| String::from_utf8_lossy(v).trim().to_owned());
        match name.as_ref() {
            "title" => self.in_title = self.title.is_empty(),
            "base" => {
                if let Some(base) = attribute(b"href").and_then(|href| self.resolve(&href)) {
                    self.base = absolute(&base);
                }
            }
            "br" => self.breaks += 1,
            "a" => {
                self.close_link();
                let to = attribute(b"href").filter(|href| !href.starts_with('#')).and_then(|href| self.resolve(&href));
                self.link = to.map(|to| Link { to, begun: false });
            }
            "img" => {
                if let Some(alt) = attribute(b"alt").filter(|alt| !alt.is_empty()) {
                    self.text(&format!("[image: {alt}]"));
                }
            }
            "pre" => {
                self.block(2);
                self.preformatted += 1;
            }
            "li" => {
                self.block(1);
                self.mark = "- ".into();
            }
            "td" | "th" => self.cell(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.block(2);
                let level = name.chars().last().and_then(|c| c.to_digit(10)).unwrap_or(1);
                self.mark = format!("{} ", "#".repeat(usize::try_from(level).unwrap_or(1)));
            }
            other => self.boundary(other),
        }
    }

    fn end(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        if let Some((skipped, depth)) = &mut self.skipped {
            *depth = depth.saturating_sub(usize::from(*skipped == name));
            if *depth == 0 {
                self.skipped = None;
            }
            return;
        }
        match name.as_ref() {
            "title" => self.in_title = false,
            "a" => self.close_link(),
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.block(2);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.block(2),
            other => self.boundary(other),
        }
    }

    /// Where a block begins or ends.
    fn boundary(&mut self, name: &str) {
        match name {
            "li" | "dt" | "dd" | "tr" | "caption" => self.block(1),
            _ if BLOCKS.contains(&name) => self.block(2),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
        } else if self.in_title {
            self.title.push_str(text);
        } else if self.preformatted > 0 {
            if !text.is_empty() {
                self.flush();
                self.out.push_str(text);
            }
        } else {
            let mut words = text.split([' ', '\t', '\n', '\r', '\u{c}']).peekable();
            while let Some(word) = words.next() {
                if !word.is_empty() {
                    self.flush();
                    self.out.push_str(word);
                }
                self.space |= words.peek().is_some();
            }
        }
    }

    /// What is due before a word.
    fn flush(&mut self) {
        if !self.out.is_empty() {
            match self.breaks {
                0 if self.space => self.out.push(' '),
                0 => {}
                1 => self.out.push('\n'),
                _ => self.out.push_str("\n\n"),
            }
        }
        (self.breaks, self.space) = (0, false);
        self.out.push_str(&std::mem::take(&mut self.mark));
        if let Some(link) = self.link.as_mut().filter(|link| !link.begun) {
            link.begun = true;
            self.out.push('[');
        }
    }

    fn close_link(&mut self) {
        if let Some(link) = self.link.take().filter(|link| link.begun) {
            self.out.push_str(&format!("]({})", link.to));
        }
    }

    /// The next word begins a line, after an empty one for two `breaks`.
    fn block(&mut self, breaks: usize) {
        // A link around blocks ends with the first that has words.
        if self.link.as_ref().is_some_and(|link| link.begun) {
            self.close_link();
        }
        // A list's mark waits for the words of the paragraph in it.
        self.breaks = if self.mark.is_empty() { self.breaks.max(breaks) } else { self.breaks };
    }

    fn cell(&mut self) {
        if self.breaks == 0 && !self.out.is_empty() {
            self.close_link();
            self.out.push_str(" | ");
            self.space = false;
        }
    }

    /// Where a reference leads, if to a page.
    fn resolve(&self, href: &str) -> Option<String> {
        let reference = IriReferenceStr::new(href).ok()?;
        let to = reference.resolve_against(self.base.as_ref()?).to_string();
        (to.starts_with("https://") || to.starts_with("http://")).then_some(to)
    }
}

fn absolute(url: &str) -> Option<IriAbsoluteString> {
    IriAbsoluteString::try_from(url.split('#').next()?.to_owned()).ok()
}
