//! `carapace plugin grant`: what it means is read before it is given.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::assembly::instance_id;
use crate::bundled;
use crate::failure::{Exit, Failure, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::Digest;
use carapace_contract::control::ControlRequest;
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::Arc;

/// Shows, asks, grants.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, instance: &str, yes: bool) -> Outcome {
    let instance = instance_id(instance)?;
    let shown = carry_out(paths, config.clone(), ControlRequest::GrantShow { instance: instance.clone() }).await?;
    let text = |key: &str| shown[key].as_str().unwrap_or_default();
    eprintln!("{instance}: {} {}, signed by {}", text("component"), text("version"), text("publisher"));
    match text("standing") {
        "revoked" => eprintln!("Its grant was revoked."),
        "granted" => eprintln!("It is granted; this is what a grant means now."),
        _ => eprintln!("It was never granted anything."),
    }
    list("It asks for more than you granted before:", &shown["grown"]);
    list("Granted, it", &shown["lines"]);
    let digest: Digest =
        text("digest").parse().map_err(|_| Failure::new(Exit::Failed, "the kernel names no package to grant"))?;
    let refused = |why: &str| {
        Failure::new(Exit::Consent, format!("{instance} is not granted: {why}"))
            .help("answer at a terminal, or add --yes to grant what is listed above")
    };
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(refused("there is no terminal to ask at"));
        }
        if !bundled::ask()? {
            return Err(refused("you said no"));
        }
    }
    let request = ControlRequest::GrantRestore { instance: instance.clone(), digest: Some(digest) };
    carry_out(paths, config, request).await?;
    println!("{instance} is granted.");
    Ok(())
}

fn list(title: &str, lines: &Value) {
    let mut lines = lines.as_array().into_iter().flatten().filter_map(Value::as_str).peekable();
    if lines.peek().is_some() {
        eprintln!("{title}");
    }
    lines.for_each(|line| eprintln!("  - {line}"));
}
