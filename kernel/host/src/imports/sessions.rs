//! `sessions`: conversations, as far as whoever is behind the call may read them.

use super::{failed, ok};
use crate::behind::owners_only;
use crate::convert;
use crate::state::HostState;
use carapace_contract::log::Entry;
use carapace_contract::message::Part;
use carapace_runtime::bindings::{sessions, types};
use carapace_runtime::engine_types::Result;
use carapace_store::{LogRow, SessionSummary};

const MAX_LIST: u32 = 100;
const MAX_READ: u32 = 200;
/// Characters of one entry that are handed out.
const LONGEST_TEXT: usize = 32 << 10;
/// Conversations an id is looked for in, newest first.
const MAX_SEARCHED: usize = 10_000;

impl HostState {
    /// The caller's own conversation, and whether it may see others.
    fn reach(&mut self) -> Result<std::result::Result<(String, bool), types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        let reach = grant.sessions(&id, self.uses.as_ref()).and_then(|()| {
            let behind = self.behind("read conversations")?;
            Ok((behind.session.clone(), behind.origin.is_owner()))
        });
        Ok(reach.map_err(|denial| self.core.deny(&denial)))
    }

    /// The conversation a guest calls `name`.
    async fn named(&mut self, name: &str, own: String, all: bool) -> std::result::Result<String, types::Error> {
        let id = self.instance.id.clone();
        if convert::session(&id, &own) == name {
            return Ok(own);
        }
        if !all {
            return Err(self.core.deny(&owners_only(&id, "read another conversation")));
        }
        let keys = self.services.store.session_keys(MAX_SEARCHED).await.map_err(|e| failed("sessions", &e))?;
        keys.into_iter()
            .find(|key| convert::session(&id, key) == name)
            .ok_or_else(|| types::Error::NotFound("there is no such conversation; list them for their ids".to_owned()))
    }

    /// A conversation in a list. Its title is made of the words of its first message, whoever wrote that.
    async fn summary(&mut self, session: SessionSummary) -> std::result::Result<sessions::Session, types::Error> {
        if !session.title.is_empty() {
            let store = self.services.store.clone();
            let first = store.session_rows_after(&session.key, None, 1).await;
            let first = first.map_err(|e| failed("sessions", &e))?;
            self.hand(first.first().is_none_or(|row| is_others(row, session.tainted)));
        }
        Ok(sessions::Session {
            id: convert::session(&self.instance.id, &session.key),
            title: session.title,
            messages: session.messages,
            updated_ms: session.updated_ms,
            extra: Vec::new(),
        })
    }
}

/// What a row says to whoever reads it later; none for what is no message.
fn entry(row: LogRow, in_tainted: bool) -> Option<sessions::Entry> {
    let tainted = is_others(&row, in_tainted);
    let at_ms = row.at_ms;
    let (role, text, extra) = match serde_json::from_value(row.content).ok()? {
        Entry::User { parts, .. } => ("user", said(&parts), Vec::new()),
        Entry::Assistant { parts, .. } => ("assistant", said(&parts), called(&parts)),
        Entry::ToolResult { result, beside } => {
            let mut text = result.content;
            for part in &beside {
                text.push_str(&format!("\n{}", shown(part)));
            }
            let mut extra = vec![("tool".to_owned(), result.name)];
            if result.is_error {
                extra.push(("error".to_owned(), "true".to_owned()));
            }
            ("tool", text, extra)
        }
        Entry::Note { text, .. } => ("system", text, Vec::new()),
        // The model's own message before it has the call, and the row after it what came of it.
        Entry::ToolCall(_) => return None,
    };
    if text.is_empty() && extra.is_empty() {
        return None;
    }
    Some(sessions::Entry { role: role.to_owned(), text: cut(text), at_ms, tainted, extra })
}

/// Whether a row's text counts as from outside for a later reader. In a conversation that holds such text anywhere, everything may
/// repeat it but what the owner wrote.
fn is_others(row: &LogRow, in_tainted: bool) -> bool {
    let owners = || match serde_json::from_value(row.content.clone()) {
        Ok(Entry::User { origin, .. }) => origin.acts_for_owner(),
        Ok(_) => !in_tainted,
        Err(_) => false,
    };
    row.tainted || !owners()
}

fn said(parts: &[Part]) -> String {
    let shown =
        parts.iter().filter(|p| matches!(p, Part::Text { .. } | Part::Image { .. } | Part::Media(_))).map(shown);
    shown.collect::<Vec<_>>().join("\n")
}

fn shown(part: &Part) -> String {
    match part {
        Part::Text { text } => text.clone(),
        Part::Image { mime, .. } => format!("[an image of type {mime}]"),
        Part::Media(media) => format!("[{}]", media.in_words()),
        Part::Other { name, .. } => format!("[{name}]"),
        Part::Reasoning { .. } | Part::ToolCall(_) | Part::ToolResult(_) => String::new(),
    }
}

/// What else a model's message holds: its calls and its thought, apart from what it said.
fn called(parts: &[Part]) -> Vec<(String, String)> {
    let named = |part: &Part| match part {
        Part::ToolCall(call) => Some(("tool-call".to_owned(), cut(format!("{} {}", call.name, call.arguments)))),
        Part::Reasoning { text } => Some(("reasoning".to_owned(), cut(text.clone()))),
        _ => None,
    };
    parts.iter().filter_map(named).collect()
}

fn cut(text: String) -> String {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default();
    format!("{kept}\n[{} more bytes are left out here]", text.len() - kept.len())
}

impl sessions::Host for HostState {
    async fn list(&mut self, limit: u32) -> Result<std::result::Result<Vec<sessions::Session>, types::Error>> {
        let (own, all) = ok!(self.reach()?);
        let store = self.services.store.clone();
        let found = if all {
            store.sessions(usize::try_from(limit.min(MAX_LIST))?).await
        } else {
            store.session(&own).await.map(|s| s.into_iter().take(usize::from(limit > 0)).collect())
        };
        let mut listed = Vec::new();
        for session in ok!(found.map_err(|e| failed("sessions", &e))) {
            listed.push(ok!(self.summary(session).await));
        }
        Ok(Ok(listed))
    }

    async fn read(
        &mut self,
        session: String,
        limit: u32,
    ) -> Result<std::result::Result<Vec<sessions::Entry>, types::Error>> {
        let (own, all) = ok!(self.reach()?);
        let key = ok!(self.named(&session, own, all).await);
        let limit = usize::try_from(limit.min(MAX_READ))?;
        let store = &self.services.store;
        let summary = ok!(store.session(&key).await.map_err(|e| failed("sessions", &e)));
        let in_tainted = summary.is_none_or(|s| s.tainted);
        // Some rows are no messages; a few more are read, so that enough remain.
        let rows = store.session_rows(&key, limit.saturating_mul(2)).await;
        let rows = ok!(rows.map_err(|e| failed("sessions", &e)));
        let mut entries: Vec<sessions::Entry> = rows.into_iter().filter_map(|row| entry(row, in_tainted)).collect();
        entries.drain(..entries.len().saturating_sub(limit));
        self.hand(entries.iter().any(|e| e.tainted));
        Ok(Ok(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::Ulid;
    use carapace_contract::decision::Origin;
    use carapace_contract::message::{ToolCall, ToolResult};

    fn row(entry: &Entry, tainted: bool) -> LogRow {
        LogRow {
            id: Ulid::nil(),
            session: "s".into(),
            run: None,
            kind: entry.kind().into(),
            content: serde_json::to_value(entry).unwrap(),
            tainted,
            at_ms: 7,
        }
    }

    fn user(origin: Origin, text: &str) -> Entry {
        Entry::User { origin, parts: vec![Part::text(text)], after: None, brought: false }
    }

    #[test]
    fn a_message_is_what_was_said_and_its_calls_and_thought_stand_beside_it() {
        let call = ToolCall { id: "1".into(), name: "add".into(), arguments: "{\"a\":1}".into() };
        let parts = vec![
            Part::Reasoning { text: "hm".into() },
            Part::text("one moment"),
            Part::ToolCall(call),
            Part::Other { name: "signature".into(), value: "opaque".into() },
        ];
        let e = entry(row(&Entry::Assistant { model: None, parts, cut: false }, false), false).unwrap();
        assert_eq!((e.role.as_str(), e.text.as_str(), e.at_ms, e.tainted), ("assistant", "one moment", 7, false));
        let beside: Vec<_> = e.extra.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(beside, ["reasoning=hm", "tool-call=add {\"a\":1}"]);
        let result = ToolResult { call_id: "1".into(), name: "add".into(), content: "2".into(), is_error: true };
        let beside = vec![Part::Image { mime: "image/png".into(), data: "AAAA".into() }];
        let e = entry(row(&Entry::ToolResult { result, beside }, false), false).unwrap();
        assert_eq!((e.role.as_str(), e.text.as_str()), ("tool", "2\n[an image of type image/png]"));
        assert_eq!(e.extra, [("tool".into(), "add".into()), ("error".into(), "true".into())]);
    }

    #[test]
    fn in_a_conversation_with_text_from_outside_only_the_owners_own_words_are_clean() {
        let answer = Entry::Assistant { model: None, parts: vec![Part::text("the page says …")], cut: false };
        let tainted = |entry_: &Entry, own, session| entry(row(entry_, own), session).unwrap().tainted;
        assert!(!tainted(&user(Origin::Owner, "hello"), false, true));
        assert!(tainted(&answer, false, true) && !tainted(&answer, false, false));
        assert!(tainted(&user(Origin::Owner, "forwarded"), true, true));
        for other in [Origin::PairedUser, Origin::GroupMember, Origin::UnknownSender, Origin::Webhook] {
            assert!(tainted(&user(other, "hello"), false, false), "{other:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_how_much_is_missing() {
        let e = entry(row(&user(Origin::Owner, &"ä".repeat(LONGEST_TEXT)), false), false).unwrap();
        assert!(e.text.len() < LONGEST_TEXT + 64 && e.text.ends_with("[32768 more bytes are left out here]"));
    }

    #[test]
    fn an_erased_row_is_no_message() {
        let mut erased = row(&user(Origin::Owner, "secret"), false);
        erased.content = serde_json::Value::Null;
        assert!(entry(erased, false).is_none());
    }
}
