//! A component that npm builds: its script `build` makes `build/component.wasm`, its script `test` tests what the environment names.

use super::{Compiled, started};
use crate::args::Language;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the script makes: a component without a manifest.
const COMPONENT: &str = "build/component.wasm";
/// What made it, if the script says so: one line.
const COMPILER: &str = "build/compiler.txt";

/// The folder of a package.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package<'a> {
    /// Absolute.
    pub(super) path: &'a Path,
}

impl Package<'_> {
    pub(super) fn compile(&self, arguments: &[OsString]) -> Outcome<Compiled> {
        let wasm = self.path.join(COMPONENT);
        // What an earlier build left is not what this one made.
        if wasm.exists() {
            std::fs::remove_file(&wasm).or_fail(format!("cannot remove {}", wasm.display()))?;
        }
        let mut command = self.script("build", arguments)?;
        // npm tells which script it runs on standard output, where only results belong.
        command.stdout(std::io::stderr());
        if !started(Language::TypeScript, command.status())?.success() {
            return Err(Failure::new(Exit::Failed, "the component could not be compiled")
                .help("what the script `build` of package.json said stands above"));
        }
        if !wasm.is_file() {
            return Err(Failure::new(Exit::Failed, format!("the script `build` made no {COMPONENT}")).help(
                "in package.json: \"build\": \"carapace-sdk build\", or another one that writes a component there",
            ));
        }
        let said = std::fs::read_to_string(self.path.join(COMPILER)).unwrap_or_default();
        let compiler = said.lines().next().map(str::trim).filter(|line| !line.is_empty());
        Ok(Compiled { wasm, compiler: compiler.unwrap_or("npm run build").to_owned() })
    }

    pub(super) fn tests(&self, arguments: &[OsString]) -> Outcome<Command> {
        self.script("test", arguments)
    }

    fn script(&self, name: &str, arguments: &[OsString]) -> Outcome<Command> {
        if !self.path.join("node_modules").is_dir() {
            return Err(Failure::new(Exit::Usage, format!("{} has no node_modules", self.path.display()))
                .help(format!("npm install --prefix {}", self.path.display())));
        }
        let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
        command.current_dir(self.path).stdin(Stdio::null()).args(["run", "--silent", name]);
        command.env_remove("CARAPACE_TEST_COMPONENT").env_remove("CARAPACE_TEST_HOST");
        if !arguments.is_empty() {
            command.arg("--").args(arguments);
        }
        Ok(command)
    }
}
