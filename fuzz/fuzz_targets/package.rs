//! A package is a stranger's bytes: its sections and imports are read before anything is compiled.
#![no_main]

use carapace_registry::{imports, package};

const MANIFEST: &str = r#"
[component]
name = "fuzzed"
version = "0.1.0"
contract = "0.1"
description = "Whatever the fuzzer made"

[[tool]]
name = "fuzzed_tool"
uses = []
"#;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = package::read_manifest(bytes);
    let _ = imports::decode(bytes);
    // The same bytes with a manifest that is in order, so that what lies behind it is reached.
    let _ = package::build(bytes, MANIFEST);
});
