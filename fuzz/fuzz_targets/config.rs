//! A configuration is refused or accepted, never fatal; nothing is read from disk or from the environment.
#![no_main]

use carapace_config::{Config, NoEnv};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // An include would read files; that door has tests of its own.
    if !text.contains("$include") && !text.contains("\\u") && !text.contains("\\x") {
        let _ = Config::parse(text, Path::new("carapace.json5"), &NoEnv);
    }
});
