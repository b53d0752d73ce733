//! An answer, chunk by chunk.

use carapace_provider_wire::calls::{Assembler, Fragment, unique};
use carapace_provider_wire::failure::{malformed, of_stream};
use carapace_sdk::provider::{Completion, Event, Failure, FailureKind, StopReason, Usage};
use serde_json::Value;

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    calls: Assembler,
    usage: Option<Usage>,
    finish: Option<String>,
    done: bool,
}

impl Answer {
    /// Nothing more will come.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// One event's data: a chunk of a stream.
    pub(crate) fn data(&mut self, name: &str, data: &str, out: &mut Completion) -> Result<(), Failure> {
        let data = data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let value: Value = serde_json::from_str(data).map_err(|e| malformed(&e.to_string(), data))?;
        if let Some(f) = of_stream(&value) {
            return Err(f);
        }
        if name == "error" {
            let text: String = data.chars().take(200).collect();
            return Err(Failure::unavailable(format!("the server reports an error: {text}")));
        }
        self.chunk(&value, "delta", out)
    }

    /// A whole answer that is no stream.
    pub(crate) fn whole(&mut self, body: &[u8], out: &mut Completion) -> Result<(), Failure> {
        let value: Value =
            serde_json::from_slice(body).map_err(|e| malformed(&e.to_string(), &String::from_utf8_lossy(body)))?;
        if let Some(f) = of_stream(&value) {
            return Err(f);
        }
        if value.get("choices").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(malformed("there are no `choices`", &String::from_utf8_lossy(body)));
        }
        self.chunk(&value, "message", out)?;
        self.done = true;
        Ok(())
    }

    fn chunk(&mut self, value: &Value, part: &str, out: &mut Completion) -> Result<(), Failure> {
        if !value.is_object() {
            return Err(malformed("it is not an object", &value.to_string()));
        }
        if let Some(u) = value.get("usage").or_else(|| value.pointer("/x_groq/usage")).filter(|u| u.is_object()) {
            self.usage = Some(usage(u));
        }
        // `n` is never more than one; the last chunk, with the usage, has none.
        let Some(choice) = value.pointer("/choices/0") else { return Ok(()) };
        if let Some(delta) = choice.get(part).or_else(|| choice.get("delta")).or_else(|| choice.get("message")) {
            self.delta(delta, out)?;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str).filter(|r| !r.is_empty()) {
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Value, out: &mut Completion) -> Result<(), Failure> {
        let mut emit = |event: Event| out.emit(event);
        let some = |v: Option<&Value>| v.and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
        // Two names for one thing; servers that send both send the same text.
        if let Some(t) = some(delta.get("reasoning_content")).or_else(|| some(delta.get("reasoning"))) {
            emit(Event::Reasoning(t))?;
        }
        match delta.get("content") {
            Some(Value::String(t)) if !t.is_empty() => emit(Event::Text(t.clone()))?,
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(t) = some(part.get("text")) {
                        emit(Event::Text(t))?;
                    }
                    for thought in part.get("thinking").and_then(Value::as_array).into_iter().flatten() {
                        if let Some(t) = some(thought.get("text")) {
                            emit(Event::Reasoning(t))?;
                        }
                    }
                }
            }
            _ => {}
        }
        if let Some(t) = some(delta.get("refusal")) {
            emit(Event::Text(t))?;
        }
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let function = call.get("function");
            let arguments = function.and_then(|f| f.get("arguments")).and_then(|a| match a {
                Value::String(s) => Some(s.clone()),
                Value::Object(_) => Some(a.to_string()),
                _ => None,
            });
            let fragment = Fragment {
                index: call.get("index").and_then(Value::as_u64),
                id: some(call.get("id")),
                name: some(function.and_then(|f| f.get("name"))),
                arguments,
            };
            if !self.calls.push(fragment) {
                return Err(Failure::invalid_request("the model made more than 256 tool calls at once"));
            }
        }
        Ok(())
    }

    /// The stream ended: what was held back goes out, and why it stopped.
    pub(crate) fn finish(self, out: &mut Completion) -> Result<(), Failure> {
        let Some(reason) = self.finish.or_else(|| self.done.then(|| "stop".to_owned())) else {
            return Err(Failure::new(
                FailureKind::Interrupted,
                "the stream ended before the answer did (no finish reason, no [DONE])",
            ));
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
            "length" | "max_tokens" => StopReason::Length,
            "content_filter" => StopReason::ContentFilter,
            // Some servers say `stop` after calls, and `tool_calls` without any.
            "stop" | "tool_calls" | "function_call" | "eos" | "end_turn" if any => StopReason::ToolCalls,
            "stop" | "tool_calls" | "function_call" | "eos" | "end_turn" => StopReason::End,
            other => StopReason::Other(other.chars().take(64).collect()),
        }))
    }
}

fn usage(u: &Value) -> Usage {
    let n = |path: &str| u.pointer(path).and_then(Value::as_u64);
    Usage {
        input: n("/prompt_tokens").unwrap_or(0),
        output: n("/completion_tokens").unwrap_or(0),
        cached_input: n("/prompt_tokens_details/cached_tokens").or_else(|| n("/prompt_cache_hit_tokens")).unwrap_or(0),
        reasoning: n("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        extra: Vec::new(),
    }
}
