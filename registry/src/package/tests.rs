use super::*;
use crate::testing;
use wit_parser::Resolve;

fn manifest() -> String {
    testing::manifest("echo", "0.1.0", "[[tool]]\nname = \"echo\"\n")
}

fn component() -> Vec<u8> {
    wat::parse_str(testing::component(&[], &["tools"])).unwrap()
}

/// What a language's toolchain leaves: a core module that carries its world in a custom section.
fn core_module() -> Vec<u8> {
    let text = r#"(module
      (memory (export "memory") 1)
      (func (export "carapace:plugin/tools@0.1.0-dev#list") (result i32) i32.const 0)
      (func (export "carapace:plugin/tools@0.1.0-dev#call")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0)
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))"#;
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("tool")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    module
}

#[test]
fn a_core_module_becomes_a_package() {
    let package = build(&core_module(), &manifest()).unwrap();
    let (manifest, text) = read_manifest(&package).unwrap();
    assert_eq!(manifest.component.name.as_str(), "echo");
    assert_eq!(text, self::manifest());
    let surface = crate::imports::decode(&package).unwrap();
    assert_eq!(surface.exports.into_iter().collect::<Vec<_>>(), ["carapace:plugin/tools@0.1.0-dev"]);
    assert!(surface.imports.is_empty(), "what is not used is not imported");
}

#[test]
fn a_component_becomes_a_package_and_building_is_deterministic() {
    let package = build(&component(), &manifest()).unwrap();
    assert_eq!(build(&component(), &manifest()).unwrap(), package);
    assert!(package.starts_with(&component()), "the component itself is untouched");
}

#[test]
fn a_package_is_not_built_twice() {
    let package = build(&component(), &manifest()).unwrap();
    assert!(matches!(build(&package, &manifest()), Err(PackageError::Twice)));
}

#[test]
fn a_build_that_nobody_would_accept_fails_at_once() {
    assert!(matches!(build(&component(), "name = 1"), Err(PackageError::Manifest(_))));
    assert!(matches!(build(b"not wasm", &manifest()), Err(PackageError::Wasm(_))));
    assert!(matches!(build(b"", &manifest()), Err(PackageError::Wasm(_))));
    let greedy = wat::parse_str(testing::component(&["kv"], &["tools"])).unwrap();
    let e = build(&greedy, &manifest()).unwrap_err();
    assert!(e.to_string().contains("carapace:plugin/kv@0.1.0-dev") && e.to_string().contains("`[kv]`"), "{e}");
}

#[test]
fn a_core_module_that_was_cut_off_is_refused() {
    let module = wat::parse_str("(module (func))").unwrap();
    let cut = &module[..module.len() - 1];
    assert!(matches!(build(cut, &manifest()), Err(PackageError::Wasm(_))));
}

#[test]
fn a_core_module_is_no_package() {
    let module = append_manifest(wat::parse_str("(module)").unwrap(), manifest().as_bytes());
    assert!(matches!(read_manifest(&module), Err(PackageError::Module)));
}

#[test]
fn a_manifest_must_be_there_once_at_the_top_and_last() {
    let manifest = manifest();
    let read = |bytes: &[u8]| read_manifest(bytes).map(|_| ());
    assert!(matches!(read(&component()), Err(PackageError::Missing)));
    let once = append_manifest(component(), manifest.as_bytes());
    assert!(read(&once).is_ok());
    assert!(matches!(read(&append_manifest(once.clone(), manifest.as_bytes())), Err(PackageError::Twice)));
    let mut followed = once;
    followed.extend_from_slice(&[0, 5, 4, b'n', b'a', b'm', b'e']);
    assert!(matches!(read(&followed), Err(PackageError::NotLast)));
}

#[test]
fn a_manifest_hidden_at_any_depth_is_found() {
    let custom = format!("(@custom \"{SECTION}\" \"hidden\")");
    for nested in [
        format!("(component (core module {custom}))"),
        format!("(component (component {custom}))"),
        format!("(component (component (component (core module {custom}))))"),
    ] {
        let bytes = wat::parse_str(&nested).unwrap();
        for bytes in [bytes.clone(), append_manifest(bytes, manifest().as_bytes())] {
            assert!(matches!(read_manifest(&bytes), Err(PackageError::Nested)), "{nested}");
        }
    }
}

#[test]
fn a_manifest_is_text_of_bounded_length() {
    let bytes = append_manifest(component(), &[0xff, 0xfe]);
    assert!(matches!(read_manifest(&bytes), Err(PackageError::NotUtf8)));
    let comment = |n: usize| format!("{}#{}", manifest(), "x".repeat(n - manifest().len() - 1));
    let bytes = append_manifest(component(), comment(MAX_MANIFEST).as_bytes());
    assert!(read_manifest(&bytes).is_ok());
    let bytes = append_manifest(component(), comment(MAX_MANIFEST + 1).as_bytes());
    assert!(matches!(read_manifest(&bytes), Err(PackageError::ManifestTooBig(n)) if n == MAX_MANIFEST + 1));
}

#[test]
fn a_truncated_package_is_refused() {
    let package = build(&component(), &manifest()).unwrap();
    for length in 0..package.len() {
        assert!(read_manifest(&package[..length]).is_err(), "at {length}");
    }
}

#[test]
fn signing_needs_a_manifest() {
    let key = testing::key(0);
    assert!(matches!(sign(&component(), &key), Err(PackageError::Missing)));
    let package = build(&component(), &manifest()).unwrap();
    let bundle = sign(&package, &key).unwrap();
    assert!(crate::verify(package, &bundle, &testing::trust("local", &key)).is_ok());
}
