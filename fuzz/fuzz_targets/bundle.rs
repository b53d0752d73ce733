//! A signature bundle is a stranger's JSON, read before anything about it is trusted; a keyless one brings certificates,
//! proofs and timestamps of its own.
#![no_main]

use carapace_registry::bundle::AnyBundle;
use carapace_registry::keyless::TrustedRoot;
use std::sync::LazyLock;

static ROOT: LazyLock<TrustedRoot> = LazyLock::new(TrustedRoot::built_in);

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    if let Ok(AnyBundle::Keyless(bundle)) = AnyBundle::parse(json) {
        let _ = ROOT.open(&bundle);
    }
});
