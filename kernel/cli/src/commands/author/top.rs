//! `carapace top`: a table of what each instance uses, drawn again and again.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::args::TopArgs;
use crate::client::Client;
use crate::failure::Outcome;
use carapace_config::StatePaths;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// An epoch tick, as the meters count them.
const TICK_MS: u64 = 10;

pub(crate) async fn run(paths: &StatePaths, args: &TopArgs) -> Outcome {
    let client = Client::needed(paths).await?;
    let mut before: BTreeMap<String, Used> = BTreeMap::new();
    let (interval, drawn) = (Duration::from_secs(args.interval), std::io::stdout().is_terminal() && !args.once);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let rows: Vec<Row> = Row::all(&client.get("/api/status").await?, &before);
        print(&rows, args, drawn)?;
        if args.once {
            return Ok(());
        }
        before = rows.into_iter().map(|r| (r.instance, r.total)).collect();
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = &mut interrupted => return Ok(()),
        }
    }
}

/// What an instance used since the assistant started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    calls: u64,
    fuel: u64,
    cpu_ms: u64,
    bytes_out: u64,
    bytes_in: u64,
    denials: u64,
    traps: u64,
    peak_memory: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    instance: String,
    state: String,
    total: Used,
    /// Since the table before.
    lately: Option<Used>,
}

impl Used {
    fn of(meter: &Value) -> Self {
        let number = |key: &str| meter[key].as_u64().unwrap_or_default();
        let sum = |key: &str| meter[key].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
        Self {
            calls: number("calls"),
            fuel: number("fuel"),
            cpu_ms: number("cpu_ticks").saturating_mul(TICK_MS),
            bytes_out: number("bytes_out"),
            bytes_in: number("bytes_in"),
            denials: sum("denials"),
            traps: sum("traps"),
            peak_memory: number("peak_memory"),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            fuel: self.fuel.saturating_sub(before.fuel),
            cpu_ms: self.cpu_ms.saturating_sub(before.cpu_ms),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            denials: self.denials.saturating_sub(before.denials),
            traps: self.traps.saturating_sub(before.traps),
            // The most that one store ever held.
            peak_memory: self.peak_memory,
        }
    }

    fn json(&self) -> Value {
        json!({ "calls": self.calls, "fuel": self.fuel, "cpu_ms": self.cpu_ms, "bytes_out": self.bytes_out,
            "bytes_in": self.bytes_in, "denials": self.denials, "traps": self.traps, "peak_memory": self.peak_memory })
    }
}

impl Row {
    fn all(status: &Value, before: &BTreeMap<String, Used>) -> Vec<Self> {
        let one = |i: &Value| {
            let instance = i["instance"].as_str().unwrap_or("?").to_owned();
            let total = Used::of(&i["meter"]);
            let lately = before.get(&instance).map(|before| total.since(before));
            Self { state: i["state"].as_str().unwrap_or("?").to_owned(), instance, total, lately }
        };
        let mut rows: Vec<Self> = status["instances"].as_array().into_iter().flatten().map(one).collect();
        // The busiest first; those that did nothing in the order of their names.
        let busy = |r: &Self| {
            let used = r.lately.unwrap_or(r.total);
            (used.cpu_ms, used.fuel, used.calls)
        };
        rows.sort_by(|a, b| busy(b).cmp(&busy(a)).then_with(|| a.instance.cmp(&b.instance)));
        rows
    }

    fn line(&self) -> String {
        let u = self.lately.unwrap_or(self.total);
        let mut line = format!(
            "{:<32} {:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>6} {:>5}",
            self.instance,
            u.calls,
            count(u.fuel),
            format!("{} ms", u.cpu_ms),
            bytes(u.peak_memory),
            bytes(u.bytes_out),
            bytes(u.bytes_in),
            u.denials,
            u.traps
        );
        if self.state != "ready" {
            let short: String = self.state.chars().take(60).collect();
            line = format!("{line}  {short}");
        }
        line
    }
}

fn print(rows: &[Row], args: &TopArgs, drawn: bool) -> Outcome {
    let mut out = std::io::stdout().lock();
    if args.output.json {
        let one = |r: &Row| json!({ "instance": r.instance, "state": r.state, "total": r.total.json(), "lately": r.lately.map(|u| u.json()) });
        writeln!(out, "{}", Value::Array(rows.iter().map(one).collect()))?;
        return Ok(out.flush()?);
    }
    if drawn {
        // Home, and everything away; nothing else of a terminal is needed.
        write!(out, "\u{1b}[H\u{1b}[2J")?;
    }
    let lately = rows.iter().any(|r| r.lately.is_some());
    let when =
        if lately { format!("in the last {} s", args.interval) } else { "since the assistant started".to_owned() };
    writeln!(out, "What was used {when}; memory is the most that a call ever held.")?;
    writeln!(
        out,
        "{:<32} {:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>6} {:>5}",
        "INSTANCE", "CALLS", "FUEL", "CPU", "MEMORY", "OUT", "IN", "DENIED", "TRAPS"
    )?;
    for row in rows {
        writeln!(out, "{}", row.line())?;
    }
    if drawn {
        writeln!(out, "Ctrl-C ends.")?;
    }
    Ok(out.flush()?)
}

/// `1.2 M`
fn count(n: u64) -> String {
    scaled(n, 1_000, &["", " k", " M", " G", " T"])
}

/// `1.2 MiB`
fn bytes(n: u64) -> String {
    scaled(n, 1_024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(n: u64, step: u64, units: &[&str]) -> String {
    let (mut whole, mut tenths) = (n, 0);
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or_default();
    while whole >= step && units.peek().is_some() {
        tenths = whole % step * 10 / step;
        whole /= step;
        unit = units.next().copied().unwrap_or_default();
    }
    if tenths > 0 && whole < 100 { format!("{whole}.{tenths}{unit}") } else { format!("{whole}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            (count(0), count(999), count(1_250), count(12_000_000)),
            ("0".into(), "999".into(), "1.2 k".into(), "12 M".into())
        );
        assert_eq!((bytes(7), bytes(1_536), bytes(5 << 30)), ("7 B".into(), "1.5 KiB".into(), "5 GiB".into()));
        assert_eq!(count(u64::MAX), "18446744 T");
    }

    #[test]
    fn the_busiest_is_first_and_what_was_used_lately_is_the_difference() {
        let status = |calls: u64, ticks: u64| {
            let meter = |calls: u64, ticks: u64| json!({ "calls": calls, "cpu_ticks": ticks, "denials": { "E-GRANT-002": 2 }, "peak_memory": 9 });
            json!({ "instances": [{ "instance": "a", "state": "ready", "meter": meter(9, 9) },
                { "instance": "b", "state": "ready", "meter": meter(calls, ticks) }] })
        };
        let first = Row::all(&status(1, 1), &BTreeMap::new());
        assert_eq!((first[0].instance.as_str(), first[0].total.denials, first[0].total.cpu_ms), ("a", 2, 90));
        let before = first.into_iter().map(|r| (r.instance, r.total)).collect();
        let second = Row::all(&status(4, 3), &before);
        let lately = second[0].lately.unwrap();
        assert_eq!((second[0].instance.as_str(), lately.calls, lately.cpu_ms, lately.denials), ("b", 3, 20, 0));
        assert_eq!(lately.peak_memory, 9);
    }
}
