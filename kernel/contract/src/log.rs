//! What stands in a conversation's log.

use crate::completion::ModelRef;
use crate::decision::{Origin, PlannedCall};
use crate::message::{Part, ToolResult};
use serde::{Deserialize, Serialize};

/// The content of one row, stored as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "rows are read and written one by one")]
pub enum Entry {
    /// What came in.
    User {
        /// Who is behind it.
        origin: Origin,
        /// What they said.
        parts: Vec<Part>,
        /// The run whose answer it follows; none = everything before it in the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<ulid::Ulid>,
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
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Assistant { .. } => "assistant",
            Self::ToolCall(_) => "tool-call",
            Self::ToolResult { .. } => "tool-result",
            Self::Note { .. } => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Effect, Effects};

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let entry = Entry::Assistant { model: None, parts: vec![Part::Reasoning { text: "hm".into() }], cut: true };
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }

    #[test]
    fn a_call_written_before_calls_knew_who_was_behind_them_reads_as_a_strangers() {
        let call = PlannedCall {
            run: ulid::Ulid::nil(),
            session: "s".into(),
            call_id: "c".into(),
            instance: "local/t/main".parse().unwrap(),
            digest: crate::Digest::of(b"t"),
            tool: "t".into(),
            arguments: serde_json::json!({}),
            effects: Effects::NONE.with(Effect::Write),
            origin: Origin::Owner,
            tainted: false,
            place: None,
            elsewhere: false,
        };
        let mut json = serde_json::to_value(Entry::ToolCall(call)).unwrap();
        let fields = json["tool-call"].as_object_mut().unwrap();
        assert!(fields.remove("origin").is_some() && fields.remove("tainted").is_some());
        let Entry::ToolCall(read) = serde_json::from_value(json).unwrap() else { panic!("another entry") };
        assert_eq!((read.origin, read.tainted), (Origin::UnknownSender, true));
    }
}
