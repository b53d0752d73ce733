//! The folder of a component, and what its compiler makes of it.

mod node;
mod rust;

use crate::args::Language;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_registry::package;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a component is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As it is shipped.
    Release,
    /// As fast as it can be built.
    Quick,
}

/// A component's source and its manifest.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// What it is written in.
    pub(crate) language: Language,
}

/// What was compiled.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// A core module, or a component without a manifest.
    pub(crate) wasm: PathBuf,
    /// What compiled it, as the manifest of a package has it.
    pub(crate) compiler: String,
}

impl Folder {
    /// A folder with a `carapace.toml`, and a `Cargo.toml` or a `package.json`.
    pub(crate) fn at(path: &Path) -> Outcome<Self> {
        let path = std::path::absolute(path).or_fail(path.display())?;
        // A link in it would be another name of the same folder, in what is built too.
        let path = path.canonicalize().unwrap_or(path);
        let without = |file: &str| {
            Failure::new(Exit::Usage, format!("{} has no {file}", path.display()))
                .help("name the folder of a component; `carapace plugin new --kind tool NAME` makes one")
        };
        if !path.join("carapace.toml").is_file() {
            return Err(without("carapace.toml"));
        }
        let language = match () {
            () if path.join("Cargo.toml").is_file() => Language::Rust,
            () if path.join("package.json").is_file() => Language::TypeScript,
            () => return Err(without("Cargo.toml or package.json")),
        };
        Ok(Self { path, language })
    }

    fn rust(&self) -> rust::Crate<'_> {
        rust::Crate { path: &self.path }
    }

    fn node(&self) -> node::Package<'_> {
        node::Package { path: &self.path }
    }

    /// Compiles it. What the compiler says goes to standard error as it comes; `arguments` are for the compiler.
    pub(crate) fn compile(&self, profile: Profile, arguments: &[OsString]) -> Outcome<Compiled> {
        match self.language {
            Language::Rust => self.rust().compile(profile, arguments),
            // There is one way, which is quick enough.
            Language::TypeScript => self.node().compile(arguments),
        }
    }

    /// The command that runs its tests: in their own process, or against the component that the environment names. `quiet`: without their
    /// names, where the runner can.
    pub(crate) fn tests(&self, quiet: bool, arguments: &[OsString]) -> Outcome<Command> {
        match self.language {
            Language::Rust => Ok(self.rust().tests(quiet, arguments)),
            Language::TypeScript => self.node().tests(arguments),
        }
    }

    /// Whether its tests can run without a component, on the code as it is.
    pub(crate) fn tests_run_natively(&self) -> bool {
        self.language == Language::Rust
    }

    /// Runs one of its commands; whether that went well.
    pub(crate) fn succeeds(&self, mut command: Command) -> Outcome<bool> {
        Ok(started(self.language, command.status())?.success())
    }

    /// Whether a path below it, by its first part, is something that builds write.
    pub(crate) fn is_built(&self, first: &std::ffi::OsStr) -> bool {
        let of_all = ["bundle", ".git", "node_modules"];
        let own: &[&str] = match self.language {
            Language::Rust => &["target", "Cargo.lock"],
            Language::TypeScript => &["build", "package-lock.json"],
        };
        of_all.iter().chain(own).any(|name| first == *name)
    }
}

/// Whether a tool of a language could be started at all.
fn started<T>(language: Language, result: std::io::Result<T>) -> Outcome<T> {
    result.map_err(|e| {
        let (tool, help) = match language {
            Language::Rust => ("Rust's tools", "install Rust: https://rustup.rs"),
            Language::TypeScript => ("npm", "install Node.js 20 or newer: https://nodejs.org"),
        };
        Failure::new(Exit::Failed, format!("cannot start {tool}: {e}")).help(help)
    })
}

/// A package as it is; anything else with a manifest.
pub(crate) fn packaged(file: &Path, manifest: &Path) -> Outcome<Vec<u8>> {
    let bytes = trust::read_package(file)?;
    if package::read_section(&bytes).is_ok() {
        return Ok(bytes);
    }
    let text = trust::read_manifest(manifest)?;
    package::build(&bytes, &text).map_err(|e| {
        Failure::new(Exit::Usage, e.to_string()).context(format!("{} with {}", file.display(), manifest.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_gets_the_crates_manifest_and_a_package_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (file, manifest) = (folder.path().join("c.wasm"), folder.path().join("carapace.toml"));
        let text = |name: &str| carapace_registry::testing::manifest(name, "0.1.0", "[[tool]]\nname = \"run\"\n");
        std::fs::write(&manifest, text("crate")).unwrap();
        let component = carapace_registry::testing::component(&["log"], &["tools"]);
        std::fs::write(&file, carapace_registry::testing::assemble(&component, text("package").as_bytes())).unwrap();
        let name = |bytes: &[u8]| package::read_manifest(bytes).unwrap().0.component.name.to_string();
        assert_eq!(name(&packaged(&file, &manifest).unwrap()), "package");
        std::fs::write(&file, b"no wasm at all").unwrap();
        assert!(packaged(&file, &manifest).unwrap_err().to_string().contains("c.wasm"));
        assert!(packaged(&folder.path().join("gone"), &manifest).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_folder_is_in_the_language_whose_package_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = || Folder::at(folder.path());
        let put = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        assert!(at().unwrap_err().to_string().contains("no carapace.toml"));
        put("carapace.toml");
        assert!(at().unwrap_err().to_string().contains("Cargo.toml or package.json"));
        put("package.json");
        assert_eq!(at().unwrap().language, Language::TypeScript);
        // A crate may bring a page with it.
        put("Cargo.toml");
        assert_eq!(at().unwrap().language, Language::Rust);
    }
}
