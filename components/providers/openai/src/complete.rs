//! A completion: request, fall-backs for what a server refuses, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request::{self, Shape};
use carapace_provider_wire::door::{Outgoing, Reply};
use carapace_provider_wire::failure::{failure, of_read, of_send, of_status, refuses};
use carapace_provider_wire::{Door, Failure, FailureKind, Request, sse};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;
/// Largest answer that is no stream.
const MAX_WHOLE: usize = 16 << 20;

pub(crate) fn complete<D: Door>(door: &D, request: &Request) -> Result<(), Failure> {
    let options = Options::parse(&door.section())?;
    let mut shape = Shape { tokens_field: options.tokens_field, stream_options: true, temperature: true };
    let first = shape;
    loop {
        let mut reply = door
            .send(Outgoing {
                method: "POST",
                endpoint: "api",
                path: "/chat/completions".into(),
                headers: headers(&options, "text/event-stream, application/json"),
                body: Some(request::body(request, &options, shape)?),
            })
            .map_err(of_send)?;
        let status = reply.status();
        if (200..300).contains(&status) {
            return read(door, &mut reply);
        }
        let body = reply.body(MAX_ERROR).unwrap_or_default();
        match refused(status, &body, shape, first, request) {
            Some((changed, what)) => {
                door.note(what);
                shape = changed;
            }
            None => return Err(of_status(status, |name| reply.header(name), &body, door.now_ms())),
        }
    }
}

pub(crate) fn headers(options: &Options, accept: &str) -> Vec<(String, String)> {
    let mut h =
        vec![("content-type".to_owned(), "application/json".to_owned()), ("accept".to_owned(), accept.to_owned())];
    h.extend(options.headers.iter().cloned());
    h
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

fn read<D: Door>(door: &D, reply: &mut impl Reply) -> Result<(), Failure> {
    let mut first = reply.read().map_err(of_read)?;
    // A byte or two of white space may come before it shows what this is.
    while !first.is_empty() && first.iter().all(u8::is_ascii_whitespace) {
        let more = reply.read().map_err(of_read)?;
        if more.is_empty() {
            break;
        }
        first.extend(more);
    }
    let mut answer = Answer::default();
    if first.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        first.extend(reply.body(MAX_WHOLE).map_err(of_read)?);
        answer.whole(&first, door)?;
        return answer.finish(door);
    }
    let (mut reader, mut events, mut bytes) = (sse::Reader::default(), Vec::new(), first);
    while !bytes.is_empty() {
        reader.push(&bytes, &mut events).map_err(|_| too_long())?;
        for event in events.drain(..) {
            answer.data(&event.name, &event.data, door)?;
            if answer.is_done() {
                return answer.finish(door);
            }
        }
        bytes = reply.read().map_err(of_read)?;
    }
    if let Some(event) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.data(&event.name, &event.data, door) {
            Err(_) if serde_json::from_str::<Value>(&event.data).is_err() => {}
            other => other?,
        }
    }
    answer.finish(door)
}

fn too_long() -> Failure {
    failure(FailureKind::Other("malformed".into()), "the server sent an event of more than 8 MiB")
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
