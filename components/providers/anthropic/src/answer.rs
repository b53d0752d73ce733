//! An answer, event by event. <https://platform.claude.com/docs/en/build-with-claude/streaming>

use crate::request::ANSWER;
use crate::thoughts;
use carapace_provider_wire::calls::unique;
use carapace_provider_wire::failure::{malformed, of_stream};
use carapace_sdk::log;
use carapace_sdk::provider::{Completion, Event, Failure, FailureKind, StopReason, ToolCall, Usage};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// More blocks than any answer has: a broken server must not fill the memory.
const MAX_BLOCKS: usize = 512;

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    model: String,
    /// The answer comes as the arguments of the tool [`ANSWER`].
    by_tool: bool,
    open: BTreeMap<u64, Block>,
    blocks: usize,
    /// A call whose arguments make no sense: cut off by the length limit, or the model's own mistake.
    garbled: Option<ToolCall>,
    called: bool,
    counts: Map<String, Value>,
    stop: Option<String>,
    done: bool,
}

/// A block that is being written. Text goes out as it comes.
#[derive(Debug)]
enum Block {
    Thought { signature: String },
    Redacted { data: String },
    Call { id: String, name: String, input: Value, json: String },
    Passing,
}

impl Answer {
    /// Of this model; `by_tool` if it was made to answer by a tool.
    pub(crate) fn of(model: &str, by_tool: bool) -> Self {
        Self { model: model.to_owned(), by_tool, ..Self::default() }
    }

    /// Nothing more will come.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// One event's data.
    pub(crate) fn data(&mut self, data: &str, out: &mut Completion) -> Result<(), Failure> {
        let value: Value = serde_json::from_str(data).map_err(|e| malformed(&e.to_string(), data))?;
        if let Some(f) = of_stream(&value) {
            return Err(f);
        }
        let Some(kind) = value.get("type").and_then(Value::as_str) else {
            return Err(malformed("it has no type", data));
        };
        let index = value.get("index").and_then(Value::as_u64).unwrap_or(0);
        match kind {
            "message_start" => {
                self.count(value.pointer("/message/usage"));
                // What was read is paid for, even if the answer breaks off.
                self.tell_usage(out)?;
            }
            "content_block_start" => {
                if let Some(block) = value.get("content_block") {
                    self.start(index, block, out)?;
                }
            }
            "content_block_delta" => {
                if let Some(delta) = value.get("delta") {
                    self.delta(index, delta, out)?;
                }
            }
            "content_block_stop" => self.end(index, out)?,
            "message_delta" => {
                if let Some(reason) = value.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    self.stop = Some(reason.to_owned());
                }
                if let Some(why) = value.pointer("/delta/stop_details/explanation").and_then(Value::as_str) {
                    log::info(format!("the model refused: {}", why.chars().take(300).collect::<String>()));
                }
                self.count(value.get("usage"));
            }
            "message_stop" => self.done = true,
            // `ping`, and whatever is added to the protocol.
            _ => {}
        }
        Ok(())
    }

    /// A whole answer that is no stream.
    pub(crate) fn whole(&mut self, body: &[u8], out: &mut Completion) -> Result<(), Failure> {
        let text = || String::from_utf8_lossy(body);
        let value: Value = serde_json::from_slice(body).map_err(|e| malformed(&e.to_string(), &text()))?;
        if let Some(f) = of_stream(&value) {
            return Err(f);
        }
        let Some(blocks) = value.get("content").and_then(Value::as_array) else {
            return Err(malformed("there is no `content`", &text()));
        };
        for (index, block) in (0..).zip(blocks) {
            self.start(index, block, out)?;
            self.end(index, out)?;
        }
        self.count(value.get("usage"));
        self.stop = value.get("stop_reason").and_then(Value::as_str).map(str::to_owned);
        self.done = true;
        Ok(())
    }

    fn start(&mut self, index: u64, block: &Value, out: &mut Completion) -> Result<(), Failure> {
        let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let opened = match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" => {
                say(out, Event::Text(text("text")))?;
                Block::Passing
            }
            "thinking" => {
                say(out, Event::Reasoning(text("thinking")))?;
                Block::Thought { signature: text("signature") }
            }
            "redacted_thinking" => Block::Redacted { data: text("data") },
            "tool_use" => Block::Call {
                id: text("id"),
                name: text("name"),
                input: block.get("input").cloned().unwrap_or_default(),
                json: String::new(),
            },
            // Tools that the server runs itself are not asked for.
            _ => Block::Passing,
        };
        self.blocks += 1;
        if self.blocks > MAX_BLOCKS {
            return Err(Failure::invalid_request("the model's answer has more than 512 blocks"));
        }
        self.open.insert(index, opened);
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: &Value, out: &mut Completion) -> Result<(), Failure> {
        let text = |key: &str| delta.get(key).and_then(Value::as_str).unwrap_or_default();
        match (delta.get("type").and_then(Value::as_str).unwrap_or_default(), self.open.get_mut(&index)) {
            ("text_delta", _) => say(out, Event::Text(text("text").to_owned()))?,
            ("thinking_delta", _) => say(out, Event::Reasoning(text("thinking").to_owned()))?,
            ("signature_delta", Some(Block::Thought { signature })) => signature.push_str(text("signature")),
            ("input_json_delta", Some(Block::Call { json, .. })) => json.push_str(text("partial_json")),
            // Citations, and whatever is added to the protocol.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, index: u64, out: &mut Completion) -> Result<(), Failure> {
        let mut emit = |event: Event| out.emit(event);
        match self.open.remove(&index) {
            Some(Block::Thought { signature }) if !signature.is_empty() => {
                emit(thoughts::signed(&self.model, &signature))
            }
            Some(Block::Redacted { data }) if !data.is_empty() => emit(thoughts::redacted(&self.model, &data)),
            Some(Block::Call { id, name, input, json }) => self.called(id, name, &input, json, out),
            _ => Ok(()),
        }
    }

    fn called(
        &mut self,
        id: String,
        name: String,
        input: &Value,
        json: String,
        out: &mut Completion,
    ) -> Result<(), Failure> {
        let arguments = match (json.trim().is_empty(), input) {
            (false, _) => json,
            (true, Value::Object(_)) => input.to_string(),
            (true, _) => "{}".to_owned(),
        };
        if name.is_empty() {
            return Ok(());
        }
        if self.by_tool && name == ANSWER {
            return say(out, Event::Text(arguments));
        }
        let id = if id.is_empty() { format!("toolu_{}", unique()) } else { id };
        let call = ToolCall { id, name, arguments, extra: Vec::new() };
        if serde_json::from_str::<Value>(&call.arguments).is_err() {
            self.garbled = Some(call);
            return Ok(());
        }
        self.called = true;
        out.emit(Event::ToolCall(call))
    }

    fn count(&mut self, usage: Option<&Value>) {
        // Later counts are cumulative and may leave out what did not change.
        for (key, value) in usage.and_then(Value::as_object).into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            self.counts.insert(key.clone(), value.clone());
        }
    }

    fn tell_usage(&self, out: &mut Completion) -> Result<(), Failure> {
        if self.counts.is_empty() {
            return Ok(());
        }
        let n = |key: &str| self.counts.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (read, written) = (n("cache_read_input_tokens"), n("cache_creation_input_tokens"));
        let thought = self.counts.get("output_tokens_details").and_then(|d| d.get("thinking_tokens"));
        let extra = if written > 0 { vec![("cache-creation".to_owned(), written.to_string())] } else { Vec::new() };
        let usage = Usage {
            // The server counts what it read from the cache, what it wrote there, and the rest apart.
            input: n("input_tokens").saturating_add(read).saturating_add(written),
            output: n("output_tokens"),
            cached_input: read,
            reasoning: thought.and_then(Value::as_u64).unwrap_or(0),
            extra,
        };
        out.emit(Event::Usage(usage))
    }

    /// The stream ended: what was held back goes out, and why it stopped.
    pub(crate) fn finish(mut self, out: &mut Completion) -> Result<(), Failure> {
        let Some(reason) = self.stop.take().or_else(|| self.done.then(|| "end_turn".to_owned())) else {
            return Err(Failure::new(
                FailureKind::Interrupted,
                "the stream ended before the answer did (no stop reason, no message_stop)",
            ));
        };
        let cut = matches!(reason.as_str(), "max_tokens" | "model_context_window_exceeded");
        while let Some(index) = self.open.keys().next().copied() {
            self.end(index, out)?;
        }
        if let Some(call) = self.garbled.take().filter(|_| !cut) {
            // The kernel tells the model what is wrong with it.
            self.called = true;
            out.emit(Event::ToolCall(call))?;
        }
        self.tell_usage(out)?;
        let stop = match reason.as_str() {
            _ if cut => StopReason::Length,
            "refusal" => StopReason::ContentFilter,
            "end_turn" | "stop_sequence" | "tool_use" if self.called => StopReason::ToolCalls,
            "end_turn" | "stop_sequence" | "tool_use" => StopReason::End,
            other => StopReason::Other(other.chars().take(64).collect()),
        };
        out.emit(Event::Stop(stop))
    }
}

/// Empty pieces say nothing.
fn say(out: &mut Completion, event: Event) -> Result<(), Failure> {
    match &event {
        Event::Text(t) | Event::Reasoning(t) if t.is_empty() => Ok(()),
        _ => out.emit(event),
    }
}
