//! A signature bundle is a stranger's JSON, read before anything about it is trusted.
#![no_main]

use carapace_registry::bundle::Bundle;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let _ = Bundle::parse(json);
});
