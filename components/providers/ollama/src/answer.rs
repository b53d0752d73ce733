//! An answer, line by line.

use carapace_provider_wire::calls::{Assembler, Fragment, unique};
use carapace_provider_wire::failure::{malformed, of_stream};
use carapace_sdk::provider::{Completion, Event, Failure, FailureKind, StopReason, Usage};
use serde_json::Value;

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    calls: Assembler,
    count: u64,
    usage: Option<Usage>,
    done: Option<String>,
}

impl Answer {
    /// Nothing more will come.
    pub(crate) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// One line.
    pub(crate) fn line(&mut self, line: &str, out: &mut Completion) -> Result<(), Failure> {
        let value: Value = serde_json::from_str(line).map_err(|e| malformed(&e.to_string(), line))?;
        if let Some(f) = of_stream(&value) {
            return Err(f);
        }
        if !value.is_object() {
            return Err(malformed("it is not an object", line));
        }
        if let Some(message) = value.get("message") {
            self.message(message, out)?;
        }
        if value.get("done").and_then(Value::as_bool) == Some(true) {
            let n = |key: &str| value.get(key).and_then(Value::as_u64);
            // A prompt that was still in memory is not counted again.
            if let Some(output) = n("eval_count") {
                let input = n("prompt_eval_count").unwrap_or(0);
                self.usage = Some(Usage { input, output, cached_input: 0, reasoning: 0, extra: Vec::new() });
            }
            self.done = Some(value.get("done_reason").and_then(Value::as_str).unwrap_or("stop").to_owned());
        }
        Ok(())
    }

    fn message(&mut self, message: &Value, out: &mut Completion) -> Result<(), Failure> {
        let mut emit = |event: Event| out.emit(event);
        let some =
            |v: &Value, key: &str| v.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
        // Servers that imitate Ollama call it otherwise.
        if let Some(t) = some(message, "thinking").or_else(|| some(message, "reasoning_content")) {
            emit(Event::Reasoning(t))?;
        }
        if let Some(t) = some(message, "content") {
            emit(Event::Text(t))?;
        }
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let Some(function) = call.get("function") else { continue };
            let arguments = match function.get("arguments") {
                Some(Value::String(s)) => Some(s.clone()),
                Some(Value::Null) | None => None,
                Some(other) => Some(other.to_string()),
            };
            // Each is whole: what it calls its index may be the same for all.
            let fragment =
                Fragment { index: Some(self.count), id: some(call, "id"), name: some(function, "name"), arguments };
            self.count += 1;
            if !self.calls.push(fragment) {
                return Err(Failure::invalid_request("the model made more than 256 tool calls at once"));
            }
        }
        Ok(())
    }

    /// The stream ended: what was held back goes out, and why it stopped.
    pub(crate) fn finish(self, out: &mut Completion) -> Result<(), Failure> {
        let Some(reason) = self.done else {
            return Err(Failure::new(FailureKind::Interrupted, "the stream ended before the answer did (no `done`)"));
        };
        let mut emit = |event: Event| out.emit(event);
        let calls = self.calls.finish(reason == "length", unique);
        let any = !calls.is_empty();
        for call in calls {
            emit(Event::ToolCall(call))?;
        }
        if let Some(usage) = self.usage {
            emit(Event::Usage(usage))?;
        }
        emit(Event::Stop(match reason.as_str() {
            "length" => StopReason::Length,
            "stop" if any => StopReason::ToolCalls,
            "stop" => StopReason::End,
            other => StopReason::Other(other.chars().take(64).collect()),
        }))
    }
}
