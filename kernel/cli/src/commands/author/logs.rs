//! `carapace plugin logs`: what an instance logged, and what ended its calls.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::args::{Level, LogsArgs};
use crate::assembly::instance_id;
use crate::client::Client;
use crate::commands::chat::visible;
use crate::failure::Outcome;
use carapace_config::StatePaths;
use carapace_contract::control::{ControlRequest, MAX_WAIT_MS};
use clap::ValueEnum as _;
use serde_json::Value;

pub(crate) async fn run(paths: &StatePaths, args: &LogsArgs) -> Outcome {
    let instance = instance_id(&args.instance)?;
    let client = Client::needed(paths).await?;
    let (mut after, mut wait_ms) = (0, 0);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let request = ControlRequest::Logs { instance: instance.clone(), after, wait_ms };
        let lines = tokio::select! {
            lines = client.control(&request) => lines?,
            _ = &mut interrupted => return Ok(()),
        };
        for line in lines.as_array().into_iter().flatten() {
            let n = line["n"].as_u64().unwrap_or_default();
            if after > 0 && n > after + 1 {
                eprintln!("({} lines were dropped before they were read)", n - after - 1);
            }
            after = n;
            if level(line) >= args.level {
                show(line, args.output.json);
            }
        }
        if !args.follow {
            if after == 0 && !args.output.json {
                eprintln!("{instance} has logged nothing since the assistant started.");
            }
            return Ok(());
        }
        wait_ms = MAX_WAIT_MS;
    }
}

/// What has no level that this program knows matters most.
fn level(line: &Value) -> Level {
    line["level"].as_str().and_then(|l| Level::from_str(l, true).ok()).unwrap_or(Level::Error)
}

fn show(line: &Value, json: bool) {
    if json {
        println!("{line}");
        return;
    }
    let text = |key: &str| visible(line[key].as_str().unwrap_or_default());
    let at = line["at_ms"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let at = at.map_or_else(|| "?".to_owned(), |at| at.strftime("%H:%M:%S%.3fZ").to_string());
    let (by, fields) = (if line["kernel"] == true { "(kernel) " } else { "" }, text("fields"));
    let fields = if fields.is_empty() { String::new() } else { format!("  {fields}") };
    println!("{at} {:<5} {by}{}{fields}", text("level"), text("message"));
}
