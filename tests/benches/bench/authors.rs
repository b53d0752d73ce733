//! What an author waits for: from `plugin new` to a tool in the running assistant, with the toolchain and the packages here already.

use crate::report::Report;
use carapace_tests::author::{done, root, workshop};
use carapace_tests::{Kernel, KernelOptions};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Makes a folder, and whatever its language needs before the first build.
fn new(state: &Path, beside: &Path, language: &str) {
    done(workshop(beside, state).args(["plugin", "new", language, "--kind", "tool", "--lang", language]));
    let folder = beside.join(language);
    if language == "ts" {
        done(Command::new("npm").current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--prefer-offline"]));
    } else {
        std::fs::copy(root().join("components/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    }
}

pub(crate) fn measure(report: &mut Report) {
    let kernel = Kernel::start(KernelOptions::openai("http://127.0.0.1:2"));
    for (language, name, file, from, to) in [
        ("rust", "Rust", "src/lib.rs", "Finds places by name; gives", "Finds places by their names; gives"),
        ("ts", "TypeScript", "src/index.ts", "Finds places by name; gives", "Finds places by their names; gives"),
    ] {
        if language == "ts" && Command::new("npm").arg("--version").output().is_err() {
            eprintln!("{name} is not measured: there is no npm");
            continue;
        }
        // Nothing is compiled yet.
        let (beside, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dev = || {
            let mut command = workshop(&beside.path().join(language), kernel.state());
            command.env("CARGO_TARGET_DIR", target.path()).args(["plugin", "dev", "--once", "--yes"]);
            let begun = Instant::now();
            done(&mut command);
            begun.elapsed().as_secs_f64()
        };
        let begun = Instant::now();
        new(kernel.state(), beside.path(), language);
        dev();
        report.put(&format!("from new to a running tool, {name}"), begun.elapsed().as_secs_f64(), "s", Some(60.0), 1);
        let source = beside.path().join(language).join(file);
        let text = std::fs::read_to_string(&source).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&source, text.replace(from, to)).unwrap();
        report.put(&format!("from a change to the running tool, {name}"), dev(), "s", None, 1);
    }
}
