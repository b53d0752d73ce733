//! What an index of 10,000 packages costs.

use crate::report::{Report, Samples};
use carapace_contract::Digest;
use carapace_registry::index::{Entry, FORMAT, Index, SignedBy, search};
use carapace_registry::resolve::{Known, Request, resolve};
use carapace_registry::testing::{key, trust};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

const PACKAGES: usize = 10_000;
const ROUNDS: usize = 50;

/// 2,000 components in five versions each.
fn index() -> Index {
    let entry = |n: usize| Entry {
        id: format!("acme/component-{:05}", n / 5).parse().unwrap(),
        version: format!("1.{}.0", n % 5).parse().unwrap(),
        contract: "0.1".into(),
        digest: Digest::of(&n.to_be_bytes()),
        size: 100_000,
        description: format!("What people write to say what the component number {n} is good for"),
        kinds: BTreeSet::from(["tool".into()]),
        asks: BTreeSet::from(["http:api.example.com".into(), "kv".into(), "secret:token".into()]),
        signer: SignedBy::Key(key(0).public().fingerprint()),
        yanked: None,
    };
    Index {
        format: FORMAT,
        registry: "bench".parse().unwrap(),
        version: 1,
        issued_ms: 0,
        expires_ms: u64::MAX,
        keys: BTreeMap::new(),
        packages: (0..PACKAGES).map(entry).collect(),
    }
}

/// A tool of some 1 MB, most of it data.
fn large() -> String {
    let data: String = (0..1_000_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    format!("(func $main (result i32) (call $text (i32.const 1024) (i32.const 2)))\n(data \"{data}\")")
}

fn timed<T>(samples: &mut Samples, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let value = work();
    samples.add(begin.elapsed());
    value
}

pub(crate) fn measure(report: &mut Report) {
    let made = index();
    let bytes = made.sign(&key(9)).unwrap();
    let (trust, installed) = (trust("acme", &key(0)), BTreeMap::new());
    let known = Known { publishers: &trust.publishers, deny: &trust.deny, installed: &installed };
    let words = ["component-0199".to_owned(), "good".to_owned()];
    let request: Request = "acme/component-01999@^1.2".parse().unwrap();
    let (mut opened, mut searched, mut resolved) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let public = key(9).public();
        let (index, _) = timed(&mut opened, || Index::open(&made.registry, &bytes, [public].iter()).unwrap());
        assert_eq!(timed(&mut searched, || search([&index], &words).len()), 10);
        let found = timed(&mut resolved, || resolve(&request, &[&index], &known).unwrap());
        assert_eq!(found.entry.version.to_string(), "1.4.0");
    }
    let manifest = "[component]\nname = \"echo\"\nversion = \"0.1.0\"\ncontract = \"0.1\"\ndescription = \"x\"\n[[tool]]\nname = \"run\"\n";
    let package = carapace_registry::package::build(&crate::fixtures::tool(&large()), manifest).unwrap();
    let bundle = carapace_registry::package::sign(&package, &key(0)).unwrap();
    let mut verified = Samples::default();
    for _ in 0..ROUNDS {
        let bytes = package.clone();
        timed(&mut verified, || carapace_registry::verify(bytes, &bundle, &trust).unwrap());
    }
    let size = format!("registry: verify a package of {:.1} MB", package.len() as f64 / 1e6);
    report.both(&size, &verified, "ms", None, None);
    report.put("registry: an index of 10,000 packages", bytes.len() as f64 / 1e6, "MB", None, 1);
    report.both("registry: verify and parse it", &opened, "ms", Some(100.0), None);
    report.both("registry: search it for two words", &searched, "ms", Some(10.0), None);
    report.both("registry: resolve a name in it", &resolved, "ms", Some(10.0), None);
}
