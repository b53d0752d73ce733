//! `carapace plugin test` and `carapace plugin test-host`: a component's tests, against its code and against what was built of it; and
//! the recordings that lie with them.

use super::folder::{Folder, Profile, packaged};
use super::{build, record};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_test_host::{HostError, Used};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a component's recordings lie, below its folder.
const RECORDINGS: &str = "tests/recordings";

/// Serves one test process over standard input and output.
pub(crate) fn host(file: &Path, measure: Option<&Path>) -> Outcome {
    let bytes = trust::read_package(file)?;
    let note = |used: Used| {
        // Written before the test hears of the call: nobody waits for this process to end.
        let Some(folder) = measure else { return Ok(()) };
        let text = serde_json::to_vec(&used).map_err(std::io::Error::other)?;
        std::fs::write(folder.join(format!("{}.json", std::process::id())), text)
    };
    match carapace_test_host::serve(bytes, std::io::stdin().lock(), std::io::stdout().lock(), note) {
        // The test's process ended in the midst of an answer.
        Err(HostError::Io(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e @ HostError::Component(_)) => Err(Failure::new(Exit::Refused, e.to_string()).context(file.display())),
        other => other.or_fail(file.display()),
    }
}

/// Runs a component's tests natively, where that can be, then against the component, then its recordings. Each is run whatever the one
/// before says.
pub(crate) fn run(folder: &Path, component: Option<&Path>, arguments: &[OsString]) -> Outcome {
    let folder = Folder::at(folder)?;
    let natively = folder.tests_run_natively();
    let mut code = true;
    if natively {
        eprintln!("Testing the code, in the tests' own process.");
        code = folder.succeeds(folder.tests(false, arguments)?)?;
    }
    let package = match component {
        Some(file) => packaged(file, &folder.path.join("carapace.toml"))?,
        None => {
            eprintln!("Building the component.");
            build::of_folder(&folder, None, Profile::Release, &[])?
        }
    };
    eprintln!("Testing the component, under the kernel's limits.");
    let component = against(&folder, &package, None, false, arguments)?;
    let recordings = recordings(&folder, &package)?;

    let failed: Vec<&str> = [
        (code, "the tests in their own process"),
        (component, "the tests against the component"),
        (recordings, "the recordings"),
    ]
    .into_iter()
    .filter_map(|(passed, what)| (!passed).then_some(what))
    .collect();
    if failed.is_empty() {
        eprintln!("All passed.");
        return Ok(());
    }
    let passed = if natively && code && !component { "; the same tests pass in their own process" } else { "" };
    Err(Failure::new(Exit::Failed, format!("failed: {}{passed}", failed.join(", "))))
}

/// A component's tests, with every call going to a package; `measure` is a folder for what the calls use.
pub(crate) fn against(
    folder: &Folder,
    package: &[u8],
    measure: Option<&Path>,
    quiet: bool,
    arguments: &[OsString],
) -> Outcome<bool> {
    let packages = tempfile::tempdir()?;
    let file = packages.path().join("component.wasm");
    trust::write_whole(&file, package)?;
    let mut command = folder.tests(quiet, arguments)?;
    command.env("CARAPACE_TEST_COMPONENT", &file).env("CARAPACE_TEST_HOST", std::env::current_exe()?);
    if let Some(measure) = measure {
        // What is measured is reported on standard output, alone.
        command.env("CARAPACE_TEST_MEASURE", measure).stdout(std::io::stderr());
    }
    folder.succeeds(command)
}

/// Plays what lies among the tests; whether the component does what was recorded.
fn recordings(folder: &Folder, package: &[u8]) -> Outcome<bool> {
    let Ok(entries) = std::fs::read_dir(folder.path.join(RECORDINGS)) else { return Ok(true) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    crate::on_runtime(async {
        let mut passed = true;
        for file in files {
            let recording = record::read(&file)?;
            let difference = record::play(package.to_vec(), &recording).await?;
            let name = file.file_name().unwrap_or_default().display();
            match difference {
                None => eprintln!("recording {name} ... ok"),
                Some(difference) => {
                    passed = false;
                    eprintln!("recording {name} ... FAILED\n{}", record::told(&recording, &difference));
                }
            }
        }
        Ok(passed)
    })
}
