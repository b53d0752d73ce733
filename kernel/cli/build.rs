//! Puts what `carapace plugin new` writes into the binary: the templates, and the SDK that they are compiled with.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a build script reads the source tree, and has nobody to return to"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const PARTS: [&str; 13] = [
    "components/Cargo.toml",
    "sdk/rust",
    "sdk/templates/tool",
    "sdk/templates/provider",
    "sdk/templates/channel",
    "sdk/templates/tool-ts",
    "sdk/templates/provider-ts",
    "sdk/templates/channel-ts",
    // Not the whole folder: npm puts thousands of files into it.
    "sdk/typescript/bin",
    "sdk/typescript/package.json",
    "sdk/typescript/src",
    "sdk/typescript/tsconfig.json",
    "sdk/typescript/wit",
];
/// Of the SDK's own development.
const LEFT_OUT: [&str; 5] = ["target", "Cargo.lock", "build", "node_modules", ".DS_Store"];
/// The SDK's own tests; those of templates are for their authors.
const TESTS: &str = "sdk/rust/tests";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository").to_path_buf();
    let mut files = Vec::new();
    for part in PARTS {
        println!("cargo:rerun-if-changed={}", root.join(part).display());
        collect(&root.join(part), &mut files);
    }
    files.retain(|file| !file.starts_with(root.join(TESTS)));
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name =
            file.strip_prefix(&root).expect("it lies in the repository").display().to_string().replace('\\', "/");
        let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", file.display().to_string());
    }
    code.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("embedded.rs");
    std::fs::write(out, code).expect("cargo's directory can be written");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    // `wit` is a link to a folder: what it leads to is what is wanted.
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return;
    }
    for entry in std::fs::read_dir(path).expect("a folder of the repository").flatten() {
        if !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), files);
        }
    }
}
