//! `carapace channels …`, `pairing …`, `outbox …`, `events …`: asked of the running assistant, which alone knows how its channels stand.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::args::{ChannelsCommand, EventsCommand, OutboxCommand, PairingCommand};
use crate::assembly::instance_id;
use crate::client::Client;
use crate::commands::channel_test;
use crate::failure::Outcome;
use carapace_config::StatePaths;
use carapace_contract::control::{ChannelRequest, ControlRequest};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

async fn ask(paths: &StatePaths, request: ChannelRequest) -> Outcome<Value> {
    Client::needed(paths).await?.control(&ControlRequest::Channel(request)).await
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text of a stranger's or a platform's on one line of a terminal that it must not drive.
pub(super) fn quoted(value: &Value, most: usize) -> String {
    let clean = |c: char| if c.is_control() || carapace_contract::manifest::deceives(c) { ' ' } else { c };
    let line: String = text(value).chars().map(clean).collect();
    let mut cut: String = line.chars().take(most).collect();
    if cut.len() < line.len() {
        cut.push('…');
    }
    cut
}

/// How long ago, or until when, in the largest unit.
pub(super) fn apart(at_ms: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds =
        at_ms.as_u64().unwrap_or_default().abs_diff(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `channels …`
pub(crate) async fn channels(paths: &StatePaths, command: ChannelsCommand) -> Outcome {
    match command {
        ChannelsCommand::List(output) => {
            let found = ask(paths, ChannelRequest::List).await?;
            if output.json {
                print_json(&found);
                return Ok(());
            }
            if list(&found).is_empty() {
                println!(
                    "No channel is loaded. `carapace plugin list` shows what is installed; docs/src/channels tells how to set one up."
                );
            }
            for one in list(&found) {
                println!("{}", line(one));
            }
        }
        ChannelsCommand::Status { instance, output } => {
            let one = ask(paths, ChannelRequest::Status { instance: instance_id(&instance)? }).await?;
            if output.json {
                print_json(&one);
                return Ok(());
            }
            println!("{}", line(&one));
            print_heard(&one);
            for (what, key, command) in [
                ("messages waiting for their turn", "waiting", ""),
                ("messages given up", "messages_dead", "carapace events list"),
                ("events put aside", "events_dead", "carapace events list"),
                ("parts to be sent", "outbox_pending", "carapace outbox list"),
                ("parts of which nobody knows whether they arrived", "outbox_uncertain", "carapace outbox list"),
                ("parts given up", "outbox_dead", "carapace outbox list"),
                ("strangers who wait", "pairing", "carapace pairing list"),
            ] {
                let n = one[key].as_u64().unwrap_or_default();
                let hint = if n > 0 && !command.is_empty() { format!("  ({command})") } else { String::new() };
                println!("  {what}: {n}{hint}");
            }
        }
        ChannelsCommand::Test { instance, wait, output } => {
            return channel_test::run(paths, &instance, wait, output.json).await;
        }
        // Carried out as the commands for every component.
        ChannelsCommand::Enable { .. } | ChannelsCommand::Disable { .. } => {}
    }
    Ok(())
}

/// When something was last heard through a channel.
pub(super) fn print_heard(one: &Value) {
    for (what, key) in [("last event", "last_event_ms"), ("last poll", "last_poll_ms")] {
        let told = if one[key].is_null() { "none yet".to_owned() } else { format!("{} ago", apart(&one[key])) };
        println!("  {what}: {told}");
    }
    for socket in list(&one["sockets"]) {
        let since = apart(&socket["since_ms"]);
        let heard = match &socket["last_frame_ms"] {
            Value::Null => "nothing came yet".to_owned(),
            at => format!("last frame {} ago", apart(at)),
        };
        println!("  socket {}: open for {since}, {heard}", text(&socket["endpoint"]));
    }
}

pub(super) fn line(one: &Value) -> String {
    let mut line = format!("{}  {}", text(&one["instance"]), text(&one["state"]));
    for (key, what) in
        [("outbox_uncertain", "uncertain"), ("events_dead", "dead events"), ("pairing", "waiting to be paired")]
    {
        if let Some(n) = one[key].as_u64().filter(|n| *n > 0) {
            line += &format!(", {n} {what}");
        }
    }
    if !one["why"].is_null() {
        line += &format!(": {}", quoted(&one["why"], 500));
    }
    line
}

/// `pairing …`
pub(crate) async fn pairing(paths: &StatePaths, command: PairingCommand) -> Outcome {
    match command {
        PairingCommand::List(output) => {
            let found = ask(paths, ChannelRequest::PairingList).await?;
            if output.json {
                print_json(&found);
                return Ok(());
            }
            let (pending, paired) = (list(&found["pending"]), list(&found["paired"]));
            if pending.is_empty() && paired.is_empty() {
                println!(
                    "Nobody waits and nobody is paired. Whoever writes to a channel for the first time is given a code to tell you."
                );
            }
            for p in pending {
                println!(
                    "{}  waits, for {} more: {} calls itself \"{}\" ({})",
                    text(&p["code"]),
                    apart(&p["expires_ms"]),
                    quoted(&p["sender"], 64),
                    quoted(&p["name"], 64),
                    text(&p["instance"]),
                );
            }
            for p in paired {
                let who = if p["owner"] == true { "is you" } else { "may talk" };
                println!(
                    "{who}, since {}: {} \"{}\" ({})",
                    apart(&p["at_ms"]),
                    quoted(&p["sender"], 64),
                    quoted(&p["name"], 64),
                    text(&p["instance"]),
                );
            }
        }
        PairingCommand::Approve { code, owner } => {
            let who = ask(paths, ChannelRequest::PairingApprove { code, owner }).await?;
            let (sender, name) = (quoted(&who["sender"], 64), quoted(&who["name"], 64));
            let instance = text(&who["instance"]);
            if owner {
                println!("{sender} \"{name}\" on {instance} is you from now on.");
            } else {
                println!("{sender} \"{name}\" on {instance} may talk from now on.");
            }
            println!("To undo: carapace pairing remove {instance} {sender}");
        }
        PairingCommand::Reject { code } => {
            let who = ask(paths, ChannelRequest::PairingReject { code }).await?;
            println!("{} on {} is forgotten.", quoted(&who["sender"], 64), text(&who["instance"]));
        }
        PairingCommand::Remove { instance, sender } => {
            ask(paths, ChannelRequest::PairingRemove { instance: instance_id(&instance)?, sender }).await?;
            println!("Removed: what that account writes is a stranger's from now on.");
        }
    }
    Ok(())
}

/// `outbox …`
pub(crate) async fn outbox(paths: &StatePaths, command: OutboxCommand) -> Outcome {
    match command {
        OutboxCommand::List { of, output } => {
            let instance = of.as_deref().map(instance_id).transpose()?;
            let found = ask(paths, ChannelRequest::OutboxList { instance }).await?;
            if output.json {
                print_json(&found);
                return Ok(());
            }
            if list(&found).is_empty() {
                println!("Everything has gone out.");
            }
            for part in list(&found) {
                println!(
                    "{}  {}, {} tries, to {} ({}): {}",
                    text(&part["id"]),
                    text(&part["state"]),
                    part["attempts"],
                    quoted(&part["conversation"], 64),
                    text(&part["instance"]),
                    quoted(&part["text"], 60),
                );
                if let Some(why) = part["detail"]["why"].as_str().or_else(|| part["detail"]["message"].as_str()) {
                    println!("    {}", quoted(&Value::from(why), 300));
                }
            }
        }
        OutboxCommand::Retry { id } => {
            ask(paths, ChannelRequest::OutboxRetry { id }).await?;
            println!("It is sent as soon as its conversation's turn comes.");
        }
        OutboxCommand::Drop { id } => {
            ask(paths, ChannelRequest::OutboxDrop { id }).await?;
            println!("Given up.");
        }
    }
    Ok(())
}

/// `events …`
pub(crate) async fn events(paths: &StatePaths, command: EventsCommand) -> Outcome {
    match command {
        EventsCommand::List(output) => {
            let found = ask(paths, ChannelRequest::EventList).await?;
            if output.json {
                print_json(&found);
                return Ok(());
            }
            if list(&found).is_empty() {
                println!("Nothing was put aside.");
            }
            for e in list(&found) {
                println!(
                    "{}  {} of {}, {} ago: {}",
                    text(&e["id"]),
                    text(&e["what"]),
                    text(&e["instance"]),
                    apart(&e["at_ms"]),
                    quoted(&e["why"], 300),
                );
            }
        }
        EventsCommand::Replay { id } => {
            ask(paths, ChannelRequest::EventReplay { id }).await?;
            println!("It is given to its channel again.");
        }
        EventsCommand::Drop { id } => {
            ask(paths, ChannelRequest::EventDrop { id }).await?;
            println!("Forgotten.");
        }
    }
    Ok(())
}
