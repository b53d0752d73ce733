//! `carapace plugin requests`: what the assistant proposes to install. Approving is an installation as any other.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::packages::{self, Bring, text, when};
use super::plugin::print_json;
use crate::args::RequestsCommand;
use crate::failure::{Exit, Failure, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::Ulid;
use carapace_contract::control::ControlRequest;
use carapace_contract::manifest::deceives;
use serde_json::Value;
use std::sync::Arc;

/// Lists, approves, rejects.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, command: Option<RequestsCommand>) -> Outcome {
    match command {
        None => list(paths, config, false).await,
        Some(RequestsCommand::List(output)) => list(paths, config, output.json).await,
        Some(RequestsCommand::Approve { id, bring }) => {
            let (id, request) = find(paths, config.clone(), &id).await?;
            eprintln!("{}", described(&request));
            let name = text(&request["name"]).to_owned();
            packages::bring(paths, config.clone(), &name, &bring, Bring::Install { instance: None, publisher: None })
                .await?;
            carry_out(paths, config, ControlRequest::RequestEnd { id, approved: true }).await.map(drop)
        }
        Some(RequestsCommand::Reject { id }) => {
            let (id, request) = find(paths, config.clone(), &id).await?;
            carry_out(paths, config, ControlRequest::RequestEnd { id, approved: false }).await?;
            println!("{} is not installed.", plain(text(&request["name"])));
            Ok(())
        }
    }
}

async fn list(paths: &StatePaths, config: Arc<ConfigHandle>, json: bool) -> Outcome {
    let waiting = carry_out(paths, config, ControlRequest::RequestList).await?;
    if json {
        print_json(&waiting);
        return Ok(());
    }
    let waiting = waiting.as_array().map(Vec::as_slice).unwrap_or_default();
    if waiting.is_empty() {
        println!("Nothing is proposed.");
    }
    for request in waiting {
        println!("{}", described(request));
        println!("  carapace plugin requests approve {0}, or reject {0}", text(&request["id"]));
    }
    Ok(())
}

async fn find(paths: &StatePaths, config: Arc<ConfigHandle>, id: &str) -> Outcome<(Ulid, Value)> {
    let unknown =
        || Failure::new(Exit::Usage, format!("there is no request `{id}`")).help("carapace plugin requests list");
    let parsed: Ulid = id.to_uppercase().parse().map_err(|_| unknown())?;
    let waiting = carry_out(paths, config, ControlRequest::RequestList).await?;
    let wanted = parsed.to_string().to_lowercase();
    let found = waiting.as_array().into_iter().flatten().find(|r| r["id"] == wanted).cloned();
    found.map(|request| (parsed, request)).ok_or_else(unknown)
}

/// Who asks for what, in whose words.
fn described(request: &Value) -> String {
    let outside = match request["tainted"] == true {
        true => "\n  Text from outside stood in that conversation, and may have had a hand in this.",
        false => "",
    };
    format!(
        "{}: asked for by {} on {}, in the conversation `{}`\n  in its words, which nobody has checked: \u{201c}{}\u{201d}{outside}",
        plain(text(&request["name"])),
        text(&request["instance"]),
        when(&request["at_ms"]),
        plain(text(&request["session"])),
        plain(text(&request["reason"])),
    )
}

/// Nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !deceives(*c)).collect()
}
