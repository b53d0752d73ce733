//! A manifest is a stranger's text: parsing ends, and a refusal names at least one problem.
#![no_main]

use carapace_contract::manifest::Manifest;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(error) = Manifest::parse(text) {
        assert!(!error.problems.is_empty(), "a refusal without a reason");
    }
});
