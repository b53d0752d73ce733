//! What every method of the Bot API answers: <https://core.telegram.org/bots/api#making-requests>.

use carapace_sdk::channel::Failure;
use carapace_sdk::http;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A user or a bot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) is_bot: bool,
    pub(crate) first_name: String,
    pub(crate) last_name: Option<String>,
    pub(crate) username: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    ok: bool,
    result: Option<T>,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// Calls a method.
pub(crate) fn call<T: DeserializeOwned>(request: http::Request) -> Result<T, Failure> {
    let response = request.send()?;
    let status = response.status();
    let body = response.bytes(1 << 20).map_err(|e| Failure::retryable(e.to_string()).uncertain())?;
    result(status, &body)
}

/// The result in an answer, or why there is none.
pub(crate) fn result<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, Failure> {
    let envelope: Envelope<T> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        // A proxy's page, or a server in trouble.
        Err(_) if status >= 500 => return Err(Failure::retryable(format!("Telegram answered {status}")).uncertain()),
        Err(e) => {
            return Err(Failure::retryable(format!("Telegram's answer ({status}) cannot be read: {e}")).uncertain());
        }
    };
    if let (true, Some(result)) = (envelope.ok, envelope.result) {
        return Ok(result);
    }
    let code = if envelope.error_code == 0 { status } else { envelope.error_code };
    let said = envelope.description;
    Err(match code {
        401 | 404 => Failure::last(format!(
            "Telegram does not know this bot ({said}); set its token: carapace secrets set bot-token"
        )),
        409 => Failure::retryable(format!("another program polls this bot, or it has a webhook ({said})")),
        429 => Failure::retryable(format!("too many messages ({said})"))
            .account_waits(envelope.parameters.retry_after.map(Duration::from_secs)),
        500..600 => Failure::retryable(format!("Telegram failed ({code}: {said})")).uncertain(),
        _ => match envelope.parameters.migrate_to_chat_id {
            Some(chat) => Failure::last(format!("the group became another one, {chat} ({said})")),
            None => Failure::last(format!("Telegram refused it ({code}: {said})")),
        },
    })
}
