//! Between the contract's WIT types and the rooms' plain types.

pub(crate) mod channel;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use carapace_contract::completion::{
    CompletionEvent, CompletionFailure, CompletionRequest, FailureKind, ModelInfo, ModelRef, StopReason, ToolChoice,
    Usage,
};
use carapace_contract::message::{Message, Part, Role, ToolCall};
use carapace_contract::name::InstanceId;
use carapace_contract::ports::ToolFailure;
use carapace_runtime::bindings::{completion, provider, tools, types};
use sha2::{Digest as _, Sha256};

/// Bytes of a guest's message about a failure that are kept.
pub(crate) const MAX_MESSAGE: usize = 8 << 10;
/// Bytes of a model's id or name that are kept.
const MAX_NAME: usize = 256;

/// One printable line: these texts go to logs and terminals, which a guest (or the server behind it) must not drive.
pub(crate) fn line(text: &str, max: usize) -> String {
    let cut = text.get(..text.floor_char_boundary(max)).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a tool sees of a conversation's name: the same for the same conversation, and neither readable nor of use to another
/// instance.
pub(crate) fn session(instance: &InstanceId, session: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(instance.to_string());
    hash.update([0]);
    hash.update(session);
    let digest: [u8; 32] = hash.finalize().into();
    let (half, _) = digest.split_at(16);
    hex::encode(half)
}

/// What one call to `complete` gets.
pub(crate) fn request(model: &str, request: &CompletionRequest) -> provider::Request {
    provider::Request {
        model: model.to_owned(),
        messages: request.messages.iter().map(message).collect(),
        tools: request
            .tools
            .iter()
            .map(|t| provider::ToolSpec {
                name: t.name.clone(),
                description: t.description.clone(),
                parameters: t.parameters.to_string(),
            })
            .collect(),
        tool_choice: match &request.tool_choice {
            ToolChoice::Auto => provider::ToolChoice::Auto,
            ToolChoice::None => provider::ToolChoice::None,
            ToolChoice::Required => provider::ToolChoice::Required,
            ToolChoice::Named(name) => provider::ToolChoice::Named(name.clone()),
        },
        max_output: request.max_output,
        temperature: request.temperature,
        top_p: request.top_p,
        seed: request.seed,
        stop: request.stop.clone(),
        json_schema: request.json_schema.clone(),
        extra: request.extra.clone(),
    }
}

fn message(m: &Message) -> provider::Message {
    provider::Message {
        role: match m.role {
            Role::System => provider::Role::System,
            Role::User => provider::Role::User,
            Role::Assistant => provider::Role::Assistant,
            Role::Tool => provider::Role::Tool,
        },
        parts: m.parts.iter().map(part).collect(),
    }
}

fn part(p: &Part) -> provider::Part {
    match p {
        Part::Text { text } => provider::Part::Text(text.clone()),
        Part::Image { mime, data } => match BASE64.decode(data) {
            Ok(data) => provider::Part::Image(types::Image { mime: mime.clone(), data }),
            // The edges check images; what still is not base64 is said rather than dropped.
            Err(_) => provider::Part::Text(format!("[an image of type {mime} that could not be read]")),
        },
        // The agent puts an image in its place, or says that there was one.
        Part::Media(media) => provider::Part::Text(format!("[{}]", media.in_words())),
        Part::Reasoning { text } => provider::Part::Reasoning(text.clone()),
        Part::ToolCall(c) => provider::Part::ToolCall(completion::ToolCall {
            id: c.id.clone(),
            name: c.name.clone(),
            arguments: c.arguments.clone(),
            extra: Vec::new(),
        }),
        Part::ToolResult(r) => provider::Part::ToolResult(provider::ToolResult {
            call_id: r.call_id.clone(),
            name: r.name.clone(),
            content: r.content.clone(),
            is_error: r.is_error,
        }),
        Part::Other { name, value } => provider::Part::Other((name.clone(), value.clone())),
    }
}

/// What a provider pushed.
pub(crate) fn event(e: completion::Event) -> CompletionEvent {
    match e {
        completion::Event::Text(text) => CompletionEvent::Text(text),
        completion::Event::Reasoning(text) => CompletionEvent::Reasoning(text),
        completion::Event::ToolCall(c) => {
            CompletionEvent::ToolCall(ToolCall { id: c.id, name: c.name, arguments: c.arguments })
        }
        completion::Event::Usage(u) => CompletionEvent::Usage(Usage {
            input: u.input,
            output: u.output,
            cached_input: u.cached_input,
            reasoning: u.reasoning,
        }),
        completion::Event::Stop(s) => CompletionEvent::Stop(match s {
            completion::StopReason::End => StopReason::End,
            completion::StopReason::ToolCalls => StopReason::ToolCalls,
            completion::StopReason::Length => StopReason::Length,
            completion::StopReason::ContentFilter => StopReason::ContentFilter,
            completion::StopReason::Other(other) => StopReason::Other(other),
        }),
        completion::Event::Other((name, value)) => CompletionEvent::Other { name, value },
    }
}

/// What a provider returned as its error.
pub(crate) fn failure(f: provider::Failure) -> CompletionFailure {
    CompletionFailure {
        kind: match f.kind {
            provider::FailureKind::Authentication => FailureKind::Authentication,
            provider::FailureKind::RateLimited => FailureKind::RateLimited,
            provider::FailureKind::InvalidRequest => FailureKind::InvalidRequest,
            provider::FailureKind::ContextLength => FailureKind::ContextLength,
            provider::FailureKind::UnknownModel => FailureKind::UnknownModel,
            provider::FailureKind::Unavailable => FailureKind::Unavailable,
            provider::FailureKind::Interrupted => FailureKind::Interrupted,
            provider::FailureKind::Cancelled => FailureKind::Cancelled,
            provider::FailureKind::Other(other) => FailureKind::Other(other),
        },
        message: line(&f.message, MAX_MESSAGE),
        retryable: f.retryable,
        retry_after_ms: f.retry_after_ms,
    }
}

/// A model that a provider listed.
pub(crate) fn model(instance: &InstanceId, m: provider::Model) -> ModelInfo {
    ModelInfo {
        reference: ModelRef { instance: instance.clone(), model: line(&m.id, MAX_NAME) },
        name: line(&m.name, MAX_NAME),
        context: m.context,
        output: m.output,
        tools: m.tools,
        images: m.images,
    }
}

/// What a tool returned as its error.
pub(crate) fn tool_failure(e: tools::ToolError) -> ToolFailure {
    let (kind, message) = match e {
        tools::ToolError::InvalidArguments(text) => ("invalid-arguments", text),
        tools::ToolError::NotFound(text) => ("not-found", text),
        tools::ToolError::Denied(text) => ("denied", text),
        tools::ToolError::Unavailable(text) => ("unavailable", text),
        tools::ToolError::Failed(text) | tools::ToolError::Other(text) => ("failed", text),
    };
    ToolFailure { kind: kind.to_owned(), message, tainted: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversations_name_is_stable_and_says_nothing() {
        let (one, other) = ("local/a".parse().unwrap(), "local/b".parse().unwrap());
        let name = session(&one, "a person's number");
        assert_eq!(name, session(&one, "a person's number"));
        assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert_ne!(name, session(&other, "a person's number"));
        assert_ne!(name, session(&one, "another's"));
    }

    #[test]
    fn what_a_server_calls_its_models_cannot_drive_a_terminal_or_forge_a_line_of_the_log() {
        let listed = provider::Model {
            id: "m\u{1b}]0;x\u{7}".into(),
            name: "a\n2026-01-01 ERROR b".into(),
            context: None,
            output: None,
            tools: false,
            images: false,
            extra: Vec::new(),
        };
        let known = model(&"local/a".parse().unwrap(), listed);
        assert_eq!(known.reference.model, "m ]0;x ");
        assert_eq!(known.name, "a 2026-01-01 ERROR b");
        let failed = provider::Failure {
            kind: provider::FailureKind::Unavailable,
            message: "x\r\n".repeat(10_000),
            retryable: true,
            retry_after_ms: None,
        };
        let told = failure(failed).message;
        assert!(told.len() <= MAX_MESSAGE && !told.chars().any(char::is_control), "{told}");
    }
}
