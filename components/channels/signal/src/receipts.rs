//! That a message was read: `POST /v1/receipts/{number}`, <https://bbernhard.github.io/signal-cli-rest-api/#/Receipts>. Whoever gets an answer is told so
//! with it, and nobody else: what the kernel lets nobody say to the assistant was not read by it, and a stranger learns nothing.

use crate::{account, api, number};
use carapace_sdk::channel::Failure;
use carapace_sdk::{http, log};
use serde_json::json;
use std::time::Duration;

/// An answer does not wait longer for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells whoever wrote a message, known by its id. The same twice is one to Signal.
pub(crate) fn read(message: &str) {
    if let Err(f) = told(message) {
        // The answer says the same.
        log::debug(format!("a message was not marked as read: {}", f.message));
    }
}

fn told(message: &str) -> Result<(), Failure> {
    let written = message.split_once(':').and_then(|(at, who)| Some((at.parse::<u64>().ok()?, who)));
    let (at, who) = written.ok_or_else(|| Failure::last(format!("`{message}` is no message's id")))?;
    let receipt = json!({ "receipt_type": "read", "recipient": who, "timestamp": at });
    let request = http::post("api", format!("/v1/receipts/{}", account(&number()?))).json(&receipt);
    api::call(request.timeout(PATIENCE)).map(drop)
}
