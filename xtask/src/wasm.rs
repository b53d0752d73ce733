//! Finding a compiler for `wasm32-unknown-unknown`.
//!
//! Three routes, in order: the target is there; rustup fetches it; or the distribution's compiler builds the standard library
//! from its own source. `XTASK_WASM=rustup` or `XTASK_WASM=distribution` takes only that route.

use crate::cargo::{cargo, output, program, root, run, run_bounded, which};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The components' target.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest `rustc 1.x` that the workspaces accept (`rust-version`).
const OLDEST: u32 = 95;
/// rustup downloads about 20 MB; without a network it retries in vain.
const RUSTUP_LIMIT: Duration = Duration::from_secs(150);
/// How long a failed download is remembered.
const RUSTUP_PAUSE: Duration = Duration::from_secs(3600);

/// A way to build components.
#[derive(Debug)]
pub(crate) enum Route {
    /// The compiler in use has the target's standard library.
    Installed,
    /// The distribution's compiler, building the standard library; with the linker to use, if it must be named.
    Distribution { linker: Option<PathBuf> },
}

impl Route {
    /// Finds a route, installing what is missing where it may.
    pub(crate) fn find() -> Result<Self> {
        let wanted = std::env::var("XTASK_WASM").unwrap_or_default();
        let (rustup, distribution) = match wanted.as_str() {
            "" => (true, true),
            "rustup" => (true, false),
            "distribution" => (false, true),
            other => bail!("XTASK_WASM is `{other}`; it can be `rustup` or `distribution`"),
        };
        if rustup && (has_target()? || rustup_adds_it()?) {
            return Ok(Self::Installed);
        }
        if distribution && (distribution_is_there() || apt_installs_it()?) {
            return Ok(Self::Distribution { linker: linker()? });
        }
        bail!(
            "there is no standard library for {TARGET}, and none could be had. Do one of these, then repeat the command:\n  \
             rustup target add {TARGET}\n  \
             apt-get install -y --no-install-recommends {}    (Debian and Ubuntu, as root)",
            PACKAGES.join(" ")
        )
    }

    /// What distinguishes this route's artefacts from another's.
    pub(crate) fn describe(&self) -> Result<String> {
        match self {
            Self::Installed => output(Command::new(rustc()).arg("-vV")),
            Self::Distribution { .. } => output(Command::new("/usr/bin/rustc").arg("-vV")),
        }
    }

    /// `cargo` and `rustc` as shell scripts that take this route, for programs that start them by name; none if theirs do.
    pub(crate) fn scripts(&self) -> Vec<(&'static str, String)> {
        let Self::Distribution { linker } = self else { return Vec::new() };
        let linker = linker.as_ref().map_or_else(String::new, |linker| {
            format!("export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER='{}'\n", linker.display())
        });
        let cargo = format!(
            "#!/bin/sh\nexport RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc\n{linker}\
             case \"$1 $*\" in\n  'build '*{TARGET}*) shift; exec /usr/bin/cargo build -Z build-std=std,panic_abort \"$@\" ;;\nesac\n\
             exec /usr/bin/cargo \"$@\"\n"
        );
        vec![("cargo", cargo), ("rustc", "#!/bin/sh\nexec /usr/bin/rustc \"$@\"\n".to_owned())]
    }

    /// Where this route's artefacts go: the two compilers differ, so their directories do.
    pub(crate) fn target_dir(&self) -> PathBuf {
        let name = match self {
            Self::Installed => "wasm",
            Self::Distribution { .. } => "wasm-distribution",
        };
        root().join("components/target").join(name)
    }

    /// A cargo that builds for [`TARGET`] with these target features, run in a folder; artefacts go to `target_dir`.
    pub(crate) fn cargo_build(&self, folder: &Path, target_dir: &Path, target_features: &[String]) -> Command {
        let mut command = match self {
            Self::Installed => {
                let mut command = cargo();
                // Features are unified per component, never over the workspace.
                command.env_remove("CARGO_UNSTABLE_FEATURE_UNIFICATION");
                command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
                command.args(["build", "--release"]);
                command
            }
            Self::Distribution { linker } => {
                let mut command = Command::new("/usr/bin/cargo");
                for (name, _) in std::env::vars_os() {
                    if belongs_to_rustup(&name.to_string_lossy()) {
                        command.env_remove(&name);
                    }
                }
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
                if let Some(linker) = linker {
                    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                }
                command.args(["build", "--release", "-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        command.current_dir(folder).args(["--target", TARGET, "--target-dir"]);
        command.arg(target_dir);
        if !target_features.is_empty() {
            // Beside the flags of the folder's own configuration; the caller's are meant for this machine, or for every component.
            command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
            let enabled: Vec<String> = target_features.iter().map(|f| format!("+{f}")).collect();
            let flags = format!("target.{TARGET}.rustflags=[\"-C\", \"target-feature={}\"]", enabled.join(","));
            command.args(["--config", &flags]);
        }
        command
    }
}

/// Variables by which rustup's cargo steers its children; the distribution's cargo must see none of them.
fn belongs_to_rustup(name: &str) -> bool {
    let kept =
        ["CARGO_HOME", "CARGO_TERM_", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "RUST_BACKTRACE"];
    let foreign = ["CARGO", "RUSTC", "RUSTUP_", "RUSTFLAGS", "RUSTDOC", "LD_LIBRARY_PATH", "RUST_RECURSION_COUNT"];
    foreign.iter().any(|prefix| name.starts_with(prefix)) && !kept.iter().any(|prefix| name.starts_with(prefix))
}

fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    Ok(PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim()))
}

fn has_target() -> Result<bool> {
    let lib = sysroot(&rustc())?.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(entries) = std::fs::read_dir(lib) else { return Ok(false) };
    Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

fn rustup_adds_it() -> Result<bool> {
    let Some(rustup) = which("rustup") else { return Ok(false) };
    let marker = root().join("components/target/rustup-had-no-network");
    let age = std::fs::metadata(&marker)
        .and_then(|m| m.modified())
        .ok()
        .and_then(|t| SystemTime::now().duration_since(t).ok());
    if age.is_some_and(|age| age < RUSTUP_PAUSE) {
        return Ok(false);
    }
    let mut command = Command::new(rustup);
    command.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1");
    if run_bounded(&mut command, RUSTUP_LIMIT)? && has_target()? {
        return Ok(true);
    }
    eprintln!("   rustup could not add {TARGET}; trying the distribution's compiler");
    std::fs::create_dir_all(root().join("components/target"))?;
    std::fs::write(&marker, "rustup target add failed; it is tried again an hour after this file was written\n")?;
    Ok(false)
}

fn distribution_is_there() -> bool {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml");
    let (cargo, rustc) = (Path::new("/usr/bin/cargo"), Path::new("/usr/bin/rustc"));
    if !(source.is_file() && cargo.is_file() && rustc.is_file()) {
        return false;
    }
    let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
    minor(&version).is_some_and(|minor| minor >= OLDEST)
}

/// The `96` of `rustc 1.96.0 (…)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

fn apt_installs_it() -> Result<bool> {
    if which("apt-get").is_none() {
        return Ok(false);
    }
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root && which("sudo").is_none() {
        return Ok(false);
    }
    eprintln!(
        "   installing the distribution's Rust compiler, cargo and standard-library source ({}), beside the one in use",
        PACKAGES.join(", ")
    );
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { program("apt-get") } else { program("sudo") };
        if !is_root {
            // Without a password at hand this fails instead of waiting for one.
            command.args(["-n", "apt-get"]);
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    // Never at the price of a package that the owner installed.
    let mut arguments = vec!["install", "-y", "--no-install-recommends", "--no-remove"];
    arguments.extend(PACKAGES);
    let installed = apt(&arguments).or_else(|_| apt(&["update"]).and_then(|()| apt(&arguments)));
    if let Err(error) = installed {
        eprintln!("   {error:#}");
        return Ok(false);
    }
    Ok(distribution_is_there())
}

/// A linker for WebAssembly: the one rustup's toolchain carries, else LLVM's. `None`: the compiler finds its own.
fn linker() -> Result<Option<PathBuf>> {
    if let Ok(sysroot) = sysroot(&rustc())
        && let Ok(hosts) = std::fs::read_dir(sysroot.join("lib/rustlib"))
    {
        for host in hosts.flatten() {
            let linker = host.path().join("bin/rust-lld");
            if linker.is_file() {
                return Ok(Some(linker));
            }
        }
    }
    let named = ["rust-lld", "wasm-ld", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19", "wasm-ld-18"];
    let found = named.iter().find_map(|name| which(name));
    found.map(Some).context(
        "the distribution's compiler is there, but no linker for WebAssembly (rust-lld or wasm-ld). \
         Install one, then repeat the command:\n  apt-get install -y --no-install-recommends lld",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_cargo_sees_nothing_of_rustups() {
        for name in
            ["CARGO", "CARGO_PKG_NAME", "CARGO_ENCODED_RUSTFLAGS", "RUSTC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"]
        {
            assert!(belongs_to_rustup(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_INTERNAL_TOKEN", "PATH", "HTTPS_PROXY"] {
            assert!(!belongs_to_rustup(name), "{name}");
        }
    }

    #[test]
    fn a_compiler_version_is_read() {
        assert_eq!(minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"), Some(96));
        assert_eq!(minor("gcc 12"), None);
    }
}
