//! Models behind an API that streams its answers as lines of JSON.

use carapace_sdk::http::Response;
use carapace_sdk::prelude::*;
use carapace_sdk::provider::{Part, ToolSpec};
use carapace_sdk::{ndjson, serde_json};
use serde_json::Value;

/// The component.
#[derive(Debug, Default)]
pub struct MyProvider;

impl Provider for MyProvider {
    fn models(&self) -> Result<Vec<Model>, Failure> {
        let listed: Listed = succeed(http::get("api", "/models").send()?)?.json()?;
        let model = |m: Entry| Model { context: m.context, ..Model::new(m.id) };
        Ok(listed.models.into_iter().map(model).collect())
    }

    fn complete(&mut self, request: Request, out: &mut Completion) -> Result<(), Failure> {
        let response = succeed(http::post("api", "/chat").json(&body(&request)).send()?)?;
        for line in ndjson::values::<Line>(&response) {
            match line? {
                Line::Text(piece) => out.text(piece)?,
                Line::Call { id, name, arguments } => out.tool_call(ToolCall::new(id, name, arguments.to_string()))?,
                Line::Done { reason, input, output } => {
                    out.usage(Usage::new(input, output))?;
                    return out.stop(match reason.as_str() {
                        "stop" => StopReason::End,
                        "calls" => StopReason::ToolCalls,
                        "length" => StopReason::Length,
                        other => StopReason::Other(other.to_owned()),
                    });
                }
            }
        }
        // Half an answer is told as that, never as a whole one.
        Err(Failure::new(FailureKind::Interrupted, "the stream ended before the answer did"))
    }
}

carapace_sdk::component!(MyProvider: Provider);

/// A refusal by its kind: what the kernel does next depends on it.
fn succeed(response: Response) -> Result<Response, Failure> {
    let kind = match response.status() {
        401 | 403 => FailureKind::Authentication,
        404 => FailureKind::UnknownModel,
        429 => FailureKind::RateLimited,
        _ => return Ok(response.success()?),
    };
    let seconds = response.header("retry-after").and_then(|v| v.parse::<u64>().ok());
    let message = response.success().map_or_else(|e| e.to_string(), |_| String::new());
    Err(Failure { retry_after_ms: seconds.map(|s| s.saturating_mul(1000)), ..Failure::new(kind, message) })
}

/// The request as the server wants it.
fn body(request: &Request) -> Value {
    let tool = |t: &ToolSpec| {
        let parameters: Value = serde_json::from_str(&t.parameters).unwrap_or_default();
        json!({ "name": t.name, "description": t.description, "parameters": parameters })
    };
    json!({
        "model": request.model,
        "messages": request.messages.iter().flat_map(message).collect::<Vec<_>>(),
        "tools": request.tools.iter().map(tool).collect::<Vec<_>>(),
        "max_tokens": request.max_output,
        "temperature": request.temperature,
    })
}

/// A message: its text, then what was called or came back. This server sees no images.
fn message(message: &Message) -> Vec<Value> {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let part = |part: &Part| match part {
        Part::Text(text) => Some(json!({ "role": role, "text": text })),
        Part::ToolCall(c) => Some(json!({ "role": role, "call": c.id, "name": c.name, "arguments": c.arguments })),
        Part::ToolResult(r) => Some(json!({ "role": role, "call": r.call_id, "text": r.content })),
        _ => None,
    };
    message.parts.iter().filter_map(part).collect()
}

#[derive(Deserialize)]
struct Listed {
    models: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    context: Option<u32>,
}

/// A line of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Text(String),
    Call { id: String, name: String, arguments: Value },
    Done { reason: String, input: u64, output: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_sdk::testing::Answer;

    fn question() -> Request {
        Request::new("small", vec![Message::system("Be brief."), Message::user("Hello?")])
    }

    const DONE: &str = "{\"done\":{\"reason\":\"stop\",\"input\":9,\"output\":2}}\n";

    #[carapace_sdk::test]
    fn what_the_server_lists_is_listed(host: &mut TestHost) {
        let models = json!({ "models": [{ "id": "small", "context": 8192 }, { "id": "large" }] });
        host.on("GET", "api", "/models", Answer::new(200).json(models));
        let listed: Vec<_> = host.models().unwrap().into_iter().map(|m| (m.id, m.context)).collect();
        assert_eq!(listed, [("small".to_owned(), Some(8192)), ("large".to_owned(), None)]);
    }

    #[carapace_sdk::test]
    fn an_answer_is_pushed_as_it_comes(host: &mut TestHost) {
        host.answer(Answer::new(200).chunks(["{\"text\":\"Hel\"}\n{\"te", "xt\":\"lo\"}\n", DONE]));
        let pushed = host.complete(question()).unwrap();
        let text = |t: &str| Event::Text(t.to_owned());
        let (usage, stop) = (Event::Usage(Usage::new(9, 2)), Event::Stop(StopReason::End));
        assert_eq!(pushed, [text("Hel"), text("lo"), usage, stop]);
        let sent = host.sent()[0].json();
        assert_eq!((&sent["model"], &sent["messages"][1]["text"]), (&json!("small"), &json!("Hello?")));
    }

    #[carapace_sdk::test]
    fn a_call_goes_out_whole(host: &mut TestHost) {
        let line = json!({ "call": { "id": "1", "name": "time", "arguments": { "zone": "UTC" } } });
        host.answer(Answer::new(200).chunk(format!("{line}\n")).chunk(DONE));
        let pushed = host.complete(question()).unwrap();
        assert_eq!(pushed[0], Event::ToolCall(ToolCall::new("1", "time", r#"{"zone":"UTC"}"#)));
    }

    #[carapace_sdk::test]
    fn half_an_answer_is_none(host: &mut TestHost) {
        host.answer(Answer::new(200).chunk("{\"text\":\"Hel\"}\n"));
        assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Interrupted);
        assert_eq!(host.answered(), "Hel");
    }

    #[carapace_sdk::test]
    fn a_refusal_has_its_kind_and_says_when_to_come_back(host: &mut TestHost) {
        host.answer(Answer::new(429).header("retry-after", "3")).answer(Answer::new(401)).answer(Answer::new(500));
        let busy = host.complete(question()).unwrap_err();
        assert_eq!((busy.kind, busy.retryable, busy.retry_after_ms), (FailureKind::RateLimited, true, Some(3000)));
        let refused = host.complete(question()).unwrap_err();
        assert_eq!((refused.kind, refused.retryable), (FailureKind::Authentication, false));
        assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Unavailable);
    }

    #[carapace_sdk::test]
    fn nobody_is_left_to_read(host: &mut TestHost) {
        host.cancel_after(1).answer(Answer::new(200).chunk("{\"text\":\"a\"}\n".repeat(9)));
        assert_eq!(host.complete(question()).unwrap_err().kind, FailureKind::Cancelled);
        assert_eq!(host.answered(), "a");
    }
}
