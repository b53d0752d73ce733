//! A completion: request, the way out where a server refuses a part of it, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request;
use crate::shape::Shape;
use carapace_provider_wire::door::{Outgoing, Reply};
use carapace_provider_wire::failure::{malformed, of_read, of_send, of_status, with_request_id};
use carapace_provider_wire::{Door, Failure, Request, sse};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;
/// Largest answer that is no stream.
const MAX_WHOLE: usize = 16 << 20;
/// A request is sent at most so often: each time with less in it.
const TRIES: usize = 6;

pub(crate) fn complete<D: Door>(door: &D, request: &Request) -> Result<(), Failure> {
    let options = Options::parse(&door.section())?;
    let model = request::model(request, &options)?;
    let mut shape = Shape::first(request, &options, model);
    let mut tried = 0;
    loop {
        let mut reply = door
            .send(Outgoing {
                method: "POST",
                endpoint: "api",
                path: "/v1/messages".into(),
                headers: headers(&options, "text/event-stream, application/json"),
                body: Some(request::body(request, &options, shape)?),
            })
            .map_err(of_send)?;
        tried += 1;
        let status = reply.status();
        if (200..300).contains(&status) {
            let by_tool = request.json_schema.is_some() && !shape.schema;
            let answer = Answer::of(model, by_tool);
            return read(door, &mut reply, answer).map_err(|f| with_request_id(f, |name| reply.header(name)));
        }
        let body = reply.body(MAX_ERROR).unwrap_or_default();
        let refusal = (status == 400 && tried < TRIES).then(|| String::from_utf8_lossy(&said(&body)).into_owned());
        match refusal.and_then(|text| shape.after(&text, request)) {
            Some((changed, what)) => {
                door.note(what);
                shape = changed;
            }
            None => return Err(of_status(status, |name| reply.header(name), &body, door.now_ms())),
        }
    }
}

/// The error's own text, unescaped; the whole body where there is none.
fn said(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = value.pointer("/error/message").and_then(Value::as_str);
    text.map_or_else(|| body.to_vec(), |t| t.as_bytes().to_vec())
}

pub(crate) fn headers(options: &Options, accept: &str) -> Vec<(String, String)> {
    let ours = [("content-type", "application/json"), ("accept", accept), ("anthropic-version", "2023-06-01")];
    let mut headers: Vec<(String, String)> = ours.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    headers.extend(options.headers.iter().cloned());
    headers
}

fn read<D: Door>(door: &D, reply: &mut impl Reply, mut answer: Answer) -> Result<(), Failure> {
    let mut bytes = reply.read().map_err(of_read)?;
    if bytes.first() == Some(&b'{') {
        bytes.extend(reply.body(MAX_WHOLE).map_err(of_read)?);
        answer.whole(&bytes, door)?;
        return answer.finish(door);
    }
    let (mut reader, mut events) = (sse::Reader::default(), Vec::new());
    while !bytes.is_empty() {
        reader.push(&bytes, &mut events).map_err(|_| malformed("it is longer than 8 MiB", ""))?;
        for event in events.drain(..) {
            answer.data(&event.data, door)?;
            if answer.is_done() {
                return answer.finish(door);
            }
        }
        bytes = reply.read().map_err(of_read)?;
    }
    if let Some(event) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.data(&event.data, door) {
            Err(_) if serde_json::from_str::<Value>(&event.data).is_err() => {}
            other => other?,
        }
    }
    answer.finish(door)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
