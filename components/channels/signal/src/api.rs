//! What signal-cli-rest-api answers: <https://bbernhard.github.io/signal-cli-rest-api/>.

use carapace_sdk::channel::Failure;
use carapace_sdk::http;
use serde_json::Value;
use std::time::Duration;

/// A captcha has to be solved meanwhile.
const CHALLENGED: Duration = Duration::from_hours(1);

/// Calls it. Some answers have no body.
pub(crate) fn call(request: http::Request) -> Result<Value, Failure> {
    let response = request.send()?;
    let status = response.status();
    let body = response.bytes(1 << 20).map_err(|e| Failure::retryable(e.to_string()).uncertain())?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(refusal(status, &body))
}

pub(crate) fn refusal(status: u16, body: &Value) -> Failure {
    let said = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let said: String = said.chars().take(300).collect();
    let lower = said.to_ascii_lowercase();
    match status {
        429 => Failure::retryable(format!("Signal wants a captcha before more is sent ({said})"))
            .account_waits(Some(CHALLENGED)),
        // signal-cli's own words where it did not get through.
        400 if ["network", "timeout", "timed out", "connection"].iter().any(|w| lower.contains(w)) => {
            Failure::retryable(format!("Signal was not reached ({said})")).uncertain()
        }
        400..500 => Failure::last(format!("signal-cli refused it ({status}: {said})")),
        _ => Failure::retryable(format!("signal-cli-rest-api failed ({status}: {said})")).uncertain(),
    }
}
