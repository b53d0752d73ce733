//! Components that were made with other toolchains than ours; `cargo xtask test` has built what could be built.

use std::path::{Path, PathBuf};

/// A component without a manifest.
///
/// # Errors
/// Its toolchain could not be had here.
pub fn component(name: &str) -> Result<Vec<u8>, String> {
    let folder = match std::env::var_os("CARAPACE_TEST_FOREIGN") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/foreign"),
    };
    let file = folder.join(format!("{name}.wasm"));
    std::fs::read(&file)
        .map_err(|e| format!("{}: {e}; `cargo xtask test` says why it could not be built", file.display()))
}

/// The manifest of an example.
pub fn manifest(folder: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(folder).join("carapace.toml");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}
