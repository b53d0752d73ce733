//! Who keeps a directory registry, and who reads it: each with a state directory of their own.

use crate::components::{manifest, pack, tool, wat};
use crate::kernel::command;
use crate::owner::{self, error};
use carapace_contract::Digest;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// A keeper, who also signs the packages, and the directory of its registry.
#[derive(Debug)]
pub struct Keeper {
    /// The registry's id.
    pub id: &'static str,
    /// The keeper's own state directory.
    pub state: TempDir,
    /// The registry.
    pub dir: PathBuf,
    /// The file of the key that signs its index.
    pub key: PathBuf,
    /// The same key, public.
    pub public: String,
}

impl Keeper {
    /// Of the registry `house`; nothing is in it yet.
    pub fn house() -> Self {
        Self::called("house")
    }

    /// Of the registry with this id.
    pub fn called(id: &'static str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (dir, key) = (state.path().join("registry"), state.path().join("index.pem"));
        let public = owner::done(state.path(), &["plugin", "keygen", "--out", key.to_str().unwrap()]);
        Self { id, state, dir, key, public: public.trim().to_owned() }
    }

    /// With packages of these names and versions, and an index of them.
    pub fn with(self, names: &[(&str, &str)]) -> Self {
        names.iter().for_each(|(name, version)| {
            self.put(name, version);
        });
        self.index(&[]);
        self
    }

    /// Signs and places a package.
    pub fn put(&self, name: &str, version: &str) -> Digest {
        let text = manifest(name, version, &format!("[[tool]]\nname = \"{name}\"\n"));
        let bytes = pack(&tool(wat::ECHO, &[name]), &text);
        let file = self.state.path().join(format!("{name}.wasm"));
        std::fs::write(&file, &bytes).unwrap();
        let file = file.to_str().unwrap();
        owner::done(self.state.path(), &["plugin", "sign", file]);
        owner::done(self.state.path(), &["plugin", "publish", file, "--to", self.dir.to_str().unwrap()]);
        Digest::of(&bytes)
    }

    /// Makes or renews the index; what the command said.
    pub fn index(&self, more: &[&str]) -> String {
        let (dir, key) = (self.dir.to_str().unwrap(), self.key.to_str().unwrap());
        let args: Vec<&str> =
            ["registry", "index", dir, "--id", self.id, "--key", key].into_iter().chain(more.iter().copied()).collect();
        owner::done(self.state.path(), &args)
    }

    /// The key that signs the packages.
    pub fn publisher(&self) -> String {
        let listed: Value =
            serde_json::from_str(&owner::done(self.state.path(), &["publisher", "list", "--json"])).unwrap();
        listed[0]["keys"][0]["key"].as_str().unwrap().to_owned()
    }

    /// Another owner, who added this registry from `location` and pinned its publisher as `acme`.
    pub fn reader(&self, location: &str) -> Reader {
        let reader = Reader::nobody();
        owner::done(reader.state.path(), &["publisher", "add", "acme", &self.publisher()]);
        reader.adds(self, location);
        reader
    }

    /// What its index is now.
    pub fn now(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("index.json")).unwrap()
    }

    /// As if its index had never been renewed.
    pub fn back_to(&self, index: &[u8]) {
        std::fs::write(self.dir.join("index.json"), index).unwrap();
    }
}

/// An owner who adds registries.
#[derive(Debug)]
pub struct Reader {
    /// The owner's state directory.
    pub state: TempDir,
    /// Variables of every command.
    pub env: Vec<(String, String)>,
}

impl Reader {
    /// A state directory in which nobody is pinned and nothing added.
    pub fn nobody() -> Self {
        Self { state: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// Adds a keeper's registry, wherever it lies.
    pub fn adds(&self, keeper: &Keeper, location: &str) {
        self.done(&["registry", "add", keeper.id, location, &keeper.public]);
    }

    /// Starts a command and does not wait for it.
    pub fn starts(&self, args: &[&str]) -> std::thread::JoinHandle<Output> {
        let mut command = command(self.state.path(), &self.env);
        command.args(args).stdin(Stdio::null());
        std::thread::spawn(move || command.output().unwrap())
    }

    /// Runs a command.
    pub fn cli(&self, args: &[&str]) -> Output {
        command(self.state.path(), &self.env).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn done(&self, args: &[&str]) -> String {
        let out = self.cli(args);
        let all = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{args:?}: {all}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// The same, parsed.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }

    /// Installs exactly this package, whatever it asks.
    pub fn install(&self, what: &str, digest: &Digest) -> Output {
        self.cli(&["plugin", "install", what, "--accept", &digest.to_string(), "--json"])
    }

    /// The code with which an installation is refused.
    pub fn code(&self, what: &str) -> String {
        let out = self.cli(&["plugin", "install", what, "--json"]);
        error(&out)["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Copies a registry, as onto a stick.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("packages")).unwrap();
    for dir in ["", "packages"] {
        for file in std::fs::read_dir(from.join(dir)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
            std::fs::copy(&file, to.join(dir).join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// Everything that a command printed.
pub fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}
