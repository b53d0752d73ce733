//! A completion: request, the way out where a server refuses a part of it, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request;
use crate::shape::Shape;
use carapace_provider_wire::failure::{malformed, of_status, with_request_id};
use carapace_sdk::http::{self, Response};
use carapace_sdk::provider::{Completion, Failure, Request};
use carapace_sdk::{clock, config, log, sse};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;
/// Largest answer that is no stream.
const MAX_WHOLE: usize = 16 << 20;
/// A request is sent at most so often: each time with less in it.
const TRIES: usize = 6;

pub(crate) fn complete(request: &Request, out: &mut Completion) -> Result<(), Failure> {
    let options = Options::parse(&config::text())?;
    let model = request::model(request, &options)?;
    let mut shape = Shape::first(request, &options, model);
    let mut tried = 0;
    loop {
        let post = http::post("api", "/v1/messages").body(request::body(request, &options, shape)?);
        let response = with_headers(post, &options, "text/event-stream, application/json").send()?;
        tried += 1;
        if response.is_success() {
            let by_tool = request.json_schema.is_some() && !shape.schema;
            let answer = Answer::of(model, by_tool);
            return read(&response, answer, out).map_err(|f| with_request_id(f, |name| response.header(name)));
        }
        let status = response.status();
        let body = response.beginning(MAX_ERROR).unwrap_or_default();
        let refusal = (status == 400 && tried < TRIES).then(|| String::from_utf8_lossy(&said(&body)).into_owned());
        match refusal.and_then(|text| shape.after(&text, request)) {
            Some((changed, what)) => {
                log::info(what);
                shape = changed;
            }
            None => return Err(of_status(status, |name| response.header(name), &body, clock::now_ms())),
        }
    }
}

/// The error's own text, unescaped; the whole body where there is none.
fn said(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = value.pointer("/error/message").and_then(Value::as_str);
    text.map_or_else(|| body.to_vec(), |t| t.as_bytes().to_vec())
}

pub(crate) fn with_headers(request: http::Request, options: &Options, accept: &str) -> http::Request {
    let ours = [("content-type", "application/json"), ("accept", accept), ("anthropic-version", "2023-06-01")];
    let request = ours.into_iter().fold(request, |r, (name, value)| r.header(name, value));
    options.headers.iter().fold(request, |r, (name, value)| r.header(name, value))
}

fn read(response: &Response, mut answer: Answer, out: &mut Completion) -> Result<(), Failure> {
    let mut chunks = response.chunks();
    let mut first = chunks.next().transpose()?.unwrap_or_default();
    if first.first() == Some(&b'{') {
        first.extend(response.beginning(MAX_WHOLE)?);
        answer.whole(&first, out)?;
        return answer.finish(out);
    }
    let (mut reader, mut events) = (sse::Reader::default(), Vec::new());
    for bytes in std::iter::once(Ok(first)).chain(chunks) {
        reader.push(&bytes?, &mut events).map_err(|_| malformed("it is longer than 8 MiB", ""))?;
        for event in events.drain(..) {
            answer.data(&event.data, out)?;
            if answer.is_done() {
                return answer.finish(out);
            }
        }
    }
    if let Some(event) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.data(&event.data, out) {
            Err(_) if serde_json::from_str::<Value>(&event.data).is_err() => {}
            other => other?,
        }
    }
    answer.finish(out)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
