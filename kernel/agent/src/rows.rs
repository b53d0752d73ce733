//! What stands in a session's log, and the log as a list of exchanges.

use carapace_contract::Ulid;
use carapace_contract::completion::ModelRef;
use carapace_contract::decision::{Origin, PlannedCall};
use carapace_contract::message::{Message, Part, ToolResult};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The content of one row, stored as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// What came in.
    User {
        /// Who is behind it.
        origin: Origin,
        /// What they said.
        parts: Vec<Part>,
        /// The run whose answer it follows; none = everything before it in the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Ulid>,
        /// Earlier messages came with it: they stand in the run's request.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        brought: bool,
    },
    /// What a model said, tool calls and thought included.
    Assistant {
        /// Which model; none if the kernel itself speaks.
        model: Option<ModelRef>,
        /// What.
        parts: Vec<Part>,
        /// It ended before the model was done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// A call with side effects is about to be made.
    ToolCall(PlannedCall),
    /// What it answered, for the model.
    ToolResult {
        /// The result.
        result: ToolResult,
        /// Images and files beside it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<Part>,
    },
    /// Something the model and the owner should know.
    Note {
        /// For the owner.
        text: String,
        /// For the model, where the owner's text would only confuse it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        brief: Option<String>,
    },
}

impl Entry {
    /// The row's kind in the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Assistant { .. } => "assistant",
            Self::ToolCall(_) => "tool-call",
            Self::ToolResult { .. } => "tool-result",
            Self::Note { .. } => "note",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: Ulid,
    pub(crate) at_ms: u64,
    pub(crate) run: Ulid,
    pub(crate) tainted: bool,
    pub(crate) entry: Entry,
}

/// All rows of one run: a user's message and everything up to its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Exchange {
    /// Earlier messages that its client brought, if they are part of what a later turn sees.
    pub(crate) brought: Vec<Message>,
    pub(crate) rows: Vec<Row>,
}

impl Exchange {
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        Self { brought: Vec::new(), rows }
    }

    /// The run whose rows these are.
    pub(crate) fn run(&self) -> Option<Ulid> {
        self.rows.first().map(|r| r.run)
    }

    /// The message it began with; none if that was erased, or is not among what was read.
    pub(crate) fn began(&self) -> Option<Began> {
        self.rows.iter().find_map(|r| match &r.entry {
            Entry::User { origin, after, brought, .. } => {
                Some(Began { origin: *origin, after: *after, brought: *brought })
            }
            _ => None,
        })
    }

    /// The results in it, by call id.
    pub(crate) fn results(&self) -> HashMap<&str, (&ToolResult, &[Part], bool)> {
        let mut out = HashMap::new();
        for row in &self.rows {
            if let Entry::ToolResult { result, beside } = &row.entry {
                out.insert(result.call_id.as_str(), (result, beside.as_slice(), row.tainted));
            }
        }
        out
    }
}

/// How an exchange began; see [`Entry::User`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Began {
    pub(crate) origin: Origin,
    pub(crate) after: Option<Ulid>,
    pub(crate) brought: bool,
}

/// A session's log as a turn sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Transcript {
    /// Finished exchanges, oldest first.
    pub(crate) earlier: Vec<Exchange>,
    /// The one that is being answered.
    pub(crate) current: Exchange,
}

impl Transcript {
    /// Sorts rows (in the order of the log) into exchanges. Messages that wait behind `run` are not part of what it sees.
    pub(crate) fn of(rows: Vec<Row>, run: Ulid) -> Self {
        let mut order: Vec<Ulid> = Vec::new();
        let mut exchanges: HashMap<Ulid, Exchange> = HashMap::new();
        for row in rows {
            let exchange = exchanges.entry(row.run).or_insert_with(|| {
                order.push(row.run);
                Exchange::default()
            });
            exchange.rows.push(row);
        }
        let current = exchanges.remove(&run).unwrap_or_default();
        let earlier = order.iter().take_while(|r| **r != run).filter_map(|r| exchanges.remove(r)).collect();
        Self { earlier, current }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(run: u128, text: &str) -> Row {
        let entry = Entry::User { origin: Origin::Owner, parts: vec![Part::text(text)], after: None, brought: false };
        Row { id: Ulid::generate(), at_ms: 0, run: Ulid::from_parts(0, run), tainted: false, entry }
    }

    #[test]
    fn a_message_that_waits_is_not_seen_by_the_turn_before_it() {
        let rows = vec![user(1, "a"), user(2, "b"), user(3, "c"), user(1, "still a")];
        let t = Transcript::of(rows, Ulid::from_parts(0, 2));
        assert_eq!(t.earlier.len(), 1);
        assert_eq!(t.earlier[0].rows.len(), 2);
        assert_eq!(t.current.rows.len(), 1);
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let entry = Entry::Assistant { model: None, parts: vec![Part::Reasoning { text: "hm".into() }], cut: true };
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }
}
