//! `carapace plugin install`, `update`, `rollback`, `enable`, `disable`, `uninstall`, `grants`, `why`.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::args::BringArgs;
use crate::assembly::instance_id;
use crate::bundled;
use crate::failure::{Exit, Failure, Outcome};
use crate::owner::carry_out;
use crate::sources::{self, Brought, Source};
use crate::trust;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use carapace_contract::{ComponentId, Digest, InstanceId, Name};
use serde_json::Value;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

/// Verifies a package and puts it where the kernel finds it, by its digest. Without a row it is nothing there.
async fn stage(paths: &StatePaths, source: &Source, args: &BringArgs) -> Outcome<Digest> {
    let trust = trust::load(paths)?;
    if let Source::File(file) = source {
        let signature = args.signature.clone().unwrap_or_else(|| trust::signature_path(file));
        let verified = trust::verify_file(file, Some(&signature), &trust)?;
        trust::stage(paths, &verified, &signature)?;
        return Ok(verified.digest());
    }
    let Brought { fetched, expected, told } =
        sources::bring(paths, source, &args.reading.clone().into(), &trust).await?;
    let (verified, bundle) = fetched.verify(&trust).map_err(|e| {
        let failure = Failure::from(e.denial()).context(&fetched.source);
        match &told {
            Some(told) => failure.and_help(told),
            None => failure,
        }
    })?;
    if let Some(expected) = expected.filter(|id| id != verified.id()) {
        let why = format!("{}: this is `{}`, and `{expected}` was expected", fetched.source, verified.id());
        return Err(Failure::coded(Exit::Refused, "E-TRUST-013", why));
    }
    trust::stage_bytes(paths, &verified, &bundle)?;
    Ok(verified.digest())
}

/// What `install` is for, and `update`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bring {
    /// A component that is not here yet, or a further instance of one that is.
    Install(Option<Name>),
    /// A newer version of this one.
    Update(ComponentId),
}

/// Shows what a package is and asks, asks the owner, brings it in.
pub(crate) async fn bring(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    source: &str,
    args: &BringArgs,
    what: Bring,
) -> Outcome {
    trust::make_state_dir(paths)?;
    let digest = stage(paths, &sources::parse(source)?, args).await?;
    let brought = brought(paths, config.clone(), args, what, digest).await;
    if brought.is_err() {
        // What was not agreed to does not stay. If it cannot be removed now, the next start does it.
        let _ = carry_out(paths, config, ControlRequest::PackageDiscard { digest }).await;
    }
    brought
}

async fn brought(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    args: &BringArgs,
    what: Bring,
    digest: Digest,
) -> Outcome {
    let allow_downgrade = args.allow_downgrade;
    let instance = if let Bring::Install(instance) = &what { instance.clone() } else { None };
    let show = ControlRequest::PackageShow { digest, instance: instance.clone(), allow_downgrade };
    let shown = carry_out(paths, config.clone(), show).await?;
    let component = text(&shown["component"]);
    let is_here = shown["installed"].as_str();
    match (&what, is_here) {
        (Bring::Update(wanted), _) if wanted.to_string() != component => {
            let why = format!("the file is `{component}`, not `{wanted}`");
            return Err(Failure::coded(Exit::Refused, "E-TRUST-013", why)
                .help(format!("carapace plugin update {component} FILE")));
        }
        (Bring::Update(_), None) => {
            let why = format!("no component `{component}` is installed");
            return Err(Failure::coded(Exit::Refused, "E-GRANT-010", why).help("carapace plugin install FILE"));
        }
        (Bring::Install(_), Some(version)) if shown["same"] != true && !is_same_file(&shown) => {
            let why = format!("`{component}` {version} is installed already");
            return Err(Failure::coded(Exit::Refused, "E-PACKAGE-003", why)
                .help(format!("carapace plugin update {component} FILE")));
        }
        _ => {}
    }
    if shown["same"] == true {
        if args.json {
            print_json(&shown);
        } else {
            println!("{component} {} is installed already.", text(&shown["version"]));
        }
        return Ok(());
    }
    describe(&shown);
    let agreed = consent(args, &shown, digest)?;
    carry_out(paths, config, ControlRequest::PackageBring { digest, agreed, instance, allow_downgrade }).await?;
    if args.json {
        print_json(&shown);
    } else if let Some(from) = is_here.filter(|_| matches!(what, Bring::Update(_))) {
        println!(
            "{component} is {} now; it was {from}. `carapace plugin rollback {component}` goes back.",
            text(&shown["version"])
        );
    } else {
        println!("{component} {} is installed.", text(&shown["version"]));
    }
    Ok(())
}

/// A further instance of what is installed as it is.
fn is_same_file(shown: &Value) -> bool {
    shown["new"] == true && shown["installed_digest"] == shown["digest"]
}

fn describe(shown: &Value) {
    eprintln!("{} {} — {}", text(&shown["component"]), text(&shown["version"]), text(&shown["description"]));
    eprintln!("signed by {}", text(&shown["publisher"]));
    eprintln!("{}", text(&shown["digest"]));
    if let Some(from) = shown["installed"].as_str() {
        eprintln!("{from} is installed.");
    }
    if shown["older"] == true {
        eprintln!("It is older than a version that was here before.");
    }
    if shown["new"] == true {
        list("It asks to:", &shown["lines"]);
    }
    list("It asks for more than you granted before:", &shown["grown"]);
    list("Warnings:", &shown["warnings"]);
}

/// Whether there was something to agree to, and it was. What asks for no more than was granted is not asked about.
fn consent(args: &BringArgs, shown: &Value, digest: Digest) -> Outcome<bool> {
    let grew = shown["grown"].as_array().is_some_and(|g| !g.is_empty());
    let asks = grew || shown["new"] == true;
    // Whoever names a digest means these bytes, whatever they ask.
    if let Some(accepted) = args.accept {
        if accepted == digest {
            return Ok(asks);
        }
        return Err(Failure::new(Exit::Consent, format!("--accept names {accepted}, and the file is {digest}"))
            .help("look at it (carapace plugin inspect FILE), then name the digest that you mean"));
    }
    if !asks {
        return Ok(false);
    }
    let refused = |why: &str| {
        Failure::new(Exit::Consent, format!("{} is not granted what it asks: {why}", text(&shown["component"])))
            .help(format!("answer at a terminal, or add --accept {digest} to grant what is listed above"))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at"));
    }
    if bundled::ask()? { Ok(true) } else { Err(refused("you said no")) }
}

/// Back to the version before.
pub(crate) async fn rollback(paths: &StatePaths, config: Arc<ConfigHandle>, name: &str, json: bool) -> Outcome {
    let component = component_id(name)?;
    let done = carry_out(paths, config, ControlRequest::PackageRollback { component: component.clone() }).await?;
    if json {
        print_json(&done);
    } else {
        println!("{component} is {} again; it was {}.", text(&done["to"]), text(&done["from"]));
    }
    Ok(())
}

/// Enables or disables an instance.
pub(crate) async fn enable(paths: &StatePaths, config: Arc<ConfigHandle>, name: &str, enabled: bool) -> Outcome {
    let instance = instance_id(name)?;
    carry_out(paths, config, ControlRequest::InstanceEnable { instance: instance.clone(), enabled }).await?;
    println!("{instance} is {}.", if enabled { "enabled" } else { "disabled" });
    Ok(())
}

/// Takes a component out; what it kept stays unless the owner says otherwise.
pub(crate) async fn uninstall(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    name: &str,
    data: Option<bool>,
    yes: bool,
) -> Outcome {
    let component = component_id(name)?;
    let kept = carry_out(paths, config.clone(), ControlRequest::PackageData { component: component.clone() }).await?;
    let empty = ["kv_bytes", "notes", "secrets"].iter().all(|k| kept[*k] == 0);
    let terminal = std::io::stdin().is_terminal();
    if !yes {
        if !terminal {
            return Err(Failure::new(
                Exit::Consent,
                format!("{component} is not uninstalled: there is no terminal to ask at"),
            )
            .help("add --yes; --delete-data deletes what it kept, too"));
        }
        if !ask_no(&format!("Uninstall {component}, and end the grants of all its instances?"))? {
            return Err(Failure::new(Exit::Cancelled, "nothing was uninstalled"));
        }
    }
    let delete_data = match data {
        Some(delete) => delete,
        None if empty || yes || !terminal => false,
        None => ask_no(&format!(
            "It keeps {} bytes of its own, {} notes and {} secrets. Delete them?",
            kept["kv_bytes"], kept["notes"], kept["secrets"]
        ))?,
    };
    carry_out(paths, config, ControlRequest::PackageUninstall { component: component.clone(), delete_data }).await?;
    let rest = match (empty, delete_data) {
        (true, _) => "",
        (_, true) => " What it kept is deleted.",
        (_, false) => " What it kept stays, for when it is installed again.",
    };
    println!("{component} is uninstalled.{rest}");
    Ok(())
}

/// All grants, or an instance's.
pub(crate) async fn grants(paths: &StatePaths, config: Arc<ConfigHandle>, name: Option<&str>, json: bool) -> Outcome {
    let wanted = name.map(instance_id).transpose()?;
    let all = carry_out(paths, config, ControlRequest::GrantList).await?;
    let is_it = |g: &&Value| wanted.as_ref().is_none_or(|w| g["instance"] == w.to_string());
    let found: Vec<&Value> = all.as_array().into_iter().flatten().filter(is_it).collect();
    if json {
        print_json(&Value::Array(found.into_iter().cloned().collect()));
        return Ok(());
    }
    for grant in found {
        let revoked = if grant["revoked"] == true { ", revoked" } else { "" };
        println!("{} (granted {} by {}{revoked})", text(&grant["instance"]), when(&grant["at_ms"]), text(&grant["by"]));
        for line in grant["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            println!("  - {line}");
        }
    }
    Ok(())
}

/// What was refused to an instance lately, by which rule, and what would allow it.
pub(crate) async fn why(paths: &StatePaths, config: Arc<ConfigHandle>, name: &str, json: bool) -> Outcome {
    let instance: InstanceId = instance_id(name)?;
    let status = crate::client::Client::needed(paths).await?.get("/api/status").await?;
    let is_it = |i: &&Value| i["instance"] == instance.to_string();
    let Some(known) = status["instances"].as_array().into_iter().flatten().find(is_it) else {
        let why = format!("no instance `{instance}` is installed");
        return Err(Failure::coded(Exit::Usage, "E-PACKAGE-001", why).help("carapace plugin list"));
    };
    let recent = carry_out(paths, config, ControlRequest::Denials { instance: instance.clone() }).await?;
    if json {
        print_json(&recent);
        return Ok(());
    }
    // One that does not run at all is refused everything, for one reason.
    let state = text(&known["state"]);
    if state != "ready" {
        println!("{instance} does not run: {state}");
    } else if recent.as_array().is_none_or(Vec::is_empty) {
        println!("Nothing was refused to {instance} since the assistant started.");
    }
    for denial in recent.as_array().into_iter().flatten() {
        println!("{} {} [{}]", when(&denial["at_ms"]), text(&denial["message"]), text(&denial["code"]));
        if let Some(fix) = denial["fix"].as_str().filter(|f| !f.is_empty()) {
            println!("  to allow it: {fix}");
        }
    }
    Ok(())
}

/// `publisher/name`, or a bare name of the local publisher; an instance of it means the component.
pub(crate) fn component_id(text: &str) -> Outcome<ComponentId> {
    Ok(instance_id(text)?.component().clone())
}

fn ask_no(question: &str) -> Outcome<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn when(at_ms: &Value) -> String {
    let at = at_ms.as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "?".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn list(title: &str, lines: &Value) {
    let mut lines = lines.as_array().into_iter().flatten().filter_map(Value::as_str).peekable();
    if lines.peek().is_some() {
        eprintln!("{title}");
    }
    lines.for_each(|line| eprintln!("  - {line}"));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
