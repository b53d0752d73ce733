//! A session's log as people read it.

use crate::journal;
use crate::rows::{Entry, Row};
use carapace_contract::message::{Part, Role};
use carapace_contract::turn::{HistoryItem, TurnError};
use carapace_store::Store;
use std::collections::HashMap;
use ulid::Ulid;

/// The last `limit` messages, answers after what they answer. Thought and provider state are not part of it.
pub(crate) async fn history(store: &Store, session: &str, limit: usize) -> Result<Vec<HistoryItem>, TurnError> {
    // Intents are rows and no messages; a little more is read so that enough remains.
    let rows = journal::read_rows(store, session, limit.saturating_mul(2).saturating_add(16)).await?;
    let mut items: Vec<HistoryItem> = in_order(rows).into_iter().filter_map(item).collect();
    let surplus = items.len().saturating_sub(limit);
    items.drain(..surplus);
    Ok(items)
}

/// A message that waited while another was answered stands after that answer.
fn in_order(rows: Vec<Row>) -> Vec<Row> {
    let mut first: HashMap<Ulid, usize> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        first.entry(row.run).or_insert(place);
    }
    let mut rows = rows;
    rows.sort_by_key(|r| first.get(&r.run).copied());
    rows
}

fn item(row: Row) -> Option<HistoryItem> {
    let (role, parts) = match row.entry {
        Entry::User { parts, .. } => (Role::User, parts),
        Entry::Assistant { parts, .. } => {
            let shown = parts.into_iter().filter(|p| !matches!(p, Part::Reasoning { .. } | Part::Other { .. }));
            (Role::Assistant, shown.collect())
        }
        Entry::ToolResult { result, beside } => {
            let mut parts = vec![Part::ToolResult(result)];
            parts.extend(beside);
            (Role::Tool, parts)
        }
        Entry::Note { text, .. } => (Role::System, vec![Part::text(text)]),
        Entry::ToolCall(_) => return None,
    };
    if parts.is_empty() {
        return None;
    }
    Some(HistoryItem { id: row.id, at_ms: row.at_ms, role, parts, tainted: row.tainted })
}
