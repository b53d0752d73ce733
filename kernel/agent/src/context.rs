//! Composes what a model is shown: instructions, as much of the conversation as fits, and the turn so far.
//!
//! Whole exchanges are left out, oldest first, and the model is told so; a tool call is never parted from its result.
//! What was composed decides the turn's taint.

use crate::rows::{Entry, Exchange, Row, Transcript};
use crate::tokens;
use carapace_contract::completion::ModelRef;
use carapace_contract::decision::{Effect, Origin};
use carapace_contract::message::{Message, Part, Role, ToolCall, ToolResult};
use carapace_contract::turn::ToolInfo;

/// What goes into a context besides the session's log.
pub(crate) struct Frame<'a> {
    /// The assistant's instructions.
    pub(crate) system: &'a str,
    /// Earlier messages that the client brought.
    pub(crate) history: &'a [Message],
    /// Who is behind the turn.
    pub(crate) origin: Origin,
    /// Who will read it; its own opaque state is handed back to nobody else.
    pub(crate) model: &'a ModelRef,
    /// Tokens there are for messages.
    pub(crate) budget: usize,
}

/// A context, ready to be sent.
#[derive(Debug)]
pub(crate) struct Composed {
    /// The messages, instructions first.
    pub(crate) messages: Vec<Message>,
    /// It holds text from outside.
    pub(crate) tainted: bool,
    /// An estimate.
    pub(crate) tokens: usize,
}

/// Composes.
pub(crate) fn compose(transcript: &Transcript, frame: &Frame<'_>) -> Composed {
    let mut system = vec![Message::text(Role::System, frame.system)];
    // Instructions in a client's history are instructions, wherever it put them; they are not dropped with old exchanges.
    let histories = transcript.earlier.iter().map(|e| e.brought.as_slice()).chain(std::iter::once(frame.history));
    system.extend(histories.flatten().filter(|m| m.role == Role::System).cloned());
    let fixed: usize = system.iter().map(tokens::of_message).sum();

    let mut current = Rendered::of(&transcript.current, frame, true);
    let room = frame.budget.saturating_sub(fixed);
    if current.tokens > room {
        current.shorten_results(room);
    }

    let mut older: Vec<Rendered> = Vec::new();
    for exchange in &transcript.earlier {
        older.extend(brought(&exchange.brought));
        older.push(Rendered::of(exchange, frame, false));
    }
    older.extend(brought(frame.history));
    older.retain(|r| !r.messages.is_empty());

    let mut left = room.saturating_sub(current.tokens);
    let mut kept = 0;
    for exchange in older.iter().rev() {
        // The note about what is missing needs room, too.
        if exchange.tokens + tokens::NOTE > left {
            break;
        }
        left -= exchange.tokens;
        kept += 1;
    }
    let dropped = older.len() - kept;
    let mut tainted = current.tainted;
    let mut shown: Vec<Message> = Vec::new();
    for exchange in older.into_iter().skip(dropped) {
        tainted |= exchange.tainted;
        shown.extend(exchange.messages);
    }
    shown.extend(current.messages);
    if dropped > 0 {
        let exchanges = if dropped == 1 { "exchange".to_owned() } else { format!("{dropped} exchanges") };
        prepend(
            &mut shown,
            &note(&format!("the oldest {exchanges} of this conversation did not fit and cannot be seen here")),
        );
    }
    let mut messages = system;
    messages.extend(shown);
    let tokens = messages.iter().map(tokens::of_message).sum();
    Composed { messages, tainted, tokens }
}

/// How the kernel speaks inside a conversation.
pub(crate) fn note(text: &str) -> String {
    format!("[note: {text}]")
}

/// Puts a text before the first user message, or makes one.
fn prepend(messages: &mut Vec<Message>, text: &str) {
    match messages.first_mut() {
        Some(first) if first.role == Role::User => first.parts.insert(0, Part::text(format!("{text}\n\n"))),
        _ => messages.insert(0, Message::text(Role::User, text)),
    }
}

/// An exchange as messages.
struct Rendered {
    messages: Vec<Message>,
    tokens: usize,
    tainted: bool,
}

impl Rendered {
    fn of(exchange: &Exchange, frame: &Frame<'_>, current: bool) -> Self {
        let results = exchange.results();
        let mut messages: Vec<Message> = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        let mut tainted = false;
        for row in &exchange.rows {
            match &row.entry {
                Entry::User { origin, parts, .. } => {
                    // What a group member wrote is their own in their turn, and someone else's in any other.
                    tainted |= row.tainted || (*origin == Origin::GroupMember && frame.origin != Origin::GroupMember);
                    messages.push(Message { role: Role::User, parts: parts.clone() });
                }
                Entry::Assistant { model, parts, .. } => {
                    tainted |= row.tainted;
                    let own = current && model.as_ref().is_some_and(|m| m.instance == frame.model.instance);
                    let said: Vec<Part> = parts
                        .iter()
                        .filter(|p| own || !matches!(p, Part::Reasoning { .. } | Part::Other { .. }))
                        .cloned()
                        .collect();
                    if said.is_empty() {
                        continue;
                    }
                    let calls: Vec<ToolCall> = calls_of(&said);
                    messages.push(Message { role: Role::Assistant, parts: said });
                    if calls.is_empty() {
                        continue;
                    }
                    let mut answers = Vec::new();
                    for call in calls {
                        match results.get(call.id.as_str()) {
                            Some((result, beside, taint)) => {
                                tainted |= taint;
                                answers.push(Part::ToolResult((*result).clone()));
                                answers.extend(beside.iter().cloned());
                            }
                            None => answers.push(Part::ToolResult(unanswered(&call))),
                        }
                    }
                    messages.push(Message { role: Role::Tool, parts: answers });
                }
                // Results stand with their calls; the intent is for the owner and for recovery.
                Entry::ToolResult { .. } | Entry::ToolCall(_) => {}
                Entry::Note { text, brief } => notes.push(note(brief.as_ref().unwrap_or(text))),
            }
        }
        if !notes.is_empty() {
            // At the end: a note says how the exchange ended.
            messages.push(Message::text(Role::User, notes.join("\n")));
        }
        let tokens = messages.iter().map(tokens::of_message).sum();
        Self { messages, tokens, tainted }
    }

    /// Halves the longest allowed result until the exchange fits, or until there is nothing left worth cutting.
    fn shorten_results(&mut self, room: usize) {
        let mut longest = 1 << 16;
        while self.tokens > room && longest >= 512 {
            for part in self.messages.iter_mut().flat_map(|m| m.parts.iter_mut()) {
                if let Part::ToolResult(result) = part {
                    cut(&mut result.content, longest);
                }
            }
            self.tokens = self.messages.iter().map(tokens::of_message).sum();
            longest /= 2;
        }
    }
}

/// Cuts to `longest` characters and says how many are missing.
pub(crate) fn cut(text: &mut String, longest: usize) {
    if text.len() <= longest {
        return;
    }
    let count = text.chars().count();
    if count <= longest {
        return;
    }
    let kept: String = text.chars().take(longest.saturating_sub(60)).collect();
    let missing = count - kept.chars().count();
    *text = format!("{kept}\n[{missing} more characters are left out here]");
}

/// The calls in an assistant's message.
pub(crate) fn calls_of(parts: &[Part]) -> Vec<ToolCall> {
    parts
        .iter()
        .filter_map(|p| match p {
            Part::ToolCall(call) => Some(call.clone()),
            _ => None,
        })
        .collect()
}

/// Providers refuse a call without a result, so every one gets one.
fn unanswered(call: &ToolCall) -> ToolResult {
    ToolResult {
        call_id: call.id.clone(),
        name: call.name.clone(),
        content: "no result: the turn was stopped before this call ended".to_owned(),
        is_error: true,
    }
}

/// A client's own history, split where a user speaks.
fn brought(history: &[Message]) -> Vec<Rendered> {
    let mut out: Vec<Rendered> = Vec::new();
    for message in history.iter().filter(|m| m.role != Role::System) {
        let starts = message.role == Role::User
            && out.last().is_none_or(|r| r.messages.last().is_some_and(|m| m.role != Role::User));
        if starts || out.is_empty() {
            out.push(Rendered { messages: Vec::new(), tokens: 0, tainted: false });
        }
        if let Some(exchange) = out.last_mut() {
            // What a client's own tools returned came from somewhere this kernel cannot know.
            exchange.tainted |=
                message.role == Role::Tool || message.parts.iter().any(|p| matches!(p, Part::ToolResult(_)));
            exchange.tokens += tokens::of_message(message);
            exchange.messages.push(message.clone());
        }
    }
    out
}

/// Texts whose addresses a tainted turn may fetch: what the owner wrote, and what search tools found.
pub(crate) fn trusted_text(
    transcript: &Transcript,
    frame_history: &[Message],
    origin: Origin,
    catalog: &[ToolInfo],
) -> Vec<String> {
    let mut out = Vec::new();
    let exchanges = transcript.earlier.iter().chain(std::iter::once(&transcript.current));
    for exchange in exchanges {
        if exchange.began().is_some_and(|began| began.origin.acts_for_owner()) {
            let users = exchange.brought.iter().filter(|m| m.role == Role::User);
            out.extend(users.flat_map(|m| m.parts.iter().filter_map(text_of)));
        }
        for row in &exchange.rows {
            if let Entry::User { origin, parts, .. } = &row.entry
                && origin.acts_for_owner()
            {
                out.extend(parts.iter().filter_map(text_of));
            }
        }
        out.extend(found_by_search(&exchange.rows, catalog));
    }
    if origin.acts_for_owner() {
        let users = frame_history.iter().filter(|m| m.role == Role::User);
        out.extend(users.flat_map(|m| m.parts.iter().filter_map(text_of)));
    }
    out
}

fn text_of(part: &Part) -> Option<String> {
    match part {
        Part::Text { text } => Some(text.clone()),
        _ => None,
    }
}

/// Results of tools whose (signed) name says `search` and which reach the network themselves: one that does not could hand an
/// address of its own making to a tool that does. A query that itself holds something like an address is not
/// trusted: a search page that repeats its query would otherwise vouch for any address an injected text asks for.
fn found_by_search(rows: &[Row], catalog: &[ToolInfo]) -> Vec<String> {
    let mut queries = std::collections::HashMap::new();
    for row in rows {
        if let Entry::Assistant { parts, .. } = &row.entry {
            queries.extend(calls_of(parts).into_iter().map(|c| (c.id, c.arguments)));
        }
    }
    let mut out = Vec::new();
    for row in rows {
        let Entry::ToolResult { result, .. } = &row.entry else { continue };
        let named = result.name.split(['_', '-', '.']).any(|word| word.eq_ignore_ascii_case("search"));
        let is_search = named && catalog.iter().any(|t| t.name == result.name && t.effects.has(Effect::Fetch));
        let query = queries.get(&result.call_id).map_or("", String::as_str);
        if is_search && !result.is_error && !like_an_address(query) {
            out.push(result.content.clone());
        }
    }
    out
}

fn like_an_address(query: &str) -> bool {
    let chars: Vec<char> = query.chars().collect();
    query.contains("//")
        || query.contains('\\')
        || chars.windows(3).any(|w| matches!(w, [a, '.', b] if a.is_alphanumeric() && b.is_alphanumeric()))
}

#[cfg(test)]
mod tests;
