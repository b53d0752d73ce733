//! The real binary as the system sees it: its size, how soon it is ready, what it holds in memory.

use crate::report::{Report, Samples};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, KernelOptions};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STARTS: usize = 15;
const ROUNDS: usize = 10;
/// Components in the large set.
const COMPONENTS: usize = 25;

/// Further components: the bundled `math` tool under other names of the same length, each a package of its own code. Inside, it
/// still knows itself by the old name only, and says so when it is called: a whole call all the same.
fn copies() -> Vec<(String, Vec<u8>)> {
    let math = std::fs::read(carapace_tests::bundle().join("math.wasm")).unwrap();
    let bundled = std::fs::read_dir(carapace_tests::bundle()).unwrap();
    let bundled = bundled.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "wasm")).count();
    (bundled..COMPONENTS)
        .map(|n| {
            let bytes = replace(&math, b"math_eval", tool(n).as_bytes());
            let bytes = replace(&bytes, b"name = \"math\"", format!("name = \"m{n:03}\"").as_bytes());
            carapace_registry::package::read_manifest(&bytes).unwrap();
            (format!("m{n:03}"), bytes)
        })
        .collect()
}

fn tool(n: usize) -> String {
    format!("math_e{n:03}")
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut found = 0;
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            out[at..at + from.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert!(found > 0, "{} stands nowhere", String::from_utf8_lossy(from));
    out
}

/// The model calls every tool it is offered, one after the other, then it is done.
fn script(request: &Value) -> Vec<Piece> {
    let called = request["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "tool").count();
    let offered = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(tool) = offered.get(called) else { return vec![Piece::Text("Done.".into())] };
    let name = tool["function"]["name"].as_str().unwrap();
    let arguments = match name {
        n if n.starts_with("math") => json!({"expression": format!("{called}+1")}),
        _ => json!({}),
    };
    vec![Piece::Call(format!("call-{called}"), name.to_owned(), arguments)]
}

pub(crate) async fn measure(report: &mut Report) {
    let binary = std::fs::metadata(carapace_tests::binary()).unwrap().len();
    report.put("size of the binary", binary as f64 / 1e6, "MB", None, 1);
    let model = Model::start(script, Duration::ZERO).await;
    let config = "{ agent: { route: ['openai/mock'], maxTurns: 100 }, budget: { dailyTokens: null } }";
    let options = KernelOptions::openai(&model.base).with_config(config);
    starts(report, "the bundled components", options.clone(), None).await;
    let mut many = options;
    many.packages = copies();
    let kernel = starts(report, "25 components", many, Some(60.0)).await;
    memory(report, &kernel).await;
    packages(report, &kernel);
}

/// What an owner waits for at the command line: the process, the kernel, the compiler and the disk included.
fn packages(report: &mut Report, kernel: &Kernel) {
    let math = std::fs::read(carapace_tests::bundle().join("math.wasm")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let begin = Instant::now();
        let out = kernel.cli(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        begin.elapsed()
    };
    let [mut verify, mut install, mut update, mut uninstall] = [(); 4].map(|()| Samples::default());
    for n in 900..900 + ROUNDS {
        let first = replace(&math, b"math_eval", tool(n).as_bytes());
        let first = replace(&first, b"name = \"math\"", format!("name = \"m{n:03}\"").as_bytes());
        let newer = replace(&first, b"version = \"0.1.0\"", b"version = \"0.2.0\"");
        let [(first, digest), (newer, _)] = [("first", first), ("newer", newer)].map(|(name, bytes)| {
            let file = dir.path().join(format!("{name}-{n}.wasm")).to_str().unwrap().to_owned();
            std::fs::write(&file, &bytes).unwrap();
            run(&["plugin", "sign", &file]);
            (file, carapace_contract::Digest::of(&bytes).to_string())
        });
        let name = format!("m{n:03}");
        verify.add(run(&["plugin", "verify", &first]));
        install.add(run(&["plugin", "install", &first, "--accept", &digest]));
        update.add(run(&["plugin", "update", &name, &newer]));
        uninstall.add(run(&["plugin", "uninstall", &name, "--yes"]));
    }
    let size = format!("a component of {} KB", math.len() / 1000);
    for (what, samples, budget) in [
        ("verify", verify, None),
        ("install (compiled)", install, Some(1000.0)),
        ("update (compiled, swapped)", update, None),
        ("uninstall", uninstall, None),
    ] {
        report.put(&format!("{what}: {size}, by a command, median"), samples.median() / 1e3, "ms", budget, samples.n());
    }
}

/// From the start of the process to its `ready` line, everything compiled before.
async fn starts(report: &mut Report, with: &str, options: KernelOptions, budget: Option<f64>) -> Kernel {
    let begin = Instant::now();
    let kernel = Kernel::start(options.clone());
    let first = begin.elapsed();
    let mut state = kernel.stop();
    let mut samples = Samples::default();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let kernel = Kernel::start_in(state, options.clone());
        samples.add(begin.elapsed());
        state = kernel.stop();
    }
    report.put(
        &format!("start to ready with {with}, the first (signs, compiles)"),
        first.as_secs_f64() * 1e3,
        "ms",
        None,
        1,
    );
    report.put(
        &format!("start to ready with {with}, cached, median"),
        samples.median() / 1e3,
        "ms",
        budget,
        samples.n(),
    );
    Kernel::start_in(state, options)
}

/// After one call to each component and 10 s without any.
async fn memory(report: &mut Report, kernel: &Kernel) {
    let turn = kernel.turn("memory", "carapace", "Call everything.").await;
    assert_eq!(turn.text(), "Done.");
    let events = turn.body["x_carapace"]["events"].as_array().unwrap();
    let results: Vec<&Value> = events.iter().filter(|e| e["type"] == "tool-result").collect();
    assert!(results.len() >= COMPONENTS - 1, "only {} tools were called", results.len());
    for result in &results {
        let content = result["content"].as_str().unwrap();
        let answered = result["is_error"] == false || content.starts_with("not-found: there is no tool `math_e");
        assert!(answered, "{result}");
    }
    // The provider is the one that is no tool.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (resident, anonymous) = held_mb(kernel.pid());
    let after = "after one call to each of 25 components and 10 s idle";
    report.put(&format!("resident memory {after}"), resident, "MB", Some(40.0), 1);
    report.put(&format!("anonymous memory {after}"), anonymous, "MB", Some(20.0), 1);
}

/// Resident and anonymous memory of a process, MB.
pub(crate) fn held_mb(pid: u32) -> (f64, f64) {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mb = |field: &str| {
        let line = rollup.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    (mb("Rss:"), mb("Anonymous:"))
}
