//! Answers out of what `carapace plugin record` wrote.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::answer::{Answer, Exchange};
use crate::Error;
use serde_json::Value;

/// The version of recordings that is read.
const VERSION: u64 = 1;

/// The requests of a recording with what was answered to each, in order.
pub(super) fn exchanges(text: &str) -> Result<Vec<Exchange>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header: Value = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok()).unwrap_or_default();
    match header.get("carapace-recording").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => return Err(format!("the recording has version {other}, this carapace-sdk reads {VERSION}")),
        None => return Err("this is no recording; `carapace plugin record` makes one".to_owned()),
    }
    let mut found: Vec<Exchange> = Vec::new();
    // Which of the exchanges a response's number means: that of the call, since it was last given.
    let mut open: Vec<((u64, u64), usize)> = Vec::new();
    for (n, line) in lines {
        let line: Value = serde_json::from_str(line).map_err(|e| format!("line {} of the recording: {e}", n + 1))?;
        let call = line.get("call").and_then(Value::as_u64).unwrap_or_default();
        let (arguments, result) = (&line["arguments"], &line["result"]);
        match line.get("import").and_then(Value::as_str) {
            Some("http.send") => {
                if let Some(number) = result.pointer("/ok/response").and_then(Value::as_u64) {
                    open.retain(|(key, _)| *key != (call, number));
                    open.push(((call, number), found.len()));
                }
                found.push(exchange(&arguments["request"], result));
            }
            Some("http.response.read") => {
                let number = arguments.get("response").and_then(Value::as_u64).unwrap_or_default();
                let at = open.iter().find(|(key, _)| *key == (call, number)).map(|(_, at)| *at);
                if let Some(exchange) = at.and_then(|at| found.get_mut(at)) {
                    let answer = exchange.answer.clone();
                    exchange.answer = match (result.get("ok"), result.get("err")) {
                        (Some(bytes), _) => {
                            answer.chunk(read_bytes(bytes).map_err(|e| format!("line {}: {e}", n + 1))?)
                        }
                        (None, Some(why)) => answer.breaks(error(why)),
                        (None, None) => answer,
                    };
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn exchange(request: &Value, result: &Value) -> Exchange {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let target = match (&request["target"]["endpoint"], &request["target"]["public"]) {
        (Value::Array(parts), _) => match parts.as_slice() {
            [Value::String(endpoint), Value::String(path)] => Some(format!("{endpoint}:{path}")),
            _ => None,
        },
        (_, public) => text(public),
    };
    let answer = match (result.get("ok"), result.get("err")) {
        (Some(head), _) => {
            let status = head.get("status").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
            let mut answer = Answer::new(status.unwrap_or_default());
            for pair in head.get("headers").and_then(Value::as_array).into_iter().flatten() {
                if let Some([Value::String(name), Value::String(value)]) = pair.as_array().map(Vec::as_slice) {
                    answer = answer.header(name, value);
                }
            }
            match head.get("url").and_then(Value::as_str) {
                Some(url) => answer.redirected(url),
                None => answer,
            }
        }
        (None, failure) => {
            let failure = failure.unwrap_or(&Value::Null);
            Answer::failing(error(&failure["error"]), failure["sent"] == Value::Bool(true))
        }
    };
    Exchange { method: text(&request["method"]), target, answer }
}

/// A case of the contract's `error`: its name, or its name with a text.
fn error(value: &Value) -> Error {
    let (case, text) = match value {
        Value::Object(fields) => fields.iter().next().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default())),
        other => other.as_str().map(|case| (case, "")),
    }
    .unwrap_or_default();
    let text = text.to_owned();
    match case {
        "denied" => Error::Denied(text),
        "limit" => Error::Limit(text),
        "not-found" => Error::NotFound(text),
        "invalid" => Error::Invalid(text),
        "unavailable" => Error::Unavailable(text),
        "timeout" => Error::Timeout(text),
        "cancelled" => Error::Cancelled,
        _ => Error::Other(text),
    }
}

/// `{"text"}`, `{"base64"}`, or `[]` for none.
fn read_bytes(value: &Value) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    if let Some(text) = value.get("text").and_then(Value::as_str) {
        return Ok(text.as_bytes().to_vec());
    }
    match value.get("base64").and_then(Value::as_str) {
        Some(coded) => base64::engine::general_purpose::STANDARD.decode(coded).map_err(|e| e.to_string()),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDING: &str = r#"{"carapace-recording":1,"instance":"me/x/main"}
{"call":1,"event":"called","export":"tools.call","arguments":{"name":"x_find"}}
{"call":1,"event":"asked","import":"http.send","arguments":{"request":{"method":"GET","target":{"endpoint":["api","/places?name=B"]}}},"result":{"ok":{"response":0,"status":200,"headers":[["content-type","text/plain"]],"url":"https://e.test/places"}},"tainted":true}
{"call":1,"event":"asked","import":"http.response.read","arguments":{"response":0,"max":9},"result":{"ok":{"text":"Ber"}}}
{"call":1,"event":"asked","import":"http.response.read","arguments":{"response":0,"max":9},"result":{"ok":{"base64":"/w=="}}}
{"call":1,"event":"asked","import":"http.response.read","arguments":{"response":0,"max":9},"result":{"ok":[]}}
{"call":2,"event":"asked","import":"http.send","arguments":{"request":{"method":"GET","target":{"public":"https://e.test/"}}},"result":{"err":{"error":{"unavailable":"no route"},"sent":false}}}
{"call":2,"event":"returned","result":{"ok":[]}}
"#;

    #[test]
    fn each_request_gets_what_was_answered_to_it() {
        let found = exchanges(RECORDING).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].fits("GET", "api:/places?name=B") && !found[0].fits("GET", "api:/places?name=C"));
        let answer = Answer::new(200).header("content-type", "text/plain").redirected("https://e.test/places");
        assert_eq!(found[0].answer, answer.chunk("Ber").chunk([0xff]));
        assert!(found[1].fits("GET", "https://e.test/"));
        assert_eq!(found[1].answer, Answer::failing(Error::Unavailable("no route".to_owned()), false));
    }

    #[test]
    fn what_is_no_recording_says_so() {
        assert!(exchanges("").unwrap_err().contains("no recording"));
        assert!(exchanges("{\"carapace-recording\":2}").unwrap_err().contains("version 2"));
        assert!(exchanges("{\"carapace-recording\":1}\nx").unwrap_err().contains("line 2"));
    }
}
