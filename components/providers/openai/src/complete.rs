//! A completion: request, fall-backs for what a server refuses, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request::{self, Shape};
use carapace_provider_wire::failure::{of_status, refuses};
use carapace_sdk::http::{self, Response};
use carapace_sdk::provider::{Completion, Failure, FailureKind, Request};
use carapace_sdk::{clock, config, log, sse};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;
/// Largest answer that is no stream.
const MAX_WHOLE: usize = 16 << 20;

pub(crate) fn complete(request: &Request, out: &mut Completion) -> Result<(), Failure> {
    let options = Options::parse(&config::text())?;
    let mut shape = Shape { tokens_field: options.tokens_field, stream_options: true, temperature: true };
    let first = shape;
    loop {
        let post = http::post("api", "/chat/completions").body(request::body(request, &options, shape)?);
        let response = with_headers(post, &options, "text/event-stream, application/json").send()?;
        if response.is_success() {
            return read(&response, out);
        }
        let status = response.status();
        let body = response.beginning(MAX_ERROR).unwrap_or_default();
        match refused(status, &body, shape, first, request) {
            Some((changed, what)) => {
                log::info(what);
                shape = changed;
            }
            None => return Err(of_status(status, |name| response.header(name), &body, clock::now_ms())),
        }
    }
}

pub(crate) fn with_headers(request: http::Request, options: &Options, accept: &str) -> http::Request {
    let request = request.header("content-type", "application/json").header("accept", accept);
    options.headers.iter().fold(request, |r, (name, value)| r.header(name, value))
}

/// The body without what the server refuses by name, each change at most once; none if that is not the trouble.
fn refused(status: u16, body: &[u8], now: Shape, first: Shape, request: &Request) -> Option<(Shape, &'static str)> {
    if !matches!(status, 400 | 422) {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    if now.stream_options && text.contains("stream_options") {
        return Some((
            Shape { stream_options: false, ..now },
            "the server knows no `stream_options`; asking again without",
        ));
    }
    if request.max_output.is_some() && now.tokens_field == first.tokens_field && names(&text, now.tokens_field.name()) {
        let changed = Shape { tokens_field: now.tokens_field.other(), ..now };
        return Some((
            changed,
            "the server refuses this field for the length limit; asking again with the other (see `maxTokensField`)",
        ));
    }
    if request.temperature.is_some() && now.temperature && refuses(&text, "temperature") {
        return Some((Shape { temperature: false, ..now }, "the model takes no `temperature`; asking again without"));
    }
    None
}

/// The server refuses the field itself, not its value (`max_tokens is too large` must reach the caller).
fn names(text: &str, field: &str) -> bool {
    refuses(text, field) || (field == "max_tokens" && text.contains("max_completion_tokens"))
}

fn read(response: &Response, out: &mut Completion) -> Result<(), Failure> {
    let mut chunks = response.chunks();
    let mut first = Vec::new();
    // A byte or two of white space may come before it shows what this is.
    while first.iter().all(u8::is_ascii_whitespace) {
        let Some(more) = chunks.next() else { break };
        first.extend(more?);
    }
    let mut answer = Answer::default();
    if first.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        first.extend(response.beginning(MAX_WHOLE)?);
        answer.whole(&first, out)?;
        return answer.finish(out);
    }
    let (mut reader, mut events) = (sse::Reader::default(), Vec::new());
    for bytes in std::iter::once(Ok(first)).chain(chunks) {
        reader.push(&bytes?, &mut events).map_err(|_| too_long())?;
        for event in events.drain(..) {
            answer.data(&event.name, &event.data, out)?;
            if answer.is_done() {
                return answer.finish(out);
            }
        }
    }
    if let Some(event) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.data(&event.name, &event.data, out) {
            Err(_) if serde_json::from_str::<Value>(&event.data).is_err() => {}
            other => other?,
        }
    }
    answer.finish(out)
}

fn too_long() -> Failure {
    Failure::new(FailureKind::Other("malformed".into()), "the server sent an event of more than 8 MiB")
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
