//! Between the kernel's and the SDK's Rust for the same types of `wit/`.

pub(crate) mod channel;

use carapace_runtime::bindings::{completion, http, log, memory, provider, sessions, tools, types};
use carapace_sdk as sdk;
use carapace_sdk::provider as model;
use carapace_sdk::testing::protocol::Outgoing;

pub(crate) fn error(e: sdk::Error) -> types::Error {
    match e {
        sdk::Error::Denied(t) => types::Error::Denied(t),
        sdk::Error::Limit(t) => types::Error::Limit(t),
        sdk::Error::NotFound(t) => types::Error::NotFound(t),
        sdk::Error::Invalid(t) => types::Error::Invalid(t),
        sdk::Error::Unavailable(t) => types::Error::Unavailable(t),
        sdk::Error::Timeout(t) => types::Error::Timeout(t),
        sdk::Error::Cancelled => types::Error::Cancelled,
        sdk::Error::Other(t) => types::Error::Other(t),
    }
}

pub(crate) fn level(level: log::Level) -> sdk::log::Level {
    match level {
        log::Level::Trace => sdk::log::Level::Trace,
        log::Level::Debug => sdk::log::Level::Debug,
        log::Level::Info => sdk::log::Level::Info,
        log::Level::Warn => sdk::log::Level::Warn,
        log::Level::Error => sdk::log::Level::Error,
    }
}

pub(crate) fn outgoing(r: http::Request) -> Outgoing {
    Outgoing {
        method: r.method,
        target: match r.target {
            http::Target::Endpoint((endpoint, path)) => sdk::http::Target::Endpoint { endpoint, path },
            http::Target::Handle(handle) => sdk::http::Target::Handle(handle),
            http::Target::Public(url) => sdk::http::Target::Public(url),
        },
        headers: r.headers,
        body: match r.body {
            http::Body::None => None,
            http::Body::Bytes(bytes) => Some(bytes),
        },
        timeout_ms: r.timeout_ms,
        extra: r.extra,
    }
}

pub(crate) fn note(n: sdk::memory::Note) -> memory::Note {
    memory::Note { key: n.key, text: n.text, updated_ms: n.updated_ms, tainted: n.tainted, extra: n.extra }
}

pub(crate) fn notes(notes: Vec<sdk::memory::Note>) -> Vec<memory::Note> {
    notes.into_iter().map(note).collect()
}

pub(crate) fn sessions(found: Vec<sdk::sessions::Session>) -> Vec<sessions::Session> {
    let one = |s: sdk::sessions::Session| sessions::Session {
        id: s.id,
        title: s.title,
        messages: s.messages,
        updated_ms: s.updated_ms,
        extra: s.extra,
    };
    found.into_iter().map(one).collect()
}

pub(crate) fn entries(found: Vec<sdk::sessions::Entry>) -> Vec<sessions::Entry> {
    let one = |e: sdk::sessions::Entry| sessions::Entry {
        role: e.role,
        text: e.text,
        at_ms: e.at_ms,
        tainted: e.tainted,
        extra: e.extra,
    };
    found.into_iter().map(one).collect()
}

// Tools.

pub(crate) fn context(c: sdk::Context) -> tools::Context {
    tools::Context { call_id: c.call_id, session: c.session, timezone: c.timezone, extra: c.extra }
}

pub(crate) fn tool(
    answer: Result<Vec<tools::Content>, tools::ToolError>,
) -> Result<Vec<sdk::tools::Content>, sdk::ToolError> {
    answer.map(|parts| parts.into_iter().map(content).collect()).map_err(tool_error)
}

fn content(c: tools::Content) -> sdk::tools::Content {
    match c {
        tools::Content::Text(t) => sdk::tools::Content::Text(t),
        tools::Content::Image(i) => sdk::tools::Content::Image(sdk::tools::Image { mime: i.mime, data: i.data }),
        tools::Content::File(f) => {
            sdk::tools::Content::File(sdk::tools::File { name: f.name, mime: f.mime, data: f.data })
        }
        tools::Content::Structured(t) => sdk::tools::Content::Structured(t),
        tools::Content::Other(t) => sdk::tools::Content::Other(t),
    }
}

fn tool_error(e: tools::ToolError) -> sdk::ToolError {
    match e {
        tools::ToolError::InvalidArguments(t) => sdk::ToolError::InvalidArguments(t),
        tools::ToolError::NotFound(t) => sdk::ToolError::NotFound(t),
        tools::ToolError::Denied(t) => sdk::ToolError::Denied(t),
        tools::ToolError::Unavailable(t) => sdk::ToolError::Unavailable(t),
        tools::ToolError::Failed(t) => sdk::ToolError::Failed(t),
        tools::ToolError::Other(t) => sdk::ToolError::Other(t),
    }
}

// Providers.

pub(crate) fn models(
    answer: Result<Vec<provider::Model>, provider::Failure>,
) -> Result<Vec<model::Model>, model::Failure> {
    let one = |m: provider::Model| model::Model {
        id: m.id,
        name: m.name,
        context: m.context,
        output: m.output,
        tools: m.tools,
        images: m.images,
        extra: m.extra,
    };
    answer.map(|all| all.into_iter().map(one).collect()).map_err(failure)
}

pub(crate) fn failure(f: provider::Failure) -> model::Failure {
    let kind = match f.kind {
        provider::FailureKind::Authentication => model::FailureKind::Authentication,
        provider::FailureKind::RateLimited => model::FailureKind::RateLimited,
        provider::FailureKind::InvalidRequest => model::FailureKind::InvalidRequest,
        provider::FailureKind::ContextLength => model::FailureKind::ContextLength,
        provider::FailureKind::UnknownModel => model::FailureKind::UnknownModel,
        provider::FailureKind::Unavailable => model::FailureKind::Unavailable,
        provider::FailureKind::Interrupted => model::FailureKind::Interrupted,
        provider::FailureKind::Cancelled => model::FailureKind::Cancelled,
        provider::FailureKind::Other(t) => model::FailureKind::Other(t),
    };
    model::Failure { kind, message: f.message, retryable: f.retryable, retry_after_ms: f.retry_after_ms }
}

pub(crate) fn event(event: completion::Event) -> model::Event {
    match event {
        completion::Event::Text(t) => model::Event::Text(t),
        completion::Event::Reasoning(t) => model::Event::Reasoning(t),
        completion::Event::ToolCall(c) => {
            model::Event::ToolCall(model::ToolCall { id: c.id, name: c.name, arguments: c.arguments, extra: c.extra })
        }
        completion::Event::Usage(u) => model::Event::Usage(model::Usage {
            input: u.input,
            output: u.output,
            cached_input: u.cached_input,
            reasoning: u.reasoning,
            extra: u.extra,
        }),
        completion::Event::Stop(reason) => model::Event::Stop(match reason {
            completion::StopReason::End => model::StopReason::End,
            completion::StopReason::ToolCalls => model::StopReason::ToolCalls,
            completion::StopReason::Length => model::StopReason::Length,
            completion::StopReason::ContentFilter => model::StopReason::ContentFilter,
            completion::StopReason::Other(t) => model::StopReason::Other(t),
        }),
        completion::Event::Other(pair) => model::Event::Other(pair),
    }
}

pub(crate) fn request(r: model::Request) -> provider::Request {
    let spec =
        |t: model::ToolSpec| provider::ToolSpec { name: t.name, description: t.description, parameters: t.parameters };
    provider::Request {
        model: r.model,
        messages: r.messages.into_iter().map(message).collect(),
        tools: r.tools.into_iter().map(spec).collect(),
        tool_choice: match r.tool_choice {
            model::ToolChoice::Auto => provider::ToolChoice::Auto,
            model::ToolChoice::None => provider::ToolChoice::None,
            model::ToolChoice::Required => provider::ToolChoice::Required,
            model::ToolChoice::Named(name) => provider::ToolChoice::Named(name),
        },
        max_output: r.max_output,
        temperature: r.temperature,
        top_p: r.top_p,
        seed: r.seed,
        stop: r.stop,
        json_schema: r.json_schema,
        extra: r.extra,
    }
}

fn message(m: model::Message) -> provider::Message {
    let role = match m.role {
        model::Role::System => provider::Role::System,
        model::Role::User => provider::Role::User,
        model::Role::Assistant => provider::Role::Assistant,
        model::Role::Tool => provider::Role::Tool,
    };
    provider::Message { role, parts: m.parts.into_iter().map(part).collect() }
}

fn part(p: model::Part) -> provider::Part {
    match p {
        model::Part::Text(t) => provider::Part::Text(t),
        model::Part::Image(i) => provider::Part::Image(types::Image { mime: i.mime, data: i.data }),
        model::Part::Reasoning(t) => provider::Part::Reasoning(t),
        model::Part::ToolCall(c) => provider::Part::ToolCall(completion::ToolCall {
            id: c.id,
            name: c.name,
            arguments: c.arguments,
            extra: c.extra,
        }),
        model::Part::ToolResult(r) => provider::Part::ToolResult(provider::ToolResult {
            call_id: r.call_id,
            name: r.name,
            content: r.content,
            is_error: r.is_error,
        }),
        model::Part::Other(pair) => provider::Part::Other(pair),
    }
}
