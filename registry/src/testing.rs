//! Signed packages from component text, for the tests of this and of other rooms.

pub mod sigstore;

use crate::bundle::{self, PACKAGE_PREDICATE, PackagePredicate, Statement};
use crate::key::SigningKey;
use crate::keyless::root::{self, RootContent};
use crate::keyless::{Rule, TrustedRoot};
use crate::package;
use crate::publisher::PublisherBook;
use crate::verify::{Trust, TrustError, VerifiedPackage, verify};
use carapace_contract::manifest::Manifest;
use carapace_contract::{Contracts, Digest};

/// The key of a test; the same number gives the same key.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number.wrapping_add(1); 32])
}

/// Trust in `publisher` with that key, and in nobody else.
pub fn trust(publisher: &str, key: &SigningKey) -> Trust {
    let mut publishers = PublisherBook::empty();
    publishers.pin(publisher.parse().expect("a name"), key.public(), 0).expect("a first pin");
    Trust { publishers, ..Trust::default() }
}

/// Trust in `publisher` by that keyless rule, on a trusted root of a test's own, and in nobody else.
pub fn trust_keyless(publisher: &str, rule: &str, root: &serde_json::Value) -> Trust {
    let mut publishers = PublisherBook::empty();
    let rule: Rule = rule.parse().unwrap_or_else(|e| panic!("the fixture's rule: {e}"));
    publishers.pin_rule(publisher.parse().expect("a name"), rule, 0).expect("a first pin");
    Trust { publishers, root: trusted_root(root), ..Trust::default() }
}

/// A trusted root of a test's own, as an owner would take it: signed by a pinned key.
pub fn trusted_root(root: &serde_json::Value) -> TrustedRoot {
    let content = RootContent { version: 1, fetched_ms: 0, root: root.clone() };
    let mut trusted = TrustedRoot::built_in();
    trusted.pin(key(99).public()).expect("a first pin");
    let signed = root::sign(&content, &key(99)).unwrap_or_else(|e| panic!("the fixture's root: {e}"));
    trusted.update(&signed).expect("a first root");
    trusted
}

/// The statement about a package that a keyless signature signs.
pub fn statement(package: &[u8], manifest: &Manifest) -> Vec<u8> {
    let c = &manifest.component;
    let (name, version) = (c.name.to_string(), c.version.to_string());
    let subject = format!("{name}.wasm");
    let predicate = PackagePredicate { name, version, contract: c.contract.clone() };
    Statement::new(PACKAGE_PREDICATE, &subject, Digest::of(package), predicate).to_json().expect("json")
}

/// A package and its bundle, from a component (text or bytes) and its manifest. The two are not compared, so that a
/// test can make them disagree.
pub fn package(component: impl AsRef<[u8]>, manifest_text: &str, key: &SigningKey) -> (Vec<u8>, Vec<u8>) {
    let package = assemble(component, manifest_text.as_bytes());
    let manifest = Manifest::parse(manifest_text).unwrap_or_else(|e| panic!("the fixture's manifest: {e}"));
    let bundle = bundle_for(&package, &manifest, key);
    (package, bundle)
}

/// A component with `manifest` as its last section, whatever that is.
pub fn assemble(component: impl AsRef<[u8]>, manifest: &[u8]) -> Vec<u8> {
    let bytes = wat::parse_bytes(component.as_ref()).unwrap_or_else(|e| panic!("the fixture's component: {e}"));
    package::append_manifest(bytes.into_owned(), manifest)
}

/// A bundle over `package` that says what `manifest` says.
pub fn bundle_for(package: &[u8], manifest: &Manifest, key: &SigningKey) -> Vec<u8> {
    let c = &manifest.component;
    let (name, version) = (c.name.to_string(), c.version.to_string());
    bundle::sign(package, &PackagePredicate { name, version, contract: c.contract.clone() }, key).expect("json")
}

/// A verified package by the publisher `local`, for rooms that start from one.
pub fn verified(component: impl AsRef<[u8]>, manifest_text: &str) -> VerifiedPackage {
    verified_for(component, manifest_text, Contracts::SPOKEN).unwrap_or_else(|e| panic!("the fixture's package: {e}"))
}

/// A package by the publisher `local`, for a kernel that speaks these versions of the contract; signed whatever it is.
///
/// # Errors
/// It is not let in.
pub fn verified_for(
    component: impl AsRef<[u8]>,
    manifest_text: &str,
    contracts: Contracts,
) -> Result<VerifiedPackage, TrustError> {
    let key = key(0);
    let package = assemble(component, manifest_text.as_bytes());
    let said = |what: &str| {
        let value = manifest_text.lines().find_map(|l| l.strip_prefix(what)?.strip_prefix(" = \"")?.strip_suffix('"'));
        value.unwrap_or_else(|| panic!("the fixture's manifest has no line for {what}")).to_owned()
    };
    let predicate = PackagePredicate { name: said("name"), version: said("version"), contract: said("contract") };
    let bundle = bundle::sign(&package, &predicate, &key).expect("json");
    verify(package, &bundle, &Trust { contracts, ..trust("local", &key) })
}

/// Component text that imports and exports these interfaces of the contract, each with one function that does nothing.
pub fn component(imports: &[&str], exports: &[&str]) -> String {
    let full = |name: &&str| {
        if name.contains(['/', ':']) {
            (*name).to_owned()
        } else {
            format!("carapace:plugin/{name}@{}", carapace_contract::V0_1.wit)
        }
    };
    let imports: String =
        imports.iter().map(|i| format!("(import \"{}\" (instance (export \"touch\" (func))))", full(i))).collect();
    let exports: String = exports
        .iter()
        .enumerate()
        .map(|(n, e)| {
            format!("(instance $x{n} (export \"touch\" (func $touch))) (export \"{}\" (instance $x{n}))", full(e))
        })
        .collect();
    format!(
        "(component {imports} (core module $m (func (export \"touch\"))) (core instance $i (instantiate $m)) \
         (func $touch (canon lift (core func $i \"touch\"))) {exports})"
    )
}

/// A manifest of that name and version, and `more`.
pub fn manifest(name: &str, version: &str, more: &str) -> String {
    format!(
        "[component]\nname = \"{name}\"\nversion = \"{version}\"\ncontract = \"0.1\"\ndescription = \"A fixture\"\n{more}"
    )
}
