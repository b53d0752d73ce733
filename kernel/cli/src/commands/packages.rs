//! `carapace plugin install`, `update`, `rollback`, `enable`, `disable`, `uninstall`, `grants`, `why`.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::args::{BringArgs, RollbackArgs};
use crate::assembly::instance_id;
use crate::bundled;
use crate::failure::{Exit, Failure, Outcome};
use crate::installed::Stage;
use crate::owner::carry_out;
use crate::question;
use crate::sources::{self, Brought, Source};
use crate::trust;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::{ControlRequest, StageId};
use carapace_contract::{ComponentId, Digest, InstanceId, Name};
use carapace_registry::error::Release;
use carapace_registry::source::Expected;
use carapace_registry::{RegistryError, lock};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

/// Verifies a package and puts it where the kernel finds it.
async fn stage(paths: &StatePaths, source: &Source, args: &BringArgs, what: &Bring) -> Outcome<(Stage, Digest)> {
    let trust = trust::load(paths)?;
    let wanted = match what {
        Bring::Update(component) => Expected::Component(component),
        Bring::Install { publisher: Some(publisher), .. } => Expected::By(publisher),
        Bring::Install { publisher: None, .. } => Expected::Any,
    };
    let (verified, bundle, from) = match source {
        Source::File(file) => {
            let (verified, bundle) = trust::verify_with_bundle(file, args.signature.as_deref(), &trust)?;
            (verified, bundle, lock::FROM_FILE.to_owned())
        }
        source => {
            let Brought { fetched, expected, told } =
                sources::bring(paths, source, &args.reading.clone().into(), &trust).await?;
            let verified = fetched.verify(&trust, expected.as_ref().map_or(wanted, Expected::Component));
            let (verified, bundle) = verified.map_err(|e| {
                let failure = Failure::from(e.denial()).context(&fetched.source);
                match &told {
                    Some(told) => failure.and_help(told),
                    None => failure,
                }
            })?;
            (verified, bundle.to_vec(), fetched.source)
        }
    };
    let digest = verified.digest();
    if let Some(locked) = args.locked.filter(|locked| *locked != digest) {
        let package = Release::boxed(verified.id(), verified.version());
        return Err(RegistryError::Unlocked { package, locked, found: digest }.into());
    }
    Ok((Stage::new(paths, &verified, &bundle, &from)?, digest))
}

/// What `install` is for, and `update`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bring {
    /// A component that is not here yet, or a further instance of one that is.
    Install {
        /// Of which instance; `main` without it.
        instance: Option<Name>,
        /// By whom it must be.
        publisher: Option<Name>,
    },
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
    // What was not agreed to goes with its stage.
    let (stage, digest) = stage(paths, &sources::parse(source)?, args, &what).await?;
    brought(paths, config, args, what, stage.id(), digest).await
}

async fn brought(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    args: &BringArgs,
    what: Bring,
    stage: &StageId,
    digest: Digest,
) -> Outcome {
    let allow_downgrade = args.allow_downgrade;
    let (instance, publisher) = match &what {
        Bring::Install { instance, publisher } => (instance.clone(), publisher.as_ref()),
        Bring::Update(_) => (None, None),
    };
    let show =
        ControlRequest::PackageShow { stage: stage.clone(), digest, instance: instance.clone(), allow_downgrade };
    let shown = carry_out(paths, config.clone(), show).await?;
    let component = text(&shown["component"]);
    let is_here = shown["installed"].as_str();
    if let Some(wanted) = publisher.filter(|wanted| !component.starts_with(&format!("{wanted}/"))) {
        let why = format!("this is `{component}`, and something by `{wanted}` was expected");
        return Err(Failure::coded(Exit::Refused, "E-TRUST-013", why));
    }
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
        (Bring::Install { .. }, Some(version)) if shown["same"] != true && !is_same_file(&shown) => {
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
    let without = consent(args, &shown, digest).await?;
    // What was answered is about what was shown, and about nothing else that may lie there by now.
    let as_shown = Some(fingerprint(&shown)?);
    let stage = stage.clone();
    let bring = ControlRequest::PackageBring { stage, digest, shown: as_shown, without, instance, allow_downgrade };
    carry_out(paths, config, bring).await?;
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
    if let Some(data) = shown["data"].as_str() {
        eprintln!("But {data}.");
    }
    list("Warnings:", &shown["warnings"]);
}

/// The owner's yes, and which optional capabilities it leaves out. What asks for no more than was granted is not asked about.
async fn consent(args: &BringArgs, shown: &Value, digest: Digest) -> Outcome<BTreeSet<String>> {
    let grew = shown["grown"].as_array().is_some_and(|g| !g.is_empty());
    let asks = grew || shown["new"] == true || shown["data"].is_string();
    let without = args.without.names();
    // Whoever names a digest means these bytes, and thereby what their manifest asks; it can be granted nothing else.
    if let Some(accepted) = args.accept {
        if accepted == digest {
            return Ok(without);
        }
        return Err(Failure::new(Exit::Consent, format!("--accept names {accepted}, and the file is {digest}"))
            .help("look at it (carapace plugin inspect FILE), then name the digest that you mean"));
    }
    if !asks {
        return Ok(without);
    }
    let refused = |why: &str| {
        Failure::new(Exit::Consent, format!("{} is not granted what it asks: {why}", text(&shown["component"])))
            .help(format!(
                "answer at a terminal, or add --accept {digest} to grant what is listed above; --without CAPABILITY leaves out what is optional"
            ))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask at"));
    }
    if !question::answer(bundled::GRANT_THIS).await?.is_some_and(|answer| bundled::agrees(&answer)) {
        return Err(refused("you said no"));
    }
    refuse_optional(shown, without).await
}

/// Asks about each optional capability that is not refused already.
async fn refuse_optional(shown: &Value, mut without: BTreeSet<String>) -> Outcome<BTreeSet<String>> {
    for optional in shown["optional"].as_array().into_iter().flatten() {
        let name = text(&optional["capability"]);
        if without.contains(name) {
            continue;
        }
        let asked = format!("Optional, `{name}`: {}. Grant it, too? [y/N]", text(&optional["text"]));
        if !question::answer(&asked).await?.is_some_and(|answer| says_yes(&answer)) {
            without.insert(name.to_owned());
        }
    }
    Ok(without)
}

/// What a yes to something that was shown is bound to.
pub(super) fn fingerprint(shown: &Value) -> Outcome<Digest> {
    let found = shown["shown"].as_str().and_then(|s| s.parse().ok());
    found.ok_or_else(|| Failure::new(Exit::Failed, "the kernel does not say what it has shown"))
}

/// Back to the version before. What comes back that the owner does not allow now is asked about.
pub(crate) async fn rollback(paths: &StatePaths, config: Arc<ConfigHandle>, args: &RollbackArgs) -> Outcome {
    let component = component_id(&args.name)?;
    let show = ControlRequest::PackageRollbackShow { component: component.clone() };
    let shown = carry_out(paths, config.clone(), show).await?;
    if shown["grown"].as_array().is_some_and(|g| !g.is_empty()) || shown["data"].is_string() {
        eprintln!("{component} {}", text(&shown["to"]));
        eprintln!("{}", text(&shown["digest"]));
        list("With it comes back what you do not allow now:", &shown["grown"]);
        if let Some(data) = shown["data"].as_str() {
            eprintln!("And {data}.");
        }
        let refused = |why: &str| {
            let help = format!("answer at a terminal, or add --accept {}", text(&shown["digest"]));
            Failure::new(Exit::Consent, format!("{component} is not rolled back: {why}")).help(help)
        };
        match args.accept {
            Some(accepted) if shown["digest"] == accepted.to_string() => {}
            Some(accepted) => return Err(refused(&format!("--accept names {accepted}"))),
            None if !std::io::stdin().is_terminal() => return Err(refused("there is no terminal to ask at")),
            None if !bundled::ask()? => return Err(refused("you said no")),
            None => {}
        }
    }
    let request = ControlRequest::PackageRollback { component: component.clone(), shown: Some(fingerprint(&shown)?) };
    let done = carry_out(paths, config, request).await?;
    if args.output.json {
        print_json(&done);
    } else {
        println!("{component} is {} again; it was {}.", text(&done["to"]), text(&done["from"]));
    }
    Ok(())
}

/// Enables or disables an instance.
pub(crate) async fn enable(paths: &StatePaths, config: Arc<ConfigHandle>, name: &str, enabled: bool) -> Outcome {
    let instance = instance_id(name)?;
    let kept_out = config.current().instance(&instance).is_some_and(|section| !section.enabled);
    carry_out(paths, config, ControlRequest::InstanceEnable { instance: instance.clone(), enabled }).await?;
    println!("{instance} is {}.", if enabled { "enabled" } else { "disabled" });
    if enabled && kept_out {
        println!("It is not loaded: carapace.json5 says `enabled: false` in its section of `instances`.");
    }
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
    let request = ControlRequest::PackageUninstall { component: component.clone(), delete_data };
    let done = carry_out(paths, config, request).await?;
    let rest = match (empty, delete_data) {
        (true, _) => "",
        (_, true) => " What it kept is deleted.",
        (_, false) => " What it kept stays, for when it is installed again.",
    };
    println!("{component} is uninstalled.{rest}");
    for key in done["configured"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!(
            "carapace.json5 still names it: remove `instances: {{ \"{key}\": … }}`. Until then each start says that it is not installed."
        );
    }
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
        let names = |key: &str| {
            let names: Vec<&str> = grant[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            names.join(", ")
        };
        let (optional, refused) = (names("optional"), names("refused"));
        if !optional.is_empty() {
            println!("  optional, and granted: {optional}");
        }
        if !refused.is_empty() {
            println!("  refused: {refused}");
        }
        let lent = names("lent");
        match grant["lent_seconds"].as_u64() {
            _ if lent.is_empty() => {}
            Some(seconds) => println!("  granted for {seconds} more seconds: {lent}"),
            None => println!("  granted for the next call: {lent}"),
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
    Ok(says_yes(&answer))
}

/// Enter alone is a no.
fn says_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

pub(super) fn when(at_ms: &Value) -> String {
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

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
