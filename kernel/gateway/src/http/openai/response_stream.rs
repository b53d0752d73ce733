//! The typed server-sent events of a response, numbered, in OpenAI's order: created, in progress, the item and its part
//! with their text, and how it ended.

use crate::http::openai::response_object::{ResponseObject, status, text_part};
use crate::http::openai::sse::Words;
use crate::state::now_ms;
use carapace_contract::turn::TurnEventKind;
use serde_json::{Value, json};

/// A response that is being told.
pub(crate) struct Telling {
    response: ResponseObject,
    shows_events: bool,
    /// Number of the next event.
    next: u64,
    /// The answer has begun.
    item: bool,
    said: String,
}

impl Telling {
    pub(crate) fn new(response: ResponseObject, shows_events: bool) -> Self {
        Self { response, shows_events, next: 0, item: false, said: String::new() }
    }

    fn tell(&mut self, out: &mut String, kind: &str, fields: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.next});
        self.next += 1;
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        out.push_str("event: ");
        out.push_str(kind);
        out.push_str("\ndata: ");
        out.push_str(&event.to_string());
        out.push_str("\n\n");
    }

    /// Of the answer's only part.
    fn tell_part(&mut self, out: &mut String, kind: &str, field: &str, value: Value) {
        let mut fields = json!({"item_id": self.response.item_id(), "output_index": 0, "content_index": 0});
        if let Some(fields) = fields.as_object_mut() {
            fields.insert(field.to_owned(), value);
            if kind.starts_with("response.output_text.") {
                fields.insert("logprobs".to_owned(), json!([]));
            }
        }
        self.tell(out, kind, fields);
    }

    fn open_item(&mut self, out: &mut String) {
        if self.item {
            return;
        }
        self.item = true;
        let item = self.response.message("", "in_progress");
        self.tell(out, "response.output_item.added", json!({"output_index": 0, "item": item}));
        self.tell_part(out, "response.content_part.added", "part", text_part(""));
    }

    fn say(&mut self, out: &mut String, delta: &str) {
        self.open_item(out);
        self.said.push_str(delta);
        self.tell_part(out, "response.output_text.delta", "delta", delta.into());
    }

    fn close_item(&mut self, out: &mut String, text: &str, status: &str) {
        self.tell_part(out, "response.output_text.done", "text", text.into());
        self.tell_part(out, "response.content_part.done", "part", text_part(text));
        let item = self.response.message(text, status);
        self.tell(out, "response.output_item.done", json!({"output_index": 0, "item": item}));
    }

    fn end(&mut self, out: &mut String, last: &TurnEventKind) {
        let status = status(last);
        if let TurnEventKind::Completed { text, .. } = last {
            // A run of before a restart, or one met again by its key, tells no pieces.
            if let Some(rest) = text.strip_prefix(self.said.as_str()).filter(|rest| !rest.is_empty()) {
                self.say(out, rest);
            }
            self.open_item(out);
            self.close_item(out, text, status);
        } else if self.item {
            let said = self.said.clone();
            self.close_item(out, &said, "incomplete");
        }
        let response = self.response.ended(last, &self.said, now_ms());
        let kind = match status {
            "completed" => "response.completed",
            "incomplete" => "response.incomplete",
            // There is no word of its own for one that was stopped; its status says so.
            _ => "response.failed",
        };
        self.tell(out, kind, json!({"response": response}));
    }
}

impl Words for Telling {
    fn begin(&mut self, out: &mut String) {
        if self.next == 0 {
            let response = self.response.in_progress();
            self.tell(out, "response.created", json!({"response": response}));
            self.tell(out, "response.in_progress", json!({"response": response}));
        }
    }

    fn write(&mut self, kind: TurnEventKind, out: &mut String) {
        if let TurnEventKind::Started { model } = &kind {
            self.response.model.clone_from(model);
        }
        self.begin(out);
        match kind {
            TurnEventKind::Started { .. } | TurnEventKind::Reasoning { .. } => {}
            TurnEventKind::Text { delta } => self.say(out, &delta),
            shown @ (TurnEventKind::ToolCall { .. } | TurnEventKind::ToolResult { .. }) => {
                if self.shows_events {
                    self.tell(out, "x_carapace.event", json!({"event": shown}));
                }
            }
            last => self.end(out, &last),
        }
    }
}
