//! What the REST API answers: <https://docs.discord.com/developers/reference#error-messages>.

use carapace_sdk::channel::Failure;
use carapace_sdk::http;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    code: u32,
    message: String,
    /// Seconds.
    retry_after: Option<f64>,
    global: bool,
}

/// Calls it, and reads the answer.
pub(crate) fn call<T: DeserializeOwned>(request: http::Request) -> Result<T, Failure> {
    let body = done(request)?;
    serde_json::from_slice(&body)
        .map_err(|e| Failure::retryable(format!("Discord's answer cannot be read: {e}")).uncertain())
}

/// Calls it; the answer says no more than that it was done.
pub(crate) fn done(request: http::Request) -> Result<Vec<u8>, Failure> {
    let response = request.send()?;
    let status = response.status();
    let header = |name: &str| response.header(name);
    let (scope, after) = (header("x-ratelimit-scope"), header("retry-after"));
    let body = response.bytes(4 << 20).map_err(|e| Failure::retryable(e.to_string()).uncertain())?;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
    let said = if refusal.message.is_empty() { format!("status {status}") } else { refusal.message };
    Err(match status {
        401 => Failure::last(format!(
            "Discord does not take the bot token ({said}); set it: carapace secrets set bot-token"
        )),
        429 => {
            // https://docs.discord.com/developers/topics/rate-limits
            let seconds = refusal.retry_after.or_else(|| after.and_then(|a| a.trim().parse().ok())).unwrap_or(1.0);
            let wait = Duration::try_from_secs_f64(seconds.clamp(0.0, 86_400.0)).unwrap_or(Duration::from_secs(1));
            let failure = Failure::retryable(format!("Discord wants fewer requests ({said})"));
            // Else it is about this conversation: its own limit, or one that all bots share there.
            if refusal.global || scope.as_deref() == Some("global") {
                failure.account_waits(Some(wait))
            } else {
                Failure { retry_after_ms: u64::try_from(wait.as_millis()).ok(), ..failure }
            }
        }
        500..600 => Failure::retryable(format!("Discord failed ({said})")).uncertain(),
        // https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
        _ => match refusal.code {
            50_001 | 50_013 => Failure::last(format!(
                "the bot may not do that there ({said}); give its role the permission for it in that channel: View Channel, Send Messages, Send \
                 Messages in Threads, Read Message History, Add Reactions, Embed Links, Create Public Threads or, for messages of others, Manage \
                 Messages"
            )),
            50_007 => Failure::last(format!("this person takes no direct messages from the bot ({said})")),
            code => match advice(code) {
                Some(advice) => Failure::last(format!("{advice} ({said})")),
                None => Failure::last(format!("Discord refused it ({said}, code {code})")),
            },
        },
    })
}

/// What a refusal of something about one message means, and what to do.
fn advice(code: u32) -> Option<&'static str> {
    Some(match code {
        10_003 => "there is no such channel, or the bot does not see it",
        10_008 => "there is no such message in this channel; it may have been deleted",
        10_014 => "Discord has no such emoji, or the bot is not in the server whose own it is",
        30_010 => "there are as many reactions under this message as Discord allows",
        50_005 => "only a message of the bot's own can be changed",
        50_024 => "that does not go in a channel of this kind",
        90_001 => "whoever wrote this message does not let the bot react to it",
        160_004 => "a thread has been begun at this message already; write there",
        160_006 => "there are as many threads in this server as Discord allows",
        _ => return None,
    })
}
