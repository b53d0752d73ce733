//! Versions of the contract beside each other, with a 0.2 that is made up: another name for what stayed the same, and a `kv.get` that
//! changed.

use crate::fixtures::{self, wat};
use crate::support::{State, Subject, engines, tool};
use carapace_contract::{Contract, Contracts, V0_1};
use carapace_registry::{VerifiedPackage, testing};
use carapace_runtime::bindings::{kv, types};
use carapace_runtime::{Binding, How, Interface, Plain, TrapKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker};
use wit_parser::{PackageId, Resolve, SourceMap};

const V0_2: Contract = Contract { version: "0.2", wit: "0.2.0" };
const BOTH: Contracts = Contracts::of(&[V0_1, V0_2]);

mod v0_2 {
    #![allow(missing_docs, unused_lifetimes, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "tests/fixtures/contract-0.2",
        world: "changed",
        imports: { default: async | trappable },
        require_store_data_send: true,
    });
    pub(crate) use carapace::plugin::{kv, types};
}

/// What a kernel with both has for the newer one: what changed is put between, the rest is the same.
struct MadeUp;

impl Binding<State> for MadeUp {
    fn contract(&self) -> Contract {
        V0_2
    }
    fn link(&self, interface: Interface, how: How, linker: &mut Linker<State>) -> wasmtime::Result<()> {
        match interface {
            Interface::Kv if how.real => v0_2::kv::add_to_linker::<State, HasSelf<State>>(linker, |s| s),
            same => Plain(V0_2).link(same, how, linker),
        }
    }
}

impl v0_2::types::Host for State {}

impl v0_2::kv::Host for State {
    async fn get(
        &mut self,
        key: String,
        newer_than: Option<u64>,
    ) -> wasmtime::Result<Result<Option<v0_2::kv::Entry>, v0_2::types::Error>> {
        let found = kv::Host::get(self, key).await?;
        Ok(match found {
            Ok(entry) => Ok(entry
                .filter(|e| newer_than.is_none_or(|v| e.version > v))
                .map(|e| v0_2::kv::Entry { value: e.value, version: e.version })),
            Err(types::Error::Limit(text)) => Err(v0_2::types::Error::Limit(text)),
            Err(e) => Err(v0_2::types::Error::Other(format!("{e:?}"))),
        })
    }
}

/// [`wat::KV`] as somebody wrote it for 0.2: looks its arguments up, if newer than version 7.
fn newer_kv() -> String {
    wat::KV
        .replace("(param i32 i32 i32)", "(param i32 i32 i32 i64 i32)")
        .replace("(i32.const 0))\n  (if", "(i32.const 1) (i64.const 7) (i32.const 0))\n  (if")
}

fn edited(wit: &str) -> String {
    wit.replace("get: func(key: string) ->", "get: func(key: string, newer-than: option<u64>) ->")
}

fn package(version: &str, fields: &str, uses: &str, more: &str) -> VerifiedPackage {
    let wit = format!("{version}.0");
    let component = fixtures::later_tool(&wit, fields, edited);
    let manifest = fixtures::tool_manifest("later", uses, more).replace("\"0.1\"\n", &format!("\"{version}\"\n"));
    testing::verified_for(component, &manifest, BOTH).unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
async fn components_of_two_versions_run_beside_each_other_in_one_kernel() {
    let engines = engines();
    let older = Subject::new(&engines, &tool(wat::KV, "\"kv\"", "[kv]\n")).await;
    let newer = package("0.2", &newer_kv(), "\"kv\"", "[kv]\n");
    assert_eq!((newer.contract(), newer.manifest().component.contract.as_str()), (V0_2, "0.2"));
    let newer = Subject::bound(&engines, &newer, Arc::new(MadeUp)).await;
    for _ in 0..2 {
        assert_eq!(older.run("key").await.unwrap().unwrap(), "ok");
        assert_eq!(newer.run("key").await.unwrap().unwrap(), "ok");
    }
    assert_eq!(older.instance.meter().snapshot().host_calls, 2, "both call the one host");
    assert_eq!(newer.instance.meter().snapshot().host_calls, 2, "both call the one host");
}

#[tokio::test]
async fn what_did_not_change_needs_nothing_but_the_newer_name() {
    let engines = engines();
    let subject = Subject::new(&engines, &package("0.2", wat::ECHO, "", "")).await;
    assert_eq!(subject.run("said").await.unwrap().unwrap(), "said");
}

#[tokio::test]
async fn what_changed_is_not_taken_for_what_it_was() {
    let engines = engines();
    // Bound as if 0.2 were 0.1 under another name.
    let subject = Subject::new(&engines, &package("0.2", &newer_kv(), "\"kv\"", "[kv]\n")).await;
    let error = subject.run("key").await.unwrap_err();
    assert_eq!(error.kind, TrapKind::Instantiate);
    assert!(error.message.contains("carapace:plugin/kv@0.2.0") && error.message.contains("type mismatch"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_the_same_in_every_version() {
    let engines = engines();
    let endpoint = "[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\noptional = true\n";
    let mut subject = Subject::new(&engines, &package("0.2", wat::FETCH, "\"http:api\"", endpoint)).await;
    subject.granted.http.clear();
    let denied = subject.run("").await.unwrap().unwrap_err();
    assert!(denied.contains("may not use `http`: it was not granted [E-RUNTIME-023]"), "{denied}");
}

#[test]
fn a_version_of_the_future_is_refused_by_its_number_before_its_manifest_is_read_or_its_code_compiled() {
    // A section of a contract that nobody here has seen.
    let manifest = fixtures::tool_manifest("later", "\"telepathy\"", "[telepathy]\n").replace("\"0.1\"\n", "\"0.3\"\n");
    let component = fixtures::later_tool("0.3.0", wat::ECHO, str::to_owned);
    let error = testing::verified_for(component, &manifest, BOTH).unwrap_err();
    assert_eq!(error.code(), "E-TRUST-014");
    let text = error.to_string();
    assert!(text.contains("contract 0.3 is not spoken by this kernel, which speaks 0.1, 0.2"), "{text}");
    assert!(text.contains("update carapace"), "{text}");
}

#[test]
fn code_of_one_version_under_the_manifest_of_another_is_refused() {
    let component = fixtures::later_tool("0.2.0", wat::ECHO, str::to_owned);
    let error = testing::verified_for(component, &fixtures::tool_manifest("later", "", ""), BOTH).unwrap_err();
    assert_eq!(error.code(), "E-TRUST-010");
    assert!(error.to_string().contains("its manifest says contract 0.1, which is 0.1.0-dev, not 0.2.0"), "{error}");
}

/// A contract's texts.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    all.map(|f| f.unwrap().path()).filter(|f| f.extension().is_some_and(|e| e == "wit")).collect()
}

/// A contract's texts under another version.
fn push(resolve: &mut Resolve, folder: &Path, version: &str) -> PackageId {
    let mut sources = SourceMap::default();
    for file in texts(folder) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        sources.push_str(&file.display().to_string(), text.replace(V0_1.wit, version));
    }
    let group = sources.parse().unwrap_or_else(|(_, e)| panic!("{}: {e:?}", folder.display()));
    resolve.push_group(group).unwrap_or_else(|e| panic!("{}: {e:?}", folder.display()))
}

/// Whether components of each world of `older` run on a kernel with `newer`.
fn compatible(older: &Path, newer: &Path) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let (before, after) = (push(&mut resolve, older, "0.1.0-before"), push(&mut resolve, newer, "0.1.0-after"));
    let worlds: Vec<String> = resolve.packages[before].worlds.keys().cloned().collect();
    assert!(worlds.len() >= 3, "{worlds:?}");
    for world in worlds {
        let find = |package| resolve.select_world(&[package], Some(&world)).map_err(|e| format!("{world}: {e}"));
        let (before, after) = (find(before)?, find(after)?);
        wit_component::semver_check(resolve.clone(), before, after).map_err(|e| format!("{world}: {e:#}"))?;
    }
    Ok(())
}

#[test]
fn what_was_built_against_0_1_runs_on_the_contract_as_it_stands() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    compatible(&wit.join("v0.1"), &wit).unwrap_or_else(|e| {
        panic!(
            "this change of wit/ breaks components that were built against wit/v0.1 (docs/src/authors/contract.md): {e}"
        )
    });
}

#[test]
fn what_would_break_a_component_is_found_and_what_would_not_is_let_through() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let changed = |file: &str, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        for from_file in texts(&wit.join("v0.1")) {
            let name = from_file.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&from_file).unwrap();
            let text = if name == file { text.replacen(from, to, 1) } else { text };
            assert!(name != file || text.contains(to), "{from} is not in {file}");
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        compatible(&wit.join("v0.1"), folder.path())
    };
    let get = "get: func(key: string) ->";
    changed("imports.wit", get, &format!("count: func() -> u32;\n  {get}")).unwrap();
    changed("imports.wit", get, "get: func(key: string, more: u32) ->").unwrap_err();
    changed(
        "imports.wit",
        "record entry { value: list<u8>, version: u64 }",
        "record entry { value: list<u8>, version: u64, more: u32 }",
    )
    .unwrap_err();
    changed("types.wit", "cancelled,", "cancelled, expired,").unwrap_err();
    changed("worlds.wit", "  import kv;\n", "").unwrap_err();
    changed("exports.wit", "%list: func() -> list<tool>;", "%list: func() -> list<tool>;\n  reset: func();")
        .unwrap_err();
}
