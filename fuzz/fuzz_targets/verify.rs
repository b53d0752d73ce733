//! What `carapace plugin verify` reads: a stranger's package and a stranger's bundle, as they are; and, so that what lies behind a
//! good signature is reached, packages and statements that a pinned key signed, whatever they hold.
#![no_main]

use carapace_contract::Digest;
use carapace_contract::manifest::SECTION;
use carapace_registry::bundle::{self, IN_TOTO, MEDIA_TYPE, PackagePredicate};
use carapace_registry::dsse::Envelope;
use carapace_registry::testing::{self, key, trust};
use carapace_registry::{SigningKey, Trust, package, verify};
use serde_json::json;
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| key(1));
static TRUST: LazyLock<Trust> = LazyLock::new(|| trust("acme", &KEY));

/// A small component that keeps data and serves tools, before its manifest.
static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = testing::assemble(testing::component(&["kv"], &["tools"]), b"");
    // The empty section: its kind, its length, its name's length, its name.
    bytes.truncate(bytes.len() - 3 - SECTION.len());
    bytes
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((mode, input)) = input.split_first() else { return };
    let (package, bundle) = match mode % 4 {
        0 => {
            let Some((length, rest)) = input.split_first_chunk() else { return };
            let (bundle, package) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
            (package.to_vec(), bundle.to_vec())
        }
        1 | 3 => {
            let input = if mode % 4 == 3 { testing::assemble(COMPONENT.as_slice(), input) } else { input.to_vec() };
            let predicate = match package::read_manifest(&input) {
                Ok((manifest, _)) => PackagePredicate {
                    name: manifest.component.name.to_string(),
                    version: manifest.component.version.to_string(),
                    contract: manifest.component.contract,
                },
                Err(_) => PackagePredicate { name: "any".into(), version: "1.0.0".into(), contract: "0.1".into() },
            };
            let bundle = bundle::sign(&input, &predicate, &KEY).unwrap();
            (input, bundle)
        }
        _ => {
            let envelope = Envelope::sign(IN_TOTO, input, &KEY);
            let material = json!({ "publicKey": { "hint": KEY.public().fingerprint() } });
            let json = json!({ "mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope });
            (Vec::new(), json.to_string().into_bytes())
        }
    };
    let digest = Digest::of(&package);
    if let Ok(verified) = verify(package, &bundle, &TRUST) {
        assert_eq!(verified.digest(), digest);
        assert_eq!(verified.id().publisher.as_str(), "acme");
        assert!(TRUST.still(&verified).is_ok());
    }
});
