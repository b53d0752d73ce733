//! A machine whose clock is set and whose disk fills up while a kernel runs on it: `fixtures/moods.c` between the kernel and its libc.

use crate::KernelOptions;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The machine; its mood is the test's to change.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
    mood: File,
}

impl Machine {
    /// In a good mood. Needs Linux and a C compiler.
    pub fn new() -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            return Err("it is made for Linux with 64 bits".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/moods.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(dir.path().join("moods.so"))
            .arg(source)
            .arg("-ldl");
        let out = cc.output().map_err(|e| format!("cc: {e}"))?;
        if !out.status.success() {
            return Err(format!("cc: {}", String::from_utf8_lossy(&out.stderr)));
        }
        let open = OpenOptions::new().create_new(true).write(true).open(dir.path().join("mood"));
        let mood = open.map_err(|e| e.to_string())?;
        mood.set_len(4096).map_err(|e| e.to_string())?;
        Ok(Self { dir, mood })
    }

    /// A kernel on it.
    #[must_use]
    pub fn carries(&self, options: KernelOptions) -> KernelOptions {
        let path = |name: &str| -> PathBuf { self.dir.path().join(name) };
        options
            .with_env("LD_PRELOAD", path("moods.so").to_str().unwrap())
            .with_env("CARAPACE_TEST_MOOD", path("mood").to_str().unwrap())
    }

    /// Its clock shows so much more than it should, ms.
    pub fn clock(&self, ahead_ms: i64) {
        self.mood.write_all_at(&ahead_ms.to_ne_bytes(), 0).unwrap();
    }

    /// No file can be written any more, or they can again.
    pub fn full(&self, full: bool) {
        self.mood.write_all_at(&i64::from(full).to_ne_bytes(), 8).unwrap();
    }
}
