//! `carapace doctor`: what is wrong, and the fix for each finding.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::assembly::store_options;
use crate::client::Client;
use crate::failure::{Exit, Failure, Outcome};
use crate::trust;
use carapace_config::{Config, ConfigHandle, Env, StatePaths, SystemEnv};
use carapace_runtime::{Allocation, EngineOptions, Engines};
use carapace_store::Store;
use serde_json::{Value, json};

#[derive(Debug)]
struct Finding {
    what: &'static str,
    /// `ok`, or what is wrong and how to fix it.
    problem: Option<(String, String)>,
}

fn good(what: &'static str) -> Finding {
    Finding { what, problem: None }
}

fn bad(what: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { what, problem: Some((why.into(), fix.into())) }
}

/// Every check; exit code 1 if any finds something.
pub(crate) async fn run(paths: &StatePaths, config: &ConfigHandle, as_json: bool) -> Outcome {
    let mut findings = vec![private(paths), engine(), publishers(paths)];
    let client = Client::running(paths).await?;
    match &client {
        Some(client) => {
            // The status itself asks no provider.
            client.get("/v1/models").await?;
            findings.extend(kernel(&client.get("/api/status").await?));
        }
        None => {
            findings.push(bad("an assistant is running", "none answers", "carapace start"));
            findings.push(record(paths).await);
            findings.push(model(&config.current()));
        }
    }
    let wrong = findings.iter().filter(|f| f.problem.is_some()).count();
    if as_json {
        let list: Vec<Value> = findings
            .iter()
            .map(|f| match &f.problem {
                None => json!({ "check": f.what, "ok": true }),
                Some((why, fix)) => json!({ "check": f.what, "ok": false, "problem": why, "fix": fix }),
            })
            .collect();
        print_json(&Value::Array(list));
        if wrong > 0 {
            std::process::exit(Exit::Failed as i32);
        }
        return Ok(());
    }
    for f in &findings {
        match &f.problem {
            None => println!("ok     {}", f.what),
            Some((why, fix)) => println!("WRONG  {}: {why}\n       fix: {fix}", f.what),
        }
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, format!("{wrong} of {} checks found something", findings.len())))
    }
}

#[cfg(unix)]
fn private(paths: &StatePaths) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let what = "the state directory is its owner's alone";
    let dir = paths.root();
    match std::fs::metadata(dir) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            bad(what, format!("{} can be read by others", dir.display()), format!("chmod 700 {}", dir.display()))
        }
        _ => good(what),
    }
}

#[cfg(not(unix))]
fn private(_: &StatePaths) -> Finding {
    good("the state directory is its owner's alone")
}

fn engine() -> Finding {
    let what = "the WebAssembly engine runs, with its memory pool";
    match Engines::new(EngineOptions::default()) {
        Ok(engines) => match engines.allocation() {
            Allocation::Pooling => good(what),
            Allocation::OnDemand { reason } => bad(
                what,
                format!("slower, on demand: {reason}"),
                "raise the limit on address space (ulimit -v unlimited)",
            ),
        },
        Err(e) => bad(what, e.to_string(), "this CPU or operating system is not supported"),
    }
}

fn publishers(paths: &StatePaths) -> Finding {
    let what = "publishers and deny-list can be read";
    match trust::load(paths) {
        Ok(t) => match t.deny.warning(t.now_ms) {
            Some(w) => bad(what, w, "get a newer list, then `carapace publisher deny FILE`"),
            None => good(what),
        },
        Err(e) => bad(what, e.to_string(), format!("restore or remove {}", paths.publishers().display())),
    }
}

async fn record(paths: &StatePaths) -> Finding {
    let what = "the record is whole";
    if !paths.database().exists() {
        return good(what);
    }
    let report = match Store::open_reader(paths.root(), store_options()) {
        Ok(reader) => reader.verify().await,
        Err(e) => Err(e),
    };
    match report {
        Ok(r) if r.first_broken.is_none() => good(what),
        Ok(r) => bad(what, format!("broken at {:?}", r.first_broken), "carapace audit verify"),
        Err(e) => bad(what, e.to_string(), "restore a backup of the state directory"),
    }
}

fn model(config: &Config) -> Finding {
    let what = "a model can be asked";
    let set = |name: &&str| SystemEnv.var(name).is_some_and(|v| !v.is_empty());
    if VARIABLES.iter().any(set) || config.instances.values().any(|i| !i.endpoints.is_empty()) {
        return good(what);
    }
    bad(what, "neither a key nor a server of your own is set in this environment", CONFIGURE)
}

/// The bundled providers' variables: while nothing runs, their manifests are not at hand.
const VARIABLES: [&str; 5] =
    ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OLLAMA_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"];
const CONFIGURE: &str = "ANTHROPIC_API_KEY, OPENAI_API_KEY or OLLAMA_BASE_URL=http://127.0.0.1:11434 at start, or \
    `carapace secrets set api-key --instance local/openai`";

fn kernel(status: &Value) -> Vec<Finding> {
    let mut findings = vec![good("an assistant is running")];
    for i in status["instances"].as_array().into_iter().flatten() {
        let (id, state) = (i["instance"].as_str().unwrap_or("?"), i["state"].as_str().unwrap_or("?"));
        if state != "ready" {
            findings.push(bad(
                "every component is loaded",
                format!("{id}: {state}"),
                "the text above names the command",
            ));
        }
    }
    if status["models"].as_array().is_none_or(Vec::is_empty) {
        findings.push(bad("a model can be asked", "no provider lists one", CONFIGURE));
    } else {
        findings.push(good("a model can be asked"));
    }
    findings
}
