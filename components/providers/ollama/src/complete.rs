//! A completion: request, the way out where a model cannot do a part of it, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request::{self, Shape};
use carapace_provider_wire::door::{Outgoing, Reply};
use carapace_provider_wire::failure::{malformed, of_read, of_send, of_status, refuses};
use carapace_provider_wire::{Door, Error, Failure, FailureKind, Request, ndjson};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;

pub(crate) fn complete<D: Door>(door: &D, request: &Request) -> Result<(), Failure> {
    let options = Options::parse(&door.section())?;
    let model = request::model(request, &options)?;
    let mut shape = Shape::WHOLE;
    loop {
        let body = request::body(request, &options, shape)?;
        let mut reply = send(door, &options, "POST", "/api/chat", Some(body))?;
        let status = reply.status();
        if (200..300).contains(&status) {
            return read(door, &mut reply).map_err(|f| with_advice(f, model));
        }
        let body = reply.body(MAX_ERROR).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        if status == 400 && shape.think && options.think.is_some() && refuses(&text, "think") {
            door.note("the model cannot think; asking again without `think`");
            shape.think = false;
        } else if status == 400 && shape.tools && !request.tools.is_empty() && refuses(&text, "tools") {
            door.note("the model cannot call tools; asking again without them");
            shape.tools = false;
        } else {
            let f = of_status(status, |name| reply.header(name), &body, door.now_ms());
            return Err(with_advice(f, model));
        }
    }
}

/// Sends a request; a server that is not there is told as what it mostly is: not started.
pub(crate) fn send<D: Door>(
    door: &D,
    options: &Options,
    method: &'static str,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<D::Reply, Failure> {
    let ours = [("content-type", "application/json"), ("accept", "application/x-ndjson, application/json")];
    let mut headers: Vec<(String, String)> = ours.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    headers.extend(options.headers.iter().cloned());
    let outgoing = Outgoing { method, endpoint: "api", path: path.to_owned(), headers, body };
    door.send(outgoing).map_err(|f| {
        let gone = !f.sent && matches!(f.error, Error::Unavailable(_));
        let mut f = of_send(f);
        if gone {
            f.message.push_str("; start Ollama (`ollama serve`), or set OLLAMA_BASE_URL to where it runs");
        }
        f
    })
}

fn with_advice(mut f: Failure, model: &str) -> Failure {
    if f.kind == FailureKind::UnknownModel {
        f.message.push_str(&format!("; `ollama pull {model}` installs it"));
    }
    f
}

fn read<D: Door>(door: &D, reply: &mut impl Reply) -> Result<(), Failure> {
    let (mut reader, mut lines, mut answer) = (ndjson::Reader::default(), Vec::new(), Answer::default());
    loop {
        let bytes = reply.read().map_err(of_read)?;
        if bytes.is_empty() {
            break;
        }
        reader.push(&bytes, &mut lines).map_err(|_| malformed("it is longer than 8 MiB", ""))?;
        for line in lines.drain(..) {
            answer.line(&line, door)?;
            if answer.is_done() {
                return answer.finish(door);
            }
        }
    }
    if let Some(line) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.line(&line, door) {
            Err(_) if serde_json::from_str::<Value>(&line).is_err() => {}
            other => other?,
        }
    }
    answer.finish(door)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
