//! Measures the kernel against its budgets (`docs/src/performance.md`); `cargo xtask bench` builds and starts it.
//!
//! `--json` prints one object a line: name, value, unit, budget, n. `--only <word>` measures the groups whose name has the word.
//! Where a figure is a comparison, both sides are measured in turn, in the same run. Everything shares the machine: kernel, model and client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may be blunt"
)]
#![allow(clippy::disallowed_methods, reason = "starts processes, reads /proc, keeps temporary files")]

mod authors;
mod channels;
mod engine;
#[path = "../../../kernel/runtime/tests/fixtures/mod.rs"]
mod fixtures;
mod idle;
mod languages;
mod local;
mod process;
mod registry;
mod report;
mod storage;
#[path = "../../../kernel/runtime/tests/runtime/support.rs"]
mod support;
mod turns;
mod twins;

use report::Report;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = arguments.iter().position(|a| a == "--only").and_then(|at| arguments.get(at + 1));
    let wanted = |group: &str| only.is_none_or(|word| group.contains(word.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut report = Report::new(arguments.iter().any(|a| a == "--json"));
    runtime.block_on(async {
        if wanted("storage") {
            storage::measure(&mut report).await;
        }
        if wanted("engine") {
            engine::measure(&mut report).await;
        }
        if wanted("languages") {
            languages::measure(&mut report).await;
            twins::measure(&mut report).await;
        }
        if wanted("authors") {
            authors::measure(&mut report);
        }
        if wanted("local") {
            local::measure(&mut report).await;
        }
        if wanted("registry") {
            registry::measure(&mut report);
        }
        if wanted("process") {
            process::measure(&mut report).await;
        }
        if wanted("turns") {
            turns::measure(&mut report).await;
        }
        for kind in ["webhook", "poll", "socket"] {
            if wanted(&format!("channels taken {kind}")) {
                channels::taken(&mut report, kind).await;
            }
        }
        if wanted("channels answered") {
            channels::answered(&mut report).await;
        }
        if wanted("channels killed") {
            channels::killed(&mut report).await;
        }
        if wanted("channels idle") {
            idle::measure(&mut report).await;
        }
    });
    report.end();
}
