//! `carapace plugin record` and `carapace plugin replay`.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::args::RecordArgs;
use crate::assembly::instance_id;
use crate::client::Client;
use crate::commands::plugin::print_json;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::{installed, trust};
use carapace_config::StatePaths;
use carapace_contract::InstanceId;
use carapace_contract::control::{ControlRequest, MAX_WAIT_MS};
use carapace_contract::recording::{Event, MAX_BYTES, Recording};
use carapace_test_host::Difference;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Writes down the next calls of an instance.
pub(crate) async fn record(paths: &StatePaths, args: &RecordArgs) -> Outcome {
    let instance = instance_id(&args.instance)?;
    let client = Client::needed(paths).await?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.recording.jsonl", instance.name())));
    let mut file = create(&out)?;
    let written = follow(&client, &instance, args.calls, &mut file, &out).await;
    if std::fs::read_to_string(&out).is_ok_and(|text| text.lines().count() < 2) {
        // Nothing was recorded: leave nothing behind. What was is kept, however it ended.
        let _ = std::fs::remove_file(&out);
    }
    match written? {
        0 => Err(Failure::new(Exit::Cancelled, format!("{instance} was not called; nothing was recorded"))),
        calls => {
            let plural = if calls == 1 { "call" } else { "calls" };
            eprintln!(
                "{calls} {plural} of {instance} in {}. It holds what the component saw: read it before you share it.",
                out.display()
            );
            eprintln!("carapace plugin replay {}", out.display());
            Ok(())
        }
    }
}

/// For the owner alone: what a conversation says may stand in it.
fn create(out: &Path) -> Outcome<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(out).map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot create {}: {e}", out.display())).help("another file with --out FILE")
    })
}

/// How many calls were recorded.
async fn follow(client: &Client, instance: &InstanceId, calls: u64, file: &mut File, out: &Path) -> Outcome<u64> {
    client.control(&ControlRequest::Record { instance: instance.clone(), calls }).await?;
    eprintln!(
        "Recording the next {} of {instance}; Ctrl-C ends it.",
        if calls == 1 { "call".to_owned() } else { format!("{calls} calls") }
    );
    let (mut from, mut stopped) = (0usize, false);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let request = ControlRequest::Recorded { instance: instance.clone(), from, wait_ms: MAX_WAIT_MS };
        let new = tokio::select! {
            new = client.control(&request) => new?,
            _ = &mut interrupted, if !stopped => {
                stopped = true;
                client.control(&ControlRequest::RecordStop { instance: instance.clone() }).await?;
                continue;
            }
        };
        for line in new["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            writeln!(file, "{line}").or_fail(format!("cannot write {}", out.display()))?;
        }
        from = new["next"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(from);
        if new["done"] == true {
            file.sync_all().or_fail(format!("cannot write {}", out.display()))?;
            return Ok(new["begun"].as_u64().unwrap_or_default());
        }
    }
}

/// Runs a component on a recording.
pub(crate) async fn replay(paths: &StatePaths, file: &Path, component: Option<&Path>, json: bool) -> Outcome {
    let recording = read(file)?;
    let package = component.map_or_else(|| installed::package(paths, &recording.header.digest), Path::to_path_buf);
    let bytes = trust::read_package(&package)
        .map_err(|e| e.help(format!("carapace plugin replay {} --component FILE", file.display())))?;
    let difference = play(bytes, &recording).await.map_err(|e| e.context(package.display()))?;
    let calls = recording.calls().len();
    if json {
        print_json(&json!({ "calls": calls, "difference": difference }));
        if difference.is_some() {
            std::process::exit(Exit::Failed as i32);
        }
        return Ok(());
    }
    match difference {
        None => {
            println!("{calls} {} as recorded.", if calls == 1 { "call" } else { "calls" });
            if recording.lines.iter().any(|(_, line)| line.event == Event::Cut) {
                println!("It was cut at {} MiB: calls that were not whole were left out.", MAX_BYTES >> 20);
            }
            Ok(())
        }
        Some(difference) => Err(Failure::new(Exit::Failed, told(&recording, &difference)).context(file.display())),
    }
}

/// A recording's file.
pub(crate) fn read(file: &Path) -> Outcome<Recording> {
    // The lines' ends are not counted.
    let text = trust::read(file, 2 * MAX_BYTES)?;
    let text = String::from_utf8(text).or_fail(format!("cannot read {}", file.display()))?;
    Recording::parse(&text).map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))
}

/// The first difference between what a package does and what was recorded.
pub(crate) async fn play(package: Vec<u8>, recording: &Recording) -> Outcome<Option<Difference>> {
    carapace_test_host::replay(package, recording).await.map_err(|e| Failure::new(Exit::Refused, e.to_string()))
}

/// A difference, for a person.
pub(crate) fn told(recording: &Recording, difference: &Difference) -> String {
    let called = recording.of(difference.call).find_map(|(_, line)| match &line.event {
        Event::Called { export, arguments } => Some(format!("{export} {}", short(&arguments["name"]))),
        _ => None,
    });
    let of = called.map(|c| format!(" ({})", c.trim_end_matches(" null"))).unwrap_or_default();
    format!(
        "call {}{of} is not as recorded\n  line {}\n  recorded  {}\n  now       {}",
        difference.call,
        difference.line,
        step(&difference.expected),
        step(&difference.got)
    )
}

/// `kv.get {"key":"last"}`, or how a call ended.
fn step(value: &Value) -> String {
    if let Some(import) = value["import"].as_str() {
        let rest = if value["result"].is_null() { &value["arguments"] } else { &value["result"] };
        return format!("{import} {}", short(rest));
    }
    match value["event"].as_str() {
        Some("returned") => format!("it answered {}", short(&value["result"])),
        Some("ended") => format!("it ended: {}", value["why"].as_str().unwrap_or_default()),
        _ => short(value),
    }
}

/// As much of a value as a line holds.
fn short(value: &Value) -> String {
    const MOST: usize = 400;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { format!("{}…", text.chars().take(MOST).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_call_the_line_and_both_sides() {
        let header = json!({ "carapace-recording": 1, "instance": "me/dice/main", "version": "0.1.0",
            "digest": carapace_contract::Digest::of(b"d"), "contract": "0.1", "recorded-ms": 1 });
        let called =
            json!({ "call": 1, "event": "called", "export": "tools.call", "arguments": { "name": "dice_roll" } });
        let recording = Recording::parse(&format!("{header}\n{called}\n")).unwrap();
        let difference = Difference {
            call: 1,
            line: 3,
            expected: json!({ "import": "kv.get", "arguments": { "key": "last" } }),
            got: json!({ "event": "returned", "result": { "ok": [] } }),
        };
        let text = told(&recording, &difference);
        assert_eq!(
            text,
            "call 1 (tools.call \"dice_roll\") is not as recorded\n  line 3\n  recorded  kv.get {\"key\":\"last\"}\n  now       it answered {\"ok\":[]}"
        );
    }
}
