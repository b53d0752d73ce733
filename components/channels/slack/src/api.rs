//! What every method of the Web API answers: <https://docs.slack.dev/apis/web-api/#responses>.

use carapace_sdk::channel::Failure;
use carapace_sdk::http;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    error: String,
    /// Of `missing_scope`: the one that is missing.
    #[serde(default)]
    needed: String,
    /// Of `invalid_blocks`: where, and why.
    #[serde(default)]
    response_metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    messages: Vec<String>,
}

/// A call with a body of JSON. With the character set, or Slack warns each time that it is missing.
pub(crate) fn json(endpoint: &str, method: &str, body: &Value) -> http::Request {
    http::post(endpoint, method).header("content-type", "application/json; charset=utf-8").body(body.to_string())
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
        return Err(refusal(&envelope, token));
    }
    serde_json::from_slice(&body)
        .map_err(|e| Failure::retryable(format!("Slack's answer cannot be read: {e}")).uncertain())
}

fn refusal(answer: &Envelope, token: &str) -> Failure {
    let Envelope { error, needed, .. } = answer;
    match error.as_str() {
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
        "invalid_blocks" | "invalid_blocks_format" => {
            let why: String = answer.response_metadata.messages.join("; ").chars().take(500).collect();
            Failure::last(format!("Slack does not take these blocks ({error}: {why})"))
        }
        _ => match advice(error) {
            Some(advice) => Failure::last(format!("{advice} ({error})")),
            None => Failure::last(format!("Slack refused it ({error})")),
        },
    }
}

/// What an error of a method about one message means, and what to do.
fn advice(error: &str) -> Option<&'static str> {
    Some(match error {
        "message_not_found" => "there is no such message in this conversation; it may have been deleted",
        "cant_update_message" => "only a message of the assistant's own can be changed",
        "edit_window_closed" => "the workspace's settings do not let a message of that age be changed",
        "cant_delete_message" => "only a message of the assistant's own can be deleted",
        "compliance_exports_prevent_deletion" => "the workspace's settings let no message be deleted",
        "user_not_in_channel" => "this person is not in this conversation; name somebody who is",
        "invalid_name" => "Slack has no emoji of this name",
        "not_reactable" => "nothing can be put under this message",
        "too_many_emoji" | "too_many_reactions" => "there are as many reactions as Slack allows",
        "msg_too_long" | "msg_blocks_too_long" => "it is longer than Slack allows; make it shorter",
        "restricted_action" => "the workspace's settings do not let the assistant do that there",
        _ => return None,
    })
}
