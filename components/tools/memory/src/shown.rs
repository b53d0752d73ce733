//! How notes are shown to the model.

use carapace_sdk::memory::Note;
use std::time::{Duration, SystemTime};

/// Characters of a note in a list.
const LINE: usize = 120;
/// Characters of a note in what a search found.
const EXCERPT: usize = 1_000;

/// A note to its end.
pub(crate) fn whole(note: &Note) -> String {
    format!("{}\n\n{}", head(note), note.text)
}

/// The first `limit` of them, a line each.
pub(crate) fn list(notes: &[Note], limit: u32) -> String {
    if notes.is_empty() {
        return "No notes are kept.".into();
    }
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut lines: Vec<String> = Vec::new();
    for note in notes.iter().take(shown) {
        let words = note.text.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("{}: {}", head(note), cut(&words, LINE).0));
    }
    if notes.len() > shown {
        lines.push(format!("There are more than these {shown}; memory_search finds them by words."));
    }
    lines.join("\n")
}

/// What a search found, each as it begins.
pub(crate) fn found(notes: &[Note]) -> String {
    if notes.is_empty() {
        return "No note holds any of these words.".into();
    }
    let show = |note: &Note| match cut(&note.text, EXCERPT) {
        (text, false) => format!("{}\n{text}", head(note)),
        (text, true) => format!("{}\n{text}\n(cut; memory_read gives it whole)", head(note)),
    };
    notes.iter().map(show).collect::<Vec<_>>().join("\n\n")
}

fn head(note: &Note) -> String {
    let outside = if note.tainted { ", holds text from outside" } else { "" };
    format!("`{}` ({}{outside})", note.key, date(note.updated_ms))
}

/// At most `most` characters, and whether that left something out.
fn cut(text: &str, most: usize) -> (String, bool) {
    match text.char_indices().nth(most) {
        Some((at, _)) => (format!("{}…", text.get(..at).unwrap_or_default()), true),
        None => (text.to_owned(), false),
    }
}

/// Past the year 9999 the library has no words for it, and would panic.
fn date(ms: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST)))
}
