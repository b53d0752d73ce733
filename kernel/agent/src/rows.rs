//! The rows of a session's log, as a list of exchanges.

use carapace_contract::Ulid;
use carapace_contract::decision::Origin;
pub(crate) use carapace_contract::log::Entry;
use carapace_contract::message::{Message, Part, ToolResult};
use std::collections::HashMap;

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
}
