//! The assistant that runs, or the one that seems to.

use super::{Check, Finding};
use crate::client::Client;
use crate::trust;
use carapace_config::StatePaths;
use carapace_store::Store;
use serde_json::Value;

/// Whether one answers; and if none does, whether one holds the state all the same.
pub(crate) fn kernel(paths: &StatePaths, client: Option<&Client>) -> Finding {
    let check = Check("running", "an assistant is running");
    if client.is_some() {
        return check.good();
    }
    match Store::holder(paths.root()) {
        Ok(None) => check.hint("none answers", "carapace start"),
        Ok(Some(holder)) => {
            let (who, fix) = match holder.pid {
                Some(pid) => {
                    (format!("process {pid}"), format!("wait, if it starts or stops just now; else kill {pid}"))
                }
                None => ("a process".to_owned(), "wait, if it starts or stops just now; else end it".to_owned()),
            };
            check.wrong(format!("{who} holds the state directory and does not answer"), fix)
        }
        Err(e) => check.wrong(e.to_string(), "carapace status"),
    }
}

/// Whether it is this program, or an older one that still runs.
pub(crate) fn version(status: &Value) -> Finding {
    let check = Check("running-version", "the running assistant is this program");
    let restart = "carapace stop, then carapace start";
    let (its, own) = (status["version"].as_str().unwrap_or("?"), env!("CARGO_PKG_VERSION"));
    if its != own {
        return check.hint(format!("version {its} runs, and this is {own}"), restart);
    }
    let started = status["started_ms"].as_u64().or(status["startedMs"].as_u64());
    let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|m| m.modified()).map(trust::ms_of);
    match (started, built) {
        (Some(started), Ok(built)) if built > started => {
            check.hint("it was started before this program was built; what runs is the older one", restart)
        }
        _ => check.good(),
    }
}
