//! Text as Slack's rich text: <https://docs.slack.dev/reference/block-kit/blocks/rich-text-block/>. Words stand there as they are, beside
//! their styles: nothing has to be escaped, nothing a model writes turns into markup, and nobody is called by it.

use carapace_chat_text::{Style, Text, Unit, is_web, split};
use serde_json::{Map, Value, json};

/// UTF-16 units of one message; Slack recommends no more, and cuts at 40,000.
pub(crate) const LIMIT: usize = 4_000;

/// Where a stretch of text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Section,
    Quote,
    Block,
}

/// The text in parts: what a person reads, and the blocks.
pub(crate) fn render(text: &Text) -> Vec<(String, Value)> {
    split(text, LIMIT, Unit::Utf16).into_iter().map(|part| (part.plain.clone(), blocks(&part))).collect()
}

fn blocks(text: &Text) -> Value {
    let mut elements: Vec<(Place, Vec<Value>)> = Vec::new();
    for run in text.runs() {
        let has = |wanted: fn(&Style) -> bool| run.styles.iter().any(|s| wanted(s));
        let place = if has(|s| matches!(s, Style::Block(_))) {
            Place::Block
        } else if has(|s| *s == Style::Quote) {
            Place::Quote
        } else {
            Place::Section
        };
        match elements.last_mut() {
            Some((last, inner)) if *last == place => inner.push(element(run.text, &run.styles, place)),
            _ => elements.push((place, vec![element(run.text, &run.styles, place)])),
        }
    }
    // Each begins in a line of its own: the line feeds between them would be empty lines.
    let several = elements.len() > 1;
    let one = |(place, mut inner): (Place, Vec<Value>)| {
        if several {
            trim(&mut inner);
        }
        let kind = match place {
            Place::Section => "rich_text_section",
            Place::Quote => "rich_text_quote",
            Place::Block => "rich_text_preformatted",
        };
        (!inner.is_empty()).then(|| json!({ "type": kind, "elements": inner }))
    };
    let elements: Vec<Value> = elements.into_iter().filter_map(one).collect();
    json!([{ "type": "rich_text", "elements": elements }])
}

fn element(text: &str, styles: &[&Style], place: Place) -> Value {
    let mut style = Map::new();
    let mut url = None;
    for s in styles {
        let name = match s {
            Style::Bold => "bold",
            Style::Italic => "italic",
            Style::Strike => "strike",
            Style::Code => "code",
            Style::Link(to) => {
                url = Some(to).filter(|u| is_web(u));
                continue;
            }
            Style::Quote | Style::Block(_) => continue,
        };
        style.insert(name.to_owned(), true.into());
    }
    let mut element = match url {
        Some(url) => json!({ "type": "link", "url": url, "text": text }),
        None => json!({ "type": "text", "text": text }),
    };
    if let (Value::Object(map), false, true) = (&mut element, style.is_empty(), place != Place::Block) {
        map.insert("style".to_owned(), style.into());
    }
    element
}

/// Line feeds at both ends go, and what is empty then.
fn trim(inner: &mut Vec<Value>) {
    let cut = |value: &mut Value, cut: fn(&str) -> &str| -> bool {
        let Some(text) = value.get("text").and_then(Value::as_str).map(|t| cut(t).to_owned()) else { return true };
        let some = !text.is_empty();
        value["text"] = text.into();
        some
    };
    while inner.first_mut().is_some_and(|v| !cut(v, |t| t.trim_start_matches('\n'))) {
        inner.remove(0);
    }
    while inner.last_mut().is_some_and(|v| !cut(v, |t| t.trim_end_matches('\n'))) {
        inner.pop();
    }
}

/// For notifications, where Slack reads markup: <https://docs.slack.dev/messaging/formatting-message-text/#escaping>.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
