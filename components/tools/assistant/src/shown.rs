//! How conversations are shown to the model.

use carapace_sdk::sessions::{Entry, Session};
use std::time::{Duration, SystemTime};

/// Bytes of a conversation that are shown; of a longer one, its end.
const LONGEST: usize = 64 << 10;

/// A line each.
pub(crate) fn list(sessions: &[Session], limit: u32) -> String {
    if sessions.is_empty() {
        return "There are no conversations yet.".into();
    }
    let line = |s: &Session| {
        let title = if s.title.is_empty() { "(no words)" } else { &s.title };
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{} ({}; messages: {}): {title}", s.id, date(s.updated_ms), s.messages)
    };
    let mut lines: Vec<String> = sessions.iter().map(line).collect();
    if u32::try_from(sessions.len()).is_ok_and(|n| n >= limit) {
        lines.push(format!("These are the newest {limit}; there may be more."));
    }
    lines.join("\n")
}

/// What was said, oldest first.
pub(crate) fn conversation(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "Nothing was said there yet.".into();
    }
    let (mut kept, mut bytes) = (Vec::new(), 0_usize);
    for entry in entries.iter().rev() {
        let text = message(entry);
        bytes = bytes.saturating_add(text.len());
        if bytes > LONGEST && !kept.is_empty() {
            kept.push(format!("(earlier messages are left out: {})", entries.len() - kept.len()));
            break;
        }
        kept.push(text);
    }
    kept.reverse();
    kept.join("\n\n")
}

fn message(entry: &Entry) -> String {
    let named = |name: &str| entry.extra.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut head = entry.role.clone();
    if let Some(tool) = named("tool") {
        head.push_str(&format!(" {tool}"));
    }
    if named("error").is_some() {
        head.push_str(", failed");
    }
    if entry.tainted {
        head.push_str(", may hold text from outside");
    }
    let mut text = format!("[{head}; {}]", date(entry.at_ms));
    if !entry.text.is_empty() {
        text.push_str(&format!("\n{}", entry.text));
    }
    for (_, call) in entry.extra.iter().filter(|(name, _)| name == "tool-call") {
        text.push_str(&format!("\n(called {call})"));
    }
    text
}

/// Past the year 9999 the library has no words for it, and would panic.
fn date(ms: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST)))
}
