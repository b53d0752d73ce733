//! Reads TOML by key and type, and remembers where everything stood.

use super::values::shown;
use std::cell::RefCell;
use std::ops::Range;
use toml_edit::{Item, TableLike, Value};

/// Bytes of the text.
pub(super) type Span = Range<usize>;

/// A value and where it stood.
#[derive(Debug, Clone)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// Every problem so far.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<(usize, String)>>);

impl Problems {
    /// One more, at the beginning of `span`.
    pub(super) fn at(&self, span: &Span, what: impl Into<String>) {
        self.0.borrow_mut().push((span.start, what.into()));
    }

    /// In the order of the text, each as `line:column: what`.
    pub(super) fn into_texts(self, text: &str) -> Vec<String> {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all.into_iter()
            .map(|(offset, what)| {
                let before = text.get(..offset).unwrap_or("");
                let line = before.matches('\n').count().saturating_add(1);
                let column = before.chars().rev().take_while(|c| *c != '\n').count().saturating_add(1);
                format!("{line}:{column}: {what}")
            })
            .collect()
    }
}

/// The known word that was probably meant, or all of them.
pub(super) fn nearest(word: &str, known: &[&str]) -> String {
    let word: String = word.chars().take(64).collect();
    let best = known.iter().map(|k| (strsim::damerau_levenshtein(&word, k), *k)).min();
    match best {
        Some((distance, k)) if distance <= 3 && distance < k.len() => format!("did you mean `{k}`?"),
        _ => format!("known are: {}", known.join(", ")),
    }
}

/// A table, whatever its notation.
pub(super) struct Section<'a> {
    /// As people write it, e.g. `[limits]`.
    title: String,
    table: &'a dyn TableLike,
    pub(super) span: Span,
}

impl<'a> Section<'a> {
    /// `item` as a table; anything else is a problem.
    pub(super) fn of(item: &'a Item, title: &str, span: Span, problems: &Problems) -> Option<Self> {
        let table = item.as_table_like();
        if table.is_none() {
            problems.at(&span, format!("{title} is {}; it must be a table", kind(item.type_name())));
        }
        Some(Self { title: title.to_owned(), table: table?, span })
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, Span)> {
        let fallback = self.span.clone();
        self.table.iter().map(move |(key, item)| {
            let span = self.table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            (key, span.unwrap_or_else(|| fallback.clone()))
        })
    }

    /// The item behind a key.
    pub(super) fn get(&self, key: &str) -> Option<(&'a Item, Span)> {
        let (k, item) = self.table.get_key_value(key)?;
        // A header's own position says more than the end of the table.
        let span = if item.is_value() { item.span() } else { k.span().or_else(|| item.span()) };
        Some((item, span.unwrap_or_else(|| self.span.clone())))
    }

    /// The table behind a key.
    pub(super) fn section(&self, key: &str, problems: &Problems) -> Option<Section<'a>> {
        let (item, span) = self.get(key)?;
        Section::of(item, &format!("`[{}]`", shown(key)), span, problems)
    }

    /// Reports every other key.
    pub(super) fn only(&self, known: &[&str], problems: &Problems) {
        for (key, span) in self.keys().filter(|(key, _)| !known.contains(key)) {
            problems.at(&span, format!("{} has no key `{}`; {}", self.title, shown(key), nearest(key, known)));
        }
    }

    /// A text, checked; `None` if absent or wrong.
    pub(super) fn with<T>(
        &self,
        key: &str,
        problems: &Problems,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let (item, span) = self.get(key)?;
        let Some(text) = item.as_str() else {
            problems.at(&span, format!("`{key}` is {}; write a string in quotes", kind(item.type_name())));
            return None;
        };
        match check(text) {
            Ok(value) => Some(Spanned { value, span }),
            Err(why) => {
                problems.at(&span, format!("`{key}`: `{}` {why}", shown(text)));
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        example: &str,
        problems: &Problems,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        if self.get(key).is_none() {
            problems.at(&self.span, format!("{} needs `{key}`; write e.g. {example}", self.title));
        }
        self.with(key, problems, check)
    }

    /// `true` or `false`; absent is `false`.
    pub(super) fn flag(&self, key: &str, problems: &Problems) -> bool {
        let Some((item, span)) = self.get(key) else { return false };
        item.as_bool().unwrap_or_else(|| {
            problems.at(&span, format!("`{key}` is {}; write true or false", kind(item.type_name())));
            false
        })
    }

    /// A whole number from 1 to `max`.
    pub(super) fn count(&self, key: &str, max: u64, problems: &Problems) -> Option<u64> {
        let (item, span) = self.get(key)?;
        let Some(number) = item.as_integer() else {
            problems.at(&span, format!("`{key}` is {}; write a whole number without quotes", kind(item.type_name())));
            return None;
        };
        let number = u64::try_from(number).ok().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            problems.at(&span, format!("`{key}` must be from 1 to {}", max.min(i64::MAX.unsigned_abs())));
        }
        number
    }

    /// A list of texts, each checked; `None` if absent.
    pub(super) fn list<T>(
        &self,
        key: &str,
        problems: &Problems,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Spanned<T>>> {
        self.sequence(key, problems, false, check)
    }

    /// A list of strings in which the same may stand more than once, if `again`.
    pub(super) fn sequence<T>(
        &self,
        key: &str,
        problems: &Problems,
        again: bool,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Spanned<T>>> {
        let (item, span) = self.get(key)?;
        let Some(array) = item.as_array() else {
            problems.at(&span, format!("`{key}` is {}; write a list: [\"…\", \"…\"]", kind(item.type_name())));
            return None;
        };
        let mut seen = Vec::new();
        let mut out = Vec::new();
        for value in array {
            let span = value.span().unwrap_or_else(|| span.clone());
            let Some(text) = value.as_str() else {
                problems.at(&span, format!("`{key}` holds {}; write strings in quotes", kind(value.type_name())));
                continue;
            };
            if !again && seen.contains(&text) {
                problems.at(&span, format!("`{key}` holds `{}` twice; remove one", shown(text)));
                continue;
            }
            seen.push(text);
            match check(text) {
                Ok(value) => out.push(Spanned { value, span }),
                Err(why) => problems.at(&span, format!("`{key}`: `{}` {why}", shown(text))),
            }
        }
        Some(out)
    }

    /// A list of tables behind a key; empty if absent.
    pub(super) fn tables(&self, key: &str, problems: &Problems) -> Vec<Section<'a>> {
        self.get(key).map(|(item, span)| tables(item, key, span, problems)).unwrap_or_default()
    }
}

/// The tables of `[[title]]`, or of a list of inline tables.
pub(super) fn tables<'a>(item: &'a Item, title: &str, span: Span, problems: &Problems) -> Vec<Section<'a>> {
    let name = format!("`[[{title}]]`");
    if let Some(array) = item.as_array_of_tables() {
        let section = |t: &'a toml_edit::Table| Section {
            title: name.clone(),
            table: t,
            span: t.span().unwrap_or_else(|| span.clone()),
        };
        return array.iter().map(section).collect();
    }
    let Some(array) = item.as_array() else {
        problems.at(&span, format!("`{title}` is {}; write {name} with its keys below", kind(item.type_name())));
        return Vec::new();
    };
    let mut out = Vec::new();
    for value in array {
        let span = value.span().unwrap_or_else(|| span.clone());
        match value {
            Value::InlineTable(table) => out.push(Section { title: format!("`{title}`"), table, span }),
            other => problems.at(&span, format!("`{title}` holds {}; write {{ … }}", kind(other.type_name()))),
        }
    }
    out
}

/// A TOML type in a sentence.
pub(super) fn kind(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {type_name}")
}
