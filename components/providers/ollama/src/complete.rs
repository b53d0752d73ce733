//! A completion: request, the way out where a model cannot do a part of it, stream.

use crate::answer::Answer;
use crate::options::Options;
use crate::request::{self, Shape};
use carapace_provider_wire::failure::{malformed, of_status, refuses};
use carapace_sdk::http::{self, Response};
use carapace_sdk::provider::{Completion, Failure, FailureKind, Request};
use carapace_sdk::{Error, clock, config, log, ndjson};
use serde_json::Value;

/// Largest error answer that is looked at.
const MAX_ERROR: usize = 64 << 10;

pub(crate) fn complete(request: &Request, out: &mut Completion) -> Result<(), Failure> {
    let options = Options::parse(&config::text())?;
    let model = request::model(request, &options)?;
    let mut shape = Shape::WHOLE;
    loop {
        let body = request::body(request, &options, shape)?;
        let response = send(http::post("api", "/api/chat").body(body), &options)?;
        if response.is_success() {
            return read(&response, out).map_err(|f| with_advice(f, model));
        }
        let status = response.status();
        let body = response.beginning(MAX_ERROR).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        if status == 400 && shape.think && options.think.is_some() && refuses(&text, "think") {
            log::info("the model cannot think; asking again without `think`");
            shape.think = false;
        } else if status == 400 && shape.tools && !request.tools.is_empty() && refuses(&text, "tools") {
            log::info("the model cannot call tools; asking again without them");
            shape.tools = false;
        } else {
            let f = of_status(status, |name| response.header(name), &body, clock::now_ms());
            return Err(with_advice(f, model));
        }
    }
}

/// Sends a request; a server that is not there is told as what it mostly is: not started.
pub(crate) fn send(request: http::Request, options: &Options) -> Result<Response, Failure> {
    let ours = [("content-type", "application/json"), ("accept", "application/x-ndjson, application/json")];
    let request = ours.into_iter().fold(request, |r, (name, value)| r.header(name, value));
    let request = options.headers.iter().fold(request, |r, (name, value)| r.header(name, value));
    request.send().map_err(|e| {
        let gone = !e.was_sent() && matches!(e.kind(), Error::Unavailable(_));
        let mut f = Failure::from(e);
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

fn read(response: &Response, out: &mut Completion) -> Result<(), Failure> {
    let (mut reader, mut lines, mut answer) = (ndjson::Reader::default(), Vec::new(), Answer::default());
    for bytes in response.chunks() {
        reader.push(&bytes?, &mut lines).map_err(|_| malformed("it is longer than 8 MiB", ""))?;
        for line in lines.drain(..) {
            answer.line(&line, out)?;
            if answer.is_done() {
                return answer.finish(out);
            }
        }
    }
    if let Some(line) = reader.finish() {
        // A last line without its end may be cut: then the stream broke off, and that is what to say.
        match answer.line(&line, out) {
            Err(_) if serde_json::from_str::<Value>(&line).is_err() => {}
            other => other?,
        }
    }
    answer.finish(out)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
