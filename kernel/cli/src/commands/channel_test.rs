//! `carapace channels test`: whether a channel works with the real account, seen from here.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::channels::{apart, line, list, print_heard, quoted, text};
use super::plugin::print_json;
use crate::assembly::instance_id;
use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};
use carapace_config::StatePaths;
use carapace_contract::InstanceId;
use carapace_contract::control::{ChannelRequest, ControlRequest};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks at the message.
const LOOK: Duration = Duration::from_millis(200);

/// Says how the channel stands, sends its owner a message through it, and waits `wait_s` seconds at most for what becomes of that.
pub(crate) async fn run(paths: &StatePaths, instance: &str, wait_s: u64, as_json: bool) -> Outcome {
    let client = Client::needed(paths).await?;
    let instance = instance_id(instance)?;
    let ask = async |request| client.control(&ControlRequest::Channel(request)).await;
    let say = |text: &str| {
        if !as_json {
            println!("{text}");
        }
    };

    let status = ask(ChannelRequest::Status { instance: instance.clone() }).await?;
    say(&line(&status));
    if !as_json {
        print_heard(&status);
    }
    let secrets = client.control(&ControlRequest::SecretsOf { instance: instance.clone() }).await?;
    for secret in list(&secrets) {
        say(&format!("  secret {}: {}", text(&secret["name"]), stands(secret)));
    }
    if status["state"] != "running" && status["state"] != "degraded" {
        return Err(does_not_run(&instance, &status, &secrets));
    }

    let sent = ask(ChannelRequest::Test { instance: instance.clone() }).await?;
    let Ok(part) = serde_json::from_value::<ulid::Ulid>(sent["part"].clone()) else {
        return Err(nobody_yet(&instance, &status));
    };
    let owner = &sent["owner"];
    say(&format!("  you last wrote {} ago, as {}", apart(&owner["at_ms"]), quoted(&owner["sender"], 64)));
    say(&format!("A message is on its way there ({part}); waiting {wait_s} s at most."));
    let begin = Instant::now();
    let mut told = Value::Null;
    loop {
        let now = ask(ChannelRequest::OutboxShow { id: part }).await?;
        let error = quoted(&now["error"], 300);
        match text(&now["state"]) {
            "sent" => {
                let receipt = quoted(&now["receipt"], 64);
                let ms = begin.elapsed().as_millis();
                if as_json {
                    print_json(&json!({ "channel": status, "secrets": secrets, "owner": owner, "part": part,
                        "receipt": now["receipt"], "attempts": now["attempts"], "ms": u64::try_from(ms).unwrap_or(u64::MAX) }));
                } else {
                    println!(
                        "Taken: the platform answered after {ms} ms, and calls the message {receipt}. Look into the chat."
                    );
                }
                return Ok(());
            }
            "dead" => {
                let help =
                    format!("carapace channels test {instance}, once that is put right; carapace outbox drop {part}");
                return Err(Failure::coded(Exit::Refused, "E-CHANNEL-010", format!("refused: {error}")).help(help));
            }
            "uncertain" => {
                let why = format!("nobody knows whether the message arrived: {error}");
                let help =
                    format!("look into the chat; then carapace outbox drop {part}, or carapace outbox retry {part}");
                return Err(Failure::coded(Exit::Failed, "E-CHANNEL-011", why).help(help));
            }
            _ if !now["error"].is_null() && now["error"] != told => {
                say(&format!("  not yet, and it is tried again: {error}"));
                told = now["error"].clone();
            }
            _ => {}
        }
        if begin.elapsed() >= Duration::from_secs(wait_s) {
            return Err(no_answer(wait_s, &error, &status, part));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn stands(secret: &Value) -> &'static str {
    match (text(&secret["from"]), secret["optional"] == true) {
        ("store", _) => "stored",
        ("environment", _) => "from the environment",
        (_, true) => "not set; it works without",
        (_, false) => "not set",
    }
}

fn does_not_run(instance: &InstanceId, status: &Value, secrets: &Value) -> Failure {
    let why = if status["why"].is_null() {
        "its start has not been answered yet".to_owned()
    } else {
        quoted(&status["why"], 500)
    };
    let missing = list(secrets).iter().find(|s| s["from"].is_null() && s["optional"] != true);
    let help = match missing {
        Some(secret) => format!("carapace secrets set {} --instance {instance}", text(&secret["name"])),
        None => format!("carapace channels status {instance}"),
    };
    let message = format!("the channel is {} and was not tested: {why}", text(&status["state"]));
    Failure::coded(Exit::Failed, "E-CHANNEL-009", message).help(help)
}

fn nobody_yet(instance: &InstanceId, status: &Value) -> Failure {
    let waits = status["pairing"].as_u64().unwrap_or_default();
    let message = "it runs, but you have not written to it directly yet, so there is nowhere to send a test to";
    let help = match waits {
        0 => format!(
            "write to the assistant there; it answers with a code: carapace pairing approve CODE --owner; write once more, then carapace channels test {instance}"
        ),
        n => format!(
            "{n} wait with a code (carapace pairing list); if one of them is you: carapace pairing approve CODE --owner; write once more, then carapace channels test {instance}"
        ),
    };
    Failure::coded(Exit::Consent, "E-CHANNEL-008", message).help(help)
}

fn no_answer(wait_s: u64, error: &str, status: &Value, part: ulid::Ulid) -> Failure {
    let before = status["outbox_pending"].as_u64().unwrap_or_default();
    let mut why = format!("no answer within {wait_s} s");
    if before > 0 {
        why += &format!("; {before} parts waited before it");
    }
    if !error.is_empty() {
        why += &format!(": {error}");
    }
    let help =
        format!("it is tried again for ten minutes: carapace outbox list; carapace outbox drop {part} gives it up");
    Failure::coded(Exit::Unreachable, "E-CHANNEL-012", why).help(help)
}
