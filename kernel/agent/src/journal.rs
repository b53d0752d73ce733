//! What a turn writes to the store, and how it reads it back. No other file here knows the store's rows.

use crate::rows::{Entry, Row};
use carapace_contract::Digest;
use carapace_contract::Ulid;
use carapace_contract::channel::Place;
use carapace_contract::decision::{Origin, PlannedCall};
use carapace_contract::denial::Denial;
use carapace_contract::message::{Message, Part};
use carapace_contract::turn::{TurnError, TurnEventKind, TurnOptions};
use carapace_store::{AuditRow, Batch, CallRow, InboxRow, InboxState, LogRow, RunPhase, RunRow, SessionRow, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// What was asked, beside the message itself (which is a row of the log): enough to run it again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) origin: Origin,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) options: TurnOptions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
}

/// An accepted turn.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) run: Ulid,
    pub(crate) session: Arc<str>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) request: Request,
    pub(crate) accepted_ms: u64,
}

/// Rows of a session's log that a turn looks at: more than fit into its context.
pub(crate) fn rows_to_read(context_tokens: u32) -> usize {
    usize::try_from(context_tokens / 64).unwrap_or(usize::MAX).clamp(256, 4_096)
}

impl Job {
    fn run_row(&self, state: RunPhase) -> RunRow {
        RunRow {
            run: self.run,
            session: self.session.to_string(),
            idempotency_key: self.idempotency_key.clone(),
            state,
            last: None,
            started_ms: self.accepted_ms,
            ended_ms: None,
            request: Value::Null,
        }
    }

    /// From its stored row.
    pub(crate) fn read(row: &RunRow) -> Result<Self, TurnError> {
        let request = serde_json::from_value(row.request.clone()).map_err(|e| {
            crate::problem::turn("E-TURN-012", format!("run {} cannot be read back: {e}", row.run), false)
        })?;
        Ok(Self {
            run: row.run,
            session: row.session.as_str().into(),
            idempotency_key: row.idempotency_key.clone(),
            request,
            accepted_ms: row.started_ms,
        })
    }

    /// Stands for a run whose request is damaged, so that it can be ended.
    pub(crate) fn unreadable(row: &RunRow) -> Self {
        let request = Request {
            origin: Origin::UnknownSender,
            history: Vec::new(),
            system: None,
            model: None,
            options: TurnOptions::default(),
            place: None,
        };
        Self {
            run: row.run,
            session: row.session.as_str().into(),
            idempotency_key: row.idempotency_key.clone(),
            request,
            accepted_ms: row.started_ms,
        }
    }

    /// A row of this run.
    pub(crate) fn row(&self, at_ms: u64, tainted: bool, entry: Entry) -> Row {
        Row { id: Ulid::generate(), at_ms, run: self.run, tainted, entry }
    }

    /// Everything that makes an accepted message durable.
    pub(crate) fn accept(&self, user: &Row) -> Batch {
        let request = serde_json::to_value(&self.request).unwrap_or_default();
        let batch = Batch::new()
            // First, so that a known key is seen before anything else.
            .run_upsert(RunRow { request, ..self.run_row(RunPhase::Accepted) })
            .inbox_put(InboxRow {
                id: self.run,
                source: "turn".to_owned(),
                dedupe_key: None,
                session: self.session.to_string(),
                payload: Value::Null,
                at_ms: self.accepted_ms,
            })
            // A conversation that has a title keeps it.
            .session_upsert(self.session_row(self.accepted_ms, title(user)));
        self.append(batch, user)
    }

    fn session_row(&self, at_ms: u64, title: String) -> SessionRow {
        SessionRow {
            key: self.session.to_string(),
            title,
            created_ms: self.accepted_ms,
            updated_ms: at_ms,
            meta: Value::Null,
        }
    }

    /// The run has begun; how often it did is counted by the inbox.
    pub(crate) fn begin(&self) -> Batch {
        Batch::relaxed().run_upsert(self.run_row(RunPhase::Running)).inbox_state(self.run, InboxState::Processing)
    }

    /// Adds a row to the log.
    pub(crate) fn append(&self, batch: Batch, row: &Row) -> Batch {
        batch.append(LogRow {
            id: row.id,
            session: self.session.to_string(),
            run: Some(row.run),
            kind: row.entry.kind().to_owned(),
            content: serde_json::to_value(&row.entry).unwrap_or_default(),
            tainted: row.tainted,
            at_ms: row.at_ms,
        })
    }

    /// The run is over.
    pub(crate) fn end(&self, batch: Batch, last: &TurnEventKind, at_ms: u64) -> Batch {
        let last = serde_json::to_value(last).ok();
        batch
            .session_upsert(self.session_row(at_ms, String::new()))
            .run_upsert(RunRow { last, ended_ms: Some(at_ms), ..self.run_row(RunPhase::Ended) })
            .inbox_state(self.run, InboxState::Done)
    }

    /// A refusal, for the owner. The arguments themselves stand in the log, where they can be erased.
    pub(crate) fn audit_denial(&self, batch: Batch, call: &PlannedCall, denial: &Denial, at_ms: u64) -> Batch {
        let mut detail = self.detail(call);
        if let Value::Object(fields) = &mut detail {
            fields.insert("code".to_owned(), json!(denial.code));
            fields.insert("origin".to_owned(), json!(self.request.origin));
        }
        batch.audit(AuditRow { kind: "call-denied".to_owned(), subject: call.tool.clone(), detail, at_ms })
    }

    /// A call whose outcome nobody knows, for the owner.
    pub(crate) fn audit_interrupted(&self, batch: Batch, call: &PlannedCall, at_ms: u64) -> Batch {
        let detail = self.detail(call);
        batch.audit(AuditRow { kind: "call-interrupted".to_owned(), subject: call.tool.clone(), detail, at_ms })
    }

    fn detail(&self, call: &PlannedCall) -> Value {
        json!({
            "run": self.run,
            "session": &*self.session,
            "call": call.call_id,
            "instance": call.instance,
            "package": call.digest,
            "effects": call.effects,
            "arguments": Digest::of(call.arguments.to_string().as_bytes()),
        })
    }
}

/// A call with side effects is about to be made.
pub(crate) fn call_begin(batch: Batch, call: &PlannedCall, at_ms: u64) -> Batch {
    batch.call_begin(CallRow {
        call_id: call.call_id.clone(),
        run: call.run,
        tool: call.tool.clone(),
        instance: call.instance.clone(),
        digest: call.digest,
        arguments: call.arguments.clone(),
        at_ms,
    })
}

/// The first words of a message.
fn title(row: &Row) -> String {
    let Entry::User { parts, .. } = &row.entry else { return String::new() };
    let text = parts.iter().find_map(|p| match p {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let words = text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut title: String = words.chars().take(60).collect();
    if title.len() < words.len() {
        title.push('…');
    }
    title
}

/// The last rows of a session, oldest first. Erased rows and rows of later versions are passed over.
pub(crate) async fn read_rows(store: &Store, session: &str, limit: usize) -> Result<Vec<Row>, TurnError> {
    let rows = store.session_rows(session, limit).await.map_err(crate::problem::store)?;
    Ok(rows.into_iter().filter_map(read_row).collect())
}

/// All rows of a run, oldest first.
pub(crate) async fn read_run(store: &Store, run: Ulid) -> Result<Vec<Row>, TurnError> {
    let rows = store.run_rows(run).await.map_err(crate::problem::store)?;
    Ok(rows.into_iter().filter_map(read_row).collect())
}

/// The earlier messages that a run's client brought; none if they were erased.
pub(crate) async fn read_history(store: &Store, run: Ulid) -> Result<Vec<Message>, TurnError> {
    let row = store.run(run).await.map_err(crate::problem::store)?;
    let request = row.and_then(|row| serde_json::from_value::<Request>(row.request).ok());
    Ok(request.map(|request| request.history).unwrap_or_default())
}

fn read_row(row: LogRow) -> Option<Row> {
    let run = row.run?;
    if row.content.is_null() {
        return None;
    }
    match serde_json::from_value(row.content) {
        Ok(entry) => Some(Row { id: row.id, at_ms: row.at_ms, run, tainted: row.tainted, entry }),
        Err(error) => {
            tracing::warn!(row = %row.id, kind = row.kind, %error, "a row of the log cannot be read and is passed over");
            None
        }
    }
}
