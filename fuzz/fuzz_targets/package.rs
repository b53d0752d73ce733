//! A package is a stranger's bytes: its sections and imports are read before anything is compiled.
#![no_main]

use carapace_registry::{imports, package};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = package::read_manifest(bytes);
    let _ = imports::decode(bytes);
});
