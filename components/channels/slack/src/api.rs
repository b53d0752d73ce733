//! What every method of the Web API answers: <https://docs.slack.dev/apis/web-api/#responses>.

use carapace_sdk::channel::Failure;
use carapace_sdk::http;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    error: String,
    /// Of `missing_scope`: the one that is missing.
    #[serde(default)]
    needed: String,
}

/// Calls a method. `token` is the secret that speaks there, for what a person is told.
pub(crate) fn call<T: DeserializeOwned>(request: http::Request, token: &str) -> Result<T, Failure> {
    let response = request.send()?;
    let status = response.status();
    let wait = response.header("retry-after").and_then(|v| v.trim().parse().ok()).map(Duration::from_secs);
    if status == 429 {
        let ms = wait.and_then(|w| u64::try_from(w.as_millis()).ok());
        // Messages are counted per conversation: https://docs.slack.dev/apis/web-api/rate-limits/
        return Err(Failure { retry_after_ms: ms, ..Failure::retryable("Slack wants fewer messages") });
    }
    let body = response.bytes(1 << 20).map_err(|e| Failure::retryable(e.to_string()).uncertain())?;
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&body) else {
        return Err(Failure::retryable(format!("Slack answered {status}, and nothing that can be read")).uncertain());
    };
    if !envelope.ok {
        return Err(refusal(&envelope.error, &envelope.needed, token));
    }
    serde_json::from_slice(&body)
        .map_err(|e| Failure::retryable(format!("Slack's answer cannot be read: {e}")).uncertain())
}

fn refusal(error: &str, needed: &str, token: &str) -> Failure {
    match error {
        "not_authed"
        | "invalid_auth"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "not_allowed_token_type"
        | "org_login_required"
        | "two_factor_setup_required" => {
            Failure::last(format!("Slack does not take the {token} ({error}); set it: carapace secrets set {token}"))
        }
        "missing_scope" => Failure::last(format!(
            "the Slack app lacks the scope `{needed}`; add it under OAuth & Permissions and install the app again"
        )),
        "not_in_channel" | "channel_not_found" | "is_archived" => {
            Failure::last(format!("the assistant cannot write there ({error}); invite it into the channel"))
        }
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
            Failure::retryable(format!("Slack wants fewer messages ({error})"))
        }
        // Slack itself failed, after the message may have been taken.
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            Failure::retryable(format!("Slack failed ({error})")).uncertain()
        }
        _ => Failure::last(format!("Slack refused it ({error})")),
    }
}
