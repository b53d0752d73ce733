//! Samples, what is made of them, and how it is shown.

use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// Measurements of one thing, in microseconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e6);
    }
    pub(crate) fn add_us(&mut self, us: f64) {
        self.0.push(us);
    }
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
    pub(crate) fn n(&self) -> usize {
        self.0.len()
    }
    /// The value below which `part` of the samples lie (nearest rank).
    pub(crate) fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }
    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }
    pub(crate) fn p99(&self) -> f64 {
        self.at(0.99)
    }
}

/// Measures one run of a future.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let value = future.await;
    (value, begin.elapsed())
}

/// What was measured, so far.
pub(crate) struct Report {
    json: bool,
    over: Vec<String>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        let report = Self { json, over: Vec::new() };
        let machine = machine();
        if json {
            println!("{machine}");
        } else {
            for (key, value) in machine.as_object().unwrap() {
                println!("{key}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            println!("\n{:<76} {:>12} {:<6} {:>10}  {:>6}", "what", "value", "unit", "at most", "n");
        }
        report
    }

    /// One figure; with a budget it is compared.
    pub(crate) fn put(&mut self, name: &str, value: f64, unit: &str, budget: Option<f64>, n: usize) {
        let value = (value * 1000.0).round() / 1000.0;
        // A difference below zero says that its two sides met different conditions: it shows nothing, least of all a kept budget.
        let void = budget.is_some() && value < 0.0;
        let over = void || budget.is_some_and(|b| value > b);
        if over {
            self.over.push(format!("{name}: {value} {unit}, at most {}", budget.unwrap_or_default()));
        }
        if self.json {
            println!("{}", json!({"name": name, "value": value, "unit": unit, "budget": budget, "n": n, "void": void}));
        } else {
            let most = budget.map_or(String::new(), |b| b.to_string());
            println!(
                "{name:<76} {value:>12} {unit:<6} {most:>10}  {n:>6}{}",
                if void {
                    "  VOID"
                } else if over {
                    "  OVER"
                } else {
                    ""
                }
            );
        }
    }

    /// Median and 99th percentile.
    pub(crate) fn both(&mut self, name: &str, samples: &Samples, unit: &str, median: Option<f64>, p99: Option<f64>) {
        let scale = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            other => panic!("samples are times, not {other}"),
        };
        self.put(&format!("{name}, median"), samples.median() / scale, unit, median, samples.n());
        self.put(&format!("{name}, p99"), samples.p99() / scale, unit, p99, samples.n());
    }

    pub(crate) fn end(self) {
        if self.json {
            return;
        }
        if self.over.is_empty() {
            println!("\nEverything is within its budget.");
        } else {
            println!(
                "\nOver budget, or void (below zero: measured under different conditions):\n  {}",
                self.over.join("\n  ")
            );
        }
    }
}

fn machine() -> serde_json::Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let output = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        "cores": cores,
        "system": output("uname", &["-sr"]).unwrap_or_else(|| std::env::consts::OS.to_owned()),
        "rustc": output("rustc", &["--version"]),
        "profile": if cfg!(debug_assertions) { "dev: these figures mean nothing" } else { "release" },
        "load before": load.split_whitespace().next(),
    })
}
