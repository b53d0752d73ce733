//! `carapace doctor`: what is wrong, and the fix for each finding.
//!
//! A check is a function that gives back its findings; [`run`] is the list of them. What keeps the assistant from answering or from being
//! safe is *wrong*, what only might surprise somebody is a *hint*. A new check is one more line in [`run`].

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

mod components;
mod machine;
mod models;
mod running;
mod state;

use crate::args::DoctorArgs;
use crate::assembly::store_options;
use crate::client::Client;
use crate::commands::{plugin, start};
use crate::failure::{Exit, Failure, Outcome};
use carapace_config::{Config, StatePaths, SystemEnv};
use carapace_store::Store;
use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing was found.
    Good,
    /// Nothing is broken.
    Hint,
    /// Something is.
    Wrong,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Stable, for programs.
    id: &'static str,
    /// What holds when all is well.
    what: &'static str,
    level: Level,
    /// Empty when all is well.
    problem: String,
    /// A command or a line of configuration.
    fix: String,
}

/// The name of a check, and what holds when all is well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check(pub &'static str, pub &'static str);

impl Check {
    pub(crate) fn good(self) -> Finding {
        self.finding(Level::Good, String::new(), String::new())
    }
    pub(crate) fn hint(self, problem: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Level::Hint, problem.into(), fix.into())
    }
    pub(crate) fn wrong(self, problem: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Level::Wrong, problem.into(), fix.into())
    }
    /// What another command would have failed with.
    pub(crate) fn failed(self, why: &Failure) -> Finding {
        let fix = if why.fix().is_empty() { "carapace status" } else { why.fix() };
        self.wrong(why.what(), fix)
    }
    /// The findings, or that there are none.
    pub(crate) fn all(self, findings: Vec<Finding>) -> Vec<Finding> {
        if findings.is_empty() { vec![self.good()] } else { findings }
    }
    fn finding(self, level: Level, problem: String, fix: String) -> Finding {
        Finding { id: self.0, what: self.1, level, problem, fix }
    }
}

/// Every check; exit code 1 if something is wrong.
pub(crate) async fn run(paths: &StatePaths, args: DoctorArgs) -> Outcome {
    let bundle = start::bundle(args.bundle);
    let (config, mut findings) = configuration(paths);
    findings.extend(state::private(paths));
    findings.push(state::writable(paths));
    findings.push(state::token(paths));
    findings.push(machine::room(paths));
    findings.push(machine::engine(&config));
    findings.extend(components::publishers(paths));
    findings.extend(components::opened(&config));
    let client = Client::running(paths).await?;
    findings.push(running::kernel(paths, client.as_ref()));
    let reader = match paths.database().exists() {
        true => Some(Store::open_reader(paths.root(), store_options())),
        false => None,
    };
    let reader = match reader {
        Some(Ok(reader)) => Some(reader),
        Some(Err(e)) => {
            findings.push(state::RECORD.wrong(e.to_string(), "restore a backup of the state directory"));
            None
        }
        None => None,
    };
    findings.push(machine::clock(paths, reader.as_ref()).await);
    findings.extend(components::bundle(paths, reader.as_ref(), bundle.as_deref()).await);
    if let Some(reader) = &reader {
        findings.push(state::secrets(reader, client.is_some()).await);
        findings.extend(components::assets(paths, reader).await);
        findings.push(components::requests(reader).await);
    }
    match &client {
        Some(client) => {
            // The status itself asks no provider; this does, so that the list of models is current.
            client.get("/v1/models").await?;
            let status = client.get("/api/status").await?;
            findings.push(running::version(&status));
            findings.extend(components::loaded(&status));
            findings.extend(models::served(&config, &status));
        }
        None => {
            findings.push(machine::port(&config).await);
            if let Some(reader) = &reader {
                findings.push(state::record(reader).await);
                findings.extend(components::installed(paths, reader, &config).await);
            }
            findings.push(models::reachable(paths, reader.as_ref(), &config).await);
        }
    }
    report(&findings, args.json)
}

/// The configuration in force, or the defaults where it is not valid.
fn configuration(paths: &StatePaths) -> (Config, Vec<Finding>) {
    let check = Check("config", "the configuration is valid");
    match Config::load(paths.config(), &SystemEnv) {
        Ok(config) => (config, vec![check.good()]),
        Err(e) => {
            let one = |p: &carapace_config::Problem| {
                let place = if p.path.is_empty() { String::new() } else { format!("`{}`: ", p.path) };
                let fix = if p.fix.is_empty() { "carapace config schema".to_owned() } else { p.fix.clone() };
                check.wrong(format!("{}: {place}{} [{}]", p.file.display(), p.message, p.rule.code()), fix)
            };
            (Config::default(), e.problems.iter().map(one).collect())
        }
    }
}

fn report(findings: &[Finding], as_json: bool) -> Outcome {
    let wrong = findings.iter().filter(|f| f.level == Level::Wrong).count();
    if as_json {
        plugin::print_json(&Value::Array(findings.iter().map(as_value).collect()));
        if wrong > 0 {
            std::process::exit(Exit::Failed as i32);
        }
        return Ok(());
    }
    for f in findings {
        match f.level {
            Level::Good => println!("ok     {}", f.what),
            Level::Hint => println!("hint   {}: {}\n       fix: {}", f.what, f.problem, f.fix),
            Level::Wrong => println!("WRONG  {}: {}\n       fix: {}", f.what, f.problem, f.fix),
        }
    }
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{wrong} of {} checks found something wrong", findings.len())))
}

fn as_value(f: &Finding) -> Value {
    let level = match f.level {
        Level::Good => return json!({ "id": f.id, "check": f.what, "level": "ok", "ok": true }),
        Level::Hint => "hint",
        Level::Wrong => "wrong",
    };
    json!({ "id": f.id, "check": f.what, "level": level, "ok": false, "problem": f.problem, "fix": f.fix })
}
