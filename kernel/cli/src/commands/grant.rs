//! `carapace plugin grant`: what it means is read before it is given. And `plugin revoke`.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::packages::fingerprint;
use crate::args::{GrantArgs, RevokeArgs};
use crate::assembly::instance_id;
use crate::bundled;
use crate::failure::{Exit, Failure, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::Arc;

/// Shows, asks, grants.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: &GrantArgs) -> Outcome {
    let instance = instance_id(&args.instance)?;
    if args.once || args.time.is_some() {
        crate::client::Client::needed(paths).await?;
    }
    let capabilities: std::collections::BTreeSet<String> = args.capabilities.iter().cloned().collect();
    let show = ControlRequest::GrantShow { instance: instance.clone(), capabilities: capabilities.clone() };
    let shown = carry_out(paths, config.clone(), show).await?;
    let text = |key: &str| shown[key].as_str().unwrap_or_default();
    eprintln!("{instance}: {} {}, signed by {}", text("component"), text("version"), text("publisher"));
    match text("standing") {
        "revoked" => eprintln!("Its grant was revoked."),
        "granted" => eprintln!("It is granted; this is what a grant means now."),
        _ => eprintln!("It was never granted anything."),
    }
    list("It asks for more than you granted before:", &shown["grown"]);
    list("Granted, it", &shown["lines"]);
    list("Refused, and not granted unless you name it:", &shown["refused"]);
    list("Warnings:", &shown["warnings"]);
    let refused = |why: &str| {
        Failure::new(Exit::Consent, format!("{instance} is not granted: {why}"))
            .help("answer at a terminal, or add --yes to grant what is listed above")
    };
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(refused("there is no terminal to ask at"));
        }
        if !bundled::ask()? {
            return Err(refused("you said no"));
        }
    }
    let as_shown = fingerprint(&shown)?;
    if args.once || args.time.is_some() {
        let request =
            ControlRequest::GrantLend { instance: instance.clone(), capabilities, shown: as_shown, seconds: args.time };
        carry_out(paths, config, request).await?;
        let names = args.capabilities.join(" ");
        match args.time {
            Some(seconds) => {
                println!("{instance} may use {names} for {seconds} seconds, or until the assistant stops.")
            }
            None => println!("{instance} may use {names} in the next call that does."),
        }
        return Ok(());
    }
    let (shown, without) = (Some(as_shown), args.without.names());
    let request = ControlRequest::GrantRestore { instance: instance.clone(), capabilities, without, shown };
    carry_out(paths, config, request).await?;
    println!("{instance} is granted.");
    Ok(())
}

/// Takes all of a grant away, or what of it is optional and named.
pub(crate) async fn revoke(paths: &StatePaths, config: Arc<ConfigHandle>, args: &RevokeArgs) -> Outcome {
    let instance = instance_id(&args.instance)?;
    let capabilities = args.capabilities.iter().cloned().collect();
    carry_out(paths, config, ControlRequest::GrantRevoke { instance: instance.clone(), capabilities }).await?;
    let names = args.capabilities.join(" ");
    if names.is_empty() {
        println!("{instance} may do nothing any more. `carapace plugin grant {instance}` gives the grant back.");
    } else {
        println!("{instance} may not use {names} any more. `carapace plugin grant {instance} {names}` gives it back.");
    }
    Ok(())
}

fn list(title: &str, lines: &Value) {
    let mut lines = lines.as_array().into_iter().flatten().filter_map(Value::as_str).peekable();
    if lines.peek().is_some() {
        eprintln!("{title}");
    }
    lines.for_each(|line| eprintln!("  - {line}"));
}
