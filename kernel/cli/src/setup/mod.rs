//! `carapace setup`: looks at what could answer, asks at most four questions, and calls nothing ready that did not answer.
//!
//! Who asks what: consent to the bundled components ([`crate::bundled`], only the first time), which model ([`decide`]), what to do with
//! its key or, for a further instance, its grant, and whether to start afterwards. Everything is asked before anything is tried, and
//! everything is tried ([`trial`]) before anything is written ([`mod@file`]).

mod ask;
pub(crate) mod choices;
mod decide;
mod file;
pub(crate) mod known;
mod servers;
mod trial;

use crate::args::SetupArgs;
use crate::assembly::{open_store, store_options};
use crate::bundled::{self, Consent};
use crate::client::{Answer, Client};
use crate::commands::{plugin, start};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::{assets, trust};
use carapace_config::{Change, Config, ConfigHandle, StatePaths, SystemEnv};
use carapace_contract::Name;
use choices::{Choice, Found};
use decide::{Decision, Present};
use file::{Draft, Written};
use known::{Provider, Source};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::Arc;
use trial::Trial;

/// What the owner said about the chosen model, before anything is done.
struct Plan {
    choice: Choice,
    /// The key that goes into the store.
    key: Option<String>,
    /// A grant that was read.
    grant: bool,
}

/// What came of it.
#[derive(Default)]
struct Done {
    answer: Answer,
    model: String,
    written: Option<Written>,
    secret: Option<String>,
    grant: Option<String>,
    notes: Vec<String>,
}

/// Sets up, and starts if the owner said so.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: SetupArgs) -> Outcome {
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "setup asks questions, and there is no terminal to ask at")
            .help("carapace setup --yes takes the defaults; --model PROVIDER/MODEL says which model"));
    }
    let say = |text: &str| {
        if !args.json {
            println!("{text}");
        }
    };
    let config = config.current();
    start::logging(paths, &config, true)?;
    let running = Client::running(paths).await?;
    match &running {
        Some(client) => say(&format!("An assistant is running at {}; it is asked.", client.base)),
        None => bring_in(paths, &args).await?,
    }
    let reader = carapace_store::Store::open_reader(paths.root(), store_options()).or_fail("cannot read the state")?;
    let providers = known::providers(paths, &reader).await?;
    if providers.is_empty() {
        return Err(no_provider());
    }
    let bundle = start::bundle(args.bundle.clone());
    let packages = providers.iter().map(|p| (p.instance(&Name::main()), p.package.clone()));
    let missing = assets::bring(paths, packages, bundle.as_deref()).await?;
    let mut found = choices::look(&providers, &config, &SystemEnv, &reader, &args.server).await;
    for (id, asset) in &missing {
        found.choices.retain(|c| c.provider.instance(id.id()) != *id);
        found.notes.push(assets::how_to_bring(id, asset));
    }
    let present = present(&config, running.is_some());
    say("\nWhat could answer here:");
    for (n, line) in decide::list(present.as_ref(), &found).iter().enumerate() {
        say(&format!("  {}. {line}", n + 1));
    }
    found.notes.iter().for_each(|note| say(&format!("  -  {note}")));
    let decision = decided(&args, present.as_ref(), &found, &providers)?;
    let plan = match &decision {
        Decision::Keep(model) => {
            say(&format!("\nIt stays as it is{}.", model.as_ref().map(|m| format!(": {m}")).unwrap_or_default()));
            None
        }
        Decision::Take(choice) => {
            say(&format!("\nTaken: {}, because: {}.", choice.name(), choice.why));
            Some(planned(&args, (**choice).clone(), &reader).await?)
        }
    };
    let starts =
        !args.yes && !args.json && running.is_none() && ask::yes("Start it as soon as it has answered?", true)?;
    drop(reader);

    let done = match (plan, decision) {
        (Some(plan), _) => take(paths, &config, running, plan, &say).await?,
        (None, Decision::Keep(model)) => keep(paths, &config, running, model, &say).await?,
        (None, Decision::Take(_)) => return Err(Failure::new(Exit::Failed, "nothing was decided")),
    };
    report(paths, &found, &done, &args);
    if starts { start_now(paths, &args) } else { Ok(()) }
}

/// Installs the bundle, with its owner's consent to what was not granted yet.
async fn bring_in(paths: &StatePaths, args: &SetupArgs) -> Outcome {
    trust::make_state_dir(paths)?;
    let store = open_store(paths)?;
    let consent = if args.yes { Consent::Defaults } else { Consent::Ask };
    let brought = match start::bundle(args.bundle.clone()) {
        Some(bundle) => {
            let mut trusted = trust::load(paths)?;
            bundled::install(paths, &store, &mut trusted, &bundle, consent).await
        }
        None => Ok(()),
    };
    store.close().await;
    brought
}

fn no_provider() -> Failure {
    Failure::new(Exit::Failed, "no component that could answer as a model is installed")
        .help("`cargo xtask components` in a checkout builds them, `--bundle DIR` names where they are; `carapace plugin list` says what is here")
}

/// What is configured now.
fn present(config: &Config, running: bool) -> Option<Present> {
    match config.agent.route.first() {
        Some(model) => Some(Present { model: Some(model.to_string()), why: "what the configuration says now" }),
        None if running => Some(Present { model: None, why: "what the running assistant takes of itself" }),
        None => None,
    }
}

fn decided(args: &SetupArgs, present: Option<&Present>, found: &Found, providers: &[Provider]) -> Outcome<Decision> {
    let usage = |why: String| Failure::new(Exit::Usage, why).help("carapace setup");
    match &args.model {
        Some(name) if present.is_some_and(|p| p.model.as_ref() == Some(name)) => Ok(Decision::Keep(Some(name.clone()))),
        Some(name) => decide::named(name, found, providers).map_err(usage),
        None if !args.yes && !decide::list(present, found).is_empty() => decide::asked(present, found, providers),
        None => match decide::default(present, found) {
            Some(n) => decide::nth(n, present, found).map_err(usage),
            None => Err(decide::nothing(found, providers)),
        },
    }
}

/// The second and last question about a choice: its key, or the grant of a further instance.
async fn planned(args: &SetupArgs, choice: Choice, reader: &carapace_store::Reader) -> Outcome<Plan> {
    let instance = choice.provider.instance(&choice.instance.id);
    let old = reader.grant(&instance).await.or_fail("cannot read the grants")?;
    let (_, unread) =
        bundled::proposal(&instance, old.clone(), &choice.provider.package, &Default::default(), &Default::default());
    let grant = unread.is_some() || old.is_some_and(|g| g.revoked);
    if grant {
        eprintln!(
            "\n`{}` is an instance of {} that is not granted yet. Granted, it",
            choice.instance,
            instance.component()
        );
        for line in choice.provider.package.capabilities().sentences(Some(&instance)) {
            eprintln!("  - {}", crate::owner::said(&line));
        }
        if let Some((endpoint, base)) = &choice.endpoint {
            eprintln!("and its `{endpoint}` is {base}.");
        }
        if args.yes {
            eprintln!("Granted, because of --yes. `carapace plugin revoke {instance}` takes it back.");
        } else if !bundled::ask()? {
            return Err(
                Failure::new(Exit::Consent, format!("{instance} is not granted: you said no")).help("carapace setup")
            );
        }
    }
    let key = match &choice.key {
        Some(key) if choice.missing_key().is_some() => {
            if args.yes {
                return Err(decide::no_key(&choice, key));
            }
            let typed = ask::hidden(&format!("{} (not shown; Enter alone stops): ", key.prompt))?;
            if typed.is_empty() {
                return Err(ask::stopped());
            }
            Some(typed)
        }
        Some(key) => match &key.source {
            // A further instance has no variable of its own; that its key is copied was said where it was chosen.
            Source::Environment(variable) => {
                let copied = choice.instance.id != Name::main()
                    || args.yes
                    || ask::yes(
                        &format!(
                            "Keep the key of {variable} in the secret store, for terminals and services without that variable?"
                        ),
                        true,
                    )?;
                copied.then(|| known::set(&SystemEnv, variable)).flatten()
            }
            Source::Store | Source::Missing => None,
        },
        None => None,
    };
    Ok(Plan { choice, key, grant })
}

/// What the file has to say for a choice.
fn changes(config: &Config, choice: &Choice) -> Vec<Change> {
    let mut changes = Vec::new();
    if choice.model.is_some() {
        // What was there stands in when the first does not answer.
        let mut route = vec![choice.name()];
        route.extend(config.agent.route.iter().map(ToString::to_string).filter(|m| *m != choice.name()));
        changes.push(Change::new(&["agent", "route"], route));
    }
    if let (None, Some(zone)) = (&config.agent.timezone, time_zone()) {
        changes.push(Change::new(&["agent", "timezone"], zone));
    }
    if let Some((endpoint, base)) = &choice.endpoint {
        changes.push(Change::new(&["instances", &choice.instance.to_string(), "endpoints", endpoint], base.as_str()));
    }
    changes
}

/// The machine's, if it says one.
fn time_zone() -> Option<String> {
    let zone = jiff::tz::TimeZone::try_system().ok()?;
    zone.iana_name().filter(|name| !matches!(*name, "UTC" | "Etc/UTC" | "Etc/Unknown")).map(str::to_owned)
}

/// Tries a choice; what worked is written, what did not leaves nothing behind.
async fn take(
    paths: &StatePaths,
    config: &Config,
    running: Option<Client>,
    mut plan: Plan,
    say: &impl Fn(&str),
) -> Outcome<Done> {
    let draft = Draft::new(paths.config(), &SystemEnv, &changes(config, &plan.choice))?;
    let mut trial = match running {
        // It reads instances and their addresses when it starts.
        Some(_) if plan.choice.endpoint.is_some() => {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "`{}` needs an assistant that starts anew, and one is running; nothing was changed",
                    plan.choice.instance
                ),
            )
            .help("carapace stop, then carapace setup"));
        }
        Some(client) => Trial::on(client),
        None => Trial::start(paths, &draft.config).await?,
    };
    say(&format!("Asking {} (a large model may take a minute to load; Ctrl-C stops) …", plan.choice.name()));
    let tried = tokio::select! {
        tried = attempt(&mut trial, paths, config, &mut plan) => tried,
        _ = tokio::signal::ctrl_c() => Err(ask::stopped()),
    };
    let tried = match tried {
        Ok(done) => Ok(done),
        Err(why) => {
            let left = trial.take_back().await;
            let kept = if left.is_empty() {
                "Nothing of it was kept. When that is mended: carapace setup".to_owned()
            } else {
                format!("Not taken back: {}", left.join("; "))
            };
            Err(if why.exit == Exit::Cancelled { why } else { why.and_help(&kept) })
        }
    };
    trial.end().await;
    tried
}

async fn attempt(trial: &mut Trial, paths: &StatePaths, config: &Config, plan: &mut Plan) -> Outcome<Done> {
    let mut done = Done::default();
    let instance = plan.choice.provider.instance(&plan.choice.instance.id);
    if plan.grant {
        trial.grant(&instance, plan.choice.provider.package.digest()).await?;
        done.grant = Some(instance.to_string());
    }
    if let (Some(value), Some(key)) = (plan.key.take(), &plan.choice.key) {
        let from_environment = matches!(&key.source, Source::Environment(_)) && plan.choice.instance.id == Name::main();
        match trial.store(&instance, &key.name, value).await {
            Ok(()) => done.secret = Some(format!("{} --instance {instance}", key.name)),
            // It is read from the variable then, as it would have been without a store.
            Err(why) if from_environment => {
                done.notes.push(format!("The key is not in the secret store: {}", why.line()))
            }
            Err(why) => return Err(why),
        }
    }
    if plan.choice.model.is_none() {
        let wanted = plan.choice.provider.manifest().provider.as_ref().and_then(|p| p.default_model.clone());
        plan.choice.model = Some(trial.model(&plan.choice.instance.to_string(), wanted.as_deref()).await?);
    }
    done.model = plan.choice.name();
    done.answer =
        trial.answer(Some(&done.model)).await.map_err(|e| e.context(format!("`{}` did not answer", done.model)))?;
    let draft = Draft::new(paths.config(), &SystemEnv, &changes(config, &plan.choice))?;
    if draft.changes() {
        done.written = Some(draft.write()?);
    }
    Ok(done)
}

/// Tries what is configured, and changes nothing.
async fn keep(
    paths: &StatePaths,
    config: &Config,
    running: Option<Client>,
    model: Option<String>,
    say: &impl Fn(&str),
) -> Outcome<Done> {
    let trial = match running {
        Some(client) => Trial::on(client),
        None => Trial::start(paths, config).await?,
    };
    say("Asking it (a large model may take a minute to load; Ctrl-C stops) …");
    let answer = tokio::select! {
        answer = trial.answer(model.as_deref()) => answer,
        _ = tokio::signal::ctrl_c() => Err(ask::stopped()),
    };
    trial.end().await;
    let name = model.clone().unwrap_or_else(|| "the assistant".to_owned());
    let answer = answer.map_err(|e| {
        if e.exit == Exit::Cancelled {
            return e;
        }
        e.context(format!("`{name}` did not answer")).and_help("Nothing was changed. Another one: carapace setup")
    })?;
    Ok(Done { model: model.unwrap_or_else(|| answer.model.clone()), answer, ..Done::default() })
}

/// What takes the setup back, as commands.
fn undo(done: &Done) -> Vec<String> {
    let mut undo = Vec::new();
    match &done.written {
        Some(Written { file, backup: Some(backup) }) => {
            undo.push(format!("mv {} {}", backup.display(), file.display()))
        }
        Some(Written { file, backup: None }) => undo.push(format!("rm {}", file.display())),
        None => {}
    }
    undo.extend(done.secret.iter().map(|s| format!("carapace secrets rm {s}")));
    undo.extend(done.grant.iter().map(|g| format!("carapace plugin revoke {g}")));
    undo
}

fn report(paths: &StatePaths, found: &Found, done: &Done, args: &SetupArgs) {
    let undo = undo(done);
    if args.json {
        let file = |f: &std::path::Path| f.display().to_string();
        let found: Vec<Value> =
            found.choices.iter().map(|c| json!({ "name": c.name(), "why": c.why, "others": c.others })).collect();
        plugin::print_json(&json!({
            "ready": true,
            "model": done.model,
            "answer": trial::as_json(&done.answer),
            "found": found,
            "config": { "file": file(paths.config()), "written": done.written.is_some(),
                        "backup": done.written.as_ref().and_then(|w| w.backup.as_deref()).map(file) },
            "notes": done.notes,
            "undo": undo,
        }));
        return;
    }
    println!("{} answered: {}", done.model, done.answer.text);
    match &done.written {
        Some(Written { file, backup: Some(backup) }) => {
            println!("\nWritten: {}; as it was, it is in {}.", file.display(), backup.display());
        }
        Some(Written { file, backup: None }) => println!("\nWritten: {}", file.display()),
        None => println!("\nNo file was changed."),
    }
    done.secret.iter().for_each(|s| println!("Stored: the secret {s}"));
    done.grant.iter().for_each(|g| println!("Granted: {g}"));
    done.notes.iter().for_each(|note| println!("{note}"));
    if !undo.is_empty() {
        println!("To undo it: {}", undo.join("; "));
    }
    println!("Ready. `carapace start` starts it, `carapace doctor` looks for what is wrong.");
}

/// Becomes `carapace start`, so that signals and the terminal reach the assistant itself.
fn start_now(paths: &StatePaths, args: &SetupArgs) -> Outcome {
    let this = std::env::current_exe().or_fail("cannot find this program")?;
    let mut command = std::process::Command::new(this);
    command.arg("start").env("CARAPACE_STATE_DIR", paths.root()).env("CARAPACE_CONFIG_PATH", paths.config());
    if let Some(bundle) = &args.bundle {
        command.arg("--bundle").arg(bundle);
    }
    become_it(&mut command)
}

#[cfg(unix)]
fn become_it(command: &mut std::process::Command) -> Outcome {
    use std::os::unix::process::CommandExt;
    Err(Failure::new(Exit::Failed, format!("cannot start the assistant: {}", command.exec())).help("carapace start"))
}

#[cfg(not(unix))]
fn become_it(command: &mut std::process::Command) -> Outcome {
    let ended = command.status().or_fail("cannot start the assistant")?;
    if ended.success() { Ok(()) } else { Err(Failure::new(Exit::Failed, format!("the assistant ended with {ended}"))) }
}
